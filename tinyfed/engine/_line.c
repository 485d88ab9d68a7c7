/* The whole device without a port, in-process: bytes and the time go in, bytes come out. See _device.c. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "_line.h"
#include "_object.h"
#include "played.h"
#include "tinyfed_app.h"

typedef struct {
    PyObject_HEAD
    void *blocks[4]; /* arena, shard, model, recording as allocated */
    Py_buffer store; /* the caller's: it outlives the device, as flash does; obj is NULL without one */
    tinyfed_flash_t flash;
    tinyfed_window_form_t window;
    double window_values[2u * TINYFED_RECORD_CHANNELS_MAX]; /* means, then deviations */
    char board[TINYFED_LINE_BOARD_BYTES];
    tinyfed_app_t app;
} line_t;

static void line_dealloc(PyObject *self)
{
    line_t *line = (line_t *)self;
    if (line->store.obj != NULL) PyBuffer_Release(&line->store);
    for (int i = 0; i < 4; i++) PyMem_Free(line->blocks[i]);
    tinyfed_free_object(self);
}

/* The flash whose device works now: the interpreter's lock is held meanwhile. */
static uint8_t *flash_bytes;

#define FLASH_BLOCK_BYTES 1024u

static tinyfed_flash_state_t erase_block(uint32_t offset)
{
    memset(flash_bytes + offset, 0xFF, FLASH_BLOCK_BYTES);
    return TINYFED_FLASH_DONE;
}

static tinyfed_flash_state_t write_piece(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    for (uint32_t i = 0; i < byte_count; i++) flash_bytes[offset + i] &= bytes[i];
    return TINYFED_FLASH_DONE;
}

/* Returns 0 on success. */
static int open_store(line_t *line, PyObject *object)
{
    if (object == Py_None) return 0;
    if (PyObject_GetBuffer(object, &line->store, PyBUF_WRITABLE) != 0) return -1;
    if (line->store.len < (Py_ssize_t)(2u * FLASH_BLOCK_BYTES) ||
        line->store.len % (Py_ssize_t)(2u * FLASH_BLOCK_BYTES) != 0 ||
        (uintptr_t)line->store.buf % TINYFED_ALIGNMENT != 0) {
        PyErr_SetString(PyExc_ValueError, "store must be two slots of whole kilobytes, aligned to 16 bytes");
        return -1;
    }
    line->flash = (tinyfed_flash_t){
        .base = line->store.buf,
        .slot_bytes = (uint32_t)line->store.len / 2u,
        .block_bytes = FLASH_BLOCK_BYTES,
        .write_bytes = 64u,
        .erase = erase_block,
        .write = write_piece,
    };
    return 0;
}

/* (channels, rate_hz, group, steps, stride, means and deviations as float64 bytes). Returns 0 on success. */
static int read_window(line_t *line, PyObject *object)
{
    tinyfed_window_form_t *window = &line->window;
    Py_buffer values;
    if (!PyArg_ParseTuple(object, "IIIIIy*", &window->channels, &window->rate_hz, &window->group, &window->steps,
                          &window->stride, &values)) {
        return -1;
    }
    const size_t length = (size_t)values.len;
    const bool right = window->channels <= TINYFED_RECORD_CHANNELS_MAX && window->rate_hz > 0u && window->group > 0u &&
                       window->steps > 0u && window->steps <= 65536u && window->stride > 0u && length > 0u &&
                       length == 16u * window->channels;
    if (right) memcpy(line->window_values, values.buf, length);
    PyBuffer_Release(&values);
    if (!right) {
        PyErr_SetString(PyExc_ValueError, "window is out of its range");
        return -1;
    }
    window->mean = line->window_values;
    window->deviation = line->window_values + window->channels;
    return 0;
}

static PyObject *line_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arena_bytes", "unique_id", "board",        "shard",  "model", "watchdog_ms",
                            "store",       "sensor",    "record_bytes", "window", NULL};
    unsigned int arena_bytes, watchdog_ms = 0, record_bytes = 0;
    Py_buffer unique_id;
    const char *board = "simulated";
    PyObject *shard = Py_None, *model = Py_None, *store = Py_None, *sensor = Py_None, *window = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Iy*|sOOIOOIO", names, &arena_bytes, &unique_id, &board, &shard,
                                     &model, &watchdog_ms, &store, &sensor, &record_bytes, &window)) {
        return NULL;
    }
    tinyfed_app_config_t config;
    memset(&config, 0, sizeof config);
    size_t length = (size_t)unique_id.len;
    if (length == sizeof config.unique_id) memcpy(config.unique_id, unique_id.buf, length);
    PyBuffer_Release(&unique_id);
    if (length != sizeof config.unique_id || strlen(board) >= TINYFED_LINE_BOARD_BYTES) {
        PyErr_SetString(PyExc_ValueError, "unique_id must have 12 bytes and board fewer than 32 characters");
        return NULL;
    }
    line_t *line = tinyfed_new_object(type);
    if (line == NULL) return NULL;
    memcpy(line->board, board, strlen(board) + 1);
    config.arena_bytes = arena_bytes & ~(TINYFED_ALIGNMENT - 1);
    config.arena = tinyfed_aligned_block(&line->blocks[0], arena_bytes);
    config.board = line->board;
    config.watchdog_ms = watchdog_ms;
    const uint8_t *recording = NULL;
    uint32_t recording_bytes = 0;
    if (config.arena == NULL || tinyfed_copy_object(&line->blocks[1], &config.shard, &config.shard_bytes, shard) != 0 ||
        tinyfed_copy_object(&line->blocks[2], &config.model, &config.model_bytes, model) != 0 ||
        tinyfed_copy_object(&line->blocks[3], &recording, &recording_bytes, sensor) != 0 ||
        open_store(line, store) != 0) {
        Py_DECREF((PyObject *)line);
        return NULL;
    }
    if (line->store.obj != NULL) config.flash = &line->flash;
    if (config.model != NULL) config.model_hash = tinyfed_hash64(TINYFED_HASH_START, config.model, config.model_bytes);
    if (recording != NULL) {
        config.sensor = tinyfed_played_sensor(recording, recording_bytes, NULL); /* of one device a process */
        config.record_bytes = record_bytes;
    }
    config.window = &tinyfed_motion_form;
    if (window != Py_None) {
        if (read_window(line, window) != 0) {
            Py_DECREF((PyObject *)line);
            return NULL;
        }
        config.window = &line->window;
    }
    tinyfed_app_init(&line->app, &config);
    return (PyObject *)line;
}

static PyObject *transmitted(line_t *line, uint32_t now_us)
{
    size_t capacity = 4096, length = 0;
    uint8_t *bytes = PyMem_Malloc(capacity);
    while (bytes != NULL) {
        size_t more = tinyfed_app_transmit(&line->app, bytes + length, capacity - length, now_us);
        length += more;
        if (more == 0) break;
        if (length == capacity) {
            capacity *= 2;
            uint8_t *larger = PyMem_Realloc(bytes, capacity);
            if (larger == NULL) PyMem_Free(bytes);
            bytes = larger;
        }
    }
    if (bytes == NULL) return PyErr_NoMemory();
    PyObject *result = PyBytes_FromStringAndSize((char *)bytes, (Py_ssize_t)length);
    PyMem_Free(bytes);
    return result;
}

static PyObject *line_feed(PyObject *self, PyObject *args)
{
    line_t *line = (line_t *)self;
    Py_buffer bytes;
    unsigned int now_us, work = 1;
    if (!PyArg_ParseTuple(args, "y*I|I", &bytes, &now_us, &work)) return NULL;
    flash_bytes = line->store.buf;
    tinyfed_app_receive(&line->app, bytes.buf, (size_t)bytes.len, now_us);
    PyBuffer_Release(&bytes);
    for (unsigned int i = 0; i < work; i++) tinyfed_app_work(&line->app, now_us);
    return transmitted(line, now_us);
}

static PyObject *line_idle_ms(PyObject *self, PyObject *now)
{
    unsigned long now_us = PyLong_AsUnsignedLong(now);
    if (PyErr_Occurred() != NULL) return NULL;
    return PyLong_FromUnsignedLong(tinyfed_app_idle_ms(&((line_t *)self)->app, (uint32_t)now_us));
}

static PyObject *line_reset_wanted(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(tinyfed_app_reset_wanted(&((line_t *)self)->app));
}

static PyMethodDef line_methods[] = {
    {"feed", line_feed, METH_VARARGS, "feed(received, now_us, work=1) -> bytes to send: receive, work, transmit."},
    {"idle_ms", line_idle_ms, METH_O, "idle_ms(now_us): how long nothing needs to be called; 0 while a visit runs."},
    {"reset_wanted", line_reset_wanted, METH_NOARGS, "The host asked for a restart: make a new one."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot line_slots[] = {
    {Py_tp_new, (void *)line_new},
    {Py_tp_dealloc, (void *)line_dealloc},
    {Py_tp_methods, line_methods},
    {Py_tp_doc, "LineDevice(arena_bytes, unique_id, board='simulated', shard=None, model=None, watchdog_ms=0, "
                "store=None, sensor=None, record_bytes=0, window=None)"},
    {0, NULL},
};

static PyType_Spec line_spec = {"tinyfed.engine._device.LineDevice", sizeof(line_t), 0, Py_TPFLAGS_DEFAULT, line_slots};

PyObject *tinyfed_line_type(void) { return PyType_FromSpec(&line_spec); }
