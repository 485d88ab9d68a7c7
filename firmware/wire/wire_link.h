/* Shared by the two halves of the link: wire_receive.c and wire_transmit.c. */
#ifndef TINYFED_WIRE_LINK_H
#define TINYFED_WIRE_LINK_H

#include "tinyfed_wire.h"

/* Message types: docs/wire.md. */
enum {
    HELLO_REQUEST = 0x01,
    TRANSFER_BEGIN = 0x02,
    CHUNK_DOWN = 0x03,
    ACK_DOWN = 0x04,
    UPLOAD_REQUEST = 0x05,
    ORDER = 0x06,
    RESULT_RECEIVED = 0x07,
    CANCEL = 0x08,
    RESET = 0x09,
    SAVE = 0x0A,
    LABEL = 0x0B,
    HELLO = 0x81,
    CHUNK_UP = 0x83,
    TRANSFER_STATUS = 0x84,
    UPLOAD_STATUS = 0x85,
    VISIT_STATUS = 0x86,
    RESULT = 0x87,
    CANCELLED = 0x88,
    SAVE_STATUS = 0x89,
    RECORD_STATUS = 0x8A,
    ERROR = 0x8F
};

#define RESET_MAGIC 0x54455352u
#define FLAG_GAP 1u
#define CHUNK_BYTES_MIN 16u
#define CHUNK_HEAD_BYTES 4u /* offset in 24 bits, round in 8 */
#define OFFSET_MASK TINYFED_WIRE_TRANSFER_BYTES_MAX

#define POKE_MS 300u /* quiet line in a transfer: remind the host, doubling up to */
#define POKE_MAX_MS 1200u
#define UPLOAD_RETRY_MS 500u
#define HEARTBEAT_MS 1000u
#define RESULT_REPEAT_MS 500u
#define WATCHDOG_MS 10000u

/* Bits of tinyfed_link.pending, in the order they are sent. */
enum {
    SEND_ERROR = 1,
    SEND_HELLO = 2,
    SEND_CANCELLED = 4,
    SEND_TRANSFER_STATUS = 8,
    SEND_VISIT_STATUS = 16,
    SEND_RESULT = 32,
    SEND_UPLOAD_STATUS = 64,
    SEND_SAVE_STATUS = 128,
    SEND_RECORD_STATUS = 256
};

/* SUSPENDED: the host went away; the same transfer goes on where it stopped. */
enum {
    TRANSFER_NONE,
    TRANSFER_ASKED,
    TRANSFER_RECEIVING,
    TRANSFER_SUSPENDED,
    TRANSFER_CHECKING,
    TRANSFER_REFUSED,
    TRANSFER_ENDED
};
enum { VISIT_NONE, VISIT_ASKED, VISIT_RUNNING, VISIT_REFUSED, VISIT_ENDED };
enum { UPLOAD_NONE, UPLOAD_ASKED, UPLOAD_SENDING, UPLOAD_REFUSED };
enum { SAVE_NONE, SAVE_ASKED, SAVE_RUNNING, SAVE_OVER };

/* How a request stands: the fields that transfer, visit, upload and save have alike. */
#define SET_STATE(request, new_state, new_status, new_detail)                                                          \
    ((request).state = (new_state), (request).status = (new_status), (request).detail = (new_detail))

/* Nothing of the transfer is missing: say how far it is. */
static inline void tinyfed_link_transfer_flows(tinyfed_link_t *link, uint32_t now_ms)
{
    link->transfer.gap = false;
    link->transfer.gap_reported = false;
    link->transfer.poke_ms = now_ms;
    link->transfer.poke_interval_ms = POKE_MS;
    link->pending |= SEND_TRANSFER_STATUS;
}

/* What leaves no room for another request. */
static inline bool tinyfed_link_busy(const tinyfed_link_t *link)
{
    return link->visit.state == VISIT_RUNNING || link->save.state == SAVE_RUNNING;
}

#endif
