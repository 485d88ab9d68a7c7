/* Reads the words of a line of a golden file, which strtok has begun; ends the program at what does not hold. */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t line_number;

static inline void expect(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "line %u: %s\n", line_number, what);
    exit(1);
}

static inline char *word(void)
{
    char *text = strtok(NULL, " \n");
    expect(text != NULL, "a word is missing");
    return text;
}

static inline uint64_t hexadecimal(void) { return strtoull(word(), NULL, 16); }
static inline long decimal(void) { return strtol(word(), NULL, 10); }

/* Memory of exactly the size, on a multiple of 16, so that the sanitizer sees a byte too many. */
static inline uint8_t *bytes_of(const char *hex, uint32_t *byte_count)
{
    const size_t length = hex[0] == '-' ? 0 : strlen(hex) / 2;
    uint8_t *bytes = malloc(length > 0 ? length : 1);
    expect(bytes != NULL && ((uintptr_t)bytes & 15u) == 0, "malloc");
    for (size_t i = 0; i < length; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    *byte_count = (uint32_t)length;
    return bytes;
}

#endif
