#include "store.h"

#include "tinyfed_bytes.h"

#define MAGIC 0x31534654u /* "TFS1" */

/* Offsets in a slot's header. */
enum {
    AT_MAGIC = 0,
    AT_SEQUENCE = 4,
    AT_BYTES = 8,
    AT_CRC = 12,
    AT_ORIGIN = 16,
    AT_KIND = 24,
    AT_SHARED_FIRST = 28,
    AT_SHARED_COUNT = 32,
    AT_HEADER_CRC = 60
};

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

bool tinyfed_store_content(const tinyfed_store_t *store, tinyfed_store_content_t *content)
{
    if (store->newest < 0) return false;
    const uint8_t *p = slot_at(store, store->newest);
    content->kind = (tinyfed_store_kind_t)p[AT_KIND];
    content->shared_first = tinyfed_get32(p + AT_SHARED_FIRST);
    content->shared_count = tinyfed_get32(p + AT_SHARED_COUNT);
    content->bytes = p + TINYFED_STORE_HEADER_BYTES;
    content->byte_count = tinyfed_get32(p + AT_BYTES);
    return true;
}

void tinyfed_store_skip(tinyfed_store_t *store)
{
    const int other = 1 - store->newest;
    store->newest = (int8_t)(is_ours(store, other) ? other : -1);
}

tinyfed_status_t tinyfed_store_begin(tinyfed_store_t *store, const tinyfed_store_content_t *content, uint32_t *detail)
{
    if (store->flash == NULL) return TINYFED_E_STATE;
    const uint32_t room = store->flash->slot_bytes - TINYFED_STORE_HEADER_BYTES;
    if (content->byte_count > room) {
        *detail = content->byte_count - room;
        return TINYFED_E_MEMORY;
    }
    const uint32_t block = store->flash->block_bytes;
    store->content = *content;
    store->position = 0;
    store->crc = 0;
    store->erase_bytes = (TINYFED_STORE_HEADER_BYTES + content->byte_count + block - 1u) / block * block;
    store->target = store->newest == 0 ? 1 : 0;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_store_forget(tinyfed_store_t *store)
{
    if (store->flash == NULL) return TINYFED_E_STATE;
    memset(&store->content, 0, sizeof store->content);
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
    tinyfed_put32(header + AT_BYTES, store->content.byte_count);
    tinyfed_put32(header + AT_CRC, store->crc);
    tinyfed_put64(header + AT_ORIGIN, store->origin);
    header[AT_KIND] = (uint8_t)store->content.kind;
    tinyfed_put32(header + AT_SHARED_FIRST, store->content.shared_first);
    tinyfed_put32(header + AT_SHARED_COUNT, store->content.shared_count);
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
    const uint32_t left = store->content.byte_count - at, most = store->flash->write_bytes;
    const uint32_t piece = left < most ? left : most;
    const uint32_t offset = slot_offset + TINYFED_STORE_HEADER_BYTES + at;
    const uint8_t *from = store->content.bytes + at;
    if (store->flash->write(offset, from, piece) != TINYFED_FLASH_DONE) return TINYFED_E_FLASH;
    if (memcmp(store->flash->base + offset, from, piece) != 0) return TINYFED_E_FLASH;
    store->crc = tinyfed_crc32(store->crc, from, piece);
    store->position += piece;
    return TINYFED_OK;
}

/* The header's block first: from then on the slot is not whole. */
static tinyfed_status_t erase_piece(tinyfed_store_t *store, uint32_t slot_offset)
{
    const tinyfed_flash_t *flash = store->flash;
    const bool forgetting = store->content.bytes == NULL;
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
    } else if (store->content.bytes == NULL) {
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
