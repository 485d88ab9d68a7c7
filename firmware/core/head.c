#include "image.h"
#include "root.h"
#include "tinyfed_head.h"

/* docs/head.md */
#define HEAD_MAGIC 0x31484654u /* "TFH1" */
#define HEAD_VERSION 1u
#define HEAD_HEADER_BYTES 64u

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_HEADER_BYTES = 6,
    AT_TOTAL_BYTES = 8,
    AT_CRC = 12, /* over bytes 0..11 and 16..end */
    AT_BASE = 16,
    AT_BASE_BYTES = 20,
    AT_IMAGE = 24,
    AT_IMAGE_BYTES = 28,
    AT_RESERVED = 32
};

#define COUNT_MOST 16777216u /* 2^24 */

static tinyfed_status_t check_header(uint32_t *at, const uint8_t *bytes, uint32_t byte_count)
{
    *at = 0;
    if (((uintptr_t)bytes % TINYFED_ALIGNMENT) != 0) return TINYFED_E_ALIGNMENT;
    if (byte_count < HEAD_HEADER_BYTES) return TINYFED_E_TRUNCATED;
    if (tinyfed_u32(bytes) != HEAD_MAGIC) return TINYFED_E_MAGIC;
    *at = AT_VERSION;
    if (tinyfed_u16(bytes + AT_VERSION) != HEAD_VERSION) return TINYFED_E_VERSION;
    *at = AT_HEADER_BYTES;
    if (tinyfed_u16(bytes + AT_HEADER_BYTES) != HEAD_HEADER_BYTES) return TINYFED_E_VERSION;
    *at = AT_TOTAL_BYTES;
    if (tinyfed_u32(bytes + AT_TOTAL_BYTES) != byte_count) return TINYFED_E_TRUNCATED;
    for (*at = AT_RESERVED; *at < HEAD_HEADER_BYTES; (*at)++) {
        if (bytes[*at] != 0) return TINYFED_E_VERSION;
    }
    *at = AT_CRC;
    uint32_t crc = tinyfed_crc32(0, bytes, AT_CRC);
    crc = tinyfed_crc32(crc, bytes + AT_BASE, byte_count - AT_BASE);
    return crc == tinyfed_u32(bytes + AT_CRC) ? TINYFED_OK : TINYFED_E_CHECKSUM;
}

/* A part [start, start + size) that lies behind the header, aligned. */
static bool is_part(const uint8_t *bytes, uint32_t byte_count, uint32_t at)
{
    const uint32_t start = tinyfed_u32(bytes + at), size = tinyfed_u32(bytes + at + 4u);
    return start >= HEAD_HEADER_BYTES && start % TINYFED_ALIGNMENT == 0 && start <= byte_count && size <= byte_count - start;
}

/* The head's first layer, into which the running mean and variance are written. */
static bool begins_with_normalizer(const tinyfed_model_t *model)
{
    const uint8_t *layer = model->image + TINYFED_HEADER_BYTES;
    return layer[TINYFED_IN_KIND] == TINYFED_KIND_SCALE && layer[TINYFED_IN_ACTIVATION] == TINYFED_LINEAR &&
           layer[TINYFED_IN_FLAGS] == TINYFED_HAS_BIAS && model->image[TINYFED_AT_INPUT_RANK] == 1;
}

tinyfed_status_t tinyfed_head_open(tinyfed_head_t *head, uint32_t *error_offset, const uint8_t *bytes,
                                   uint32_t byte_count)
{
    uint32_t ignored;
    uint32_t *at = error_offset != NULL ? error_offset : &ignored;
    if (head == NULL || bytes == NULL) return TINYFED_E_ARGUMENT;
    tinyfed_status_t status = check_header(at, bytes, byte_count);
    if (status != TINYFED_OK) return status;
    *at = AT_BASE;
    if (!is_part(bytes, byte_count, AT_BASE)) return TINYFED_E_TRUNCATED;
    *at = AT_IMAGE;
    if (!is_part(bytes, byte_count, AT_IMAGE)) return TINYFED_E_TRUNCATED;

    const uint32_t base = tinyfed_u32(bytes + AT_BASE), image = tinyfed_u32(bytes + AT_IMAGE);
    status = tinyfed_int8_open(&head->base, at, bytes + base, tinyfed_u32(bytes + AT_BASE_BYTES));
    if (status != TINYFED_OK) {
        *at += base;
        return status;
    }
    tinyfed_model_t model;
    head->image = bytes + image;
    head->image_bytes = tinyfed_u32(bytes + AT_IMAGE_BYTES);
    status = tinyfed_model_open(&model, at, head->image, head->image_bytes);
    if (status != TINYFED_OK) {
        *at += image;
        return status;
    }
    *at = base;
    if (head->base.input_count != 1 || head->base.output_count != 1) return TINYFED_E_SHAPE;
    head->feature_count = tinyfed_int8_output(&head->base, 0).count;
    *at = image;
    return model.input_count == head->feature_count && begins_with_normalizer(&model) ? TINYFED_OK : TINYFED_E_SHAPE;
}

tinyfed_status_t tinyfed_head_features(const tinyfed_head_t *head, float *features, void *work, uint32_t work_bytes)
{
    if (head == NULL || features == NULL) return TINYFED_E_ARGUMENT;
    const tinyfed_status_t status = tinyfed_int8_run(&head->base, work, work_bytes);
    if (status != TINYFED_OK) return status;
    const tinyfed_int8_port_t port = tinyfed_int8_output(&head->base, 0);
    tinyfed_int8_dequantize(features, &port, (const int8_t *)work + port.offset, port.count);
    return TINYFED_OK;
}

void tinyfed_normalizer_add(tinyfed_normalizer_t *normalizer, const float *features)
{
    if (normalizer->sample_count < COUNT_MOST) normalizer->sample_count++;
    const float share = 1.0f / (float)normalizer->sample_count;
    for (uint32_t i = 0; i < normalizer->feature_count; i++) {
        const float before = features[i] - normalizer->mean[i];
        normalizer->mean[i] += before * share;
        normalizer->deviation[i] += before * (features[i] - normalizer->mean[i]);
    }
}

void tinyfed_normalizer_write(const tinyfed_normalizer_t *normalizer, float *parameters)
{
    const uint32_t count = normalizer->feature_count;
    const float share = normalizer->sample_count != 0 ? 1.0f / (float)normalizer->sample_count : 0.0f;
    for (uint32_t i = 0; i < count; i++) {
        const float variance = normalizer->deviation[i] * share;
        const float scale = 1.0f / tinyfed_root(variance + normalizer->epsilon);
        parameters[i] = scale;
        parameters[count + i] = -(normalizer->mean[i] * scale);
    }
}
