/* The engine of firmware/core for Python: buffers in, buffers out; shapes and messages are core.py's. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include "_object.h"
#include "tinyfed_core.h"

static PyObject *core_error; /* args: status, offset */

static PyObject *fail(tinyfed_status_t status, uint32_t offset) { return tinyfed_raise(core_error, status, offset); }

/* Copy the image to an aligned block and validate it there. */
static uint8_t *open_image(void **block, tinyfed_model_t *model, const Py_buffer *image)
{
    uint32_t offset = 0;
    if (image->len > 0x7FFFFFF0) {
        fail(TINYFED_E_ARGUMENT, 0);
        return NULL;
    }
    uint8_t *copy = tinyfed_aligned_copy(block, image);
    if (copy == NULL) return NULL;
    const tinyfed_status_t status = tinyfed_model_open(model, &offset, copy, (uint32_t)image->len);
    if (status == TINYFED_OK) return copy;
    fail(status, offset);
    return NULL;
}

static PyObject *describe(const tinyfed_model_t *model)
{
    return Py_BuildValue("{s:I,s:I,s:I,s:I,s:I,s:I,s:K}", "layer_count", (unsigned)model->layer_count,
                         "parameter_count", model->parameter_count, "input_count", model->input_count, "output_count",
                         model->output_count, "loss", (unsigned)model->loss, "parameters_offset",
                         model->parameters_offset, "structure_hash",
                         (unsigned long long)tinyfed_model_structure_hash(model));
}

/* Open the image of a call's arguments, and by `format` read the mode behind it. *block is to be freed either way. */
static bool open_argument(void **block, tinyfed_model_t *model, int *mode, PyObject *args, const char *format)
{
    Py_buffer image;
    if (!PyArg_ParseTuple(args, format, &image, mode)) return false;
    const bool good = open_image(block, model, &image) != NULL;
    PyBuffer_Release(&image);
    return good;
}

static PyObject *core_model_open(PyObject *self, PyObject *args)
{
    tinyfed_model_t model;
    void *block = NULL;
    (void)self;
    PyObject *result = open_argument(&block, &model, NULL, args, "y*") ? describe(&model) : NULL;
    PyMem_Free(block);
    return result;
}

static PyObject *core_plan(PyObject *self, PyObject *args)
{
    int mode = 0;
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    void *block = NULL;
    PyObject *result = NULL;
    (void)self;
    if (open_argument(&block, &model, &mode, args, "y*i")) {
        const tinyfed_status_t status = tinyfed_plan(&plan, &model, (tinyfed_mode_t)mode);
        result = status != TINYFED_OK ? fail(status, 0) : Py_BuildValue("(II)", plan.work_bytes, plan.arena_bytes);
    }
    PyMem_Free(block);
    return result;
}

static PyObject *core_crc32(PyObject *self, PyObject *args)
{
    Py_buffer data;
    unsigned crc = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|I", &data, &crc)) return NULL;
    crc = tinyfed_crc32(crc, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(crc);
}

static PyObject *core_hash64(PyObject *self, PyObject *args)
{
    Py_buffer data;
    unsigned long long hash = TINYFED_HASH_START;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|K", &data, &hash)) return NULL;
    hash = tinyfed_hash64(hash, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyObject *map_function(PyObject *args, float (*function)(float))
{
    Py_buffer y, x;
    if (!PyArg_ParseTuple(args, "w*y*", &y, &x)) return NULL;
    PyObject *result = NULL;
    if (x.len != y.len) {
        fail(TINYFED_E_SHAPE, 0);
    } else {
        const Py_ssize_t count = x.len / (Py_ssize_t)sizeof(float);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++) ((float *)y.buf)[k] = function(((const float *)x.buf)[k]);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&y);
    PyBuffer_Release(&x);
    return result;
}

#define MAPPED(name)                                                                                                   \
    static PyObject *core_##name(PyObject *self, PyObject *args)                                                       \
    {                                                                                                                  \
        (void)self;                                                                                                    \
        return map_function(args, tinyfed_##name##_f32);                                                               \
    }
MAPPED(exp)
MAPPED(log)
MAPPED(tanh)
MAPPED(sin)

/* ---- Engine ------------------------------------------------------------------------------------- */

typedef struct engine_object {
    PyObject_HEAD
    tinyfed_model_t model;
    tinyfed_engine_t engine;
    tinyfed_plan_t plan;
    void *block; /* the arena: image, then work */
} engine_object_t;

static PyObject *engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer image;
    int mode = TINYFED_MODE_ONLINE;
    static char *names[] = {"image", "mode", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|i", names, &image, &mode)) return NULL;
    void *first = NULL;
    engine_object_t *self = tinyfed_new_object(type);
    if (self == NULL || open_image(&first, &self->model, &image) == NULL) goto failed;
    tinyfed_status_t status = tinyfed_plan(&self->plan, &self->model, (tinyfed_mode_t)mode);
    if (status != TINYFED_OK) {
        fail(status, 0);
        goto failed;
    }
    uint8_t *arena = tinyfed_aligned_block(&self->block, self->plan.arena_bytes);
    if (arena == NULL) goto failed;
    memcpy(arena, image.buf, (size_t)image.len);
    uint32_t offset = 0;
    status = tinyfed_model_open(&self->model, &offset, arena, (uint32_t)image.len);
    if (status == TINYFED_OK)
        status = tinyfed_engine_open(&self->engine, &self->model, (float *)(arena + self->model.parameters_offset),
                                     (tinyfed_mode_t)mode, arena + (self->plan.arena_bytes - self->plan.work_bytes),
                                     self->plan.work_bytes);
    if (status != TINYFED_OK) {
        fail(status, offset);
        goto failed;
    }
    PyMem_Free(first);
    PyBuffer_Release(&image);
    return (PyObject *)self;
failed:
    PyMem_Free(first);
    PyBuffer_Release(&image);
    Py_XDECREF((PyObject *)self);
    return NULL;
}

static void engine_dealloc(PyObject *object)
{
    PyMem_Free(((engine_object_t *)object)->block);
    tinyfed_free_object(object);
}

static PyObject *engine_describe(PyObject *object, PyObject *unused)
{
    engine_object_t *self = (engine_object_t *)object;
    (void)unused;
    PyObject *result = describe(&self->model);
    PyObject *arena = PyLong_FromUnsignedLong(self->plan.arena_bytes);
    PyObject *work = PyLong_FromUnsignedLong(self->plan.work_bytes);
    if (result != NULL && arena != NULL && work != NULL) {
        PyDict_SetItemString(result, "arena_bytes", arena);
        PyDict_SetItemString(result, "work_bytes", work);
    }
    Py_XDECREF(arena);
    Py_XDECREF(work);
    return result;
}

static PyObject *engine_parameters(PyObject *object, PyObject *unused)
{
    engine_object_t *self = (engine_object_t *)object;
    (void)unused;
    return PyBytes_FromStringAndSize((const char *)self->engine.parameters,
                                     (Py_ssize_t)self->model.parameter_count * 4);
}

static PyObject *engine_set_parameters(PyObject *object, PyObject *args)
{
    engine_object_t *self = (engine_object_t *)object;
    Py_buffer values;
    if (!PyArg_ParseTuple(args, "y*", &values)) return NULL;
    const bool fits = values.len == (Py_ssize_t)self->model.parameter_count * 4;
    if (fits) memcpy(self->engine.parameters, values.buf, (size_t)values.len);
    PyBuffer_Release(&values);
    return fits ? Py_NewRef(Py_None) : fail(TINYFED_E_SHAPE, 0);
}

static PyObject *engine_weights_hash(PyObject *object, PyObject *unused)
{
    engine_object_t *self = (engine_object_t *)object;
    (void)unused;
    return PyLong_FromUnsignedLongLong(tinyfed_weights_hash(self->engine.parameters, self->model.parameter_count));
}

static PyObject *engine_infer(PyObject *object, PyObject *args)
{
    engine_object_t *self = (engine_object_t *)object;
    Py_buffer y, x;
    int stream = 0;
    if (!PyArg_ParseTuple(args, "w*y*|p", &y, &x, &stream)) return NULL;
    const size_t inputs = self->model.input_count, outputs = self->model.output_count;
    const size_t count = (size_t)x.len / (inputs * 4);
    tinyfed_status_t status = TINYFED_E_SHAPE;
    if ((size_t)x.len == count * inputs * 4 && (size_t)y.len == count * outputs * 4) {
        status = TINYFED_OK;
        Py_BEGIN_ALLOW_THREADS
        for (size_t k = 0; k < count && status == TINYFED_OK; k++) {
            const float *output = NULL;
            const float *input = (const float *)x.buf + k * inputs;
            if (stream && k != 0) status = tinyfed_infer_next(&self->engine, &output, input);
            else status = tinyfed_infer(&self->engine, &output, input);
            if (status == TINYFED_OK) memcpy((float *)y.buf + k * outputs, output, outputs * 4);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&y);
    PyBuffer_Release(&x);
    return status == TINYFED_OK ? Py_NewRef(Py_None) : fail(status, 0);
}

/* Samples of a training or evaluation call: inputs, targets as float32 values or int32 labels, losses out. */
typedef struct samples {
    Py_buffer losses, x, targets;
    size_t count;
    bool labels;
} samples_t;

static bool samples_fit(samples_t *samples, const tinyfed_model_t *model)
{
    samples->labels = model->loss == TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY;
    samples->count = (size_t)samples->losses.len / 4;
    const size_t values = samples->labels ? 1 : model->output_count;
    return (size_t)samples->losses.len == samples->count * 4 &&
           (size_t)samples->x.len == samples->count * model->input_count * 4 &&
           (size_t)samples->targets.len == samples->count * values * 4;
}

static tinyfed_target_t target_of(const samples_t *samples, const tinyfed_model_t *model, size_t k)
{
    tinyfed_target_t target = {NULL, 0};
    if (samples->labels) target.label = ((const int32_t *)samples->targets.buf)[k];
    else target.values = (const float *)samples->targets.buf + k * model->output_count;
    return target;
}

static PyObject *release_samples(samples_t *samples, tinyfed_status_t status, size_t correct)
{
    PyBuffer_Release(&samples->losses);
    PyBuffer_Release(&samples->x);
    PyBuffer_Release(&samples->targets);
    return status == TINYFED_OK ? PyLong_FromSize_t(correct) : fail(status, 0);
}

/* What is done with a sample; of these only tinyfed_train_online has a rate. */
typedef tinyfed_status_t step_t(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                const tinyfed_target_t *target, float rate);

static tinyfed_status_t add_to_batch(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                     const tinyfed_target_t *target, float rate)
{
    (void)rate;
    return tinyfed_batch_add(engine, score, input, target);
}

static tinyfed_status_t evaluate(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                 const tinyfed_target_t *target, float rate)
{
    (void)rate;
    return tinyfed_evaluate(engine, score, input, target);
}

/* Samples first..end - 1 in order. *correct grows by those that are told apart right. */
static tinyfed_status_t run_samples(engine_object_t *self, size_t *correct, const samples_t *samples, size_t first,
                                    size_t end, step_t *step, float rate)
{
    for (size_t k = first; k < end; k++) {
        tinyfed_score_t score = {0.0f, false};
        const tinyfed_target_t target = target_of(samples, &self->model, k);
        const float *input = (const float *)samples->x.buf + k * self->model.input_count;
        const tinyfed_status_t status = step(&self->engine, &score, input, &target, rate);
        if (status != TINYFED_OK) return status;
        ((float *)samples->losses.buf)[k] = score.loss;
        *correct += score.correct;
    }
    return TINYFED_OK;
}

/* A call whose arguments are samples, and by `format` a rate. */
static PyObject *with_samples(PyObject *object, PyObject *args, const char *format, step_t *step)
{
    engine_object_t *self = (engine_object_t *)object;
    samples_t samples;
    float rate = 0.0f;
    size_t correct = 0;
    if (!PyArg_ParseTuple(args, format, &samples.losses, &samples.x, &samples.targets, &rate)) return NULL;
    tinyfed_status_t status = samples_fit(&samples, &self->model) ? TINYFED_OK : TINYFED_E_SHAPE;
    Py_BEGIN_ALLOW_THREADS
    if (status == TINYFED_OK) status = run_samples(self, &correct, &samples, 0, samples.count, step, rate);
    Py_END_ALLOW_THREADS
    return release_samples(&samples, status, correct);
}

static PyObject *engine_train_online(PyObject *object, PyObject *args)
{
    return with_samples(object, args, "w*y*y*f", tinyfed_train_online);
}

/* Many visits from the same weights: ends[v] are the weights after visit v, samples are shared out in order. The first
 * row of ends keeps the start until the last visit has begun, so visits run from the last to the first. */
static PyObject *engine_train_visits(PyObject *object, PyObject *args)
{
    engine_object_t *self = (engine_object_t *)object;
    samples_t samples;
    Py_buffer ends;
    float rate;
    if (!PyArg_ParseTuple(args, "w*w*y*y*f", &ends, &samples.losses, &samples.x, &samples.targets, &rate)) return NULL;
    const size_t bytes = (size_t)self->model.parameter_count * 4, visits = bytes == 0 ? 0 : (size_t)ends.len / bytes;
    bool fits = samples_fit(&samples, &self->model) && visits != 0 && visits * bytes == (size_t)ends.len;
    fits = fits && samples.count % visits == 0;
    tinyfed_status_t status = fits ? TINYFED_OK : TINYFED_E_SHAPE;
    const size_t steps = fits ? samples.count / visits : 0;
    size_t correct = 0;
    float *const parameters = self->engine.parameters;
    Py_BEGIN_ALLOW_THREADS
    if (fits) memcpy(ends.buf, parameters, bytes);
    for (size_t visit = visits; status == TINYFED_OK && visit-- > 0;) {
        memcpy(parameters, ends.buf, bytes);
        status = run_samples(self, &correct, &samples, visit * steps, (visit + 1) * steps, tinyfed_train_online, rate);
        memcpy((uint8_t *)ends.buf + visit * bytes, parameters, bytes);
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&ends);
    return release_samples(&samples, status, 0);
}

static PyObject *engine_batch_begin(PyObject *object, PyObject *unused)
{
    (void)unused;
    const tinyfed_status_t status = tinyfed_batch_begin(&((engine_object_t *)object)->engine);
    return status == TINYFED_OK ? Py_NewRef(Py_None) : fail(status, 0);
}

static PyObject *engine_batch_add(PyObject *object, PyObject *args)
{
    return with_samples(object, args, "w*y*y*", add_to_batch);
}

static PyObject *engine_batch_step(PyObject *object, PyObject *args)
{
    tinyfed_optimizer_t o;
    if (!PyArg_ParseTuple(args, "fffffff", &o.learning_rate, &o.momentum, &o.beta1, &o.beta2, &o.epsilon,
                          &o.weight_decay, &o.clip_norm))
        return NULL;
    const tinyfed_status_t status = tinyfed_batch_step(&((engine_object_t *)object)->engine, &o);
    return status == TINYFED_OK ? Py_NewRef(Py_None) : fail(status, 0);
}

static PyObject *engine_evaluate(PyObject *object, PyObject *args)
{
    return with_samples(object, args, "w*y*y*", evaluate);
}

static PyMethodDef engine_methods[] = {{"describe", engine_describe, METH_NOARGS, NULL},
                                       {"parameters", engine_parameters, METH_NOARGS, NULL},
                                       {"set_parameters", engine_set_parameters, METH_VARARGS, NULL},
                                       {"weights_hash", engine_weights_hash, METH_NOARGS, NULL},
                                       {"infer", engine_infer, METH_VARARGS, NULL},
                                       {"train_online", engine_train_online, METH_VARARGS, NULL},
                                       {"train_visits", engine_train_visits, METH_VARARGS, NULL},
                                       {"evaluate", engine_evaluate, METH_VARARGS, NULL},
                                       {"batch_begin", engine_batch_begin, METH_NOARGS, NULL},
                                       {"batch_add", engine_batch_add, METH_VARARGS, NULL},
                                       {"batch_step", engine_batch_step, METH_VARARGS, NULL},
                                       {NULL, NULL, 0, NULL}};

static PyType_Slot engine_slots[] = {{Py_tp_new, (void *)engine_new},
                                     {Py_tp_dealloc, (void *)engine_dealloc},
                                     {Py_tp_methods, engine_methods},
                                     {0, NULL}};

static PyType_Spec engine_spec = {"tinyfed.engine._core.Engine", sizeof(engine_object_t), 0, Py_TPFLAGS_DEFAULT,
                                  engine_slots};

static PyMethodDef functions[] = {{"model_open", core_model_open, METH_VARARGS, NULL},
                                  {"plan", core_plan, METH_VARARGS, NULL},
                                  {"crc32", core_crc32, METH_VARARGS, NULL},
                                  {"hash64", core_hash64, METH_VARARGS, NULL},
                                  {"exp", core_exp, METH_VARARGS, NULL},
                                  {"log", core_log, METH_VARARGS, NULL},
                                  {"tanh", core_tanh, METH_VARARGS, NULL},
                                  {"sin", core_sin, METH_VARARGS, NULL},
                                  {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void)
{
    PyObject *self = PyModule_Create(&module);
    if (self == NULL) return NULL;
    PyObject *engine = PyType_FromSpec(&engine_spec);
    core_error = PyErr_NewException("tinyfed.engine._core.CoreError", PyExc_ValueError, NULL);
    if (engine == NULL || core_error == NULL || PyModule_AddObjectRef(self, "Engine", engine) < 0 ||
        PyModule_AddObjectRef(self, "CoreError", core_error) < 0) {
        Py_XDECREF(engine);
        Py_DECREF(self);
        return NULL;
    }
    Py_DECREF(engine);
    return self;
}
