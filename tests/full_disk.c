/* A disk that is full, for one process and without any rights: preloaded, it refuses writes into regular files below
 * the folder FULL_BELOW with ENOSPC, once FULL_AFTER bytes have gone there, or while the file FULL_WHEN exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long used;

/* How many of `count` bytes still fit. */
static size_t room(int descriptor, size_t count)
{
    const char *below = getenv("FULL_BELOW");
    const char *after = getenv("FULL_AFTER");
    const char *when = getenv("FULL_WHEN");
    char link[64];
    char path[PATH_MAX];
    struct stat state;
    if (below == NULL || fstat(descriptor, &state) != 0 || !S_ISREG(state.st_mode)) {
        return count;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return count;
    }
    path[length] = 0;
    if (strncmp(path, below, strlen(below)) != 0) {
        return count;
    }
    if (when != NULL && access(when, F_OK) == 0) {
        return 0;
    }
    if (after != NULL) {
        long left = atol(after) - atomic_load(&used);
        size_t fits = left <= 0 ? 0 : (size_t)left;
        fits = fits < count ? fits : count;
        atomic_fetch_add(&used, (long)fits);
        return fits;
    }
    return count;
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) {
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    }
    size_t fits = room(descriptor, count);
    if (fits == 0 && count != 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, bytes, fits);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) {
        real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    }
    size_t fits = room(descriptor, count);
    if (fits == 0 && count != 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, bytes, fits, at);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t at)
{
    return pwrite64(descriptor, bytes, count, at);
}
