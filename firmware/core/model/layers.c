#include "layers.h"

#include "tinyfed_float.h"

/* Where a check fails and why: the field, and 8 bits up the status' number; 0 where nothing does. */
typedef uint32_t fault_t;

#define FINE 0u

static inline fault_t wrong(uint32_t field, tinyfed_status_t status) { return field | (uint32_t)-status << 8; }

static bool has_parameters(uint8_t kind)
{
    return kind == TINYFED_KIND_DENSE || kind == TINYFED_KIND_CONV2D || kind == TINYFED_KIND_DEPTHWISE ||
           kind == TINYFED_KIND_SCALE;
}

static fault_t check_fields(const uint8_t *record, uint32_t layer)
{
    const uint8_t kind = record[TINYFED_IN_KIND];
    if (kind < TINYFED_KIND_DENSE || kind > TINYFED_KIND_STANDARDIZE) return wrong(TINYFED_IN_KIND, TINYFED_E_LAYER);
    const uint8_t activation = record[TINYFED_IN_ACTIVATION];
    if (activation > TINYFED_SIGMOID) return wrong(TINYFED_IN_ACTIVATION, TINYFED_E_LAYER);
    const uint8_t flags = record[TINYFED_IN_FLAGS];
    const uint8_t allowed = has_parameters(kind) ? TINYFED_HAS_BIAS | TINYFED_TRAIN_WEIGHTS | TINYFED_TRAIN_BIAS : 0;
    if ((flags & ~allowed) != 0) return wrong(TINYFED_IN_FLAGS, TINYFED_E_LAYER);
    if ((flags & TINYFED_TRAIN_BIAS) != 0 && (flags & TINYFED_HAS_BIAS) == 0)
        return wrong(TINYFED_IN_FLAGS, TINYFED_E_LAYER);
    const uint32_t input = tinyfed_get16(record + TINYFED_IN_INPUT);
    if (input > layer || (tinyfed_kind_is_built(record) && tinyfed_input_of(record, layer) != input))
        return wrong(TINYFED_IN_INPUT, TINYFED_E_SHAPE);
    const uint32_t input_b = tinyfed_get16(record + TINYFED_IN_INPUT_B);
    if (kind == TINYFED_KIND_ADD ? input_b > layer : input_b != 0) return wrong(TINYFED_IN_INPUT_B, TINYFED_E_SHAPE);
    if (tinyfed_get16(record + TINYFED_IN_RESERVED) != 0) return wrong(TINYFED_IN_RESERVED, TINYFED_E_VERSION);
    const float alpha = tinyfed_float(tinyfed_get32(record + TINYFED_IN_ALPHA));
    if (kind == TINYFED_KIND_STANDARDIZE) return FINE; /* alpha is its window: check_standardize */
    if (activation == TINYFED_LEAKY_RELU ? !(alpha > 0.0f && alpha < 1.0f)
                                         : tinyfed_get32(record + TINYFED_IN_ALPHA) != 0)
        return wrong(TINYFED_IN_ALPHA, TINYFED_E_ARGUMENT);
    return FINE;
}

/* Kernel, stride and padding have no meaning for most kinds: zero. */
static fault_t check_no_window(const uint8_t *record)
{
    for (uint32_t field = TINYFED_IN_KERNEL; field < TINYFED_IN_INPUT; field++)
        if (record[field] != 0) return wrong(field, TINYFED_E_VERSION);
    return FINE;
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

static bool is_vector(tinyfed_shape_t out, uint32_t channels)
{
    return out.height == 1 && out.width == 1 && out.channels == channels;
}

/* One direction of a window, as Keras places it: for `same`, ceil(size / stride) outputs and the odd row of padding
 * behind; for `valid` only windows that lie inside. `first` is the direction's offset within a pair of fields. */
static fault_t check_direction(const uint8_t *record, uint32_t first, uint32_t size, uint32_t outputs)
{
    const uint32_t kernel = record[TINYFED_IN_KERNEL + first], stride = record[TINYFED_IN_STRIDE + first];
    if (kernel == 0) return wrong(TINYFED_IN_KERNEL + first, TINYFED_E_SHAPE);
    if (stride == 0) return wrong(TINYFED_IN_STRIDE + first, TINYFED_E_SHAPE);
    uint32_t expected, pad = 0;
    if (record[TINYFED_IN_MODE] == 1) {
        expected = (size + stride - 1u) / stride;
        const uint32_t covered = (expected - 1u) * stride + kernel;
        if (covered > size) pad = (covered - size) / 2u;
    } else {
        if (kernel > size) return wrong(TINYFED_IN_KERNEL + first, TINYFED_E_SHAPE);
        expected = (size - kernel) / stride + 1u;
    }
    if (record[TINYFED_IN_PAD + first] != pad) return wrong(TINYFED_IN_PAD + first, TINYFED_E_SHAPE);
    if (outputs != expected) return wrong(TINYFED_IN_SHAPE + 2u * first, TINYFED_E_SHAPE);
    return FINE;
}

static fault_t check_window(const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in)
{
    const uint8_t kind = record[TINYFED_IN_KIND];
    if (record[TINYFED_IN_MODE] > 1) return wrong(TINYFED_IN_MODE, TINYFED_E_LAYER);
    if (kind != TINYFED_KIND_CONV2D && out.channels != in.channels)
        return wrong(TINYFED_IN_SHAPE + 4u, TINYFED_E_SHAPE);
    const fault_t fault = check_direction(record, 0, in.height, out.height);
    return fault != FINE ? fault : check_direction(record, 1, in.width, out.width);
}

static fault_t check_add(const uint8_t *image, const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in)
{
    const tinyfed_shape_t b = tinyfed_shape_at(tinyfed_tensor_shape(image, tinyfed_get16(record + TINYFED_IN_INPUT_B)));
    if (b.height != in.height || b.width != in.width || b.channels != in.channels)
        return wrong(TINYFED_IN_INPUT_B, TINYFED_E_SHAPE);
    return check_same_shape(record, out, in);
}

static fault_t check_global(const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in)
{
    if (record[TINYFED_IN_MODE] != 0) return wrong(TINYFED_IN_MODE, TINYFED_E_VERSION);
    return is_vector(out, in.channels) ? check_no_window(record) : wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
}

/* It reads the network's input, so that no gradient goes through it. */
static fault_t check_standardize(const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in)
{
    const float window = tinyfed_float(tinyfed_get32(record + TINYFED_IN_ALPHA));
    if (tinyfed_get16(record + TINYFED_IN_INPUT) != 0) return wrong(TINYFED_IN_INPUT, TINYFED_E_SHAPE);
    if (record[TINYFED_IN_ACTIVATION] != TINYFED_LINEAR) return wrong(TINYFED_IN_ACTIVATION, TINYFED_E_LAYER);
    if (!(window >= 2.0f && window <= (float)TINYFED_WINDOW_MAX)) return wrong(TINYFED_IN_ALPHA, TINYFED_E_ARGUMENT);
    return check_same_shape(record, out, in);
}

/* What the kind asks of its shapes; *weights is what it owns without the bias. */
static fault_t check_kind(const uint8_t *image, const uint8_t *record, tinyfed_shape_t out, tinyfed_shape_t in,
                          uint64_t *weights)
{
    const uint64_t in_count = (uint64_t)in.height * in.width * in.channels;
    const uint64_t taps = (uint64_t)record[TINYFED_IN_KERNEL] * record[TINYFED_IN_KERNEL + 1];
    *weights = 0;
    if (!tinyfed_kind_is_built(record)) return wrong(TINYFED_IN_KIND, TINYFED_E_LAYER);
    switch (tinyfed_kind_of(record)) {
    case TINYFED_KIND_DENSE: *weights = in_count * out.channels; return check_dense(record, out);
    case TINYFED_KIND_CONV2D:
        *weights = taps * in.channels * out.channels; /* 16 and twice 23 bits */
        return check_window(record, out, in);
    case TINYFED_KIND_DEPTHWISE: *weights = taps * in.channels; return check_window(record, out, in);
    case TINYFED_KIND_MAX_POOL:
    case TINYFED_KIND_AVERAGE_POOL: return check_window(record, out, in);
    case TINYFED_KIND_GLOBAL_AVERAGE: return check_global(record, out, in);
    case TINYFED_KIND_RESHAPE: return check_reshape(record, out, in_count);
    case TINYFED_KIND_ADD: return check_add(image, record, out, in);
    case TINYFED_KIND_SCALE: *weights = in.channels; return check_same_shape(record, out, in);
    case TINYFED_KIND_STANDARDIZE: *weights = 2u * in_count + 1u; return check_standardize(record, out, in);
    default: return check_same_shape(record, out, in);
    }
}

tinyfed_status_t tinyfed_layer_check(const uint8_t *image, uint32_t layer, uint32_t *parameter_count, uint32_t *field)
{
    const uint8_t *record = tinyfed_record(image, layer);
    fault_t fault = check_fields(record, layer);
    if (fault == FINE) {
        const tinyfed_shape_t in = tinyfed_shape_at(tinyfed_tensor_shape(image, tinyfed_input_of(record, layer)));
        const tinyfed_shape_t out = tinyfed_shape_at(record + TINYFED_IN_SHAPE);
        const uint64_t out_count = (uint64_t)out.height * out.width * out.channels;
        uint64_t weights = 0;
        if (out_count == 0 || out_count > TINYFED_TENSOR_MAX) fault = wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
        else fault = check_kind(image, record, out, in, &weights);
        if ((record[TINYFED_IN_FLAGS] & TINYFED_HAS_BIAS) != 0) weights += out.channels;
        if (fault == FINE && weights > 0x3FFFFFFFu) fault = wrong(TINYFED_IN_SHAPE, TINYFED_E_SHAPE);
        *parameter_count = (uint32_t)weights;
    }
    *field = fault & 0xFFu;
    return (tinyfed_status_t) - (int32_t)(fault >> 8);
}

uint32_t tinyfed_layer_weight_count(const uint8_t *image, uint32_t layer)
{
    const uint8_t *record = tinyfed_record(image, layer);
    const uint32_t count = tinyfed_parameters_end(image, layer) - tinyfed_get32(record + TINYFED_IN_PARAMETERS);
    return (record[TINYFED_IN_FLAGS] & TINYFED_HAS_BIAS) != 0 ? count - tinyfed_get32(record + TINYFED_IN_SHAPE + 4)
                                                              : count;
}

uint32_t tinyfed_layer_learning(uint32_t *skipped, const uint8_t *image, uint32_t layer)
{
    const uint8_t *record = tinyfed_record(image, layer);
    const uint8_t flags = record[TINYFED_IN_FLAGS];
    const uint32_t weights = tinyfed_layer_weight_count(image, layer);
    const bool weights_learn = (flags & TINYFED_TRAIN_WEIGHTS) != 0;
    *skipped = weights_learn ? 0 : weights;
    return (weights_learn ? weights : 0u) +
           ((flags & TINYFED_TRAIN_BIAS) != 0 ? tinyfed_get32(record + TINYFED_IN_SHAPE + 4) : 0u);
}
