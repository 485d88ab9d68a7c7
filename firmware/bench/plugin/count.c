/* A QEMU plugin: how often each instruction ran between two functions of the bench image.
 *
 * Debian ships QEMU without the header of its plugin interface, so the few functions are declared here. QEMU up to 8
 * has version 1 of it, where a counter is an address. From 9 on it is version 2 or later, and a counter lies in a
 * scoreboard, which has a row for each CPU. Whatever one of them lacks is declared weak and is NULL there: one library
 * serves both. Arguments: begin=ADDRESS end=ADDRESS out=FILE; the file gets a line `address count` for every
 * instruction that ran.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_translate_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*on_execute_t)(unsigned int cpu, void *data);
typedef void (*on_exit_t)(qemu_plugin_id_t id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, on_translate_t callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, on_execute_t callback, int flags,
                                            void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, on_exit_t callback, void *data);

#define WEAK __attribute__((weak))

/* Version 1. */
WEAK void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *counter,
                                                     uint64_t add);

/* Version 2 and later. */
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset; /* bytes into a CPU's row */
} qemu_plugin_u64;
WEAK struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t row_bytes);
WEAK void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int cpu);
WEAK void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn, int operation,
                                                              qemu_plugin_u64 counter, uint64_t add);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* Two bytes of code a counter: 256 KB, more than any bench image. */
#define SLOTS 0x20000u

static uint64_t begin_address, end_address, base_address;
static uint64_t counters[SLOTS], at_begin[SLOTS], total[SLOTS];
static struct qemu_plugin_scoreboard *scoreboard; /* instead of `counters`, from version 2 on */
static char out_path[4096];

/* QEMU reads the version when the library is loaded, before it calls anything. */
__attribute__((constructor)) static void choose_version(void)
{
    if (qemu_plugin_scoreboard_new != NULL) qemu_plugin_version = 2;
}

static const uint64_t *counters_of(unsigned int cpu)
{
    return scoreboard == NULL ? counters : (const uint64_t *)qemu_plugin_scoreboard_find(scoreboard, cpu);
}

static void count(struct qemu_plugin_insn *insn, size_t slot)
{
    if (scoreboard == NULL) {
        qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &counters[slot], 1);
    } else {
        const qemu_plugin_u64 counter = {scoreboard, slot * sizeof(uint64_t)};
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, 0, counter, 1);
    }
}

static void on_begin(unsigned int cpu, void *data)
{
    (void)data;
    memcpy(at_begin, counters_of(cpu), sizeof at_begin);
}

static void on_end(unsigned int cpu, void *data)
{
    (void)data;
    const uint64_t *now = counters_of(cpu);
    for (size_t k = 0; k < SLOTS; k++) total[k] += now[k] - at_begin[k];
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t k = 0; k < qemu_plugin_tb_n_insns(tb); k++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, k);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        const uint64_t slot = (address - base_address) / 2u;
        if (slot < SLOTS) count(insn, (size_t)slot);
        if (address == begin_address) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, 0, NULL);
        if (address == end_address) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, 0, NULL);
    }
}

static void on_exit_of_qemu(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    FILE *file = fopen(out_path, "w");
    if (file == NULL) return;
    for (size_t k = 0; k < SLOTS; k++)
        if (total[k] != 0) fprintf(file, "%" PRIx64 " %" PRIu64 "\n", base_address + 2u * k, total[k]);
    fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int k = 0; k < argc; k++) {
        if (strncmp(argv[k], "begin=", 6) == 0) begin_address = strtoull(argv[k] + 6, NULL, 0);
        if (strncmp(argv[k], "end=", 4) == 0) end_address = strtoull(argv[k] + 4, NULL, 0);
        if (strncmp(argv[k], "base=", 5) == 0) base_address = strtoull(argv[k] + 5, NULL, 0);
        if (strncmp(argv[k], "out=", 4) == 0) snprintf(out_path, sizeof out_path, "%s", argv[k] + 4);
    }
    if (begin_address == 0 || end_address == 0 || out_path[0] == '\0') return 1;
    if (qemu_plugin_scoreboard_new != NULL) scoreboard = qemu_plugin_scoreboard_new(sizeof counters);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
