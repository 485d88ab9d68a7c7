/* The device's end of the wire: frames and session as one state machine without a port inside.
 *
 * The caller hands in received bytes and the time and takes bytes to send; it looks for events after each
 * call of tinyfed_link_receive and answers them before the next. There is no heap and no copy of a model:
 * the payload of a chunk is decoded straight into the place the caller gave. Bytes and timers are specified
 * in docs/wire.md. Sizes are bytes; times are milliseconds of a clock that may wrap.
 *
 *     got = port_read(buffer);
 *     for (used = 0; used < got;) {
 *         used += tinyfed_link_receive(&link, buffer + used, got - used, now_ms);
 *         while (tinyfed_link_event(&link, &event, now_ms)) answer(&event);
 *     }
 *     while (tinyfed_link_event(&link, &event, now_ms)) answer(&event);
 *     port_write(out, tinyfed_link_transmit(&link, out, port_room, now_ms)); */
#ifndef TINYFED_WIRE_H
#define TINYFED_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tinyfed_status.h"

#define TINYFED_WIRE_VERSION 2u
#define TINYFED_WIRE_GREETING_BYTES 6u /* header of HELLO_REQUEST and HELLO: it has no sequence number */
#define TINYFED_WIRE_HEADER_BYTES 8u
#define TINYFED_WIRE_CRC_BYTES 4u
#define TINYFED_WIRE_UNIQUE_ID_BYTES 12u
#define TINYFED_WIRE_BOARD_BYTES_MAX 32u /* of the board's name */
#define TINYFED_WIRE_ORDER_BYTES_MAX 64u
#define TINYFED_WIRE_RESULT_BYTES_MAX 256u
#define TINYFED_WIRE_CHUNK_BYTES_MAX 1024u
#define TINYFED_WIRE_TRANSFER_BYTES_MAX 0xFFFFFFu /* a chunk's offset has 24 bits */

/* Status values on the wire: 0 is success or "under way", 1 "complete", negative an error: a tinyfed_status_t. */
typedef int8_t tinyfed_wire_status_t;
#define TINYFED_WIRE_COMPLETE 1

/* INPUT: a sample for the model that is held, which stays valid meanwhile. */
typedef enum tinyfed_wire_kind {
    TINYFED_WIRE_IMAGE = 1,
    TINYFED_WIRE_WEIGHTS = 2,
    TINYFED_WIRE_INPUT = 3
} tinyfed_wire_kind_t;

/* How weights are written on the wire. DELTA is a flag: the values are to be added to the weights held. */
typedef enum tinyfed_wire_encoding {
    TINYFED_WIRE_PLAIN = 0, /* float32, or the bytes of an image */
    TINYFED_WIRE_FLOAT16 = 1,
    TINYFED_WIRE_INT8 = 2, /* with a scale a tensor */
    TINYFED_WIRE_DELTA = 0x80
} tinyfed_wire_encoding_t;

/* What SAVE asks for. */
typedef enum tinyfed_wire_save { TINYFED_WIRE_SAVE = 0, TINYFED_WIRE_FORGET = 1 } tinyfed_wire_save_t;

#define TINYFED_CAPABILITY_TRAIN (1u << 0)    /* trains in visits */
#define TINYFED_CAPABILITY_FLOAT16 (1u << 1)  /* takes weights as float16 */
#define TINYFED_CAPABILITY_INT8 (1u << 2)     /* takes weights as int8 */
#define TINYFED_CAPABILITY_DELTA (1u << 3)    /* takes weights as a difference */
#define TINYFED_CAPABILITY_SHARD (1u << 4)    /* has samples in its data flash */
#define TINYFED_CAPABILITY_SINE (1u << 5)     /* makes the sine task's samples itself */
#define TINYFED_CAPABILITY_RESET (1u << 6)    /* can restart itself */
#define TINYFED_CAPABILITY_STREAM (1u << 7)   /* takes samples from a second serial port or a sensor */
#define TINYFED_CAPABILITY_SAVE (1u << 8)     /* keeps its model through a power cut when asked to */
#define TINYFED_CAPABILITY_FROZEN (1u << 10)  /* runs frozen int8 networks before a head */
#define TINYFED_CAPABILITY_SPARSE (1u << 11)  /* sends back the largest updates alone */
#define TINYFED_CAPABILITY_PARTIAL (1u << 12) /* takes a part of the weights, and keeps layers to itself */
#define TINYFED_CAPABILITY_ANSWERS (1u << 13) /* gives weights back shorter than float32 */
#define TINYFED_CAPABILITY_INFER (1u << 14)   /* runs its model on inputs that it is sent */
#define TINYFED_CAPABILITY_STEPS (1u << 15)   /* keeps a network's states from one input of a stream to the next */
#define TINYFED_CAPABILITY_SENSOR (1u << 9)   /* records labelled samples itself */

/* What the device says of itself in HELLO. */
typedef struct tinyfed_link_info {
    uint8_t unique_id[TINYFED_WIRE_UNIQUE_ID_BYTES];
    const char *board; /* ends in 0; at most TINYFED_WIRE_BOARD_BYTES_MAX are sent */
    uint64_t firmware_build;
    uint32_t arena_bytes;
    uint32_t capabilities;  /* TINYFED_CAPABILITY_ bits */
    uint32_t feature_count; /* of the stored sample source; 0: none */
    uint16_t class_count;
    uint64_t structure_hash; /* of the loaded model; 0: none */
    uint64_t weights_hash;   /* 0: none, or not valid */
    uint8_t reset_cause;     /* a tinyfed_reset_cause_t; 0: unknown, and not said */
} tinyfed_link_info_t;

typedef enum tinyfed_link_event_kind {
    /* Answer with tinyfed_link_hello. */
    TINYFED_LINK_HELLO = 1,
    /* Answer with tinyfed_link_transfer_accept (before it mark the model invalid, except for INPUT) or ..._refuse. Not
     * raised for a transfer that goes on where it stopped. */
    TINYFED_LINK_TRANSFER_BEGIN = 2,
    /* Everything arrived and its hash is right. Check the content, answer with tinyfed_link_transfer_end. */
    TINYFED_LINK_TRANSFER_COMPLETE = 3,
    /* Answer with tinyfed_link_visit_begin or ..._visit_refuse. Raised once a visit, however often it is sent. */
    TINYFED_LINK_ORDER = 4,
    /* The host wants the weights, an update or outputs: tinyfed_link_upload_accept or ..._upload_refuse. */
    TINYFED_LINK_UPLOAD = 5,
    /* Give up the visit or the saving that runs: tinyfed_link_visit_end or ..._save_end with E_CANCELLED. Raised only
     * while one runs. */
    TINYFED_LINK_CANCEL = 6,
    /* The host has been silent for the watchdog time while a visit or a recording ran. Answer as CANCEL. */
    TINYFED_LINK_HOST_GONE = 7,
    /* Start anew. */
    TINYFED_LINK_RESET = 8,
    /* Keep the model through a power cut (save_action): tinyfed_link_save_begin or ..._save_refuse. */
    TINYFED_LINK_SAVE = 9,
    /* Record, or stop recording: answer with tinyfed_link_recording. Raised each time it is sent, also again with the
     * number of the recording that runs. */
    TINYFED_LINK_LABEL = 10
} tinyfed_link_event_kind_t;

typedef struct tinyfed_link_event {
    tinyfed_link_event_kind_t kind;
    /* TRANSFER_BEGIN, TRANSFER_COMPLETE: */
    uint8_t transfer_kind; /* tinyfed_wire_kind_t */
    uint8_t encoding;      /* tinyfed_wire_encoding_t */
    uint32_t total_bytes;  /* on the wire */
    uint64_t content_hash; /* of the bytes on the wire: of plain weights, their weights hash */
    uint64_t structure_hash;
    uint64_t base_hash;                /* DELTA, INPUT: hash of the weights that must be held; INPUT, 0: any */
    uint32_t first_value, value_count; /* WEIGHTS: only so many of the values, from this one on; count 0: all.
                                        * INPUT: count 1: it is the step `first_value`, from 0, of a stream */
    /* ORDER, SAVE: */
    uint64_t weights_hash; /* it is only for a device that holds these weights; 0: any */
    /* SAVE: */
    uint8_t save_action; /* tinyfed_wire_save_t */
    /* ORDER; UPLOAD: the visit, the last one, whose update is wanted; 0: the weights */
    uint32_t visit;
    uint64_t input_hash;  /* UPLOAD: not 0: what the model made of the last INPUT, this one, is wanted */
    const uint8_t *order; /* valid until the next tinyfed_link_receive */
    uint32_t order_bytes;
    /* LABEL: */
    uint32_t recording;   /* its number */
    uint16_t label;       /* class, or TINYFED_WIRE_LABEL_... */
    uint16_t windows_max; /* 0: no limit; also of */
    uint32_t milliseconds_max;
} tinyfed_link_event_t;

#define TINYFED_WIRE_LABEL_FORGET 0xFFFEu /* drop all that was recorded */
#define TINYFED_WIRE_LABEL_STOP 0xFFFFu
#define TINYFED_WIRE_RECORD_CLASSES_MAX 32u

/* What a device says of its recording. Never a sample. */
typedef struct tinyfed_link_record {
    uint32_t recording; /* number of the last one that began */
    uint32_t windows;   /* stored by it */
    uint32_t capacity;  /* windows of all classes; 0: not known yet */
    uint32_t detail;    /* for E_MEMORY without a capacity: bytes that are short */
    uint16_t label;
    bool running;
    tinyfed_wire_status_t status; /* why nothing runs: 0 as asked, or negative */
    uint16_t class_count;         /* at most TINYFED_WIRE_RECORD_CLASSES_MAX */
    const uint8_t *ends;          /* 4 bytes a class: samples up to its end; read when the frame is made */
} tinyfed_link_record_t;

typedef struct tinyfed_link_config {
    uint16_t chunk_bytes_max; /* largest chunk taken, 64..TINYFED_WIRE_CHUNK_BYTES_MAX */
    uint32_t watchdog_ms;     /* silence after which a visit or an upload is given up; 0: 10,000 */
} tinyfed_link_config_t;

typedef struct tinyfed_link tinyfed_link_t;

void tinyfed_link_init(tinyfed_link_t *link, const tinyfed_link_config_t *config);

/* Take received bytes; returns how many were used: fewer than byte_count when a frame raised an event that must
 * be answered first (0 while an event waits). Bounded time per byte. */
size_t tinyfed_link_receive(tinyfed_link_t *link, const uint8_t *bytes, size_t byte_count, uint32_t now_ms);

/* Write at most capacity bytes to send now; returns how many. Any capacity from 1 up works. */
size_t tinyfed_link_transmit(tinyfed_link_t *link, uint8_t *bytes, size_t capacity, uint32_t now_ms);

/* Take the event that waits, if any. Also runs the watchdog, so call it at least once a second. */
bool tinyfed_link_event(tinyfed_link_t *link, tinyfed_link_event_t *event, uint32_t now_ms);

/* Milliseconds after which tinyfed_link_transmit or ..._event may have something to do although nothing was
 * received: how long the port may sleep. At most 1,000; 0: now. */
uint32_t tinyfed_link_idle_ms(const tinyfed_link_t *link, uint32_t now_ms);

/* ---- answers to events --------------------------------------------------------------------------- */

void tinyfed_link_hello(tinyfed_link_t *link, const tinyfed_link_info_t *info);

/* The transfer goes to destination[0..destination_bytes): plain, total_bytes of them are written as they arrive.
 * staging (at least chunk_bytes_max bytes, or NULL) is needed for other encodings, whose values go to destination,
 * an array of float aligned as such and filled exactly, chunk by chunk. Refuses by itself, and returns the reason, when
 * the room does not do. */
tinyfed_wire_status_t tinyfed_link_transfer_accept(tinyfed_link_t *link, uint8_t *destination,
                                                   uint32_t destination_bytes, uint8_t *staging,
                                                   uint32_t staging_bytes);
/* status is negative; detail says more: for E_MEMORY the bytes that are short. */
void tinyfed_link_transfer_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);
/* The content is good (status 0) or not (negative; detail: the offset of what is wrong, or 0). */
void tinyfed_link_transfer_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);
/* The content of the last transfer is no longer what was sent: do not answer a repeated one with "complete". An INPUT
 * that is still coming is given up: its place is used otherwise.
 * Called by tinyfed_link_visit_begin too. */
void tinyfed_link_transfer_forget(tinyfed_link_t *link);

void tinyfed_link_visit_begin(tinyfed_link_t *link);
void tinyfed_link_visit_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);
/* A piece of work was done. For the heartbeat: training samples done, of how many. */
void tinyfed_link_visit_progress(tinyfed_link_t *link, uint32_t done, uint32_t total);
/* status 0 with a result (kept by the caller until the next order) and the hash of what an upload of this visit brings,
 * or negative without them. */
void tinyfed_link_visit_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail, const uint8_t *result,
                            uint32_t result_bytes, uint64_t answer_hash);

/* Tell the host how the recording stands: the answer to LABEL, and whenever that changes. *record is kept by the
 * caller. */
void tinyfed_link_recording(tinyfed_link_t *link, const tinyfed_link_record_t *record);

/* Send source[0..byte_count), which must not change until the next event but HELLO. */
void tinyfed_link_upload_accept(tinyfed_link_t *link, const uint8_t *source, uint32_t byte_count);
void tinyfed_link_upload_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);

/* quiet_ms: how long the device may say and hear nothing while its flash is erased. */
void tinyfed_link_save_begin(tinyfed_link_t *link, uint16_t quiet_ms);
void tinyfed_link_save_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);
/* For the heartbeat: bytes done, of how many. */
void tinyfed_link_save_progress(tinyfed_link_t *link, uint32_t done, uint32_t total);
/* status 0, or negative: what was saved before is what the device starts with. */
void tinyfed_link_save_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail);
/* Nothing waits to be sent: what was said before a long silence has been handed on. */
bool tinyfed_link_said_all(const tinyfed_link_t *link);

/* ---- state, public only so that callers can place it ---------------------------------------------- */

/* Turns the bytes of an encoded weight transfer into float32 values, in pieces of any length. */
typedef struct tinyfed_wire_expander {
    uint8_t encoding;
    uint8_t held;     /* bytes in piece */
    uint8_t piece[8]; /* a value or a segment's head that is not complete */
    uint32_t left;    /* int8 values left in the segment */
    float scale;
    float *values;
    uint32_t value_count, written;
} tinyfed_wire_expander_t;

void tinyfed_wire_expander_init(tinyfed_wire_expander_t *expander, uint8_t encoding, float *values,
                                uint32_t value_count);
/* Returns 0, or E_ARGUMENT when the bytes give more values than there is room for. */
tinyfed_wire_status_t tinyfed_wire_expand(tinyfed_wire_expander_t *expander, const uint8_t *bytes, uint32_t byte_count);
/* Everything was written and nothing is left over. */
bool tinyfed_wire_expanded(const tinyfed_wire_expander_t *expander);

#define TINYFED_WIRE_CONTROL_BYTES_MAX (TINYFED_WIRE_HEADER_BYTES + 12u + TINYFED_WIRE_ORDER_BYTES_MAX)
#define TINYFED_WIRE_HELLO_BYTES_MAX (TINYFED_WIRE_GREETING_BYTES + 71u + TINYFED_WIRE_BOARD_BYTES_MAX)

/* Decoder of one frame: COBS and CRC undone as bytes come. */
typedef struct tinyfed_wire_decoder {
    uint32_t crc;   /* over the bytes that have left tail */
    uint32_t tail;  /* the last four bytes decoded, oldest lowest: at the end, the frame's CRC */
    uint32_t count; /* bytes decoded */
    uint8_t run;    /* literal bytes left in the COBS block */
    uint8_t code;   /* of the block; 0 before the first */
    bool bad;       /* too long: skip to the delimiter */
    uint8_t head[TINYFED_WIRE_CONTROL_BYTES_MAX]; /* what has left tail, but a chunk's payload with a sink */
    uint8_t *sink;                                /* where a chunk's payload goes, or NULL */
    uint32_t sink_bytes;
} tinyfed_wire_decoder_t;

typedef enum tinyfed_wire_decoded {
    TINYFED_WIRE_MORE = 0,
    TINYFED_WIRE_AIM = 1,   /* head holds header and a chunk's offset: set sink now, or leave it NULL */
    TINYFED_WIRE_FRAME = 2, /* a good frame: count - CRC bytes of it, in head and sink; until the next byte */
    TINYFED_WIRE_DAMAGED = 3
} tinyfed_wire_decoded_t;

/* Take one received byte. Afterwards, at a FRAME or DAMAGED, call tinyfed_wire_decoder_reset. */
tinyfed_wire_decoded_t tinyfed_wire_decode(tinyfed_wire_decoder_t *decoder, uint8_t byte);
void tinyfed_wire_decoder_reset(tinyfed_wire_decoder_t *decoder);

/* Encoder of one frame: head, then body, then CRC, in as many pieces as the caller has room for. */
typedef struct tinyfed_wire_encoder {
    uint8_t head[TINYFED_WIRE_HELLO_BYTES_MAX];
    uint32_t head_bytes;
    const uint8_t *body;
    uint32_t body_bytes;
    uint8_t crc[TINYFED_WIRE_CRC_BYTES];
    uint32_t position; /* in head, body and crc taken as one */
    uint8_t run;       /* literal bytes left before the next code byte */
    bool zero;         /* a zero follows them, which the next code stands for */
    uint8_t stage;     /* 0: nothing to send */
} tinyfed_wire_encoder_t;

/* Begin a frame whose head (head_bytes) and body are set. */
void tinyfed_wire_encoder_begin(tinyfed_wire_encoder_t *encoder);
size_t tinyfed_wire_encode(tinyfed_wire_encoder_t *encoder, uint8_t *bytes, size_t capacity);

struct tinyfed_link {
    tinyfed_link_config_t config;
    tinyfed_wire_decoder_t in;
    tinyfed_wire_encoder_t out;
    tinyfed_link_info_t info;

    uint64_t nonce;    /* of the host that this session is for; 0: none yet */
    uint32_t boot;     /* made from the first HELLO_REQUEST since start; 0: none yet */
    uint32_t heard_ms; /* when the host's last good frame of this session came */
    uint32_t byte_ms;  /* when the last byte came */
    uint32_t session;  /* 0: none since start; counts up: none is used twice */
    uint32_t hello_tag;
    uint64_t hello_nonce; /* of the HELLO that is due; 0: for a host of another version, which gets no session */
    uint16_t sequence;    /* newest request of this session */
    uint16_t cancel_sequence;
    uint16_t pending; /* bits: messages to send */
    uint8_t event;    /* tinyfed_link_event_kind_t that waits, or 0 */
    bool cancelling;  /* CANCELLED is due when the visit has ended */
    bool broken;      /* a transfer has begun and none has ended well since: nothing may use the model */
    uint32_t order_bytes;

    struct {
        uint8_t state, kind, encoding;
        tinyfed_wire_status_t status;
        bool gap, gap_reported; /* reported: for this round */
        uint8_t round;          /* newest the host has sent in */
        uint16_t sequence, poke_interval_ms;
        uint32_t total_bytes, next, detail, poke_ms, first_value, value_count;
        uint64_t content_hash, structure_hash, base_hash, hash;
        uint8_t *destination, *staging;
        uint32_t destination_bytes;
        tinyfed_wire_expander_t expander;
    } transfer;

    struct {
        uint8_t state;
        tinyfed_wire_status_t status;
        bool received;
        uint16_t sequence;
        uint32_t number, detail, done, total, steps, result_bytes, sent_ms;
        uint64_t hash, answer_hash;
        const uint8_t *result;
    } visit;

    struct {
        uint8_t state;
        tinyfed_wire_status_t status;
        uint8_t window_chunks, round;
        uint16_t sequence, chunk_bytes;
        uint32_t total_bytes, offset, acked, sent, hashed, detail, sent_ms, visit;
        uint64_t hash;
        const uint8_t *source;
        uint64_t input_hash;
    } upload;

    struct {
        uint8_t state, action;
        tinyfed_wire_status_t status;
        uint16_t sequence, quiet_ms;
        uint32_t done, total, detail, sent_ms;
        uint64_t hash;
    } save;

    struct {
        tinyfed_wire_status_t code;
        uint8_t type;
        uint16_t sequence;
        uint32_t session;
    } error;

    const tinyfed_link_record_t *record; /* NULL: none was begun */
    uint16_t record_sequence;            /* of the newest LABEL */
};

#endif
