/* What _device.c and _fleet.c share: an arena with a model, and visits in it. No Python object is touched. */
#ifndef TINYFED_SIMULATED_H
#define TINYFED_SIMULATED_H

#include "tinyfed_visit.h"

typedef struct tinyfed_simulated {
    uint8_t *arena; /* aligned */
    uint32_t arena_bytes;
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    tinyfed_visit_t visit;
    uint32_t shared_first, shared_count; /* of the weights held: all others are local, of an order before */
} tinyfed_simulated_t;

/* Put an image into the arena and plan for online training. E_MEMORY: *bytes_short says by how much. */
tinyfed_status_t tinyfed_simulated_load(tinyfed_simulated_t *device, uint32_t *bytes_short, const void *image,
                                        size_t image_bytes) TINYFED_MUST_USE;
/* Take the weights of a visit by an order, all of the model, of which those that it shares are used. NULL: it begins
 * with those that are there. */
tinyfed_status_t tinyfed_simulated_place(tinyfed_simulated_t *device, const tinyfed_order_t *order,
                                         const uint8_t *weights, size_t weight_bytes) TINYFED_MUST_USE;
/* The whole visit. *cancelled may be set by any thread. `shard` is NULL where there is none. */
tinyfed_status_t tinyfed_simulated_visit(tinyfed_simulated_t *device, uint32_t *bytes_short,
                                         const tinyfed_order_t *order, const tinyfed_shard_t *shard,
                                         const int *cancelled) TINYFED_MUST_USE;

#endif
