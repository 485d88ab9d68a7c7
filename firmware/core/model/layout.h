/* Where every value of a step lies in the work area: found once, when an engine is opened.
 *
 * Buffers that are never alive at the same time share bytes. Time runs through the forward steps of layers
 * 0..L-1 (times 0..L-1), the loss (time L) and the backward steps of layers L-1..0 (times L+1..2L). */
#ifndef TINYFED_MODEL_LAYOUT_H
#define TINYFED_MODEL_LAYOUT_H

#include "layers.h"

#define TINYFED_NOWHERE 0xFFFFFFFFu

/* Of tensor t = 1..layer_count, in a table at the start of the work area. */
typedef struct tinyfed_slot {
    uint32_t activation; /* offset in the work area; NOWHERE: it is the network's input, reshaped */
    uint32_t gradient;   /* NOWHERE: nobody needs it */
    uint8_t derivative;  /* activation whose derivative turns the gradient of the tensor's value into that of its sum */
    uint8_t consumers;
    uint8_t first, last; /* consuming layers; the gradient is first written by `last` and finished by `first` */
} tinyfed_slot_t;

/* Fill slots[0..layer_count) (slot t - 1 for tensor t) and return the work bytes, table included. */
uint32_t tinyfed_layout(tinyfed_slot_t *slots, const uint8_t *image, tinyfed_mode_t mode);

/* What follows the buffers in a batch mode: state, then arrays of one value for each parameter that learns, in the
 * parameters' order: gradients, then the optimizer's moments. */
typedef struct tinyfed_batch_state {
    uint32_t samples; /* since the last step */
    uint32_t reserved;
    float beta1_power, beta2_power; /* to the number of steps done */
} tinyfed_batch_state_t;

/* Arrays in a mode: gradients and moments; 0 when it is no batch mode. */
uint32_t tinyfed_batch_arrays(tinyfed_mode_t mode);

/* Parameters that learn in the layers before `layer`. */
uint32_t tinyfed_learning_before(const uint8_t *image, uint32_t layer);

/* Bytes of state and arrays. */
uint64_t tinyfed_batch_bytes(const uint8_t *image, tinyfed_mode_t mode);

#endif
