/* The device: joins the line's session, the model, the engine and the visit. It has no port inside: the caller
 * hands in received bytes and the time, takes bytes to send, and asks for one piece of work after another. */
#ifndef TINYFED_APP_H
#define TINYFED_APP_H

#include "store.h"
#include "tinyfed_core.h"
#include "tinyfed_record.h"
#include "tinyfed_sensor.h"
#include "tinyfed_visit.h"
#include "tinyfed_wire.h"

typedef struct tinyfed_app_config {
    uint8_t *arena; /* aligned to TINYFED_ALIGNMENT */
    uint32_t arena_bytes;
    const uint8_t *shard; /* the data flash, or NULL; may be longer than the shard in it */
    uint32_t shard_bytes;
    const uint8_t *model; /* an image to start with, or NULL: copied to the arena; of one with a frozen network only
                           * the parameters are */
    uint32_t model_bytes;
    uint64_t model_hash;          /* of its bytes; 0 without one: what was saved under another is not started with */
    const tinyfed_flash_t *flash; /* where models are kept through a power cut, or NULL */
    uint8_t unique_id[TINYFED_WIRE_UNIQUE_ID_BYTES];
    const char *board;
    uint64_t firmware_build;
    uint8_t reset_cause;  /* tinyfed_reset_cause_t */
    uint32_t watchdog_ms; /* of the host's silence; 0: the link's default */
    /* What the board can measure; each may be NULL. Microseconds, instructions (0: cannot count), bytes. */
    uint32_t (*now_us)(void);
    uint32_t (*instructions)(void);
    uint32_t (*stack_bytes)(void);
    const tinyfed_sensor_t *sensor;      /* NULL: there is none */
    const tinyfed_window_form_t *window; /* how its readings become samples; not NULL with a sensor */
    uint32_t record_bytes; /* a multiple of TINYFED_ALIGNMENT: once something is recorded, so many at the arena's end
                            * are the samples' */
} tinyfed_app_config_t;

/* What the device does. Every request but HELLO, CANCEL and RESET finds it READY or is refused as busy. A recording
 * goes on beside it: `record.running`.
 *
 *     READY     an order is taken                                  VISITING
 *     READY     SAVE is taken, and there is something to write     SAVING
 *     VISITING  last sample; CANCEL; the host is gone; a failure   READY
 *     SAVING    last byte; CANCEL; the host is gone; a failure     READY
 *     any       RESET                                              LEAVING, until the caller starts it anew */
typedef enum tinyfed_app_state {
    TINYFED_APP_READY,
    TINYFED_APP_VISITING,
    TINYFED_APP_SAVING,
    TINYFED_APP_LEAVING
} tinyfed_app_state_t;

/* What the arena holds. Each has what those above it have.
 *
 *     any        an image begins to come, or is not valid               NOTHING
 *     NOTHING    an image is valid, its weights are finite              WEIGHTS
 *     others     weights begin to come; an order is taken               STRUCTURE
 *     STRUCTURE  all weights are there, finite; a visit's last sample   WEIGHTS
 *     STRUCTURE  the last sample of a visit with local layers           PERSONAL
 *     NOTHING    what was saved as PERSONAL is valid                    PERSONAL */
typedef enum tinyfed_app_held {
    TINYFED_APP_NOTHING,
    TINYFED_APP_STRUCTURE, /* `model` describes it */
    TINYFED_APP_WEIGHTS,   /* whole: received completely, or what a finished visit left */
    TINYFED_APP_PERSONAL   /* whole; what is local is not given away: neither sent nor learned on from */
} tinyfed_app_held_t;

/* What else can be fetched: of the last visit, in the parameters or behind the work area; of the last input, behind the
 * work area of inference. Until a transfer begins, an order or a LABEL is taken. */
typedef enum tinyfed_app_answer { TINYFED_APP_NO_ANSWER, TINYFED_APP_UPDATE, TINYFED_APP_OUTPUT } tinyfed_app_answer_t;

typedef struct tinyfed_app {
    tinyfed_app_config_t config;
    tinyfed_link_t link;
    tinyfed_shard_t shard;
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    tinyfed_visit_t visit;
    tinyfed_store_t store;
    tinyfed_app_state_t state;
    tinyfed_app_held_t held;
    tinyfed_app_answer_t answer;
    uint32_t steps;                 /* of the stream of inputs whose states lie in the work area; 0: none lie there */
    const tinyfed_shard_t *samples; /* what a visit draws from: `shard`, or NULL */
    uint32_t held_bytes;     /* at the arena's start: the image, or its parameters while the rest stays in flash */
    uint32_t parameters_at;  /* in the arena */
    uint32_t save_ms;        /* when it began */
    uint64_t structure_hash; /* 0 without a model */
    uint64_t weights_hash;   /* 0 without weights; PERSONAL: of the shared values */
    uint32_t visit_samples;  /* training samples of the whole visit */
    uint32_t shared_first, shared_count; /* PERSONAL: the values that are not local */
    uint32_t train_us, train_instructions;
    uint32_t clock_us, clock_ms, clock_rest_us; /* the link's milliseconds, made from wrapping microseconds */
    uint8_t result[TINYFED_RESULT_BYTES];
    tinyfed_recorder_t *recorder;         /* in the arena; NULL: nothing was recorded since start */
    uint32_t windows_left, readings_left; /* of the recording that runs; UINT32_MAX: no limit */
    tinyfed_link_record_t record;
} tinyfed_app_t;

/* The config is copied, what it points to is not. A shard or model that is not valid counts as none. */
void tinyfed_app_init(tinyfed_app_t *app, const tinyfed_app_config_t *config);

/* Take received bytes, all of them; nothing more once the host has asked for a restart. */
void tinyfed_app_receive(tinyfed_app_t *app, const uint8_t *bytes, size_t byte_count, uint32_t now_us);

/* Write at most capacity bytes to send now; returns how many. */
size_t tinyfed_app_transmit(tinyfed_app_t *app, uint8_t *bytes, size_t capacity, uint32_t now_us);

/* One bounded piece of work: a training or an evaluation sample of the visit that runs. Call it at least once a
 * second also when there is none: it watches over the host. */
void tinyfed_app_work(tinyfed_app_t *app, uint32_t now_us);

/* How long nothing needs to be called if nothing is received: 0 while a visit runs. */
uint32_t tinyfed_app_idle_ms(tinyfed_app_t *app, uint32_t now_us);

/* The host asked for a restart: send what tinyfed_app_transmit still has, then start anew. */
bool tinyfed_app_reset_wanted(const tinyfed_app_t *app);

#endif
