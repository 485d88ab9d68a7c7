/* Between _device.c and _line.c. */
#ifndef TINYFED_LINE_H
#define TINYFED_LINE_H

#define TINYFED_LINE_BOARD_BYTES 32

/* A new reference to the type LineDevice, or NULL with an exception set. */
PyObject *tinyfed_line_type(void);

#endif
