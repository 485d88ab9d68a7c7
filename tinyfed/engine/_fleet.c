/* Many visits in one call, on several threads: image and shards once, an arena a thread. A visit's bits depend on its
 * order, weights and shard alone, so they are the same for any number of threads. See _device.c. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <pthread.h>

#include "_fleet.h"
#include "_object.h"
#include "_simulated.h"

#define THREADS_MAX 256u

typedef struct {
    void *block; /* the arena as allocated */
    tinyfed_simulated_t simulated;
    struct call *call;
    pthread_t thread;
} worker_t;

typedef struct {
    void *block; /* as allocated; NULL: the device has no shard */
    tinyfed_shard_t shard;
} client_t;

typedef struct {
    PyObject_HEAD
    void *image_block;
    const uint8_t *image;
    uint32_t image_bytes, arena_bytes, client_count, worker_count;
    client_t *clients;
    worker_t *workers; /* [THREADS_MAX], worker_count with a model */
    bool busy;
} fleet_t;

/* One call of visit(): what each thread works on. */
typedef struct call {
    const fleet_t *fleet;
    Py_buffer results, answers, clients, orders, weights; /* answers.obj is NULL when none are wanted */
    size_t count, answer_bytes;                           /* visits, and bytes of a row of answers */
    size_t next, failed; /* the next visit that no thread has, and the first that failed; both are atomic */
    int cancelled;
    pthread_mutex_t lock; /* of the first failure */
    tinyfed_status_t status;
    uint32_t bytes_short;
} call_t;

static PyObject *status_error;

static void fleet_dealloc(PyObject *self)
{
    fleet_t *fleet = (fleet_t *)self;
    for (uint32_t i = 0; i < fleet->client_count; i++) PyMem_Free(fleet->clients[i].block);
    for (uint32_t i = 0; i < fleet->worker_count; i++) PyMem_Free(fleet->workers[i].block);
    PyMem_Free(fleet->clients);
    PyMem_Free(fleet->workers);
    PyMem_Free(fleet->image_block);
    tinyfed_free_object(self);
}

/* Returns 0, or -1 with an exception set. */
static int add_client(fleet_t *fleet, PyObject *shard)
{
    client_t *client = &fleet->clients[fleet->client_count];
    const uint8_t *bytes = NULL;
    uint32_t byte_count = 0;
    fleet->client_count++; /* so that its block is freed */
    if (tinyfed_copy_object(&client->block, &bytes, &byte_count, shard) != 0) return -1;
    if (bytes == NULL) return 0;
    const tinyfed_status_t status = tinyfed_shard_open(&client->shard, bytes, byte_count);
    if (status == TINYFED_OK) return 0;
    tinyfed_raise(status_error, status, fleet->client_count - 1u);
    return -1;
}

/* Returns 0, or -1 with an exception set. */
static int add_worker(fleet_t *fleet)
{
    worker_t *worker = &fleet->workers[fleet->worker_count];
    uint32_t bytes_short = 0;
    worker->simulated.arena_bytes = fleet->arena_bytes;
    worker->simulated.arena = tinyfed_aligned_block(&worker->block, fleet->arena_bytes);
    if (worker->simulated.arena == NULL) return -1;
    fleet->worker_count++;
    const tinyfed_status_t status =
        tinyfed_simulated_load(&worker->simulated, &bytes_short, fleet->image, fleet->image_bytes);
    if (status == TINYFED_OK) return 0;
    tinyfed_raise(status_error, status, bytes_short);
    return -1;
}

static PyObject *fleet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"image", "arena_bytes", "shards", NULL};
    unsigned int arena_bytes;
    PyObject *image, *shards;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OIO", names, &image, &arena_bytes, &shards)) return NULL;
    const Py_ssize_t count = PySequence_Size(shards);
    if (count < 0) return NULL;
    fleet_t *fleet = tinyfed_new_object(type);
    if (fleet == NULL) return NULL;
    fleet->arena_bytes = arena_bytes & ~(TINYFED_ALIGNMENT - 1);
    fleet->clients = PyMem_Calloc((size_t)count + 1u, sizeof *fleet->clients);
    fleet->workers = PyMem_Calloc(THREADS_MAX, sizeof *fleet->workers);
    if (fleet->clients == NULL || fleet->workers == NULL) {
        PyErr_NoMemory();
        goto error;
    }
    if (tinyfed_copy_object(&fleet->image_block, &fleet->image, &fleet->image_bytes, image) != 0) goto error;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *shard = PySequence_GetItem(shards, i);
        const int failed = shard == NULL || add_client(fleet, shard) != 0;
        Py_XDECREF(shard);
        if (failed) goto error;
    }
    if (add_worker(fleet) == 0) return (PyObject *)fleet;
error:
    Py_DECREF((PyObject *)fleet);
    return NULL;
}

/* An order's row is as long as the longest; what it needs is said by its version. */
static uint32_t order_bytes(const uint8_t *row)
{
    return row[0] <= 1 ? TINYFED_ORDER_BYTES_V1 : row[0] <= 3 ? TINYFED_ORDER_BYTES_V3 : TINYFED_ORDER_BYTES;
}

static tinyfed_status_t visit_one(tinyfed_simulated_t *device, uint32_t *bytes_short, const call_t *call, size_t number)
{
    const uint8_t *row = (const uint8_t *)call->orders.buf + number * TINYFED_ORDER_BYTES;
    const client_t *client = &call->fleet->clients[((const uint32_t *)call->clients.buf)[number]];
    tinyfed_order_t order;
    tinyfed_status_t status = tinyfed_order_decode(&order, row, order_bytes(row));
    if (status == TINYFED_OK)
        status = tinyfed_simulated_place(device, &order, call->weights.buf, (size_t)call->weights.len);
    if (status == TINYFED_OK)
        status = tinyfed_simulated_visit(device, bytes_short, &order, client->block == NULL ? NULL : &client->shard,
                                         &call->cancelled);
    if (status != TINYFED_OK) return status;
    tinyfed_result_t result;
    const uint8_t *answer;
    uint32_t answer_bytes;
    tinyfed_visit_result(&device->visit, &result);
    (void)tinyfed_result_encode((uint8_t *)call->results.buf + number * TINYFED_RESULT_BYTES, &result);
    if (call->answers.obj == NULL) return TINYFED_OK;
    tinyfed_visit_update(&device->visit, &answer, &answer_bytes);
    if (answer_bytes != call->answer_bytes) return TINYFED_E_SHAPE;
    memcpy((uint8_t *)call->answers.buf + number * call->answer_bytes, answer, answer_bytes);
    return TINYFED_OK;
}

/* The next visit that no thread has; false when there is none, or one before it failed. */
static bool work_once(worker_t *worker)
{
    call_t *call = worker->call;
    const size_t number = __atomic_fetch_add(&call->next, 1u, __ATOMIC_RELAXED);
    if (number >= __atomic_load_n(&call->failed, __ATOMIC_RELAXED)) return false;
    uint32_t bytes_short = 0;
    const tinyfed_status_t status = visit_one(&worker->simulated, &bytes_short, call, number);
    if (status == TINYFED_OK) return true;
    pthread_mutex_lock(&call->lock);
    if (number < call->failed) {
        __atomic_store_n(&call->failed, number, __ATOMIC_RELAXED);
        call->status = status;
        call->bytes_short = bytes_short;
    }
    pthread_mutex_unlock(&call->lock);
    return false;
}

static void *work(void *worker)
{
    while (work_once(worker)) {
    }
    return NULL;
}

/* The same in the caller's thread, which looks for signals now and then. */
static void work_and_look(worker_t *worker)
{
    PyThreadState *state = PyEval_SaveThread();
    for (uint32_t done = 1; work_once(worker); done++) {
        if (done % 16u != 0 || worker->call->cancelled) continue;
        PyEval_RestoreThread(state);
        if (PyErr_CheckSignals() != 0) __atomic_store_n(&worker->call->cancelled, 1, __ATOMIC_RELAXED);
        state = PyEval_SaveThread();
    }
    for (worker_t *other = worker + 1; other < worker + worker->call->fleet->worker_count; other++) {
        if (other->call == worker->call) pthread_join(other->thread, NULL);
        other->call = NULL;
    }
    PyEval_RestoreThread(state);
}

/* All of a call with so many threads, the caller's among them. Returns 0, or -1 with an exception set. */
static int run_call(fleet_t *fleet, call_t *call, uint32_t threads)
{
    if (threads > call->count) threads = (uint32_t)call->count;
    while (fleet->worker_count < threads) {
        if (add_worker(fleet) != 0) return -1;
    }
    worker_t *first = &fleet->workers[0];
    first->call = call;
    for (worker_t *other = first + 1; other < first + threads; other++) {
        other->call = call;
        if (pthread_create(&other->thread, NULL, work, other) == 0) continue;
        other->call = NULL; /* the machine has no more: those there are do its part */
        break;
    }
    work_and_look(first);
    if (PyErr_Occurred() != NULL) return -1;
    if (call->failed == call->count) return 0;
    PyObject *failure =
        Py_BuildValue("(iIn)", (int)call->status, (unsigned)call->bytes_short, (Py_ssize_t)call->failed);
    if (failure != NULL) PyErr_SetObject(status_error, failure);
    Py_XDECREF(failure);
    return -1;
}

/* Whether the buffers fit each other and the fleet. */
static bool call_fits(call_t *call)
{
    call->count = (size_t)call->clients.len / 4u;
    call->failed = call->count;
    if (call->count != 0 && call->answers.obj != NULL) call->answer_bytes = (size_t)call->answers.len / call->count;
    if ((size_t)call->results.len != call->count * TINYFED_RESULT_BYTES) return false;
    if ((size_t)call->orders.len != call->count * TINYFED_ORDER_BYTES) return false;
    for (size_t i = 0; i < call->count; i++) {
        if (((const uint32_t *)call->clients.buf)[i] >= call->fleet->client_count) return false;
    }
    return true;
}

static PyObject *fleet_visit(PyObject *self, PyObject *args)
{
    fleet_t *fleet = (fleet_t *)self;
    call_t call = {.fleet = fleet};
    PyObject *answers;
    unsigned int threads;
    if (!PyArg_ParseTuple(args, "w*Oy*y*y*I", &call.results, &answers, &call.clients, &call.orders, &call.weights,
                          &threads))
        return NULL;
    int failed = -1;
    if (answers != Py_None && PyObject_GetBuffer(answers, &call.answers, PyBUF_WRITABLE) != 0) goto end;
    if (fleet->busy || threads == 0 || threads > THREADS_MAX || !call_fits(&call)) {
        tinyfed_raise(status_error, fleet->busy ? TINYFED_E_BUSY : TINYFED_E_ARGUMENT, 0);
        goto end;
    }
    fleet->busy = true;
    pthread_mutex_init(&call.lock, NULL);
    failed = run_call(fleet, &call, threads);
    pthread_mutex_destroy(&call.lock);
    fleet->busy = false;
end:
    if (call.answers.obj != NULL) PyBuffer_Release(&call.answers);
    PyBuffer_Release(&call.results);
    PyBuffer_Release(&call.clients);
    PyBuffer_Release(&call.orders);
    PyBuffer_Release(&call.weights);
    return failed == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef fleet_methods[] = {
    {"visit", fleet_visit, METH_VARARGS,
     "visit(results, answers or None, clients, orders, weights, threads): a row of each a visit."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot fleet_slots[] = {
    {Py_tp_new, (void *)fleet_new},
    {Py_tp_dealloc, (void *)fleet_dealloc},
    {Py_tp_methods, fleet_methods},
    {Py_tp_doc, "Fleet(image, arena_bytes, shards)"},
    {0, NULL},
};

static PyType_Spec fleet_spec = {"tinyfed.engine._device.Fleet", sizeof(fleet_t), 0, Py_TPFLAGS_DEFAULT, fleet_slots};

PyObject *tinyfed_fleet_type(PyObject *error)
{
    status_error = error;
    return PyType_FromSpec(&fleet_spec);
}
