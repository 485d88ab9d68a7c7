#include "tinyfed_record.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

/* A pointer is not as long everywhere; how many samples fit is. */
typedef char recorder_fits_its_place[sizeof(tinyfed_recorder_t) <= TINYFED_RECORDER_BYTES ? 1 : -1];

static uint32_t sample_bytes(const tinyfed_window_form_t *form) { return 4u * form->steps * form->channels; }

static uint32_t head_bytes(const tinyfed_window_form_t *form)
{
    return TINYFED_RECORDER_BYTES + tinyfed_align_up(sample_bytes(form));
}

uint32_t tinyfed_recorder_capacity(const tinyfed_window_form_t *form, uint32_t memory_bytes)
{
    const uint32_t head = head_bytes(form);
    const uint32_t capacity = memory_bytes < head ? 0u : (memory_bytes - head) / sample_bytes(form);
    return capacity > 65535u ? 65535u : capacity; /* what a class of a shard can hold */
}

tinyfed_recorder_t *tinyfed_recorder_open(const tinyfed_window_form_t *form, void *memory, uint32_t memory_bytes)
{
    tinyfed_recorder_t *recorder = memory;
    const uint32_t capacity = tinyfed_recorder_capacity(form, memory_bytes);
    if (capacity == 0u) return NULL;
    memset(recorder, 0, sizeof *recorder);
    recorder->form = form;
    recorder->feature_count = form->steps * form->channels;
    recorder->capacity = capacity;
    recorder->ring = (float *)(void *)((uint8_t *)memory + TINYFED_RECORDER_BYTES);
    recorder->samples = (float *)(void *)((uint8_t *)memory + head_bytes(form));
    return recorder;
}

void tinyfed_recorder_gap(tinyfed_recorder_t *recorder)
{
    recorder->readings = 0;
    recorder->steps = 0;
}

void tinyfed_recorder_begin(tinyfed_recorder_t *recorder, uint32_t label)
{
    recorder->label = label;
    tinyfed_recorder_gap(recorder);
}

/* Put the window in the ring behind the last sample of its class. */
static void store(tinyfed_recorder_t *recorder)
{
    const uint32_t features = recorder->feature_count, channels = recorder->form->channels;
    const uint32_t place = tinyfed_get32(recorder->ends + 4u * recorder->label);
    float *sample = recorder->samples + (size_t)place * features;
    memmove(sample + features, sample, 4u * (size_t)(recorder->count - place) * features);
    /* The oldest step stands where the next one will. */
    const uint32_t oldest = recorder->steps % recorder->form->steps * channels;
    memcpy(sample, recorder->ring + oldest, 4u * (size_t)(features - oldest));
    memcpy(sample + (features - oldest), recorder->ring, 4u * (size_t)oldest);
    for (uint32_t label = recorder->label; label < TINYFED_RECORD_CLASSES; label++) {
        uint8_t *end = recorder->ends + 4u * label;
        tinyfed_put32(end, tinyfed_get32(end) + 1u);
    }
    recorder->count++;
    if (recorder->class_count <= recorder->label) recorder->class_count = recorder->label + 1u;
}

bool tinyfed_recorder_add(tinyfed_recorder_t *recorder, const double *reading)
{
    const tinyfed_window_form_t *form = recorder->form;
    for (uint32_t c = 0; c < form->channels; c++) {
        recorder->sum[c] = recorder->readings ? recorder->sum[c] + reading[c] : reading[c];
    }
    if (++recorder->readings < form->group) return false;
    recorder->readings = 0;
    float *step = recorder->ring + recorder->steps % form->steps * form->channels;
    for (uint32_t c = 0; c < form->channels; c++) {
        step[c] = (float)((recorder->sum[c] / form->group - form->mean[c]) / form->deviation[c]);
        if (!tinyfed_is_finite(step[c])) {
            tinyfed_recorder_gap(recorder);
            return false;
        }
    }
    recorder->steps++;
    if (recorder->steps < form->steps || (recorder->steps - form->steps) % form->stride != 0u) return false;
    if (recorder->count == recorder->capacity) return false;
    store(recorder);
    return true;
}

void tinyfed_recorder_shard(const tinyfed_recorder_t *recorder, tinyfed_shard_t *shard)
{
    shard->ends = recorder->ends;
    shard->samples = recorder->samples;
    shard->feature_count = recorder->feature_count;
    shard->target_count = 0;
    shard->class_count = recorder->class_count;
    shard->sample_count = recorder->count;
}
