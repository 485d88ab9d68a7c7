/* The checksums of all formats: CRC-32 against accidents, FNV-1a to tell contents apart. */
#ifndef TINYFED_CHECKSUM_H
#define TINYFED_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 (IEEE 802.3, reflected, as zlib). Start with crc = 0; feed parts in order. */
uint32_t tinyfed_crc32(uint32_t crc, const void *bytes, size_t byte_count);

/* FNV-1a, 64 bit. Start with TINYFED_HASH_START; feed parts in order. */
#define TINYFED_HASH_START 0xCBF29CE484222325u
uint64_t tinyfed_hash64(uint64_t hash, const void *bytes, size_t byte_count);

#endif
