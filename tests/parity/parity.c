/* Train the nets of a blob and print a hash of every bit that comes out; the same on every target.
 *
 * The blob, little-endian: u32 cases; then for each case u32 image bytes, u32 samples, f32 rate, u32 mode, then the
 * image, the inputs and the targets (float32 values or int32 labels), each padded to 16 bytes. */
#include "tinyfed_core.h"

#include "parity.h"

static _Alignas(16) uint8_t arena[PARITY_ARENA_BYTES];

static uint64_t hash_floats(uint64_t hash, const float *values, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t bits;
        memcpy(&bits, &values[k], sizeof bits);
        if (values[k] != values[k]) bits = 0x7FC00000u; /* sign and payload of NaN differ between machines */
        hash = tinyfed_hash64(hash, &bits, sizeof bits);
    }
    return hash;
}

static uint32_t padded(uint32_t count) { return (count + 15u) & ~15u; }

static uint64_t run_case(const uint8_t **at, int *failed)
{
    uint32_t image_bytes, samples, mode;
    float rate;
    memcpy(&image_bytes, *at, 4);
    memcpy(&samples, *at + 4, 4);
    memcpy(&rate, *at + 8, 4);
    memcpy(&mode, *at + 12, 4);
    const uint8_t *image = *at + 16;
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    *failed = 1;
    if (image_bytes > sizeof arena) return 0;
    memset(arena, 0xA5, sizeof arena);
    memcpy(arena, image, image_bytes);
    if (tinyfed_model_open(&model, NULL, arena, image_bytes) != TINYFED_OK) return 0;
    if (tinyfed_plan(&plan, &model, (tinyfed_mode_t)mode) != TINYFED_OK || plan.arena_bytes > sizeof arena) return 0;
    float *parameters = (float *)(void *)(arena + model.parameters_offset);
    if (tinyfed_engine_open(&engine, &model, parameters, (tinyfed_mode_t)mode, arena + padded(image_bytes),
                            plan.work_bytes) != TINYFED_OK)
        return 0;
    const uint32_t labels = model.loss == TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY;
    const float *x = (const float *)(const void *)(image + padded(image_bytes));
    const uint8_t *y = (const uint8_t *)x + padded(samples * model.input_count * 4u);
    const uint32_t target_bytes = labels ? 4u : model.output_count * 4u;
    *at = y + padded(samples * target_bytes);
    uint64_t hash = TINYFED_HASH_START;
    const int batch = mode >= TINYFED_MODE_BATCH_SGD;
    const tinyfed_optimizer_t optimizer = {rate, 0.75f, 0.875f, 0.96875f, 0x1p-10f, 0x1p-7f, 0.5f};
    if (batch && tinyfed_batch_begin(&engine) != TINYFED_OK) return 0;
    tinyfed_target_t before = {NULL, 0}; /* of the sample before */
    for (uint32_t k = 0; k < samples; k++, x += model.input_count, y += target_bytes) {
        const float *output = NULL;
        tinyfed_score_t score = {0.0f, false}, trained;
        tinyfed_target_t target = {labels ? NULL : (const float *)(const void *)y, 0};
        if (labels) memcpy(&target.label, y, 4);
        if (tinyfed_infer(&engine, &output, x) != TINYFED_OK) return 0;
        hash = hash_floats(hash, output, model.output_count);
        if (tinyfed_evaluate(&engine, &score, x, &target) != TINYFED_OK) return 0;
        if (!batch) {
            if (tinyfed_train_online(&engine, &trained, x, &target, rate) != TINYFED_OK) return 0;
            score.loss = trained.loss;
        } else if (k % 2 == 1) {
            if (tinyfed_batch_add(&engine, NULL, x - model.input_count, &before) != TINYFED_OK) return 0;
            if (tinyfed_batch_add(&engine, NULL, x, &target) != TINYFED_OK) return 0;
            if (tinyfed_batch_step(&engine, &optimizer) != TINYFED_OK) return 0;
        }
        before = target;
        hash = hash_floats(hash, &score.loss, 1);
        hash = tinyfed_hash64(hash, &score.correct, 1);
    }
    *failed = 0;
    return hash_floats(hash, parameters, model.parameter_count);
}

int parity_run(const uint8_t *blob)
{
    uint32_t cases;
    memcpy(&cases, blob, 4);
    const uint8_t *at = blob + 16;
    for (uint32_t k = 0; k < cases; k++) {
        int failed;
        const uint64_t hash = run_case(&at, &failed);
        parity_print_hash(hash, failed);
        if (failed) return 1;
    }
    return 0;
}
