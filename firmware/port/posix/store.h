/* A file as the flash that keeps models. */
#ifndef TINYFED_POSIX_STORE_H
#define TINYFED_POSIX_STORE_H

#include "tinyfed_flash.h"

/* Slots for a model as large as the arena. Returns NULL, or what is wrong in words. */
const char *tinyfed_store_file_open(const char *path, size_t arena_bytes);

/* NULL before a file was opened. */
const tinyfed_flash_t *tinyfed_store_file(void);

#endif
