/* Between _device.c and _fleet.c. */
#ifndef TINYFED_FLEET_H
#define TINYFED_FLEET_H

/* A new reference to the type Fleet, or NULL with an exception set. It raises `status_error`. */
PyObject *tinyfed_fleet_type(PyObject *status_error);

#endif
