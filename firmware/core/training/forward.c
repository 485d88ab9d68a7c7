#include "kernels/conv2d.h"
#include "kernels/dense.h"
#include "kernels/depthwise.h"
#include "engine.h"
#include "kernels/pool.h"
#include "kernels/scale.h"
#include "kernels/standardize.h"

void tinyfed_window_of(tinyfed_window_t *window, const uint8_t *image, uint32_t layer)
{
    const uint8_t *record = tinyfed_record(image, layer);
    window->in = tinyfed_shape_at(tinyfed_tensor_shape(image, tinyfed_get16(record + TINYFED_IN_INPUT)));
    window->out = tinyfed_shape_at(record + TINYFED_IN_SHAPE);
    window->kernel_height = record[TINYFED_IN_KERNEL];
    window->kernel_width = record[TINYFED_IN_KERNEL + 1];
    window->stride_height = record[TINYFED_IN_STRIDE];
    window->stride_width = record[TINYFED_IN_STRIDE + 1];
    window->pad_top = record[TINYFED_IN_PAD];
    window->pad_left = record[TINYFED_IN_PAD + 1];
    if (record[TINYFED_IN_KIND] == TINYFED_KIND_GLOBAL_AVERAGE) {
        window->kernel_height = window->in.height;
        window->kernel_width = window->in.width;
        window->stride_height = window->stride_width = 1;
    }
}

static void add(float *y, const float *a, const float *b, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) y[k] = a[k] + b[k];
}

/* Where a layer's values lie. Without the network's input (NULL), what lies in it is NULL. */
static TINYFED_ALWAYS_INLINE void find_layer(tinyfed_forward_operands_t *to, const tinyfed_engine_t *engine,
                                             const float *input, uint32_t layer)
{
    const uint8_t *image = engine->model->image, *record = tinyfed_record(image, layer);
    const uint32_t from = tinyfed_input_of(record, layer);
    to->x = tinyfed_values_of(engine, input, from);
    to->y = tinyfed_values_of(engine, input, layer + 1u);
    to->weights = engine->parameters + tinyfed_get32(record + TINYFED_IN_PARAMETERS);
    to->bias = NULL;
    if ((record[TINYFED_IN_FLAGS] & TINYFED_HAS_BIAS) != 0)
        to->bias =
            engine->parameters + tinyfed_parameters_end(image, layer) - tinyfed_get32(record + TINYFED_IN_SHAPE + 4);
    to->inputs = tinyfed_tensor_count(image, from);
    to->outputs = tinyfed_shape_count(record + TINYFED_IN_SHAPE);
}

static void forward_window(const tinyfed_forward_operands_t *at, const uint8_t *image, uint32_t layer)
{
    tinyfed_window_t window;
    tinyfed_window_of(&window, image, layer);
    switch (tinyfed_record(image, layer)[TINYFED_IN_KIND]) {
    case TINYFED_KIND_CONV2D: tinyfed_conv2d_forward_f32(at->y, at->x, at->weights, at->bias, &window); break;
    case TINYFED_KIND_DEPTHWISE: tinyfed_depthwise_forward_f32(at->y, at->x, at->weights, at->bias, &window); break;
    case TINYFED_KIND_MAX_POOL: tinyfed_max_pool_forward_f32(at->y, at->x, &window); break;
    default: tinyfed_average_pool_forward_f32(at->y, at->x, &window); break;
    }
}

static TINYFED_ALWAYS_INLINE void forward_layer(const tinyfed_engine_t *engine, const tinyfed_forward_operands_t *at,
                                                const float *input, uint32_t layer)
{
    const uint8_t *image = engine->model->image, *record = tinyfed_record(image, layer);
    const float *x = at->x, *weights = at->weights, *bias = at->bias;
    float *y = at->y;
    const uint32_t outputs = at->outputs;
    switch (tinyfed_kind_of(record)) {
    case TINYFED_KIND_DENSE: tinyfed_dense_forward_f32(y, x, weights, bias, at->inputs, outputs); break;
    case TINYFED_KIND_CONV2D:
    case TINYFED_KIND_DEPTHWISE:
    case TINYFED_KIND_MAX_POOL:
    case TINYFED_KIND_AVERAGE_POOL:
    case TINYFED_KIND_GLOBAL_AVERAGE: forward_window(at, image, layer); break;
    case TINYFED_KIND_ADD:
        add(y, x, tinyfed_values_of(engine, input, tinyfed_get16(record + TINYFED_IN_INPUT_B)), outputs);
        break;
    case TINYFED_KIND_SCALE: {
        const uint32_t channels = tinyfed_get32(record + TINYFED_IN_SHAPE + 4);
        tinyfed_scale_forward_f32(y, x, weights, bias, outputs / channels, channels);
        break;
    }
    case TINYFED_KIND_STANDARDIZE: tinyfed_standardize_forward_f32(y, x, weights, outputs); break;
    default:
        if (x != y) memcpy(y, x, outputs * sizeof *y);
        break;
    }
    const uint8_t activation = record[TINYFED_IN_ACTIVATION];
    if (activation != TINYFED_LINEAR) tinyfed_activate_f32(y, outputs, activation, tinyfed_alpha_of(record));
}

#if defined(TINYFED_INT8)
void tinyfed_observe(const tinyfed_engine_t *engine, const float *input)
{
    for (uint32_t layer = 0; layer < engine->model->layer_count; layer++) {
        const uint8_t *record = tinyfed_record(engine->model->image, layer);
        if (record[TINYFED_IN_KIND] != TINYFED_KIND_STANDARDIZE) continue;
        tinyfed_standardize_update_f32(engine->parameters + tinyfed_get32(record + TINYFED_IN_PARAMETERS), input,
                                       tinyfed_shape_count(record + TINYFED_IN_SHAPE), tinyfed_alpha_of(record));
    }
}
#endif

#if TINYFED_KEPT_LAYERS > 0
void tinyfed_keep_forward(tinyfed_engine_t *engine)
{
    for (uint32_t layer = 0; layer < engine->model->layer_count && layer < TINYFED_KEPT_LAYERS; layer++)
        find_layer(&engine->forward[layer], engine, NULL, layer);
}
#endif

float *tinyfed_forward(const tinyfed_engine_t *engine, const float *input)
{
    const uint32_t layers = engine->model->layer_count;
    uint32_t layer = 0;
#if TINYFED_KEPT_LAYERS > 0
    for (; layer < layers && layer < TINYFED_KEPT_LAYERS; layer++) {
        tinyfed_forward_operands_t at = engine->forward[layer];
        if (at.x == NULL) at.x = input;
        if (at.y == NULL) at.y = (float *)(uintptr_t)input;
        forward_layer(engine, &at, input, layer);
    }
#endif
    for (; layer < layers; layer++) {
        tinyfed_forward_operands_t at;
        find_layer(&at, engine, input, layer);
        forward_layer(engine, &at, input, layer);
    }
    return tinyfed_values_of(engine, input, layers);
}
