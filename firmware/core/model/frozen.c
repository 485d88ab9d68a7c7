#include "frozen.h"

#if defined(TINYFED_INT8)
#include "tinyfed_int8.h"

#define TINYFED_AT_INT8_WORK 12u /* of an int8 program: docs/int8.md */

static uint32_t program_at(const uint8_t *image)
{
    return TINYFED_HEADER_BYTES + TINYFED_RECORD_BYTES * tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
}

static uint32_t feature_bytes(const uint8_t *image)
{
    return tinyfed_align_up(tinyfed_tensor_count(image, 0) * (uint32_t)sizeof(float));
}

uint32_t tinyfed_frozen_bytes(const uint8_t *image)
{
    if (tinyfed_get32(image + TINYFED_AT_FROZEN_BYTES) == 0) return 0;
    return feature_bytes(image) + tinyfed_align_up(tinyfed_get32(image + program_at(image) + TINYFED_AT_INT8_WORK));
}

tinyfed_status_t tinyfed_frozen_open(tinyfed_frozen_t *frozen, uint32_t *at, const uint8_t *image)
{
    memset(frozen, 0, sizeof *frozen);
    frozen->input_count = tinyfed_tensor_count(image, 0);
    const uint32_t bytes = tinyfed_get32(image + TINYFED_AT_FROZEN_BYTES);
    if (bytes == 0) return TINYFED_OK;
    uint32_t inside = 0;
    const tinyfed_status_t status = tinyfed_int8_open(&frozen->net, &inside, image + program_at(image), bytes);
    *at = program_at(image) + inside;
    if (status != TINYFED_OK) return status;
    *at = TINYFED_AT_INPUT_SHAPE;
    uint64_t inputs = 0, features = 0; /* of at most 16 ports */
    for (uint32_t i = 0; i < frozen->net.input_count; i++) inputs += tinyfed_int8_input(&frozen->net, i).count;
    for (uint32_t i = 0; i < frozen->net.output_count; i++) features += tinyfed_int8_output(&frozen->net, i).count;
    if (features != frozen->input_count || inputs > UINT32_MAX / sizeof(float)) return TINYFED_E_SHAPE;
    frozen->input_count = (uint32_t)inputs;
    return TINYFED_OK;
}

static uint8_t *work_of(const tinyfed_engine_t *engine)
{
    return engine->work + engine->frozen_at + feature_bytes(engine->model->image);
}

const float *tinyfed_frozen_features(const tinyfed_engine_t *engine, const float *input)
{
    const tinyfed_int8_t *net = &engine->model->frozen;
    if (net->program != NULL && tinyfed_int8_reset(net, work_of(engine), net->work_bytes, NULL) != TINYFED_OK)
        return input;
    return tinyfed_frozen_next(engine, input);
}

const float *tinyfed_frozen_next(const tinyfed_engine_t *engine, const float *input)
{
    const tinyfed_int8_t *net = &engine->model->frozen;
    if (net->program == NULL) return input;
    float *features = (float *)(void *)(engine->work + engine->frozen_at);
    uint8_t *work = work_of(engine);
    const float *from = input;
    for (uint32_t i = 0; i < net->input_count; i++) {
        const tinyfed_int8_port_t port = tinyfed_int8_input(net, i);
        tinyfed_int8_quantize((int8_t *)work + port.offset, &port, from, port.count);
        from += port.count;
    }
    /* It cannot fail: the area has the network's size and alignment. */
    if (tinyfed_int8_run(net, work, net->work_bytes) != TINYFED_OK) return input;
    float *to = features;
    for (uint32_t i = 0; i < net->output_count; i++) {
        const tinyfed_int8_port_t port = tinyfed_int8_output(net, i);
        tinyfed_int8_dequantize(to, &port, (const int8_t *)work + port.offset, port.count);
        to += port.count;
    }
    return features;
}

#else

tinyfed_status_t tinyfed_frozen_open(tinyfed_frozen_t *frozen, uint32_t *at, const uint8_t *image)
{
    memset(frozen, 0, sizeof *frozen);
    frozen->input_count = tinyfed_tensor_count(image, 0);
    *at = TINYFED_AT_FROZEN_BYTES;
    return tinyfed_get32(image + TINYFED_AT_FROZEN_BYTES) == 0 ? TINYFED_OK : TINYFED_E_LAYER;
}

const float *tinyfed_frozen_features(const tinyfed_engine_t *engine, const float *input)
{
    (void)engine;
    return input;
}

const float *tinyfed_frozen_next(const tinyfed_engine_t *engine, const float *input)
{
    return tinyfed_frozen_features(engine, input);
}

uint32_t tinyfed_frozen_bytes(const uint8_t *image)
{
    (void)image;
    return 0;
}

#endif
