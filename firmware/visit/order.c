#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

#define RATE_BITS_MIN 0x00800000u /* 2^-126, the smallest normal number */
#define RATE_BITS_MAX 0x447A0000u /* 1000 */

tinyfed_status_t tinyfed_order_check(const tinyfed_order_t *order)
{
    /* Positive floats are ordered as their bits are; NaN and negative ones lie above the bound. */
    uint32_t rate = tinyfed_bits(order->learning_rate);
    if (order->source != TINYFED_SOURCE_SHARD && order->source != TINYFED_SOURCE_SINE) return TINYFED_E_ARGUMENT;
    if (order->ways < 1 || order->ways > TINYFED_WAYS_MAX || order->passes < 1) return TINYFED_E_ARGUMENT;
    if (order->shots < 1 || order->shots > TINYFED_SHOTS_MAX) return TINYFED_E_ARGUMENT;
    if (order->queries > TINYFED_SHOTS_MAX) return TINYFED_E_ARGUMENT;
    if (rate < RATE_BITS_MIN || rate > RATE_BITS_MAX) return TINYFED_E_ARGUMENT;
    if (order->checkpoint_count > TINYFED_CHECKPOINTS_MAX) return TINYFED_E_ARGUMENT;
    uint32_t proximal = tinyfed_bits(order->proximal);
    if (order->update > TINYFED_UPDATE_ADAM_SECOND || (order->flags & ~TINYFED_ORDER_FLAGS) != 0)
        return TINYFED_E_ARGUMENT;
    if (order->update == TINYFED_UPDATE_ONLINE && order->batch != 0) return TINYFED_E_ARGUMENT;
    if (proximal != 0 && (proximal < RATE_BITS_MIN || proximal > RATE_BITS_MAX)) return TINYFED_E_ARGUMENT;
    if ((order->flags & TINYFED_ORDER_META_GRADIENT) && order->update != TINYFED_UPDATE_SGD) return TINYFED_E_ARGUMENT;
    bool local = (order->local_first | order->local_last) != 0, local_flags = order->flags >= TINYFED_ORDER_KEEP_LOCAL;
    if (!local && (local_flags || order->reconstruct != 0)) return TINYFED_E_ARGUMENT;
    if (local && (order->update > TINYFED_UPDATE_SGD || proximal != 0)) return TINYFED_E_ARGUMENT;
    if (order->reconstruct > (uint32_t)order->shots * order->passes || order->top > TINYFED_TOP_ALL)
        return TINYFED_E_ARGUMENT;
    if (order->top != 0 && (order->flags & TINYFED_ORDER_META_GRADIENT)) return TINYFED_E_ARGUMENT;
    uint32_t format = order->answer & ~TINYFED_ANSWER_DELTA;
    if (format > TINYFED_ANSWER_INT8 || order->answer == TINYFED_ANSWER_DELTA) return TINYFED_E_ARGUMENT;
    if (order->answer != 0 && order->top != 0) return TINYFED_E_ARGUMENT;
    if (order->answer > TINYFED_ANSWER_DELTA && (order->flags & TINYFED_ORDER_META_GRADIENT)) return TINYFED_E_ARGUMENT;
    if ((order->flags & (TINYFED_ORDER_TRUE_LABELS | TINYFED_ORDER_IN_TIME)) && order->source != TINYFED_SOURCE_SHARD) {
        return TINYFED_E_ARGUMENT;
    }
    if (order->start != 0 && !(order->flags & TINYFED_ORDER_IN_TIME)) return TINYFED_E_ARGUMENT;
    uint32_t lowest = 0;
    for (uint32_t i = 0; i < order->checkpoint_count; i++) {
        uint32_t shots = order->checkpoints[i];
        if (shots < lowest || shots > (uint32_t)order->shots * order->passes) return TINYFED_E_ARGUMENT;
        lowest = shots + 1;
    }
    return TINYFED_OK;
}

tinyfed_mode_t tinyfed_order_mode(const tinyfed_order_t *order)
{
    switch (order->update) {
    case TINYFED_UPDATE_SGD: return TINYFED_MODE_BATCH_SGD;
    case TINYFED_UPDATE_MOMENTUM: return TINYFED_MODE_BATCH_MOMENTUM;
    case TINYFED_UPDATE_ADAM: return TINYFED_MODE_BATCH_ADAM;
    case TINYFED_UPDATE_ADAM_SECOND: return TINYFED_MODE_BATCH_ADAM_SECOND;
    default: return TINYFED_MODE_ONLINE;
    }
}

tinyfed_status_t tinyfed_order_decode(tinyfed_order_t *order, const uint8_t *bytes, uint32_t byte_count)
{
    if (byte_count < 1) return TINYFED_E_TRUNCATED;
    if (bytes[0] < 1u || bytes[0] > TINYFED_ORDER_VERSION) return TINYFED_E_VERSION;
    uint32_t expected = bytes[0] == 1u  ? TINYFED_ORDER_BYTES_V1
                        : bytes[0] < 4u ? TINYFED_ORDER_BYTES_V3
                                        : TINYFED_ORDER_BYTES;
    if (byte_count < expected) return TINYFED_E_TRUNCATED;
    if (byte_count > expected) return TINYFED_E_ARGUMENT;
    order->update = TINYFED_UPDATE_ONLINE;
    order->flags = 0;
    order->batch = 0;
    order->proximal = 0.0f;
    order->local_first = order->local_last = 0;
    order->reconstruct = order->top = 0;
    order->answer = 0;
    order->start = bytes[0] > 3u ? tinyfed_get32(bytes + 56) : 0;
    if (bytes[0] > 1u) {
        order->update = bytes[40];
        order->flags = bytes[41];
        order->batch = tinyfed_get16(bytes + 42);
        order->proximal = tinyfed_float(tinyfed_get32(bytes + 44));
        if (bytes[0] == 2u && (order->flags > TINYFED_ORDER_FLAGS_V2 || tinyfed_get64(bytes + 48) != 0))
            return TINYFED_E_ARGUMENT;
        order->local_first = bytes[48];
        order->local_last = bytes[49];
        order->reconstruct = tinyfed_get16(bytes + 50);
        order->top = tinyfed_get16(bytes + 52);
        order->answer = bytes[54];
        if (bytes[55] != 0) return TINYFED_E_ARGUMENT;
    }
    order->source = bytes[1];
    order->ways = bytes[2];
    order->passes = bytes[3];
    order->shots = tinyfed_get16(bytes + 4);
    order->queries = tinyfed_get16(bytes + 6);
    order->seed = tinyfed_get64(bytes + 8);
    order->learning_rate = tinyfed_float(tinyfed_get32(bytes + 16));
    order->checkpoint_count = bytes[20];
    for (uint32_t i = 0; i < TINYFED_CHECKPOINTS_MAX; i++) order->checkpoints[i] = tinyfed_get16(bytes + 24 + 2 * i);
    if (bytes[21] | bytes[22] | bytes[23]) return TINYFED_E_ARGUMENT;
    tinyfed_status_t status = tinyfed_order_check(order);
    if (status != TINYFED_OK) return status;
    for (uint32_t i = order->checkpoint_count; i < TINYFED_CHECKPOINTS_MAX; i++) {
        if (order->checkpoints[i] != 0) return TINYFED_E_ARGUMENT;
    }
    return TINYFED_OK;
}

uint32_t tinyfed_result_encode(uint8_t bytes[TINYFED_RESULT_BYTES], const tinyfed_result_t *result)
{
    memset(bytes, 0, 32);
    bytes[0] = TINYFED_RESULT_VERSION;
    bytes[1] = result->checkpoint_count;
    tinyfed_put32(bytes + 4, result->samples);
    tinyfed_put32(bytes + 8, tinyfed_bits(result->loss_first));
    tinyfed_put32(bytes + 12, tinyfed_bits(result->loss_last));
    tinyfed_put32(bytes + 16, result->train_us);
    tinyfed_put32(bytes + 20, result->train_instructions);
    tinyfed_put32(bytes + 24, result->stack_bytes);
    tinyfed_put32(bytes + 28, result->arena_bytes);
    uint8_t *p = bytes + 32;
    for (uint32_t i = 0; i < result->checkpoint_count; i++, p += 16) {
        tinyfed_put32(p, result->checkpoints[i].shots);
        tinyfed_put32(p + 4, result->checkpoints[i].count);
        tinyfed_put32(p + 8, result->checkpoints[i].correct);
        tinyfed_put32(p + 12, tinyfed_bits(result->checkpoints[i].loss));
    }
    return (uint32_t)(p - bytes);
}
