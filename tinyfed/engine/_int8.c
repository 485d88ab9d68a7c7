/* Python's view of the int8 engine (firmware/core/int8): a program is opened once and run on bytes. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_object.h"
#include "tinyfed_int8.h"

#define CAPSULE_NAME "tinyfed.engine._int8.program"

typedef struct opened {
    tinyfed_int8_t net;
    void *memory; /* program and work area */
    uint8_t *work;
} opened_t;

static void release(opened_t *opened)
{
    if (opened == NULL) return;
    PyMem_Free(opened->memory);
    PyMem_Free(opened);
}

static void free_capsule(PyObject *capsule) { release(PyCapsule_GetPointer(capsule, CAPSULE_NAME)); }

/* The work area comes after the program, which says how large it is: a copy is opened first. */
static int prepare(opened_t *opened, const Py_buffer *bytes)
{
    const uint32_t program_bytes = (uint32_t)bytes->len;
    const size_t work_at = tinyfed_align_up(program_bytes);
    uint32_t at = 0;
    void *first = NULL;
    uint8_t *program = tinyfed_aligned_copy(&first, bytes);
    if (program == NULL) return -1;
    const tinyfed_status_t status = tinyfed_int8_open(&opened->net, &at, program, program_bytes);
    PyMem_Free(first);
    if (status != TINYFED_OK) {
        PyErr_Format(PyExc_ValueError, "int8 program: error %d at offset %u", (int)status, (unsigned)at);
        return -1;
    }
    program = tinyfed_aligned_block(&opened->memory, work_at + opened->net.work_bytes);
    if (program == NULL) return -1;
    memcpy(program, bytes->buf, program_bytes);
    opened->net.program = program;
    opened->work = program + work_at;
    return tinyfed_int8_reset(&opened->net, opened->work, opened->net.work_bytes, NULL) == TINYFED_OK ? 0 : -1;
}

static PyObject *py_open(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(args, "y*", &bytes)) return NULL;
    PyObject *capsule = NULL;
    opened_t *opened = PyMem_Calloc(1, sizeof *opened);
    if (opened == NULL || bytes.len > 0x7FFFFFFF) {
        PyErr_NoMemory();
    } else if (prepare(opened, &bytes) == 0) {
        capsule = PyCapsule_New(opened, CAPSULE_NAME, free_capsule);
    }
    if (capsule == NULL) release(opened);
    PyBuffer_Release(&bytes);
    return capsule;
}

static uint32_t total(const tinyfed_int8_t *net, int outputs)
{
    uint32_t bytes = 0;
    const uint32_t ports = outputs ? net->output_count : net->input_count;
    for (uint32_t i = 0; i < ports; i++) {
        const tinyfed_int8_port_t port = outputs ? tinyfed_int8_output(net, i) : tinyfed_int8_input(net, i);
        bytes += tinyfed_int8_port_bytes(&port);
    }
    return bytes;
}

static PyObject *py_run(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule;
    Py_buffer in;
    int kernels = TINYFED_INT8_KERNELS_BEST;
    if (!PyArg_ParseTuple(args, "Oy*|i", &capsule, &in, &kernels)) return NULL;
    PyObject *result = NULL;
    opened_t *opened = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    if (opened != NULL && in.len != (Py_ssize_t)total(&opened->net, 0)) {
        PyErr_Format(PyExc_ValueError, "the inputs are %u bytes, not %zd", (unsigned)total(&opened->net, 0), in.len);
    } else if (opened != NULL) {
        const tinyfed_int8_t *net = &opened->net;
        const uint8_t *from = in.buf;
        for (uint32_t i = 0; i < net->input_count; i++) {
            const tinyfed_int8_port_t port = tinyfed_int8_input(net, i);
            memcpy(opened->work + port.offset, from, tinyfed_int8_port_bytes(&port));
            from += tinyfed_int8_port_bytes(&port);
        }
        tinyfed_int8_t chosen = *net;
        if (kernels >= 0 && kernels < (int)chosen.kernels) chosen.kernels = (uint8_t)kernels;
        const tinyfed_status_t status = tinyfed_int8_run(&chosen, opened->work, net->work_bytes);
        if (status != TINYFED_OK) {
            PyErr_Format(PyExc_RuntimeError, "int8 program: error %d", (int)status);
        } else {
            result = PyBytes_FromStringAndSize(NULL, total(net, 1));
            char *to = result == NULL ? NULL : PyBytes_AsString(result);
            for (uint32_t i = 0; to != NULL && i < net->output_count; i++) {
                const tinyfed_int8_port_t port = tinyfed_int8_output(net, i);
                memcpy(to, opened->work + port.offset, tinyfed_int8_port_bytes(&port));
                to += tinyfed_int8_port_bytes(&port);
            }
        }
    }
    PyBuffer_Release(&in);
    return result;
}

static PyObject *py_reset(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule;
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "O|z", &capsule, &name)) return NULL;
    const opened_t *opened = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    if (opened == NULL) return NULL;
    if (tinyfed_int8_reset(&opened->net, opened->work, opened->net.work_bytes, name) != TINYFED_OK)
        return PyErr_Format(PyExc_ValueError, "no state is named %s", name);
    Py_RETURN_NONE;
}

static PyObject *quantize_or_back(PyObject *args, int back)
{
    Py_buffer in;
    float scale;
    int zero_point;
    if (!PyArg_ParseTuple(args, "y*fi", &in, &scale, &zero_point)) return NULL;
    const tinyfed_int8_port_t port = {0, 0, scale, zero_point, TINYFED_TYPE_INT8};
    const Py_ssize_t count = back ? in.len : in.len / 4;
    PyObject *result = PyBytes_FromStringAndSize(NULL, back ? count * 4 : count);
    if (result != NULL && back)
        tinyfed_int8_dequantize((float *)(void *)PyBytes_AsString(result), &port, in.buf, (uint32_t)count);
    else if (result != NULL) tinyfed_int8_quantize((int8_t *)PyBytes_AsString(result), &port, in.buf, (uint32_t)count);
    PyBuffer_Release(&in);
    return result;
}

static PyObject *py_quantize(PyObject *self, PyObject *args)
{
    (void)self;
    return quantize_or_back(args, 0);
}

static PyObject *py_dequantize(PyObject *self, PyObject *args)
{
    (void)self;
    return quantize_or_back(args, 1);
}

static PyMethodDef methods[] = {
    {"open", py_open, METH_VARARGS, "open(program) -> handle; ValueError says what is wrong and where"},
    {"run", py_run, METH_VARARGS, "run(handle, inputs, kernels=2) -> the outputs' bytes, one after the other"},
    {"reset", py_reset, METH_VARARGS, "reset(handle, name=None): first values of a state, or of all"},
    {"quantize", py_quantize, METH_VARARGS, "quantize(float32 bytes, scale, zero_point) -> int8 bytes"},
    {"dequantize", py_dequantize, METH_VARARGS, "dequantize(int8 bytes, scale, zero_point) -> float32 bytes"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_int8", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__int8(void) { return PyModule_Create(&module); }
