#include "layers.h"

/* Where a check fails: the field and why. */
typedef struct fault {
    uint32_t field;
    tinyfed_status_t status;
} fault_t;

static const fault_t fine = {0, TINYFED_OK};

static fault_t wrong(uint32_t field, tinyfed_status_t status)
{
    fault_t fault = {field, status};
    return fault;
}

static bool has_parameters(uint8_t kind)
{
    return kind == TINYFED_KIND_DENSE;
}

static bool known_kind(uint8_t kind)
{
    return kind == TINYFED_KIND_DENSE || kind == TINYFED_KIND_RESHAPE || kind == TINYFED_KIND_ACTIVATION;
}

static fault_t check_fields(const uint8_t *record, uint32_t layer)
{
    const uint8_t kind = record[TINYFED_IN_KIND];
    if (!known_kind(kind)) return wrong(TINYFED_IN_KIND, TINYFED_E_LAYER);
    const uint8_t activation = record[TINYFED_IN_ACTIVATION];
    if (activation > TINYFED_SIGMOID) return wrong(TINYFED_IN_ACTIVATION, TINYFED_E_LAYER);
    const uint8_t flags = record[TINYFED_IN_FLAGS];
    const uint8_t allowed = has_parameters(kind) ? TINYFED_HAS_BIAS | TINYFED_TRAIN_WEIGHTS | TINYFED_TRAIN_BIAS : 0;
    if ((flags & ~allowed) != 0) return wrong(TINYFED_IN_FLAGS, TINYFED_E_LAYER);
    if ((flags & TINYFED_TRAIN_BIAS) != 0 && (flags & TINYFED_HAS_BIAS) == 0)
        return wrong(TINYFED_IN_FLAGS, TINYFED_E_LAYER);
    if (tinyfed_u16(record + TINYFED_IN_INPUT) > layer) return wrong(TINYFED_IN_INPUT, TINYFED_E_SHAPE);
    const uint32_t input_b = tinyfed_u16(record + TINYFED_IN_INPUT_B);
    if (kind == TINYFED_KIND_ADD ? input_b > layer : input_b != 0) return wrong(TINYFED_IN_INPUT_B, TINYFED_E_SHAPE);
    if (tinyfed_u16(record + TINYFED_IN_RESERVED) != 0) return wrong(TINYFED_IN_RESERVED, TINYFED_E_VERSION);
    float alpha;
    memcpy(&alpha, record + TINYFED_IN_ALPHA, sizeof alpha);
    if (activation == TINYFED_LEAKY_RELU ? !(alpha > 0.0f && alpha < 1.0f) : tinyfed_u32(record + TINYFED_IN_ALPHA) != 0)
        return wrong(TINYFED_IN_ALPHA, TINYFED_E_ARGUMENT);
    return fine;
}

/* Kernel, stride and padding have no meaning for most kinds: zero. */
static fault_t check_no_window(const uint8_t *record)
{
    for (uint32_t field = TINYFED_IN_KERNEL; field < TINYFED_IN_INPUT; field++)
        if (record[field] != 0) return wrong(field, TINYFED_E_VERSION);
    return fine;
}

static fault_t check_dense(const uint8_t *record, tinyfed_shape_t out)
{
    if (record[TINYFED_IN_MODE] != 0) return wrong(TINYFED_IN_MODE, TINYFED_E_VERSION);
    if (out.height != 1 || out.width != 1) return wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
    return check_no_window(record);
}

static fault_t check_reshape(const uint8_t *record, tinyfed_shape_t out, uint64_t in_count)
{
    const uint8_t rank = record[TINYFED_IN_MODE];
    if (rank < 1 || rank > 3) return wrong(TINYFED_IN_MODE, TINYFED_E_SHAPE);
    if ((rank < 3 && out.height != 1) || (rank < 2 && out.width != 1)) return wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
    if ((uint64_t)out.height * out.width * out.channels != in_count) return wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
    if (record[TINYFED_IN_ACTIVATION] != TINYFED_LINEAR) return wrong(TINYFED_IN_ACTIVATION, TINYFED_E_LAYER);
    return check_no_window(record);
}

static fault_t check_same_shape(const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in)
{
    if (record[TINYFED_IN_MODE] != 0) return wrong(TINYFED_IN_MODE, TINYFED_E_VERSION);
    if (out.height != in.height || out.width != in.width || out.channels != in.channels)
        return wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
    return check_no_window(record);
}

tinyfed_status_t tinyfed_layer_check(const uint8_t *image, uint32_t layer, uint32_t *parameter_count, uint32_t *field)
{
    const uint8_t *record = tinyfed_record(image, layer);
    fault_t fault = check_fields(record, layer);
    if (fault.status == TINYFED_OK) {
        const tinyfed_shape_t in = tinyfed_shape_at(tinyfed_tensor_shape(image, tinyfed_u16(record + TINYFED_IN_INPUT)));
        const tinyfed_shape_t out = tinyfed_shape_at(record + TINYFED_IN_SHAPE);
        const uint64_t in_count = (uint64_t)in.height * in.width * in.channels;
        const uint64_t out_count = (uint64_t)out.height * out.width * out.channels;
        uint64_t weights = 0;
        if (out_count == 0 || out_count > TINYFED_TENSOR_MAX) {
            fault = wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
        } else {
            switch (record[TINYFED_IN_KIND]) {
            case TINYFED_KIND_DENSE:
                fault = check_dense(record, out);
                weights = in_count * out_count;
                break;
            case TINYFED_KIND_RESHAPE:
                fault = check_reshape(record, out, in_count);
                break;
            default:
                fault = check_same_shape(record, out, in);
                break;
            }
        }
        if ((record[TINYFED_IN_FLAGS] & TINYFED_HAS_BIAS) != 0) weights += out.channels;
        if (fault.status == TINYFED_OK && weights > 0x3FFFFFFFu) fault = wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
        *parameter_count = (uint32_t)weights;
    }
    *field = fault.field;
    return fault.status;
}

uint32_t tinyfed_layer_weight_count(const uint8_t *image, uint32_t layer)
{
    const uint8_t *record = tinyfed_record(image, layer);
    if (record[TINYFED_IN_KIND] != TINYFED_KIND_DENSE) return 0;
    return tinyfed_tensor_count(image, tinyfed_u16(record + TINYFED_IN_INPUT)) * tinyfed_u32(record + TINYFED_IN_SHAPE + 4);
}

uint32_t tinyfed_first_trained(const uint8_t *image)
{
    const uint32_t layers = tinyfed_u16(image + TINYFED_AT_LAYER_COUNT);
    uint32_t layer = 0;
    while (layer < layers && !tinyfed_trains(tinyfed_record(image, layer))) layer++;
    return layer;
}
