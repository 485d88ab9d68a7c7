#ifndef PARITY_H
#define PARITY_H

#include <stdint.h>
#include <string.h>

#define PARITY_ARENA_BYTES (1u << 19)

int parity_run(const uint8_t *blob); /* 0: all cases ran */
void parity_print(const char *line);

static inline void parity_print_hash(uint64_t hash, int failed)
{
    char line[19];
    for (int digit = 0; digit < 16; digit++) line[digit] = "0123456789abcdef"[(hash >> (60 - 4 * digit)) & 15u];
    line[16] = failed ? '!' : '.';
    line[17] = '\n';
    line[18] = 0;
    parity_print(line);
}

#endif
