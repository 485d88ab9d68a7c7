/* A frozen int8 network before the first layer: it turns a sample into the features the float32 layers learn from.
 * Built in where TINYFED_INT8 is defined; elsewhere an image that has one is refused with E_LAYER. */
#ifndef TINYFED_MODEL_FROZEN_H
#define TINYFED_MODEL_FROZEN_H

#include "image.h"

typedef struct tinyfed_frozen {
    tinyfed_int8_t net;   /* program NULL: none */
    uint32_t input_count; /* of a sample: the network's, or tensor 0's */
} tinyfed_frozen_t;

/* Open the program of a checked image. *at: where it is wrong, in the image. */
tinyfed_status_t tinyfed_frozen_open(tinyfed_frozen_t *frozen, uint32_t *at, const uint8_t *image) TINYFED_MUST_USE;

/* Of the work area: features and the network's own. */
uint32_t tinyfed_frozen_bytes(const uint8_t *image);

/* What the first layer reads: the features of input, or input itself where nothing is frozen. A sample is the network's
 * inputs one after the other, features are its outputs. A network with states begins anew. */
const float *tinyfed_frozen_features(const tinyfed_engine_t *engine, const float *input);

/* The same of the next step of a stream: states are what the step before left. */
const float *tinyfed_frozen_next(const tinyfed_engine_t *engine, const float *input);

#endif
