/* Flash that the firmware may write: where a board keeps saved models. Two slots, one behind the other, readable in
 * place. Erasing makes every bit 1, writing only clears bits. */
#ifndef TINYFED_FLASH_H
#define TINYFED_FLASH_H

#include <stddef.h>
#include <stdint.h>

typedef enum tinyfed_flash_state {
    TINYFED_FLASH_DONE = 0,
    TINYFED_FLASH_AGAIN = 1, /* a bounded part is done: call again with the same arguments */
    TINYFED_FLASH_FAILED = -1
} tinyfed_flash_state_t;

typedef struct tinyfed_flash {
    const uint8_t *base;  /* of the first slot, aligned to 16 bytes */
    uint32_t slot_bytes;  /* of each: a whole number of blocks */
    uint32_t block_bytes; /* what is erased at once */
    uint32_t write_bytes; /* most that one call of write may be given; a multiple of 16, at least 64 */
    uint16_t quiet_ms;    /* longest time for which erase keeps the processor; 0: shorter than the line's buffers */
    /* Erase the block at this offset from base. */
    tinyfed_flash_state_t (*erase)(uint32_t offset);
    /* Write byte_count bytes at this offset. Both are multiples of 4. A slot's first 64 bytes are written last, in a
     * call of their own: what can reorder writes must have kept all before by then. */
    tinyfed_flash_state_t (*write)(uint32_t offset, const uint8_t *bytes, uint32_t byte_count);
} tinyfed_flash_t;

#endif
