#include "store.h"

#include "tinyfed_bytes.h"

#define MAGIC 0x31534654u /* "TFS1" */

/* Offsets in a slot's header. */
enum { AT_MAGIC = 0, AT_SEQUENCE = 4, AT_BYTES = 8, AT_CRC = 12, AT_ORIGIN = 16, AT_KIND = 24, AT_HEADER_CRC = 60 };

static const uint8_t *slot_at(const tinyfed_store_t *store, int slot)
{
    return store->flash->base + (uint32_t)slot * store->flash->slot_bytes;
}

static bool has_header(const tinyfed_store_t *store, int slot)
{
    const uint8_t *p = slot_at(store, slot);
    return tinyfed_get32(p + AT_MAGIC) == MAGIC &&
           tinyfed_get32(p + AT_HEADER_CRC) == tinyfed_crc32(0, p, AT_HEADER_CRC) &&
           tinyfed_get32(p + AT_BYTES) <= store->flash->slot_bytes - TINYFED_STORE_HEADER_BYTES;
}

static bool is_ours(const tinyfed_store_t *store, int slot)
{
    const uint8_t *p = slot_at(store, slot);
    return has_header(store, slot) && tinyfed_get64(p + AT_ORIGIN) == store->origin &&
           tinyfed_get32(p + AT_CRC) == tinyfed_crc32(0, p + TINYFED_STORE_HEADER_BYTES, tinyfed_get32(p + AT_BYTES));
}

static bool is_newer(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }

void tinyfed_store_open(tinyfed_store_t *store, const tinyfed_flash_t *flash, uint64_t origin)
{
    memset(store, 0, sizeof *store);
    store->flash = flash;
    store->origin = origin;
    store->newest = -1;
    store->target = -1;
    bool any = false;
    for (int slot = 0; flash != NULL && slot < 2; slot++) {
        if (!has_header(store, slot)) continue;
        const uint32_t sequence = tinyfed_get32(slot_at(store, slot) + AT_SEQUENCE);
        const bool ours = is_ours(store, slot);
        if (ours &&
            (store->newest < 0 || is_newer(sequence, tinyfed_get32(slot_at(store, store->newest) + AT_SEQUENCE))))
            store->newest = (int8_t)slot;
        if (!any || is_newer(sequence, store->sequence)) store->sequence = sequence;
        any = true;
    }
}

const uint8_t *tinyfed_store_content(const tinyfed_store_t *store, uint8_t *kind, uint32_t *byte_count)
{
    if (store->newest < 0) return NULL;
    const uint8_t *p = slot_at(store, store->newest);
    *kind = p[AT_KIND];
    *byte_count = tinyfed_get32(p + AT_BYTES);
    return p + TINYFED_STORE_HEADER_BYTES;
}

void tinyfed_store_skip(tinyfed_store_t *store)
{
    const int other = 1 - store->newest;
    store->newest = (int8_t)(is_ours(store, other) ? other : -1);
}

tinyfed_status_t tinyfed_store_begin(tinyfed_store_t *store, uint8_t kind, const uint8_t *content,
                                     uint32_t content_bytes, uint32_t *detail)
{
    if (store->flash == NULL) return TINYFED_E_STATE;
    const uint32_t room = store->flash->slot_bytes - TINYFED_STORE_HEADER_BYTES;
    if (content_bytes > room) {
        *detail = content_bytes - room;
        return TINYFED_E_MEMORY;
    }
    const uint32_t block = store->flash->block_bytes;
    store->kind = kind;
    store->content = content;
    store->content_bytes = content_bytes;
    store->position = 0;
    store->crc = 0;
    store->erase_bytes = (TINYFED_STORE_HEADER_BYTES + content_bytes + block - 1u) / block * block;
    store->target = store->newest == 0 ? 1 : 0;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_store_forget(tinyfed_store_t *store)
{
    if (store->flash == NULL) return TINYFED_E_STATE;
    store->content = NULL;
    store->content_bytes = 0;
    store->position = 0;
    store->erase_bytes = 2u * store->flash->block_bytes;
    store->target = store->newest == 0 ? 1 : 0; /* the older first, or it would come back when the power is cut */
    return TINYFED_OK;
}

/* The slot's header: after it, the slot counts. */
static tinyfed_status_t seal(tinyfed_store_t *store, uint32_t slot_offset)
{
    uint8_t header[TINYFED_STORE_HEADER_BYTES];
    memset(header, 0, sizeof header);
    tinyfed_put32(header + AT_MAGIC, MAGIC);
    tinyfed_put32(header + AT_SEQUENCE, store->sequence + 1u);
    tinyfed_put32(header + AT_BYTES, store->content_bytes);
    tinyfed_put32(header + AT_CRC, store->crc);
    tinyfed_put64(header + AT_ORIGIN, store->origin);
    header[AT_KIND] = store->kind;
    tinyfed_put32(header + AT_HEADER_CRC, tinyfed_crc32(0, header, AT_HEADER_CRC));
    if (store->flash->write(slot_offset, header, sizeof header) != TINYFED_FLASH_DONE) return TINYFED_E_FLASH;
    if (memcmp(store->flash->base + slot_offset, header, sizeof header) != 0) return TINYFED_E_FLASH;
    store->sequence++;
    store->newest = store->target;
    return TINYFED_OK;
}

static tinyfed_status_t write_piece(tinyfed_store_t *store, uint32_t slot_offset)
{
    const uint32_t at = store->position - store->erase_bytes;
    const uint32_t left = store->content_bytes - at, most = store->flash->write_bytes;
    const uint32_t piece = left < most ? left : most;
    const uint32_t offset = slot_offset + TINYFED_STORE_HEADER_BYTES + at;
    if (store->flash->write(offset, store->content + at, piece) != TINYFED_FLASH_DONE) return TINYFED_E_FLASH;
    if (memcmp(store->flash->base + offset, store->content + at, piece) != 0) return TINYFED_E_FLASH;
    store->crc = tinyfed_crc32(store->crc, store->content + at, piece);
    store->position += piece;
    return TINYFED_OK;
}

/* The header's block first: from then on the slot is not whole. */
static tinyfed_status_t erase_piece(tinyfed_store_t *store, uint32_t slot_offset)
{
    const tinyfed_flash_t *flash = store->flash;
    const bool forgetting = store->content == NULL;
    uint32_t offset = slot_offset + store->position;
    if (forgetting && store->position > 0u) offset = (uint32_t)(1 - store->target) * flash->slot_bytes;
    const tinyfed_flash_state_t state = flash->erase(offset);
    if (state == TINYFED_FLASH_FAILED) return TINYFED_E_FLASH;
    if (state == TINYFED_FLASH_AGAIN) return TINYFED_OK;
    for (uint32_t i = 0; i < TINYFED_STORE_HEADER_BYTES; i++)
        if (flash->base[offset + i] != 0xFFu) return TINYFED_E_FLASH;
    store->position += flash->block_bytes;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_store_step(tinyfed_store_t *store, bool *done)
{
    *done = false;
    if (store->target < 0) return TINYFED_E_STATE;
    const uint32_t slot_offset = (uint32_t)store->target * store->flash->slot_bytes;
    tinyfed_status_t status = TINYFED_OK;
    if (store->position < store->erase_bytes) {
        status = erase_piece(store, slot_offset);
    } else if (store->content == NULL) {
        store->newest = -1;
        *done = true;
    } else if (store->position < tinyfed_store_total(store)) {
        status = write_piece(store, slot_offset);
    } else {
        status = seal(store, slot_offset);
        *done = status == TINYFED_OK;
    }
    if (status != TINYFED_OK || *done) store->target = -1;
    return status;
}
