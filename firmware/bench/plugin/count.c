/* A QEMU plugin: which blocks of code ran between two functions of the bench image, and what ran after each.
 *
 * A block is what QEMU translates at once: instructions in line, left at the end only. A pair of blocks says what a
 * pipeline needs to know: what stands before an instruction, and whether a branch was taken.
 *
 * Debian ships QEMU without the header of its plugin interface, so the few functions are declared here. QEMU up to 8
 * has version 1 of it, from 9 on it is version 2 or later; what is used here is the same in both. Arguments:
 * begin=ADDRESS end=ADDRESS out=FILE. The file gets a line `address instructions next-address next-instructions count`
 * for each pair; `address` is 0 for what ran first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info qemu_info_t;
struct qemu_plugin_tb;
typedef void (*on_translate_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*on_execute_t)(unsigned int cpu, void *data);
typedef void (*on_exit_t)(qemu_plugin_id_t id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, on_translate_t callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, on_execute_t callback, int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, on_exit_t callback, void *data);

/* From version 2 on; only its presence matters. */
__attribute__((weak)) void *qemu_plugin_scoreboard_new(size_t row_bytes);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

typedef struct edge {
    struct edge *next;
    const struct block *to;
    uint64_t count;
} edge_t;

typedef struct block {
    struct block *next; /* in the list of all */
    uint64_t address;
    size_t instructions;
    edge_t *edges; /* to what ran after it, the last one taken first */
} block_t;

static uint64_t begin_address, end_address;
static block_t outside;                       /* stands before what ran first */
static block_t *blocks = &outside, *previous; /* previous: NULL where nothing is counted */
static char out_path[4096];

/* QEMU reads the version when the library is loaded, before it calls anything. */
__attribute__((constructor)) static void choose_version(void)
{
    if (qemu_plugin_scoreboard_new != NULL) qemu_plugin_version = 2;
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL) abort();
    return memory;
}

static void count(block_t *from, const block_t *to)
{
    edge_t **link = &from->edges;
    while (*link != NULL && (*link)->to != to) link = &(*link)->next;
    edge_t *edge = *link;
    if (edge == NULL) {
        edge = allocate(sizeof *edge);
        edge->to = to;
    } else {
        *link = edge->next;
    }
    edge->next = from->edges;
    from->edges = edge;
    edge->count++;
}

static void on_execute(unsigned int cpu, void *data)
{
    block_t *const block = data;
    (void)cpu;
    if (block->address == begin_address) previous = &outside;
    if (block->address == end_address) previous = NULL;
    if (previous == NULL) return;
    count(previous, block);
    previous = block;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    block_t *const block = allocate(sizeof *block);
    block->address = qemu_plugin_tb_vaddr(tb);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execute, 0, block);
}

static void on_exit_of_qemu(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    FILE *file = fopen(out_path, "w");
    if (file == NULL) return;
    for (const block_t *from = blocks; from != NULL; from = from->next)
        for (const edge_t *edge = from->edges; edge != NULL; edge = edge->next)
            fprintf(file, "%" PRIu64 " %zu %" PRIu64 " %zu %" PRIu64 "\n", from->address, from->instructions,
                    edge->to->address, edge->to->instructions, edge->count);
    fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int k = 0; k < argc; k++) {
        if (strncmp(argv[k], "begin=", 6) == 0) begin_address = strtoull(argv[k] + 6, NULL, 0);
        if (strncmp(argv[k], "end=", 4) == 0) end_address = strtoull(argv[k] + 4, NULL, 0);
        if (strncmp(argv[k], "out=", 4) == 0) snprintf(out_path, sizeof out_path, "%s", argv[k] + 4);
    }
    if (begin_address == 0 || end_address == 0 || out_path[0] == '\0') return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
