/* The store of models on a modelled flash whose power is cut at every write and erase of a series of saves, each in
 * several torn ways. Afterwards the device must find the old or the new model whole, and be able to save again. */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 256u
#define SLOT (3u * BLOCK)
#define MODEL 500u /* bytes: with the header three blocks */
#define ORIGIN 7u
#define SHARED(number) ((uint32_t)(number) % 2u * 9u) /* every other model has local layers */
#define SAVES 4
#define TEARS 12

static uint8_t bytes[2u * SLOT] __attribute__((aligned(16)));
static uint32_t operations, cut_at; /* cut_at 0: never */
static uint32_t noise;
static unsigned erased[2];

static void check(bool holds, const char *what, uint32_t at)
{
    if (holds) return;
    fprintf(stderr, "cut at operation %u: %s\n", (unsigned)at, what);
    exit(1);
}

static uint32_t any(void)
{
    noise = noise * 1664525u + 1013904223u;
    return noise >> 8;
}

/* Whether this operation is the one in which the power fails; all after it do nothing. */
static bool cut(bool *torn)
{
    operations++;
    *torn = operations == cut_at;
    return cut_at != 0 && operations >= cut_at;
}

static tinyfed_flash_state_t erase(uint32_t offset)
{
    bool torn;
    check(offset % BLOCK == 0 && offset < sizeof bytes, "an erase outside the store", operations);
    if (cut(&torn)) {
        const uint32_t how = any() % 3u; /* some bits have become 1: in a part, everywhere, or nowhere yet */
        for (uint32_t i = 0; torn && i < BLOCK; i++) {
            if (how == 0u && i < any() % BLOCK) bytes[offset + i] = 0xFFu;
            if (how == 1u) bytes[offset + i] = (uint8_t)(bytes[offset + i] | any());
        }
        return TINYFED_FLASH_FAILED;
    }
    memset(bytes + offset, 0xFF, BLOCK);
    erased[offset / SLOT]++;
    return TINYFED_FLASH_DONE;
}

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *from, uint32_t byte_count)
{
    bool torn;
    check(offset % 4u == 0 && byte_count % 4u == 0 && offset + byte_count <= sizeof bytes, "a write outside the store",
          operations);
    const bool dead = cut(&torn);
    uint32_t whole = dead ? (torn ? any() % (byte_count / 4u) * 4u : 0u) : byte_count;
    for (uint32_t i = 0; i < whole; i++) {
        check(bytes[offset + i] == 0xFFu, "a byte written twice", operations);
        bytes[offset + i] &= from[i];
    }
    for (uint32_t i = whole; torn && i < whole + 4u; i++)
        bytes[offset + i] &= (uint8_t)(from[i] | any()); /* a word in part */
    return dead ? TINYFED_FLASH_FAILED : TINYFED_FLASH_DONE;
}

static const tinyfed_flash_t flash = {
    .base = bytes, .slot_bytes = SLOT, .block_bytes = BLOCK, .write_bytes = 64u, .erase = erase, .write = write};

static void make_model(uint8_t *model, int number)
{
    for (uint32_t i = 0; i < MODEL; i++) model[i] = (uint8_t)(i * 3u + (uint32_t)number * 77u);
}

/* Number of the model that counts, -1: none, -2: something that was never saved. */
static int held(const tinyfed_store_t *store)
{
    uint8_t model[MODEL];
    tinyfed_store_content_t content;
    if (!tinyfed_store_content(store, &content)) return -1;
    if (content.byte_count != MODEL || content.kind != TINYFED_STORE_IMAGE) return -2;
    for (int number = 0; number <= SAVES; number++) {
        make_model(model, number);
        if (memcmp(model, content.bytes, MODEL) == 0) return content.shared_count == SHARED(number) ? number : -2;
    }
    return -2;
}

static tinyfed_status_t save(tinyfed_store_t *store, int number)
{
    uint8_t model[MODEL];
    uint32_t detail;
    bool done = false;
    make_model(model, number);
    const tinyfed_store_content_t content = {TINYFED_STORE_IMAGE, 5u, SHARED(number), model, MODEL};
    tinyfed_status_t status = tinyfed_store_begin(store, &content, &detail);
    for (int step = 0; status == TINYFED_OK && !done; step++) {
        check(step < 100, "it does not end", operations);
        status = tinyfed_store_step(store, &done);
    }
    return status;
}

/* Returns whether the power was cut before the series ended. */
static bool run_with_a_cut(uint32_t at)
{
    tinyfed_store_t store;
    int good = -1;
    memset(bytes, (int)(any() & 0xFFu), sizeof bytes); /* what an untouched board has there is anything */
    operations = 0;
    cut_at = 0;
    tinyfed_store_open(&store, &flash, ORIGIN);
    cut_at = at;
    for (int number = 0; number < SAVES; number++) {
        if (save(&store, number) == TINYFED_OK) {
            check(held(&store) == number, "not what was saved", at);
            good = number;
            continue;
        }
        check(held(&store) == good, "after an error the one before does not count", at);
        cut_at = 0; /* power again */
        tinyfed_store_open(&store, &flash, ORIGIN);
        check(held(&store) == good || held(&store) == number, "neither the old nor the new model", at);
        check(good < 0 || held(&store) >= good, "an older one than the last good", at);
        check(save(&store, SAVES) == TINYFED_OK, "it cannot save again", at);
        tinyfed_store_open(&store, &flash, ORIGIN);
        check(held(&store) == SAVES, "not what was saved after the cut", at);
        return true;
    }
    cut_at = 0;
    tinyfed_store_open(&store, &flash, ORIGIN);
    check(held(&store) == SAVES - 1, "not the newest", at);
    return false;
}

/* A cut while forgetting leaves the newest or none, never the one before it. */
static bool forget_with_a_cut(uint32_t at)
{
    tinyfed_store_t store;
    bool done = false;
    cut_at = 0;
    memset(bytes, 0xFF, sizeof bytes);
    tinyfed_store_open(&store, &flash, ORIGIN);
    check(save(&store, 0) == TINYFED_OK && save(&store, 1) == TINYFED_OK, "saving", at);
    operations = 0;
    cut_at = at;
    tinyfed_status_t status = tinyfed_store_forget(&store);
    while (status == TINYFED_OK && !done) status = tinyfed_store_step(&store, &done);
    cut_at = 0;
    tinyfed_store_open(&store, &flash, ORIGIN);
    check(held(&store) == -1 || (status != TINYFED_OK && held(&store) == 1), "an older one came back", at);
    return status != TINYFED_OK;
}

static void wear_alternates_and_sequence_wraps(void)
{
    tinyfed_store_t store;
    cut_at = 0;
    memset(bytes, 0xFF, sizeof bytes);
    erased[0] = erased[1] = 0;
    tinyfed_store_open(&store, &flash, ORIGIN);
    store.sequence = 0xFFFFFFFDu;
    for (int i = 0; i < 10; i++) {
        check(save(&store, i % SAVES) == TINYFED_OK, "saving", 0);
        const uint32_t sequence = store.sequence;
        tinyfed_store_open(&store, &flash, ORIGIN);
        check(store.sequence == sequence && held(&store) == i % SAVES, "the newest is lost where numbers wrap", 0);
    }
    check(erased[0] == erased[1] && erased[0] == 15u, "one slot wears faster", 0);
}

static void others_do_not_count(void)
{
    tinyfed_store_t store;
    uint8_t model[MODEL];
    uint32_t detail = 0;
    tinyfed_store_open(&store, &flash, ORIGIN + 1u);
    check(held(&store) == -1, "a slot of another firmware's model counts", 0);
    make_model(model, 0);
    const tinyfed_store_content_t content = {TINYFED_STORE_IMAGE, 0u, 0u, model, SLOT - 60u};
    check(tinyfed_store_begin(&store, &content, &detail) == TINYFED_E_MEMORY && detail == 4u,
          "what does not fit is taken", 0);
    tinyfed_store_open(&store, NULL, ORIGIN);
    check(held(&store) == -1 && save(&store, 0) == TINYFED_E_STATE, "a store without flash", 0);
}

int main(void)
{
    unsigned cuts = 0;
    for (uint32_t tear = 0; tear < TEARS; tear++) {
        for (uint32_t at = 1; run_with_a_cut(at); at++) cuts++;
        for (uint32_t at = 1; forget_with_a_cut(at); at++) cuts++;
    }
    wear_alternates_and_sequence_wraps();
    others_do_not_count();
    printf("%u cuts\n", cuts);
    return cuts == TEARS * (SAVES * (3u + 8u + 1u) + 2u) ? 0 : 1;
}
