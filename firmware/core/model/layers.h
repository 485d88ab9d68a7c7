/* What the plan and the engine ask about a layer; answered from its record alone. */
#ifndef TINYFED_MODEL_LAYERS_H
#define TINYFED_MODEL_LAYERS_H

#include "image.h"

/* Check record `layer` against the shapes before it: *parameter_count is what it owns, *field the offset within
 * the record of what is wrong. */
tinyfed_status_t tinyfed_layer_check(const uint8_t *image, uint32_t layer, uint32_t *parameter_count,
                                     uint32_t *field) TINYFED_MUST_USE;

/* Values of the layer's weights, without its bias. */
uint32_t tinyfed_layer_weight_count(const uint8_t *image, uint32_t layer);

/* How many of the layer's parameters learn; they lie in a row, behind *skipped that do not. */
uint32_t tinyfed_layer_learning(uint32_t *skipped, const uint8_t *image, uint32_t layer);

static inline bool tinyfed_trains(const uint8_t *record)
{
    return (record[TINYFED_IN_FLAGS] & (TINYFED_TRAIN_WEIGHTS | TINYFED_TRAIN_BIAS)) != 0;
}

#endif
