/* A byte line on Linux, never blocking but in wait. */
#ifndef TINYFED_LINE_H
#define TINYFED_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tinyfed_line {
    int fd;          /* -1: nobody is connected */
    int listening;   /* -1: the line is not one that waits for others */
    bool socket;     /* its end is final, unless it listens */
    bool network;    /* TCP: whoever is at the other end may be gone without a word */
    int64_t heard_s; /* when a byte came last, or the connection */
    bool congested;  /* the last write took less than it was given */
    const char *name;
} tinyfed_line_t;

/* Returns 0, or an exit code after one line on stderr. See --help for the forms of name. */
int tinyfed_line_open(tinyfed_line_t *line, const char *name);
size_t tinyfed_line_read(tinyfed_line_t *line, uint8_t *bytes, size_t capacity);
size_t tinyfed_line_write(tinyfed_line_t *line, const uint8_t *bytes, size_t byte_count);
void tinyfed_line_wait(tinyfed_line_t *line, uint32_t timeout_ms);

#endif
