/* The simulated device: arena, shard, engine and visit in-process. Limited API; the GIL is released while it works.
 * Errors are raised as StatusError(status, bytes_short); tinyfed/device/simulated.py gives them their words. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "_fleet.h"
#include "_line.h"
#include "_object.h"
#include "_simulated.h"
#include "tinyfed_logmel.h"
#include "tinyfed_record.h"

typedef struct {
    PyObject_HEAD
    void *arena_block, *shard_block; /* as allocated */
    bool has_shard, has_model, busy;
    int cancelled; /* set by any thread */
    tinyfed_shard_t shard;
    tinyfed_simulated_t simulated;
} device_t;

static PyObject *status_error;

static PyObject *fail(tinyfed_status_t status, uint32_t bytes_short)
{
    return tinyfed_raise(status_error, status, bytes_short);
}

static void device_dealloc(PyObject *self)
{
    device_t *device = (device_t *)self;
    PyMem_Free(device->arena_block);
    PyMem_Free(device->shard_block);
    tinyfed_free_object(self);
}

static PyObject *device_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arena_bytes", "shard", NULL};
    unsigned int arena_bytes;
    PyObject *shard = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "I|O", names, &arena_bytes, &shard)) return NULL;
    device_t *device = tinyfed_new_object(type);
    if (device == NULL) return NULL;
    const uint8_t *bytes = NULL;
    uint32_t byte_count = 0;
    device->simulated.arena_bytes = arena_bytes & ~(TINYFED_ALIGNMENT - 1);
    device->simulated.arena = tinyfed_aligned_block(&device->arena_block, arena_bytes);
    if (device->simulated.arena == NULL || tinyfed_copy_object(&device->shard_block, &bytes, &byte_count, shard) != 0)
        goto error;
    if (bytes != NULL) {
        const tinyfed_status_t status = tinyfed_shard_open(&device->shard, bytes, byte_count);
        if (status != TINYFED_OK) {
            fail(status, 0);
            goto error;
        }
        device->has_shard = true;
    }
    return (PyObject *)device;
error:
    Py_DECREF((PyObject *)device);
    return NULL;
}

static PyObject *device_load(PyObject *self, PyObject *image)
{
    device_t *device = (device_t *)self;
    Py_buffer view;
    if (device->busy) return fail(TINYFED_E_BUSY, 0);
    if (PyObject_GetBuffer(image, &view, PyBUF_SIMPLE) != 0) return NULL;
    uint32_t bytes_short = 0;
    const tinyfed_status_t status =
        tinyfed_simulated_load(&device->simulated, &bytes_short, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    device->has_model = status == TINYFED_OK;
    return device->has_model ? Py_NewRef(Py_None) : fail(status, bytes_short);
}

static PyObject *device_visit(PyObject *self, PyObject *args)
{
    device_t *device = (device_t *)self;
    Py_buffer order_view;
    PyObject *weights;
    int want_weights;
    if (!PyArg_ParseTuple(args, "y*Op", &order_view, &weights, &want_weights)) return NULL;
    tinyfed_order_t order;
    tinyfed_status_t status = TINYFED_E_ARGUMENT;
    if (order_view.len <= 0xFFFF) status = tinyfed_order_decode(&order, order_view.buf, (uint32_t)order_view.len);
    PyBuffer_Release(&order_view);
    if (status != TINYFED_OK) return fail(status, 0);
    if (device->busy) return fail(TINYFED_E_BUSY, 0);
    if (!device->has_model) return fail(TINYFED_E_STATE, 0);
    Py_buffer view = {.buf = NULL};
    if (weights != Py_None && PyObject_GetBuffer(weights, &view, PyBUF_SIMPLE) != 0) return NULL;
    status = tinyfed_simulated_place(&device->simulated, &order, view.buf, (size_t)view.len);
    if (weights != Py_None) PyBuffer_Release(&view);
    if (status != TINYFED_OK) return fail(status, 0);
    uint32_t bytes_short = 0;
    device->busy = true;
    Py_BEGIN_ALLOW_THREADS
    status = tinyfed_simulated_visit(&device->simulated, &bytes_short, &order,
                                     device->has_shard ? &device->shard : NULL, &device->cancelled);
    Py_END_ALLOW_THREADS
    device->busy = false;
    if (status != TINYFED_OK) return fail(status, bytes_short);
    tinyfed_result_t result;
    uint8_t bytes[TINYFED_RESULT_BYTES];
    tinyfed_visit_result(&device->simulated.visit, &result);
    uint32_t length = tinyfed_result_encode(bytes, &result);
    PyObject *first = PyBytes_FromStringAndSize((char *)bytes, (Py_ssize_t)length);
    const uint8_t *update;
    uint32_t update_bytes;
    tinyfed_visit_update(&device->simulated.visit, &update, &update_bytes);
    PyObject *second =
        want_weights ? PyBytes_FromStringAndSize((const char *)update, (Py_ssize_t)update_bytes) : Py_NewRef(Py_None);
    return Py_BuildValue("(NN)", first, second); /* NULL when one is */
}

static PyObject *device_cancel(PyObject *self, PyObject *on)
{
    int cancelled = PyObject_IsTrue(on);
    if (cancelled < 0) return NULL;
    __atomic_store_n(&((device_t *)self)->cancelled, cancelled, __ATOMIC_RELAXED);
    Py_RETURN_NONE;
}

static PyObject *device_facts(PyObject *self, PyObject *unused)
{
    device_t *device = (device_t *)self;
    (void)unused;
    unsigned long long structure = 0, weights = 0;
    if (device->has_model && !device->busy) {
        structure = tinyfed_model_structure_hash(&device->simulated.model);
        weights = tinyfed_weights_hash(device->simulated.engine.parameters, device->simulated.model.parameter_count);
    }
    return Py_BuildValue("{sIsIsIsIsKsK}", "arena_bytes", device->simulated.arena_bytes, "feature_count",
                         device->shard.feature_count, "class_count", device->shard.class_count, "parameter_count",
                         device->has_model ? device->simulated.model.parameter_count : 0, "structure_hash", structure,
                         "weights_hash", weights);
}

static PyMethodDef device_methods[] = {
    {"load", device_load, METH_O, "load(image): put a model image into the arena."},
    {"visit", device_visit, METH_VARARGS,
     "visit(order, weights or None, want_weights) -> (result, what goes back or None)."},
    {"cancel", device_cancel, METH_O, "cancel(on): end a running visit of another thread soon, and refuse new ones."},
    {"facts", device_facts, METH_NOARGS, "facts() -> dict: sizes and hashes."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot device_slots[] = {
    {Py_tp_new, (void *)device_new},
    {Py_tp_dealloc, (void *)device_dealloc},
    {Py_tp_methods, device_methods},
    {Py_tp_doc, "Device(arena_bytes, shard=None)"},
    {0, NULL},
};

static PyType_Spec device_spec = {"tinyfed.engine._device.Device", sizeof(device_t), 0, Py_TPFLAGS_DEFAULT,
                                  device_slots};

static PyObject *log_mel(PyObject *self, PyObject *samples)
{
    float features[TINYFED_LOGMEL_FEATURES], scratch[TINYFED_LOGMEL_SCRATCH_BYTES / sizeof(float)];
    Py_buffer view;
    (void)self;
    if (PyObject_GetBuffer(samples, &view, PyBUF_SIMPLE) != 0) return NULL;
    tinyfed_status_t status = TINYFED_E_ARGUMENT;
    if (((uintptr_t)view.buf & 1u) == 0 && view.len / 2 <= (Py_ssize_t)UINT32_MAX) {
        status = tinyfed_logmel(features, view.buf, (uint32_t)(view.len / 2), scratch, sizeof scratch);
    }
    PyBuffer_Release(&view);
    return status == TINYFED_OK ? PyBytes_FromStringAndSize((char *)features, sizeof features) : fail(status, 0);
}

static PyObject *motion_windows(PyObject *self, PyObject *readings)
{
    const tinyfed_window_form_t *form = &tinyfed_motion_form;
    Py_buffer view;
    void *block = NULL;
    (void)self;
    if (PyObject_GetBuffer(readings, &view, PyBUF_SIMPLE) != 0) return NULL;
    const double *reading = view.buf;
    const size_t count = (size_t)view.len / (sizeof(double) * form->channels);
    const size_t sample_bytes = 4u * (size_t)form->steps * form->channels;
    const size_t memory_bytes = TINYFED_RECORDER_BYTES + sample_bytes * (count / (form->group * form->stride) + 2u);
    PyObject *result = NULL;
    uint8_t *memory = memory_bytes <= UINT32_MAX ? tinyfed_aligned_block(&block, memory_bytes) : NULL;
    if (memory != NULL) {
        tinyfed_recorder_t *recorder = tinyfed_recorder_open(form, memory, (uint32_t)memory_bytes);
        for (size_t i = 0; i < count; i++) (void)tinyfed_recorder_add(recorder, reading + i * form->channels);
        result = PyBytes_FromStringAndSize((char *)recorder->samples, (Py_ssize_t)(sample_bytes * recorder->count));
    } else if (PyErr_Occurred() == NULL) {
        fail(TINYFED_E_ARGUMENT, 0);
    }
    PyMem_Free(block);
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef module_methods[] = {
    {"motion_windows", motion_windows, METH_O, "motion_windows(float64 readings of 6 channels) -> float32 samples."},
    {"log_mel", log_mel, METH_O, "log_mel(16-bit samples at 8 kHz) -> 320 float32 features."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_device", NULL, -1, module_methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__device(void)
{
    PyObject *self = PyModule_Create(&module);
    PyObject *type = PyType_FromSpec(&device_spec), *line = tinyfed_line_type();
    status_error = PyErr_NewException("tinyfed.engine._device.StatusError", NULL, NULL);
    PyObject *fleet = status_error == NULL ? NULL : tinyfed_fleet_type(status_error);
    if (self == NULL || type == NULL || line == NULL || fleet == NULL ||
        PyModule_AddObjectRef(self, "Device", type) < 0 || PyModule_AddObjectRef(self, "LineDevice", line) < 0 ||
        PyModule_AddObjectRef(self, "Fleet", fleet) < 0 ||
        PyModule_AddObjectRef(self, "StatusError", status_error) < 0) {
        Py_XDECREF(self);
        self = NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(line);
    Py_XDECREF(fleet);
    return self;
}
