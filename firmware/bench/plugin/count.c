/* A QEMU plugin: how often each instruction ran between two functions of the bench image.
 *
 * Debian ships QEMU without the header of its plugin interface (version 1), so the few functions are declared here.
 * Arguments: begin=ADDRESS end=ADDRESS out=FILE; the file gets a line `address count` for every instruction that ran.
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
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *counter,
                                                uint64_t add);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, on_exit_t callback, void *data);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* Two bytes of code a counter: 256 KB, more than any bench image. */
#define SLOTS 0x20000u

static uint64_t begin_address, end_address, base_address;
static uint64_t now[SLOTS], at_begin[SLOTS], total[SLOTS];
static char out_path[4096];

static void on_begin(unsigned int cpu, void *data)
{
    (void)cpu;
    (void)data;
    memcpy(at_begin, now, sizeof now);
}

static void on_end(unsigned int cpu, void *data)
{
    (void)cpu;
    (void)data;
    for (size_t k = 0; k < SLOTS; k++) total[k] += now[k] - at_begin[k];
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t k = 0; k < qemu_plugin_tb_n_insns(tb); k++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, k);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        const uint64_t slot = (address - base_address) / 2u;
        if (slot < SLOTS) qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &now[slot], 1);
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
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
