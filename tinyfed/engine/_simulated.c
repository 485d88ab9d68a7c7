#include "_simulated.h"

#include <string.h>

/* Lay the arena out for a mode and open the engine in it. */
static tinyfed_status_t open_engine(tinyfed_simulated_t *device, tinyfed_mode_t mode, uint32_t scratch_bytes,
                                    uint32_t *bytes_short)
{
    tinyfed_status_t status = TINYFED_OK;
    if (device->plan.arena_bytes == 0 || device->plan.mode != mode)
        status = tinyfed_plan(&device->plan, &device->model, mode);
    if (status != TINYFED_OK) {
        device->plan.arena_bytes = 0;
        return status;
    }
    const uint64_t needed = (uint64_t)device->plan.arena_bytes + scratch_bytes;
    if (needed > device->arena_bytes) {
        *bytes_short = (uint32_t)(needed - device->arena_bytes);
        return TINYFED_E_MEMORY;
    }
    uint8_t *work = device->arena + (device->plan.arena_bytes - device->plan.work_bytes);
    float *parameters = (float *)(void *)(device->arena + device->model.parameters_offset);
    return tinyfed_engine_open(&device->engine, &device->model, parameters, mode, work, device->plan.work_bytes);
}

tinyfed_status_t tinyfed_simulated_load(tinyfed_simulated_t *device, uint32_t *bytes_short, const void *image,
                                        size_t image_bytes)
{
    uint32_t offset;
    if (image_bytes > device->arena_bytes) {
        *bytes_short = (uint32_t)(image_bytes - device->arena_bytes);
        return TINYFED_E_MEMORY;
    }
    memcpy(device->arena, image, image_bytes);
    device->plan.arena_bytes = 0;
    tinyfed_status_t status = tinyfed_model_open(&device->model, &offset, device->arena, (uint32_t)image_bytes);
    if (status == TINYFED_OK) status = open_engine(device, TINYFED_MODE_ONLINE, 0, bytes_short);
    device->shared_first = 0;
    device->shared_count = device->model.parameter_count;
    return status;
}

tinyfed_status_t tinyfed_simulated_place(tinyfed_simulated_t *device, const tinyfed_order_t *order,
                                         const uint8_t *weights, size_t weight_bytes)
{
    const uint32_t count = device->model.parameter_count;
    uint8_t *parameters = (uint8_t *)device->engine.parameters;
    uint32_t first, shared;
    tinyfed_status_t status = tinyfed_shared_part(&first, &shared, order, &device->model);
    if (status == TINYFED_OK && weights == NULL)
        status = tinyfed_check_kept(order, &device->model, device->shared_first, device->shared_count);
    if (status != TINYFED_OK) return status;
    if (weights != NULL) {
        if (weight_bytes != 4u * (size_t)count) return TINYFED_E_SHAPE;
        if (shared < count) memset(parameters, 0, weight_bytes);
        memcpy(parameters + 4u * (size_t)first, weights + 4u * (size_t)first, 4u * (size_t)shared);
    }
    device->shared_first = first;
    device->shared_count = shared;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_simulated_visit(tinyfed_simulated_t *device, uint32_t *bytes_short,
                                         const tinyfed_order_t *order, const tinyfed_shard_t *shard,
                                         const int *cancelled)
{
    uint32_t scratch_bytes;
    tinyfed_status_t status = tinyfed_visit_scratch_bytes(&scratch_bytes, order, shard, &device->model);
    if (status == TINYFED_OK) status = open_engine(device, tinyfed_order_mode(order), scratch_bytes, bytes_short);
    if (status != TINYFED_OK) return status;
    status = tinyfed_visit_begin(&device->visit, &device->engine, order, shard,
                                 device->arena + device->plan.arena_bytes, scratch_bytes);
    device->visit.result.arena_bytes = device->plan.arena_bytes + scratch_bytes;
    bool done = false;
    while (status == TINYFED_OK && !done) {
        if (__atomic_load_n(cancelled, __ATOMIC_RELAXED)) return TINYFED_E_CANCELLED;
        status = tinyfed_visit_step(&device->visit, &done);
    }
    return status;
}
