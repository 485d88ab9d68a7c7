/* Python's view of firmware/core/head.c: opening a head's file, and the normalizer on float32 buffers. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "tinyfed_head.h"

static PyObject *py_check(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(args, "y*", &bytes)) return NULL;
    PyObject *result = NULL;
    void *memory = bytes.len <= 0x7FFFFFFF ? PyMem_Malloc((size_t)bytes.len + TINYFED_ALIGNMENT) : NULL;
    if (memory == NULL) {
        PyErr_NoMemory();
    } else {
        uint8_t *aligned =
            (uint8_t *)(((uintptr_t)memory + TINYFED_ALIGNMENT - 1u) & ~(uintptr_t)(TINYFED_ALIGNMENT - 1u));
        tinyfed_head_t head;
        uint32_t at = 0;
        memcpy(aligned, bytes.buf, (size_t)bytes.len);
        const tinyfed_status_t status = tinyfed_head_open(&head, &at, aligned, (uint32_t)bytes.len);
        if (status == TINYFED_OK) {
            result = PyLong_FromUnsignedLong(head.feature_count);
        } else {
            PyErr_Format(PyExc_ValueError, "error %d at byte %u", (int)status, (unsigned)at);
        }
        PyMem_Free(memory);
    }
    PyBuffer_Release(&bytes);
    return result;
}

/* Three writable or readable float32 buffers of the lengths `count`, `count`, `other`. */
static int lengths_are(const Py_buffer *mean, const Py_buffer *deviation, const Py_buffer *other, Py_ssize_t factor)
{
    if (mean->len % 4 == 0 && deviation->len == mean->len && other->len == factor * mean->len) return 1;
    PyErr_SetString(PyExc_ValueError, "the arrays have different lengths");
    return 0;
}

static PyObject *py_add(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer mean, deviation, features;
    unsigned long count;
    if (!PyArg_ParseTuple(args, "w*w*ky*", &mean, &deviation, &count, &features)) return NULL;
    PyObject *result = NULL;
    if (lengths_are(&mean, &deviation, &features, 1)) {
        tinyfed_normalizer_t normalizer = {mean.buf, deviation.buf, (uint32_t)(mean.len / 4), (uint32_t)count, 1.0f};
        tinyfed_normalizer_add(&normalizer, features.buf);
        result = PyLong_FromUnsignedLong(normalizer.sample_count);
    }
    PyBuffer_Release(&mean);
    PyBuffer_Release(&deviation);
    PyBuffer_Release(&features);
    return result;
}

static PyObject *py_write(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer mean, deviation, parameters;
    unsigned long count;
    float epsilon;
    if (!PyArg_ParseTuple(args, "w*w*kfw*", &mean, &deviation, &count, &epsilon, &parameters)) return NULL;
    PyObject *result = NULL;
    if (lengths_are(&mean, &deviation, &parameters, 2)) {
        const tinyfed_normalizer_t normalizer = {mean.buf, deviation.buf, (uint32_t)(mean.len / 4), (uint32_t)count,
                                                 epsilon};
        tinyfed_normalizer_write(&normalizer, parameters.buf);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&mean);
    PyBuffer_Release(&deviation);
    PyBuffer_Release(&parameters);
    return result;
}

static PyMethodDef methods[] = {
    {"check", py_check, METH_VARARGS, "check(bytes) -> features; ValueError says what is wrong and where"},
    {"add", py_add, METH_VARARGS, "add(mean, deviation, sample_count, features) -> sample_count"},
    {"write", py_write, METH_VARARGS, "write(mean, deviation, sample_count, epsilon, parameters)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_head", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__head(void)
{
    return PyModule_Create(&module);
}
