/* What the extensions share: aligned memory, errors with a status, an object's ends. Python's header comes first. */
#ifndef TINYFED_OBJECT_H
#define TINYFED_OBJECT_H

#include <string.h>

#include "tinyfed_align.h"
#include "tinyfed_status.h"

/* A zeroed block aligned as the engine wants it, or NULL with an exception set; *block is what PyMem_Free takes. */
static inline uint8_t *tinyfed_aligned_block(void **block, size_t byte_count)
{
    *block = PyMem_Calloc(1, byte_count + TINYFED_ALIGNMENT);
    if (*block == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    return (uint8_t *)(((uintptr_t)*block + TINYFED_ALIGNMENT - 1) & ~(uintptr_t)(TINYFED_ALIGNMENT - 1));
}

/* An aligned copy of what a buffer holds, or NULL with an exception set. */
static inline uint8_t *tinyfed_aligned_copy(void **block, const Py_buffer *view)
{
    uint8_t *copy = tinyfed_aligned_block(block, (size_t)view->len);
    if (copy != NULL) memcpy(copy, view->buf, (size_t)view->len);
    return copy;
}

/* The same of a bytes-like object: 0, or -1 with an exception set. None leaves *bytes and *byte_count as they are. */
static inline int tinyfed_copy_object(void **block, const uint8_t **bytes, uint32_t *byte_count, PyObject *object)
{
    Py_buffer view;
    if (object == Py_None) return 0;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) != 0) return -1;
    if ((uint64_t)view.len > UINT32_MAX)
        PyErr_SetString(PyExc_ValueError, "a shard, model or recording must be shorter than 4 GiB");
    else *bytes = tinyfed_aligned_copy(block, &view);
    *byte_count = (uint32_t)view.len;
    PyBuffer_Release(&view);
    return PyErr_Occurred() == NULL ? 0 : -1;
}

/* Raises `error` with (status, detail); NULL. */
static inline PyObject *tinyfed_raise(PyObject *error, tinyfed_status_t status, uint32_t detail)
{
    PyObject *args = Py_BuildValue("(iI)", (int)status, (unsigned)detail);
    if (args != NULL) PyErr_SetObject(error, args);
    Py_XDECREF(args);
    return NULL;
}

/* The last of a tp_dealloc. */
static inline void tinyfed_free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* A zeroed object of a type, or NULL with an exception set. */
static inline void *tinyfed_new_object(PyTypeObject *type)
{
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

#endif
