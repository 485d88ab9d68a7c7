#ifndef PARITY_H
#define PARITY_H

#include <stdint.h>
#include <string.h>

#define PARITY_ARENA_BYTES (1u << 19)

int parity_run(const uint8_t *blob); /* 0: all cases ran */
void parity_print(const char *line);

#endif
