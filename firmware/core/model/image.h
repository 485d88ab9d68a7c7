/* Offsets of the model image (docs/model-image.md) and the reading of its fields. */
#ifndef TINYFED_MODEL_IMAGE_H
#define TINYFED_MODEL_IMAGE_H

#include <string.h>

#include "tinyfed_bytes.h"
#include "tinyfed_core.h"

#define TINYFED_IMAGE_MAGIC 0x314D4654u /* "TFM1" */
#define TINYFED_IMAGE_VERSION 1u
#define TINYFED_HEADER_BYTES 64u
#define TINYFED_RECORD_BYTES 32u

enum {
    TINYFED_AT_MAGIC = 0,
    TINYFED_AT_VERSION = 4,
    TINYFED_AT_HEADER_BYTES = 6,
    TINYFED_AT_IMAGE_BYTES = 8,
    TINYFED_AT_CRC = 12,
    TINYFED_AT_STRUCTURE_HASH = 16,
    TINYFED_AT_STRUCTURE = 24, /* from here to the parameters: what the structure hash covers */
    TINYFED_AT_PARAMETERS_OFFSET = 24,
    TINYFED_AT_PARAMETER_COUNT = 28,
    TINYFED_AT_LAYER_COUNT = 32,
    TINYFED_AT_RECORD_BYTES = 34,
    TINYFED_AT_LOSS = 36,
    TINYFED_AT_INPUT_RANK = 37,
    TINYFED_AT_ELEMENT = 38,      /* type of the parameters: 1 is float32 */
    TINYFED_AT_INPUT_SHAPE = 40,  /* height u16, width u16, channels u32 */
    TINYFED_AT_FROZEN_BYTES = 48, /* of the int8 program between the records and the parameters, or 0 */
    TINYFED_AT_RESERVED = 52
};

/* Within a layer record. */
enum {
    TINYFED_IN_KIND = 0,
    TINYFED_IN_ACTIVATION = 1,
    TINYFED_IN_FLAGS = 2,
    TINYFED_IN_MODE = 3,     /* padding of a convolution or pool, rank of a reshape */
    TINYFED_IN_SHAPE = 4,    /* of the output: height u16, width u16, channels u32 */
    TINYFED_IN_KERNEL = 12,  /* height u8, width u8 */
    TINYFED_IN_STRIDE = 14,  /* height u8, width u8 */
    TINYFED_IN_PAD = 16,     /* rows above u8, columns left u8 */
    TINYFED_IN_INPUT = 18,   /* tensor: 0 is the network's input, t the output of layer t - 1 */
    TINYFED_IN_INPUT_B = 20, /* the second addend */
    TINYFED_IN_RESERVED = 22,
    TINYFED_IN_PARAMETERS = 24, /* index of the first parameter */
    TINYFED_IN_ALPHA = 28       /* slope of leaky ReLU */
};

enum {
    TINYFED_KIND_DENSE = 1,
    TINYFED_KIND_CONV2D = 2,
    TINYFED_KIND_DEPTHWISE = 3,
    TINYFED_KIND_MAX_POOL = 4,
    TINYFED_KIND_AVERAGE_POOL = 5,
    TINYFED_KIND_GLOBAL_AVERAGE = 6,
    TINYFED_KIND_RESHAPE = 7,
    TINYFED_KIND_ADD = 8,
    TINYFED_KIND_SCALE = 9,
    TINYFED_KIND_ACTIVATION = 10,
    TINYFED_KIND_STANDARDIZE = 11 /* of the network's input; its alpha is the window, samples */
};

/* The kind of a checked record. A build for dense nets alone (-DTINYFED_DENSE_ONLY) has refused every other layer by
 * then, one without TINYFED_INT8 the running statistics; written so that the compiler knows it and the linker drops
 * their code. */
static inline uint8_t tinyfed_kind_of(const uint8_t *record)
{
    const uint8_t kind = record[TINYFED_IN_KIND];
#ifdef TINYFED_DENSE_ONLY
#ifdef TINYFED_INT8
    if (kind == TINYFED_KIND_STANDARDIZE) return TINYFED_KIND_STANDARDIZE;
#endif
    if (kind == TINYFED_KIND_DENSE) return TINYFED_KIND_DENSE;
    return kind == TINYFED_KIND_RESHAPE ? TINYFED_KIND_RESHAPE : TINYFED_KIND_ACTIVATION;
#elif !defined(TINYFED_INT8)
    return kind == TINYFED_KIND_STANDARDIZE ? TINYFED_KIND_ACTIVATION : kind;
#else
    return kind;
#endif
}

static inline bool tinyfed_kind_is_built(const uint8_t *record)
{
    return tinyfed_kind_of(record) == record[TINYFED_IN_KIND];
}

enum {
    TINYFED_LINEAR = 0,
    TINYFED_RELU = 1,
    TINYFED_TANH = 2,
    TINYFED_RELU6 = 3,
    TINYFED_LEAKY_RELU = 4,
    TINYFED_SIGMOID = 5
};

#define TINYFED_HAS_BIAS 1u
#define TINYFED_TRAIN_WEIGHTS 2u
#define TINYFED_TRAIN_BIAS 4u

#define TINYFED_LAYERS_MAX 64u
#define TINYFED_WINDOW_MAX 0x1000000u /* samples: a float32 counts no further */
#define TINYFED_TENSOR_MAX 0x400000u  /* values of one tensor: keeps every sum of a plan below 2^32 */

typedef struct tinyfed_shape {
    uint32_t height, width, channels;
} tinyfed_shape_t;

static inline tinyfed_shape_t tinyfed_shape_at(const uint8_t *p)
{
    tinyfed_shape_t shape = {tinyfed_get16(p), tinyfed_get16(p + 2), tinyfed_get32(p + 4)};
    return shape;
}

static inline uint32_t tinyfed_shape_count(const uint8_t *p)
{
    return (uint32_t)tinyfed_get16(p) * tinyfed_get16(p + 2) * tinyfed_get32(p + 4);
}

static inline const uint8_t *tinyfed_record(const uint8_t *image, uint32_t layer)
{
    return image + TINYFED_HEADER_BYTES + layer * TINYFED_RECORD_BYTES;
}

/* Where the shape of a tensor stands. */
static inline const uint8_t *tinyfed_tensor_shape(const uint8_t *image, uint32_t tensor)
{
    return tensor == 0 ? image + TINYFED_AT_INPUT_SHAPE : tinyfed_record(image, tensor - 1u) + TINYFED_IN_SHAPE;
}

static inline uint32_t tinyfed_tensor_count(const uint8_t *image, uint32_t tensor)
{
    return tinyfed_shape_count(tinyfed_tensor_shape(image, tensor));
}

/* The tensor a checked layer reads. Every tensor is read, and without an add each layer reads one: nets of dense layers
 * alone are chains. */
static inline uint32_t tinyfed_input_of(const uint8_t *record, uint32_t layer)
{
#ifdef TINYFED_DENSE_ONLY
    (void)record;
    return layer;
#else
    (void)layer;
    return tinyfed_get16(record + TINYFED_IN_INPUT);
#endif
}

/* The second addend; 0 where there is none. */
static inline uint32_t tinyfed_input_b_of(const uint8_t *record)
{
    return tinyfed_kind_of(record) == TINYFED_KIND_ADD ? tinyfed_get16(record + TINYFED_IN_INPUT_B) : 0;
}

/* Index behind the layer's last parameter: the next layer's first. */
static inline uint32_t tinyfed_parameters_end(const uint8_t *image, uint32_t layer)
{
    const bool is_last = layer + 1u == tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
    return tinyfed_get32(is_last ? image + TINYFED_AT_PARAMETER_COUNT
                                 : tinyfed_record(image, layer + 1u) + TINYFED_IN_PARAMETERS);
}

#endif
