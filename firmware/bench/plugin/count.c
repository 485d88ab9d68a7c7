/* A QEMU plugin: which blocks of code ran between two functions of the bench image, what ran after each, and what the
 * caches of several chips would have missed.
 *
 * A block is what QEMU translates at once: instructions in line, left at the end only. A pair of blocks says what a
 * pipeline needs to know: what stands before an instruction, and whether a branch was taken.
 *
 * Debian ships QEMU without the header of its plugin interface, so the few functions are declared here. QEMU up to 8
 * has version 1 of it, from 9 on it is version 2 or later; what is used here is the same in both. Arguments:
 * begin=ADDRESS end=ADDRESS out=FILE, flash=FROM:TO for each range that a chip has in flash, and for each chip
 * chip=BYTES:LINES:WAYS:DATA_LINES: bytes of one read of the flash, lines of such size of the instruction cache (LRU),
 * ways of it, lines of the data cache (all ways). The file gets `pair address instructions next-address
 * next-instructions count` for each pair, `address` 0 for what ran first; and for each block and chip `miss address
 * chip jumps in-line data`: reads of the flash for an instruction that was jumped to, for one behind the last read, and
 * for data.
 */
#include <inttypes.h>
#include <stdbool.h>
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
struct qemu_plugin_insn;
typedef void (*on_access_t)(unsigned int cpu, uint32_t access, uint64_t address, void *data);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, on_access_t callback, int flags, int kinds,
                                      void *data);
bool qemu_plugin_mem_is_store(uint32_t access);
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

#define MOST_CHIPS 4
#define MOST_LINES 256u
#define HINTS 4096u
enum { JUMP, IN_LINE, DATA, KINDS_OF_MISS };

typedef struct block {
    struct block *next; /* in the list of all */
    uint64_t address, end;
    size_t instructions;
    edge_t *edges; /* to what ran after it, the last one taken first */
    uint64_t misses[MOST_CHIPS][KINDS_OF_MISS];
} block_t;

/* Lines numbered by their address; set k has the ways from k * ways on. */
typedef struct cache {
    uint32_t sets, ways;
    uint64_t line[MOST_LINES], used[MOST_LINES]; /* line + 1; when it was last wanted */
    uint32_t hint[HINTS];                        /* where a line was found last */
    uint64_t now;
} cache_t;

typedef struct chip {
    uint32_t read_bytes;
    cache_t code, data;
    uint64_t last; /* line of code */
} chip_t;

static uint64_t begin_address, end_address;
static block_t outside;                       /* stands before what ran first */
static block_t *blocks = &outside, *previous; /* previous: NULL where nothing is counted */
static char out_path[4096];
static chip_t chips[MOST_CHIPS];
static size_t chip_count;
static uint64_t flash[4][2];
static size_t flash_count;

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

/* Whether the cache has the line; it has it afterwards. */
static int has(cache_t *cache, uint64_t line)
{
    if (cache->ways == 0) return 0;
    uint32_t *const hint = &cache->hint[line % HINTS];
    cache->now++;
    if (cache->line[*hint] != line + 1u) {
        const uint32_t first = (uint32_t)(line % cache->sets) * cache->ways;
        uint32_t oldest = first;
        for (uint32_t k = first; k < first + cache->ways; k++) {
            if (cache->line[k] == line + 1u) {
                *hint = k;
                cache->used[k] = cache->now;
                return 1;
            }
            if (cache->used[k] < cache->used[oldest]) oldest = k;
        }
        cache->line[oldest] = line + 1u;
        cache->used[oldest] = cache->now;
        *hint = oldest;
        return 0;
    }
    cache->used[*hint] = cache->now;
    return 1;
}

static void fetch(chip_t *chip, const block_t *block, uint64_t *misses)
{
    const uint64_t last = (block->end - 1u) / chip->read_bytes;
    for (uint64_t line = block->address / chip->read_bytes; line <= last; line++) {
        if (!has(&chip->code, line)) misses[line == chip->last + 1u ? IN_LINE : JUMP]++;
        chip->last = line;
    }
}

static void on_read(unsigned int cpu, uint32_t access, uint64_t address, void *data)
{
    (void)cpu;
    (void)data;
    if (previous == NULL || qemu_plugin_mem_is_store(access)) return;
    size_t k = 0;
    while (k < flash_count && (address < flash[k][0] || address >= flash[k][1])) k++;
    if (k == flash_count) return;
    for (k = 0; k < chip_count; k++) previous->misses[k][DATA] += !has(&chips[k].data, address / chips[k].read_bytes);
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
    for (size_t k = 0; k < chip_count; k++) fetch(&chips[k], block, block->misses[k]);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    block_t *const block = allocate(sizeof *block);
    block->address = qemu_plugin_tb_vaddr(tb);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->end = block->address;
    for (size_t k = 0; k < block->instructions; k++) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(tb, k);
        block->end += qemu_plugin_insn_size(insn);
        /* 3: loads and stores; QEMU 7 takes one kind for the other. */
        if (chip_count != 0) qemu_plugin_register_vcpu_mem_cb(insn, on_read, 0, 3, NULL);
    }
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
    for (const block_t *from = blocks; from != NULL; from = from->next) {
        for (const edge_t *edge = from->edges; edge != NULL; edge = edge->next)
            fprintf(file, "pair %" PRIu64 " %zu %" PRIu64 " %zu %" PRIu64 "\n", from->address, from->instructions,
                    edge->to->address, edge->to->instructions, edge->count);
        for (size_t k = 0; k < chip_count; k++) {
            const uint64_t *const misses = from->misses[k];
            if (misses[JUMP] + misses[IN_LINE] + misses[DATA] != 0)
                fprintf(file, "miss %" PRIu64 " %zu %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", from->address, k,
                        misses[JUMP], misses[IN_LINE], misses[DATA]);
        }
    }
    fclose(file);
}

/* "BYTES:LINES:WAYS:DATA_LINES"; 0 where it is none. */
static int add_chip(const char *text)
{
    unsigned bytes, lines, ways, data_lines;
    if (chip_count == MOST_CHIPS || sscanf(text, "%u:%u:%u:%u", &bytes, &lines, &ways, &data_lines) != 4) return 0;
    if (bytes == 0 || ways == 0 || lines > MOST_LINES || lines % ways != 0 || data_lines > MOST_LINES) return 0;
    chip_t *const chip = &chips[chip_count++];
    chip->read_bytes = bytes;
    chip->code.sets = lines / ways;
    chip->code.ways = ways;
    chip->data.sets = 1;
    chip->data.ways = data_lines;
    return 1;
}

static int add_flash(const char *text)
{
    if (flash_count == sizeof flash / sizeof flash[0]) return 0;
    uint64_t *const range = flash[flash_count++];
    return sscanf(text, "%" SCNx64 ":%" SCNx64, &range[0], &range[1]) == 2;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int k = 0; k < argc; k++) {
        if (strncmp(argv[k], "begin=", 6) == 0) begin_address = strtoull(argv[k] + 6, NULL, 0);
        if (strncmp(argv[k], "end=", 4) == 0) end_address = strtoull(argv[k] + 4, NULL, 0);
        if (strncmp(argv[k], "chip=", 5) == 0 && !add_chip(argv[k] + 5)) return 1;
        if (strncmp(argv[k], "flash=", 6) == 0 && !add_flash(argv[k] + 6)) return 1;
        if (strncmp(argv[k], "out=", 4) == 0) snprintf(out_path, sizeof out_path, "%s", argv[k] + 4);
    }
    if (begin_address == 0 || end_address == 0 || out_path[0] == '\0') return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
