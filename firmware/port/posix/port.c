/* Linux: a Raspberry Pi or this PC. The line is a tty, a PTY, TCP, a unix socket or an inherited socket. */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "../played/played.h"
#include "iio.h"
#include "line.h"
#include "store.h"
#include "tinyfed_checksum.h"
#include "tinyfed_port.h"
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ARENA_BYTES_MAX (1024ul * 1024ul * 1024ul)

#ifndef TINYFED_WINDOW_CHANNELS /* of the board's manifest; else the recorder's motion windows */
#define TINYFED_WINDOW_CHANNELS 6u
#define TINYFED_WINDOW_RATE_HZ 50u
#endif

static tinyfed_line_t line;
static uint8_t *arena;
static size_t arena_bytes = TINYFED_ARENA_BYTES;
static const uint8_t *shard;
static size_t shard_bytes;
static const uint8_t *recording;
static size_t recording_bytes;
static uint8_t unique_id[TINYFED_PORT_UNIQUE_ID_BYTES];

static int fail(const char *what, const char *value, const char *remedy)
{
    fprintf(stderr, "tinyfed: %s '%s': %s\n", what, value, remedy);
    return 2;
}

static void usage(void)
{
    puts("usage: tinyfed-device --port LINE [OPTION VALUE]...\n"
         "Be a tinyfed device on this computer.\n"
         "  --port LINE    where the coordinator is:\n"
         "                   /dev/serial0, /dev/ttyUSB0, ...  a serial line at 115200 baud\n"
         "                   pty                a new pseudo-terminal, whose path is printed\n"
         "                   listen:HOST:PORT   wait for the coordinator (its port: socket://HOST:PORT)\n"
         "                   tcp:HOST:PORT      go to it\n"
         "                   unix:PATH          go to it over a unix socket\n"
         "                   fd:N               wait on a listening socket that was inherited\n"
         "  --shard FILE   this device's samples (docs/shard.md)\n"
         "  --store FILE   where a saved model is kept; made when it is not there\n"
         "  --sensor FILE  what its sensor plays (docs/recording.md)\n"
         "  --iio NAME     its sensor: the IMU that Linux drives by this name; NAME,NAME where the gyroscope is "
         "another\n"
         "  --watchdog DEV the computer's watchdog, /dev/watchdog: a device that stands still resets the computer\n"
         "  --id HEX       unique id, 24 digits; else derived from /etc/machine-id\n"
         "  --arena BYTES  memory for model and training\n"
         "It ends with 0 on a signal, 2 when an option is wrong, 4 when the line cannot be opened or is gone.");
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static int read_id(const char *text)
{
    if (strlen(text) != 2u * TINYFED_PORT_UNIQUE_ID_BYTES) return fail("--id", text, "give 24 hexadecimal digits");
    for (size_t i = 0; i < TINYFED_PORT_UNIQUE_ID_BYTES; i++) {
        const int high = hex_digit(text[2u * i]), low = hex_digit(text[2u * i + 1u]);
        if (high < 0 || low < 0) return fail("--id", text, "give 24 hexadecimal digits");
        unique_id[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

/* /etc/machine-id is secret outside the machine (machine-id(5)): only a hash of it leaves. FNV-1a twice. */
static void derive_id(void)
{
    char text[128] = "";
    FILE *file = fopen("/etc/machine-id", "r");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) == NULL) text[0] = '\0';
        (void)fclose(file);
    }
    if (text[0] == '\0') (void)gethostname(text, sizeof text - 1u);
    for (uint32_t half = 0; half < 2u; half++) {
        const uint64_t hash = tinyfed_hash64(TINYFED_HASH_START ^ (half * 0x9E3779B97F4A7C15u), text, strlen(text));
        for (uint32_t i = 0; i < 6u; i++) unique_id[6u * half + i] = (uint8_t)(hash >> (8u * i));
    }
}

static int map_file(const uint8_t **bytes, size_t *byte_count, const char *path)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) return fail("cannot read", path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size == 0) return fail("cannot use", path, "it is empty or not a file");
    *byte_count = (size_t)status.st_size;
    void *mapped = mmap(NULL, *byte_count, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (mapped == MAP_FAILED) return fail("cannot map", path, strerror(errno));
    *bytes = mapped;
    return 0;
}

static int read_arena(const char *text)
{
    char *end;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < 1024ul || value > ARENA_BYTES_MAX)
        return fail("--arena", text, "give bytes from 1024 to 1073741824");
    arena_bytes = value / 16ul * 16ul;
    return 0;
}

int tinyfed_port_start(int argc, char **argv)
{
    const char *port = NULL, *store = NULL, *iio = NULL, *watchdog = NULL;
    int status = 0;
    derive_id();
    for (int i = 1; i < argc && status == 0; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            usage();
            exit(0);
        }
        if (strcmp(name, "--port") != 0 && strcmp(name, "--shard") != 0 && strcmp(name, "--id") != 0 &&
            strcmp(name, "--arena") != 0 && strcmp(name, "--store") != 0 && strcmp(name, "--sensor") != 0 &&
            strcmp(name, "--iio") != 0 && strcmp(name, "--watchdog") != 0)
            return fail("unknown option", name, "see --help");
        if (value == NULL) return fail("option without a value", name, "see --help");
        if (strcmp(name, "--port") == 0) port = value;
        else if (strcmp(name, "--store") == 0) store = value;
        else if (strcmp(name, "--iio") == 0) iio = value;
        else if (strcmp(name, "--watchdog") == 0) watchdog = value;
        else if (strcmp(name, "--shard") == 0) status = map_file(&shard, &shard_bytes, value);
        else if (strcmp(name, "--sensor") == 0) status = map_file(&recording, &recording_bytes, value);
        else if (strcmp(name, "--id") == 0) status = read_id(value);
        else status = read_arena(value);
    }
    if (status != 0) return status;
    if (port == NULL) return fail("missing option", "--port", "say where the coordinator is, see --help");
    void *memory = mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail("cannot reserve the arena", "--arena", strerror(errno));
    arena = memory;
    if (iio != NULL && recording != NULL) return fail("option", "--iio", "it has one sensor: leave --sensor away");
    const char *wrong = store != NULL ? tinyfed_store_file_open(store, arena_bytes) : NULL;
    if (wrong != NULL) return fail("cannot use the store", store, wrong);
    if (iio != NULL) {
        wrong = tinyfed_iio_open(iio, TINYFED_WINDOW_CHANNELS, TINYFED_WINDOW_RATE_HZ, tinyfed_port_now_us);
        if (wrong != NULL) return fail("--iio", iio, wrong);
    }
    status = tinyfed_line_open(&line, port);
    if (status != 0) return status;
    wrong = tinyfed_watchdog_open(watchdog, TINYFED_WATCHDOG_MS);
    return wrong != NULL ? fail("--watchdog", watchdog, wrong) : 0;
}

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity) { return tinyfed_line_read(&line, bytes, capacity); }

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    return tinyfed_line_write(&line, bytes, byte_count);
}

void tinyfed_port_idle(uint32_t timeout_ms) { tinyfed_line_wait(&line, timeout_ms); }

uint32_t tinyfed_port_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

uint32_t tinyfed_port_instructions(void) { return 0; }

uint8_t *tinyfed_port_arena(size_t *byte_count)
{
    *byte_count = arena_bytes;
    return arena;
}

const uint8_t *tinyfed_port_shard(size_t *byte_count)
{
    *byte_count = shard_bytes;
    return shard;
}

const tinyfed_flash_t *tinyfed_port_flash(void) { return tinyfed_store_file(); }

void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES]) { memcpy(id, unique_id, sizeof unique_id); }

uint32_t tinyfed_port_stack_bytes(void) { return 0; }

const tinyfed_sensor_t *tinyfed_port_sensor(void)
{
    if (tinyfed_iio_sensor() != NULL) return tinyfed_iio_sensor();
    return tinyfed_played_sensor(recording, recording_bytes, tinyfed_port_now_us);
}

tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return TINYFED_CAUSE_UNKNOWN; }

void tinyfed_port_feed(void) { tinyfed_watchdog_feed(); }

/* The line stays open: who is at its other end would lose it with the process. The firmware starts anew. */
void tinyfed_port_reset(void) {}
