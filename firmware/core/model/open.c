#include "frozen.h"
#include "layers.h"

/* The header's own fields; *at is where it is wrong. */
static tinyfed_status_t check_header(uint32_t *at, const uint8_t *image, uint32_t image_bytes)
{
    *at = image_bytes;
    if (image_bytes < TINYFED_HEADER_BYTES) return TINYFED_E_TRUNCATED;
    *at = TINYFED_AT_MAGIC;
    if (tinyfed_get32(image + TINYFED_AT_MAGIC) != TINYFED_IMAGE_MAGIC) return TINYFED_E_MAGIC;
    *at = TINYFED_AT_VERSION;
    if (tinyfed_get16(image + TINYFED_AT_VERSION) != TINYFED_IMAGE_VERSION) return TINYFED_E_VERSION;
    *at = TINYFED_AT_HEADER_BYTES;
    if (tinyfed_get16(image + TINYFED_AT_HEADER_BYTES) != TINYFED_HEADER_BYTES) return TINYFED_E_VERSION;
    *at = image_bytes;
    if (tinyfed_get32(image + TINYFED_AT_IMAGE_BYTES) > image_bytes) return TINYFED_E_TRUNCATED;
    *at = TINYFED_AT_IMAGE_BYTES;
    if (tinyfed_get32(image + TINYFED_AT_IMAGE_BYTES) < image_bytes) return TINYFED_E_ARGUMENT;
    *at = TINYFED_AT_CRC;
    uint32_t crc = tinyfed_crc32(0, image, TINYFED_AT_CRC);
    crc = tinyfed_crc32(crc, image + TINYFED_AT_STRUCTURE_HASH, image_bytes - TINYFED_AT_STRUCTURE_HASH);
    if (crc != tinyfed_get32(image + TINYFED_AT_CRC)) return TINYFED_E_CHECKSUM;
    *at = TINYFED_AT_RECORD_BYTES;
    if (tinyfed_get16(image + TINYFED_AT_RECORD_BYTES) != TINYFED_RECORD_BYTES) return TINYFED_E_VERSION;
    *at = TINYFED_AT_ELEMENT;
    if (image[TINYFED_AT_ELEMENT] != 1) return TINYFED_E_VERSION;
    *at = TINYFED_AT_ELEMENT + 1u;
    if (image[TINYFED_AT_ELEMENT + 1u] != 0) return TINYFED_E_VERSION;
    for (*at = TINYFED_AT_RESERVED; *at < TINYFED_HEADER_BYTES; ++*at)
        if (image[*at] != 0) return TINYFED_E_VERSION;
    *at = TINYFED_AT_LAYER_COUNT;
    const uint32_t layers = tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
    if (layers == 0 || layers > TINYFED_LAYERS_MAX) return TINYFED_E_LAYER;
    *at = TINYFED_AT_FROZEN_BYTES;
    const uint32_t frozen_bytes = tinyfed_get32(image + TINYFED_AT_FROZEN_BYTES);
    if (frozen_bytes > image_bytes || frozen_bytes % TINYFED_ALIGNMENT != 0) return TINYFED_E_TRUNCATED;
    const uint32_t parameters_at = TINYFED_HEADER_BYTES + layers * TINYFED_RECORD_BYTES + frozen_bytes;
    *at = image_bytes;
    if (parameters_at > image_bytes) return TINYFED_E_TRUNCATED;
    *at = TINYFED_AT_PARAMETERS_OFFSET;
    if (tinyfed_get32(image + TINYFED_AT_PARAMETERS_OFFSET) != parameters_at) return TINYFED_E_SHAPE;
    *at = TINYFED_AT_PARAMETER_COUNT;
    if ((uint64_t)tinyfed_get32(image + TINYFED_AT_PARAMETER_COUNT) * 4u != image_bytes - parameters_at)
        return TINYFED_E_SHAPE;
    *at = TINYFED_AT_STRUCTURE_HASH;
    const uint64_t hash =
        tinyfed_hash64(TINYFED_HASH_START, image + TINYFED_AT_STRUCTURE, parameters_at - TINYFED_AT_STRUCTURE);
    if (hash != tinyfed_get64(image + TINYFED_AT_STRUCTURE_HASH)) return TINYFED_E_CHECKSUM;
    return TINYFED_OK;
}

static tinyfed_status_t check_input_shape(uint32_t *at, const uint8_t *image)
{
    const tinyfed_shape_t shape = tinyfed_shape_at(image + TINYFED_AT_INPUT_SHAPE);
    *at = TINYFED_AT_INPUT_SHAPE;
    const uint64_t count = (uint64_t)shape.height * shape.width * shape.channels;
    /* The first product fits 32 bits, and so the second 64. */
    if (count == 0 || count > TINYFED_TENSOR_MAX) return TINYFED_E_SHAPE;
    *at = TINYFED_AT_INPUT_RANK;
    const uint8_t rank = image[TINYFED_AT_INPUT_RANK];
    if (rank < 1 || rank > 3) return TINYFED_E_SHAPE;
    if ((rank < 3 && shape.height != 1) || (rank < 2 && shape.width != 1)) return TINYFED_E_SHAPE;
    return TINYFED_OK;
}

static bool is_used(const uint8_t *image, uint32_t layers, uint32_t tensor)
{
    for (uint32_t layer = tensor; layer < layers; layer++) {
        const uint8_t *record = tinyfed_record(image, layer);
        if (tinyfed_input_of(record, layer) == tensor) return true;
        if (tinyfed_kind_of(record) == TINYFED_KIND_ADD && tinyfed_input_b_of(record) == tensor) return true;
    }
    return false;
}

static tinyfed_status_t check_layers(uint32_t *at, const uint8_t *image)
{
    const uint32_t layers = tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
    uint32_t parameters = 0;
    for (uint32_t layer = 0; layer < layers; layer++) {
        const uint8_t *record = tinyfed_record(image, layer);
        uint32_t field = 0, count = 0;
        tinyfed_status_t status = tinyfed_layer_check(image, layer, &count, &field);
        if (status == TINYFED_OK && tinyfed_get32(record + TINYFED_IN_PARAMETERS) != parameters) {
            field = TINYFED_IN_PARAMETERS;
            status = TINYFED_E_SHAPE;
        }
        *at = (uint32_t)(record - image) + field;
        if (status != TINYFED_OK) return status;
        /* Both are at most the image's size: no overflow. */
        if (count > tinyfed_get32(image + TINYFED_AT_PARAMETER_COUNT) - parameters) return TINYFED_E_SHAPE;
        parameters += count;
    }
    *at = TINYFED_AT_PARAMETER_COUNT;
    if (parameters != tinyfed_get32(image + TINYFED_AT_PARAMETER_COUNT)) return TINYFED_E_SHAPE;
    for (uint32_t tensor = 0; tensor < layers; tensor++) {
        *at = (uint32_t)(tinyfed_tensor_shape(image, tensor) - image);
        if (!is_used(image, layers, tensor)) return TINYFED_E_SHAPE;
    }
    return TINYFED_OK;
}

static tinyfed_status_t check_loss(uint32_t *at, const uint8_t *image)
{
    uint32_t last = tinyfed_get16(image + TINYFED_AT_LAYER_COUNT); /* tensor */
    const uint8_t loss = image[TINYFED_AT_LOSS];
    *at = TINYFED_AT_LOSS;
    if (loss < TINYFED_LOSS_MSE || loss > TINYFED_LOSS_BINARY_CROSS_ENTROPY) return TINYFED_E_LAYER;
    while (last != 0 && tinyfed_record(image, last - 1u)[TINYFED_IN_KIND] == TINYFED_KIND_RESHAPE)
        last = tinyfed_get16(tinyfed_record(image, last - 1u) + TINYFED_IN_INPUT);
    *at = TINYFED_HEADER_BYTES + TINYFED_IN_KIND;
    if (last == 0) return TINYFED_E_LAYER; /* nothing but reshapes */
    /* Cross-entropies take logits: an activation before them would be a second one. */
    const uint8_t *record = tinyfed_record(image, last - 1u);
    *at = (uint32_t)(record - image) + TINYFED_IN_ACTIVATION;
    if (loss != TINYFED_LOSS_MSE && record[TINYFED_IN_ACTIVATION] != TINYFED_LINEAR) return TINYFED_E_LAYER;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_model_open(tinyfed_model_t *model, uint32_t *error_offset, const uint8_t *image,
                                    uint32_t image_bytes)
{
    uint32_t at = 0;
    tinyfed_frozen_t frozen;
    tinyfed_status_t status = TINYFED_E_ARGUMENT;
    if (model != NULL && image != NULL) {
        status = ((uintptr_t)image % TINYFED_ALIGNMENT) != 0 ? TINYFED_E_ALIGNMENT : TINYFED_OK;
        if (status == TINYFED_OK) status = check_header(&at, image, image_bytes);
        if (status == TINYFED_OK) status = check_input_shape(&at, image);
        if (status == TINYFED_OK) status = check_layers(&at, image);
        if (status == TINYFED_OK) status = check_loss(&at, image);
        if (status == TINYFED_OK) status = tinyfed_frozen_open(&frozen, &at, image);
    }
    if (status != TINYFED_OK) {
        if (error_offset != NULL) *error_offset = at;
        return status;
    }
    model->image = image;
    model->image_bytes = image_bytes;
    model->parameters_offset = tinyfed_get32(image + TINYFED_AT_PARAMETERS_OFFSET);
    model->parameter_count = tinyfed_get32(image + TINYFED_AT_PARAMETER_COUNT);
    model->layer_count = tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
    model->input_count = frozen.input_count;
    model->frozen = frozen.net;
    model->output_count = tinyfed_tensor_count(image, model->layer_count);
    model->loss = image[TINYFED_AT_LOSS];
    return TINYFED_OK;
}

uint64_t tinyfed_weights_hash(const float *parameters, uint32_t parameter_count)
{
    return tinyfed_hash64(TINYFED_HASH_START, parameters, (size_t)parameter_count * sizeof *parameters);
}

uint64_t tinyfed_model_structure_hash(const tinyfed_model_t *model)
{
    return tinyfed_get64(model->image + TINYFED_AT_STRUCTURE_HASH);
}
