#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 65536u
#define HEADER_BYTES 64u

static int fd = -1;
static tinyfed_flash_t flash;

static bool put(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    while (byte_count > 0u) {
        const ssize_t count = pwrite(fd, bytes, byte_count, (off_t)offset);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        offset += (uint32_t)count;
        bytes += count;
        byte_count -= (uint32_t)count;
    }
    return true;
}

/* A slot's header decides: what was written before it is on the disk before it, and it before what comes after. */
static tinyfed_flash_state_t erase(uint32_t offset)
{
    uint8_t blank[4096];
    memset(blank, 0xFF, sizeof blank);
    bool good = true;
    for (uint32_t at = 0; good && at < BLOCK_BYTES; at += (uint32_t)sizeof blank)
        good = put(offset + at, blank, sizeof blank);
    if (good && offset % flash.slot_bytes == 0u) good = fdatasync(fd) == 0;
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

static tinyfed_flash_state_t write_bytes(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    const bool header = offset % flash.slot_bytes == 0u;
    bool good = !header || fdatasync(fd) == 0;
    good = good && put(offset, bytes, byte_count);
    good = good && (!header || fdatasync(fd) == 0);
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

const char *tinyfed_store_file_open(const char *path, size_t arena_bytes)
{
    struct stat status;
    const size_t slot = (arena_bytes + HEADER_BYTES + BLOCK_BYTES - 1u) / BLOCK_BYTES * BLOCK_BYTES;
    if (slot > 0x7FFFFFFFu) return "the arena is too large to be kept";
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* what was learnt from somebody's data */
    if (fd < 0 || fstat(fd, &status) != 0) return strerror(errno);
    if (!S_ISREG(status.st_mode)) return "it is not a file";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return "another device uses it";
    if (status.st_size != 0 && (size_t)status.st_size != 2u * slot) return "it was made for an arena of another size";
    if (ftruncate(fd, (off_t)(2u * slot)) != 0) return strerror(errno);
    void *mapped = mmap(NULL, 2u * slot, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return strerror(errno);
    flash = (tinyfed_flash_t){
        .base = mapped,
        .slot_bytes = (uint32_t)slot,
        .block_bytes = BLOCK_BYTES,
        .write_bytes = BLOCK_BYTES,
        .erase = erase,
        .write = write_bytes,
    };
    return NULL;
}

const tinyfed_flash_t *tinyfed_store_file(void) { return flash.base == NULL ? NULL : &flash; }
