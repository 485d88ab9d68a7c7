/* Models kept through a power cut: two slots of flash, written in turn, of which the newest whole one counts. The
 * bytes are specified in docs/store.md. Nothing here waits: each step is one erased block or one piece written. */
#ifndef TINYFED_STORE_H
#define TINYFED_STORE_H

#include "tinyfed_core.h"
#include "tinyfed_flash.h"

#define TINYFED_STORE_HEADER_BYTES 64u

typedef enum tinyfed_store_kind {
    TINYFED_STORE_IMAGE = 1,     /* a whole model image */
    TINYFED_STORE_PARAMETERS = 2 /* what has been learnt of the image that the firmware carries */
} tinyfed_store_kind_t;

/* What a slot holds. */
typedef struct tinyfed_store_content {
    tinyfed_store_kind_t kind;
    uint32_t shared_first, shared_count; /* of the values: all others are local; count 0: none is */
    const uint8_t *bytes;
    uint32_t byte_count;
} tinyfed_store_content_t;

typedef struct tinyfed_store {
    const tinyfed_flash_t *flash; /* NULL: there is none */
    uint64_t origin; /* hash of the model image in the firmware, 0 without one: others' slots do not count */
    tinyfed_store_content_t content; /* what is being written; without bytes: forgetting */
    uint32_t position, erase_bytes, crc;
    uint32_t sequence; /* largest of both slots */
    int8_t newest;     /* slot that counts, -1 without one */
    int8_t target;     /* slot being written, -1: none is */
} tinyfed_store_t;

/* Find the newest whole slot. flash may be NULL. */
void tinyfed_store_open(tinyfed_store_t *store, const tinyfed_flash_t *flash, uint64_t origin);

/* What the newest whole slot holds, its bytes aligned to TINYFED_ALIGNMENT; false: there is none. */
bool tinyfed_store_content(const tinyfed_store_t *store, tinyfed_store_content_t *content);

/* Count the newest slot as none, so that the one before it is found by the next tinyfed_store_content. */
void tinyfed_store_skip(tinyfed_store_t *store);

/* Begin to write content, whose bytes must not change until the end; E_MEMORY: *detail bytes are short. */
tinyfed_status_t tinyfed_store_begin(tinyfed_store_t *store, const tinyfed_store_content_t *content,
                                     uint32_t *detail) TINYFED_MUST_USE;

/* Begin to erase both slots' headers. */
tinyfed_status_t tinyfed_store_forget(tinyfed_store_t *store) TINYFED_MUST_USE;

/* One bounded piece. After an error, or when it is given up, the slot that counted before still counts. */
tinyfed_status_t tinyfed_store_step(tinyfed_store_t *store, bool *done) TINYFED_MUST_USE;

static inline uint32_t tinyfed_store_total(const tinyfed_store_t *store)
{
    return store->erase_bytes + store->content.byte_count;
}

#endif
