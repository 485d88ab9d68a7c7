/* A device's application around the link, as small as can be: an arena, a "model" whose training is arithmetic on
 * its bytes, and counters of what must never happen. Driven from Python through ctypes. */
#include "pair_device.h"

#include "tinyfed_checksum.h"
#include "tinyfed_wire.h"

#include <stdlib.h>
#include <string.h>

struct device {
    tinyfed_link_t link;
    uint8_t *arena; /* exactly arena_bytes, so that the sanitizer sees a byte too many */
    uint8_t staging[TINYFED_WIRE_CHUNK_BYTES_MAX];
    uint32_t arena_bytes, capabilities;
    uint32_t image_bytes;  /* 0: no model */
    uint32_t output_bytes; /* behind the image: what was made of an input; 0: none */
    bool valid;
    bool answer_kept; /* nothing has touched what the last visit left */
    bool image_known;
    bool in_transfer; /* accepted and not ended well: the link promises that nothing asks for the model */
    uint64_t weights_hash;
    uint32_t steps, steps_left, saves_left;
    uint32_t samples; /* that a visit is said to have, however many steps it takes; 0: as many */
    uint8_t seed;
    uint8_t result[TINYFED_WIRE_RESULT_BYTES_MAX];
    uint32_t result_bytes;        /* 0: 40 bytes of the order's first */
    tinyfed_link_record_t record; /* a sensor that gives a window a step */
    uint8_t ends[4u * TINYFED_WIRE_RECORD_CLASSES_MAX];
    uint32_t windows_left;
    struct {
        uint32_t number;
        uint8_t seed;
    } begun[64]; /* orders carried out since start: none may be again */
    uint32_t begun_count;
    /* what happened */
    uint32_t trained;    /* visits carried out */
    uint32_t violations; /* trained or sent something that is not whole */
    uint32_t resets, hosts_gone, transfers, saves, inferred;
};

device_t *device_new(uint32_t arena_bytes, uint16_t chunk_bytes)
{
    device_t *d = calloc(1, sizeof *d);
    const tinyfed_link_config_t config = {.chunk_bytes_max = chunk_bytes, .watchdog_ms = 0};
    d->arena_bytes = arena_bytes;
    d->arena = calloc(1, arena_bytes);
    d->capabilities = TINYFED_CAPABILITY_TRAIN | TINYFED_CAPABILITY_RESET;
    tinyfed_link_init(&d->link, &config);
    return d;
}

void device_free(device_t *d)
{
    free(d->arena);
    free(d);
}

/* Power off and on: only what survives a reset stays. */
void device_power_cycle(device_t *d)
{
    const tinyfed_link_config_t config = {.chunk_bytes_max = d->link.config.chunk_bytes_max, .watchdog_ms = 0};
    tinyfed_link_init(&d->link, &config);
    memset(d->arena, 0xEE, d->arena_bytes);
    d->valid = false;
    d->answer_kept = false;
    d->image_known = false;
    d->in_transfer = false;
    d->image_bytes = 0;
    d->output_bytes = 0;
    d->weights_hash = 0;
    d->steps_left = 0;
    d->saves_left = 0;
    d->begun_count = 0;
    memset(&d->record, 0, sizeof d->record);
    memset(d->ends, 0, sizeof d->ends);
    d->windows_left = 0;
}

#define RECORD_CAPACITY 300u

static void stop_recording(device_t *d)
{
    d->windows_left = 0;
    d->record.running = false;
}

static void record(device_t *d, const tinyfed_link_event_t *e)
{
    if (e->label == TINYFED_WIRE_LABEL_FORGET) {
        memset(d->ends, 0, sizeof d->ends);
        d->record.class_count = 0;
        d->record.windows = 0;
    }
    if (e->label >= TINYFED_WIRE_LABEL_FORGET) {
        stop_recording(d);
    } else if (e->recording != d->record.recording) {
        const bool known = e->label < TINYFED_WIRE_RECORD_CLASSES_MAX;
        d->windows_left = known ? e->windows_max : 0u;
        d->record = (tinyfed_link_record_t){.recording = e->recording,
                                            .label = e->label,
                                            .running = known,
                                            .status = known ? TINYFED_OK : TINYFED_E_ARGUMENT,
                                            .capacity = RECORD_CAPACITY,
                                            .class_count = d->record.class_count,
                                            .ends = d->ends};
    }
    tinyfed_link_recording(&d->link, &d->record);
}

static void record_window(device_t *d)
{
    if (d->windows_left == 0) return;
    const uint32_t label = d->record.label;
    for (uint32_t k = label; k < TINYFED_WIRE_RECORD_CLASSES_MAX; k++) {
        uint8_t *end = d->ends + 4u * k;
        if (++end[0] == 0) end[1]++;
    }
    if (d->record.class_count <= label) d->record.class_count = (uint16_t)(label + 1u);
    d->record.windows++;
    if (--d->windows_left == 0) stop_recording(d);
    tinyfed_link_recording(&d->link, &d->record);
}

/* The "model": each byte of the input and one of the image, added. */
static void run_input(device_t *d, const tinyfed_link_event_t *e)
{
    uint8_t *place = d->arena + d->image_bytes;
    if (tinyfed_hash64(TINYFED_HASH_START, place, e->total_bytes) != e->content_hash) d->violations++;
    if (d->in_transfer || d->steps_left != 0 || !d->valid) d->violations++;
    for (uint32_t i = 0; i < e->total_bytes; i++) place[i] = (uint8_t)(place[i] + d->arena[i % d->image_bytes]);
    d->output_bytes = e->total_bytes;
    d->inferred++;
    tinyfed_link_transfer_end(&d->link, 0, 0);
}

static void note_order(device_t *d, uint32_t number, uint8_t seed)
{
    for (uint32_t i = 0; i < d->begun_count && i < 64u; i++)
        if (d->begun[i].number == number && d->begun[i].seed == seed) d->violations++;
    d->begun[d->begun_count % 64u].number = number;
    d->begun[d->begun_count++ % 64u].seed = seed;
}

static void answer(device_t *d, const tinyfed_link_event_t *e)
{
    static const char board[] = "pair";
    switch (e->kind) {
    case TINYFED_LINK_HELLO: {
        tinyfed_link_info_t info = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                    board,
                                    0x1122334455667788u,
                                    d->arena_bytes,
                                    d->capabilities,
                                    4,
                                    2,
                                    d->image_known ? 77u : 0u,
                                    d->weights_hash,
                                    0};
        tinyfed_link_hello(&d->link, &info);
        break;
    }
    case TINYFED_LINK_TRANSFER_BEGIN: {
        const bool weights = e->transfer_kind == TINYFED_WIRE_WEIGHTS;
        d->output_bytes = 0;
        if (e->transfer_kind == TINYFED_WIRE_INPUT) {
            if (!d->valid || (e->base_hash != 0 && e->base_hash != d->weights_hash) || e->structure_hash != 77u ||
                e->encoding != TINYFED_WIRE_PLAIN)
                tinyfed_link_transfer_refuse(&d->link, TINYFED_E_STATE, 0);
            else
                (void)tinyfed_link_transfer_accept(&d->link, d->arena + d->image_bytes, d->arena_bytes - d->image_bytes,
                                                   NULL, 0);
            break;
        }
        if (weights && (!d->image_known || e->structure_hash != 77u)) {
            tinyfed_link_transfer_refuse(&d->link, -8, 0);
            break;
        }
        if ((e->encoding & TINYFED_WIRE_DELTA) != 0 && (!d->valid || e->base_hash != d->weights_hash)) {
            tinyfed_link_transfer_refuse(&d->link, TINYFED_E_STATE, 0);
            break;
        }
        if (tinyfed_link_transfer_accept(&d->link, d->arena, weights ? d->image_bytes : d->arena_bytes, d->staging,
                                         sizeof d->staging) == TINYFED_OK) {
            d->valid = false;
            d->answer_kept = false;
            d->in_transfer = true;
            if (!weights) d->image_known = false;
        }
        break;
    }
    case TINYFED_LINK_TRANSFER_COMPLETE:
        if (e->transfer_kind == TINYFED_WIRE_INPUT) {
            run_input(d, e);
            break;
        }
        if (tinyfed_hash64(TINYFED_HASH_START, d->arena, e->total_bytes) != e->content_hash &&
            e->encoding == TINYFED_WIRE_PLAIN)
            d->violations++;
        d->valid = true;
        d->in_transfer = false;
        d->transfers++;
        if (e->transfer_kind == TINYFED_WIRE_IMAGE) d->image_bytes = e->total_bytes;
        d->image_known = true;
        d->weights_hash = tinyfed_hash64(TINYFED_HASH_START, d->arena, d->image_bytes);
        tinyfed_link_transfer_end(&d->link, 0, 0);
        break;
    case TINYFED_LINK_ORDER:
        if (d->in_transfer) d->violations++;
        if (!d->valid || (e->weights_hash != 0 && e->weights_hash != d->weights_hash)) {
            tinyfed_link_visit_refuse(&d->link, TINYFED_E_STATE, 0);
            break;
        }
        if (d->steps_left != 0) d->violations++;
        d->output_bytes = 0;
        d->seed = e->order_bytes > 0 ? e->order[0] : 1;
        note_order(d, e->visit, d->seed);
        d->steps_left = d->steps;
        d->answer_kept = false;
        tinyfed_link_visit_begin(&d->link);
        tinyfed_link_visit_progress(&d->link, 0, d->samples != 0 ? d->samples : d->steps);
        break;
    case TINYFED_LINK_UPLOAD:
        if (d->in_transfer || d->steps_left != 0) d->violations++;
        if (e->input_hash != 0 ? d->output_bytes == 0 : !d->valid || (e->visit != 0 && !d->answer_kept)) {
            tinyfed_link_upload_refuse(&d->link, TINYFED_E_STATE, 0);
            break;
        }
        if (e->input_hash != 0) tinyfed_link_upload_accept(&d->link, d->arena + d->image_bytes, d->output_bytes);
        else tinyfed_link_upload_accept(&d->link, d->arena, d->image_bytes);
        break;
    case TINYFED_LINK_HOST_GONE:
        d->hosts_gone++;
        /* fall through */
    case TINYFED_LINK_CANCEL:
        if (d->steps_left != 0) tinyfed_link_visit_end(&d->link, TINYFED_E_CANCELLED, 0, NULL, 0, 0);
        if (d->saves_left != 0) tinyfed_link_save_end(&d->link, TINYFED_E_CANCELLED, 0);
        stop_recording(d);
        d->steps_left = 0;
        d->saves_left = 0;
        break;
    case TINYFED_LINK_SAVE:
        /* Forgetting what was saved needs no whole model. */
        if (d->steps_left != 0 || (d->in_transfer && e->save_action == TINYFED_WIRE_SAVE)) d->violations++;
        if (!d->valid || (e->weights_hash != 0 && e->weights_hash != d->weights_hash)) {
            tinyfed_link_save_refuse(&d->link, TINYFED_E_STATE, 0);
            break;
        }
        d->saves_left = d->steps;
        tinyfed_link_save_begin(&d->link, 1500);
        break;
    case TINYFED_LINK_LABEL: record(d, e); break;
    case TINYFED_LINK_RESET:
        d->resets++;
        device_power_cycle(d);
        break;
    }
}

static void answer_all(device_t *d, uint32_t now_ms)
{
    tinyfed_link_event_t event;
    while (tinyfed_link_event(&d->link, &event, now_ms)) answer(d, &event);
}

void device_receive(device_t *d, const uint8_t *bytes, uint32_t byte_count, uint32_t now_ms)
{
    for (uint32_t used = 0; used < byte_count;) {
        used += (uint32_t)tinyfed_link_receive(&d->link, bytes + used, byte_count - used, now_ms);
        answer_all(d, now_ms);
    }
}

/* One step of "training": adds the seed to each byte. */
void device_work(device_t *d, uint32_t now_ms)
{
    answer_all(d, now_ms);
    record_window(d);
    if (d->saves_left > 0) {
        d->saves_left--;
        tinyfed_link_save_progress(&d->link, d->steps - d->saves_left, d->steps);
        if (d->saves_left == 0) {
            d->saves++;
            tinyfed_link_save_end(&d->link, TINYFED_OK, 0);
        }
    }
    if (d->steps_left == 0) return;
    if (!d->valid) d->violations++;
    for (uint32_t i = 0; i < d->image_bytes; i++) d->arena[i] = (uint8_t)(d->arena[i] + d->seed);
    d->steps_left--;
    const uint32_t samples = d->samples != 0 ? d->samples : d->steps;
    tinyfed_link_visit_progress(&d->link, (uint32_t)((uint64_t)(d->steps - d->steps_left) * samples / d->steps),
                                samples);
    if (d->steps_left == 0) {
        d->trained++;
        d->weights_hash = tinyfed_hash64(TINYFED_HASH_START, d->arena, d->image_bytes);
        if (d->result_bytes == 0) memset(d->result, d->seed, 40);
        tinyfed_link_visit_end(&d->link, TINYFED_OK, 0, d->result, d->result_bytes == 0 ? 40 : d->result_bytes,
                               d->weights_hash);
        d->answer_kept = true;
    }
}

uint32_t device_transmit(device_t *d, uint8_t *bytes, uint32_t capacity, uint32_t now_ms)
{
    return (uint32_t)tinyfed_link_transmit(&d->link, bytes, capacity, now_ms);
}

uint32_t device_idle_ms(const device_t *d, uint32_t now_ms)
{
    if (d->windows_left > 0) return 0;
    return d->steps_left > 0 || d->saves_left > 0 ? 0 : tinyfed_link_idle_ms(&d->link, now_ms);
}

/* What the tests look at, by number. */
uint32_t device_counter(const device_t *d, uint32_t which)
{
    switch (which) {
    case 0: return d->trained;
    case 1: return d->violations;
    case 2: return d->resets;
    case 3: return d->hosts_gone;
    case 4: return d->transfers;
    case 5: return d->valid;
    case 6: return d->saves;
    case 7: return d->inferred;
    case 8: return d->link.session;
    case 9: return d->link.sequence;
    default: return d->image_bytes;
    }
}

/* A picture of the whole device, of device_picture_bytes; whose address, and so every pointer in it, stays the same. */
uint32_t device_picture_bytes(const device_t *d) { return (uint32_t)sizeof *d + d->arena_bytes; }

void device_save(const device_t *d, uint8_t *picture)
{
    memcpy(picture, d, sizeof *d);
    memcpy(picture + sizeof *d, d->arena, d->arena_bytes);
}

void device_restore(device_t *d, const uint8_t *picture)
{
    memcpy(d, picture, sizeof *d);
    memcpy(d->arena, picture + sizeof *d, d->arena_bytes);
}

/* Between frames, when it has said all: forget what is written before it is read again, so that two pictures differ
 * only where the devices will. */
void device_tidy(device_t *d)
{
    memset(d->link.in.head, 0, sizeof d->link.in.head);
    memset(&d->link.out, 0, sizeof d->link.out);
    memset(&d->link.error, 0, sizeof d->link.error);
    memset(&d->link.info, 0, sizeof d->link.info);
    memset(d->staging, 0, sizeof d->staging);
    d->link.info.board = "";
    d->link.hello_tag = 0;
    d->link.hello_nonce = 0;
}

void device_set_steps(device_t *d, uint32_t steps) { d->steps = steps; }

void device_set_samples(device_t *d, uint32_t samples) { d->samples = samples; }

void device_set_capabilities(device_t *d, uint32_t bits) { d->capabilities = bits; }

/* Let an expander work on values[value_count]; returns its status, or 1 when something was left over or over-full. */
int device_expand(uint8_t encoding, float *values, uint32_t value_count, const uint8_t *bytes, uint32_t byte_count,
                  uint32_t piece)
{
    tinyfed_wire_expander_t x;
    tinyfed_wire_expander_init(&x, encoding, values, value_count);
    for (uint32_t at = 0; at < byte_count; at += piece) {
        const uint32_t n = byte_count - at < piece ? byte_count - at : piece;
        const tinyfed_wire_status_t status = tinyfed_wire_expand(&x, bytes + at, n);
        if (status != TINYFED_OK) return status;
    }
    return tinyfed_wire_expanded(&x) ? 0 : 1;
}

/* From now on the model is only these bytes, as if the rest of the image were its structure. */
void device_set_image(device_t *d, const uint8_t *bytes, uint32_t byte_count)
{
    memcpy(d->arena, bytes, byte_count);
    d->image_bytes = byte_count;
    d->output_bytes = 0;
    d->weights_hash = tinyfed_hash64(TINYFED_HASH_START, bytes, byte_count);
}

/* The result of every visit from now on. */
void device_set_result(device_t *d, const uint8_t *bytes, uint32_t byte_count)
{
    memcpy(d->result, bytes, byte_count);
    d->result_bytes = byte_count;
}
