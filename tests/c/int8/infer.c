/* Runs an int8 program from a file, or spoils it: built with sanitizers, and for other processors.
 *
 *   infer run KERNELS FILE         FILE: u32 program bytes, u32 inputs, program, inputs; prints outputs in hexadecimal
 *   infer spoil COUNT SEED FILE    opens COUNT damaged copies and runs those that are taken; prints how many were */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinyfed_int8.h"

static void fail(const char *what)
{
    fprintf(stderr, "infer: %s\n", what);
    exit(2);
}

/* Exactly as large as asked for, so that a byte beyond is seen. */
static void *exact(uint32_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, TINYFED_ALIGNMENT, bytes) != 0) fail("no memory");
    return memory;
}

static uint8_t *read_file(const char *name, uint32_t *count)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail("cannot read the file");
    const long size = ftell(file);
    rewind(file);
    uint8_t *bytes = exact((uint32_t)size);
    if (fread(bytes, 1, (size_t)size, file) != (size_t)size) fail("cannot read the file");
    fclose(file);
    *count = (uint32_t)size;
    return bytes;
}

static void print_outputs(const tinyfed_int8_t *net, const uint8_t *work)
{
    for (uint32_t i = 0; i < net->output_count; i++) {
        const tinyfed_int8_port_t port = tinyfed_int8_output(net, i);
        for (uint32_t k = 0; k < tinyfed_int8_port_bytes(&port); k++) printf("%02x", work[port.offset + k]);
    }
    printf("\n");
}

static void run(const uint8_t *file, uint32_t count, int kernels)
{
    uint32_t head[2];
    memcpy(head, file, sizeof head);
    uint8_t *program = exact(head[0]);
    memcpy(program, file + 8, head[0]);
    tinyfed_int8_t net;
    uint32_t at = 0;
    if (tinyfed_int8_open(&net, &at, program, head[0]) != TINYFED_OK) fail("the program is refused");
    if (kernels < net.kernels) net.kernels = (uint8_t)kernels;
    uint8_t *work = exact(net.work_bytes);
    memset(work, 0x55, net.work_bytes);
    if (tinyfed_int8_reset(&net, work, net.work_bytes, NULL) != TINYFED_OK) fail("the states are refused");
    const uint8_t *inputs = file + 8 + head[0];
    for (uint32_t k = 0; k < head[1]; k++) {
        for (uint32_t i = 0; i < net.input_count; i++) {
            const tinyfed_int8_port_t port = tinyfed_int8_input(&net, i);
            const uint32_t bytes = tinyfed_int8_port_bytes(&port);
            if (inputs + bytes > file + count) fail("the file ends before its inputs");
            memcpy(work + port.offset, inputs, bytes);
            inputs += bytes;
        }
        if (tinyfed_int8_run(&net, work, net.work_bytes) != TINYFED_OK) fail("the run is refused");
        print_outputs(&net, work);
    }
    free(work);
    free(program);
}

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

/* Sizes a spoiled program may name and still be worth running. */
#define WORK_TRIED 0x100000u

static int try_spoiled(const uint8_t *program, uint32_t bytes)
{
    uint32_t now = draw(8) == 0 ? draw(bytes + 1u) : bytes;
    uint8_t *copy = exact(now == 0 ? 1 : now);
    memcpy(copy, program, now);
    if (now >= 12 && draw(2) == 0) memcpy(copy + 8, &now, 4); /* a size that agrees */
    const uint32_t interesting = 64u + 64u * 8u < now ? 64u + 64u * 8u : now;
    for (uint32_t i = 0; now != 0 && i < 1u + draw(3); i++) {
        uint8_t *at = copy + (draw(4) != 0 ? draw(interesting) : draw(now));
        static const uint8_t ends[] = {0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF};
        const uint32_t flipped = *at ^ (1u << draw(8));
        *at = (uint8_t)(draw(2) == 0 ? ends[draw(sizeof ends)] : flipped);
    }
    tinyfed_int8_t net;
    uint32_t at = 0;
    int taken = 0;
    if (tinyfed_int8_open(&net, &at, copy, now) == TINYFED_OK) {
        taken = 1;
        if (net.work_bytes <= WORK_TRIED) {
            uint8_t *work = exact(net.work_bytes == 0 ? 1 : net.work_bytes);
            memset(work, 0x55, net.work_bytes);
            if (tinyfed_int8_reset(&net, work, net.work_bytes, NULL) != TINYFED_OK) fail("its states are refused");
            if (tinyfed_int8_run(&net, work, net.work_bytes) != TINYFED_OK) fail("an opened program does not run");
            free(work);
        }
    } else if (at > now) {
        fail("the fault lies outside the program");
    }
    free(copy);
    return taken;
}

int main(int argc, char **argv)
{
    uint32_t count = 0;
    if (argc == 4 && strcmp(argv[1], "run") == 0) {
        uint8_t *file = read_file(argv[3], &count);
        run(file, count, atoi(argv[2]));
        free(file);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "spoil") == 0) {
        uint8_t *file = read_file(argv[4], &count);
        uint32_t bytes;
        memcpy(&bytes, file, sizeof bytes);
        state = strtoull(argv[3], NULL, 10);
        int taken = 0;
        for (int i = atoi(argv[2]); i > 0; i--) taken += try_spoiled(file + 8, bytes);
        printf("taken %d\n", taken);
        free(file);
        return 0;
    }
    fail("usage: infer run KERNELS FILE | infer spoil COUNT SEED FILE");
}
