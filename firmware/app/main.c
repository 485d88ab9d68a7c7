/* The firmware of every board: the loop between the port and the app. */
#include "tinyfed_app.h"
#include "tinyfed_port.h"

#include <string.h>

#ifndef TINYFED_BOARD
#error "the build gives TINYFED_BOARD, the name of the board's manifest"
#endif
#ifndef TINYFED_BUILD_ID
#error "the build gives TINYFED_BUILD_ID, the hash of what this image is made from"
#endif
#ifndef TINYFED_RECORD_STORE_BYTES
#error "the build gives TINYFED_RECORD_STORE_BYTES, of the arena for recorded samples, or 0"
#endif

/* A framework that has a main of its own calls this one by another name. */
#ifndef TINYFED_MAIN
#define TINYFED_MAIN main
#endif
int TINYFED_MAIN(int argc, char **argv);

/* Between the port's own buffers and the app. */
#define INCOMING_BYTES 128u
#define OUTGOING_BYTES 128u

/* How long the last words before a restart may take on the line. */
#define FAREWELL_US 200000u

#ifdef TINYFED_MODEL_BYTES
extern const uint8_t tinyfed_embedded_model[];
#else
#define TINYFED_MODEL_BYTES 0u
#define TINYFED_MODEL_HASH 0u
#endif

/* What `tinyfed firmware info` finds in an image by its first 16 bytes; little-endian, as every target is. */
typedef struct image_info {
    char magic[16];
    uint64_t build_id;
    uint64_t model_hash; /* FNV-1a 64 of the embedded model image; 0: none */
    uint32_t model_bytes;
    uint16_t wire_version;
    uint16_t reserved;
    char board[TINYFED_WIRE_BOARD_BYTES_MAX + 8u];
} image_info_t;
_Static_assert(sizeof(image_info_t) == 80 && offsetof(image_info_t, build_id) == 16 &&
                   offsetof(image_info_t, model_hash) == 24 && offsetof(image_info_t, model_bytes) == 32 &&
                   offsetof(image_info_t, wire_version) == 36 && offsetof(image_info_t, reserved) == 38 &&
                   offsetof(image_info_t, board) == 40,
               "tinyfed_host.firmware.build knows the offsets");

static const image_info_t image_info = {
    .magic = {'t', 'i', 'n', 'y', 'f', 'e', 'd', ' ', 'f', 'i', 'r', 'm', 'w', 'a', 'r', 'e'},
    .build_id = TINYFED_BUILD_ID,
    .model_hash = TINYFED_MODEL_HASH,
    .model_bytes = TINYFED_MODEL_BYTES,
    .wire_version = TINYFED_WIRE_VERSION,
    .board = TINYFED_BOARD,
};
/* The code reads it from there, so the linker keeps it. It is not volatile itself: that would take RAM for it. */
static const volatile image_info_t *const info = &image_info;

#ifdef TINYFED_WINDOW_CHANNELS /* of the board's manifest */
static const double window_mean[TINYFED_WINDOW_CHANNELS] = {TINYFED_WINDOW_MEAN};
static const double window_deviation[TINYFED_WINDOW_CHANNELS] = {TINYFED_WINDOW_DEVIATION};
static const tinyfed_window_form_t sensor_window = {
    .channels = TINYFED_WINDOW_CHANNELS,
    .rate_hz = TINYFED_WINDOW_RATE_HZ,
    .group = TINYFED_WINDOW_GROUP,
    .steps = TINYFED_WINDOW_STEPS,
    .stride = TINYFED_WINDOW_STRIDE,
    .mean = window_mean,
    .deviation = window_deviation,
};
#else
#define sensor_window tinyfed_motion_form
#endif

static tinyfed_app_t app;
static uint8_t incoming[INCOMING_BYTES], outgoing[OUTGOING_BYTES];
static size_t outgoing_bytes, outgoing_sent;

static void start(tinyfed_reset_cause_t cause)
{
    tinyfed_app_config_t config = {
        .board = image_info.board,
        .firmware_build = info->build_id,
        .reset_cause = (uint8_t)cause,
        .now_us = tinyfed_port_now_us,
        .instructions = tinyfed_port_instructions,
        .stack_bytes = tinyfed_port_stack_bytes,
    };
    size_t byte_count = 0;
    config.arena = tinyfed_port_arena(&byte_count);
    config.arena_bytes = (uint32_t)byte_count;
    config.shard = tinyfed_port_shard(&byte_count);
    config.shard_bytes = (uint32_t)byte_count;
#if TINYFED_MODEL_BYTES > 0
    config.model = tinyfed_embedded_model;
    config.model_bytes = TINYFED_MODEL_BYTES;
#endif
    config.model_hash = info->model_hash;
    config.flash = tinyfed_port_flash();
    config.sensor = TINYFED_RECORD_STORE_BYTES > 0u ? tinyfed_port_sensor() : NULL;
    config.window = TINYFED_RECORD_STORE_BYTES > 0u ? &sensor_window : NULL;
    config.record_bytes = TINYFED_RECORD_STORE_BYTES;
    tinyfed_port_unique_id(config.unique_id);
    tinyfed_app_init(&app, &config);
}

/* Returns whether everything there is to send was handed to the port. */
static bool send(void)
{
    if (outgoing_sent == outgoing_bytes) {
        outgoing_sent = 0;
        outgoing_bytes = tinyfed_app_transmit(&app, outgoing, sizeof outgoing, tinyfed_port_now_us());
        if (outgoing_bytes == 0u) return true;
    }
    outgoing_sent += tinyfed_port_write(outgoing + outgoing_sent, outgoing_bytes - outgoing_sent);
    return false;
}

static void restart(void)
{
    const uint32_t start_us = tinyfed_port_now_us();
    while (!send() && tinyfed_port_now_us() - start_us < FAREWELL_US) tinyfed_port_idle(1);
    tinyfed_port_idle(10);
    tinyfed_port_reset();
    start(TINYFED_CAUSE_SOFTWARE);
}

int TINYFED_MAIN(int argc, char **argv)
{
    const int status = tinyfed_port_start(argc, argv);
    if (status != 0) return status;
    start(tinyfed_port_reset_cause());
    for (;;) {
        tinyfed_port_feed();
        const size_t received = tinyfed_port_read(incoming, sizeof incoming);
        if (received > 0u) tinyfed_app_receive(&app, incoming, received, tinyfed_port_now_us());
        const bool sent = send();
        const bool stuck = outgoing_sent < outgoing_bytes; /* the line takes no more just now */
        tinyfed_app_work(&app, tinyfed_port_now_us());
        if (tinyfed_app_reset_wanted(&app)) restart();
        if (received == 0u && (sent || stuck)) {
            const uint32_t idle_ms = tinyfed_app_idle_ms(&app, tinyfed_port_now_us());
            if (idle_ms > 0u) tinyfed_port_idle(idle_ms);
        }
    }
}
