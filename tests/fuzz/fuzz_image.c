/* libFuzzer: the image loader, and a training step with what it lets through. The fuzzer's bytes are taken as an
 * image whose checksums are put right first: else nothing would get past them. */
#include <stdlib.h>
#include <string.h>

#include "tinyfed_core.h"

#define WORK_MAX_BYTES (1u << 20)
#define STEP_MAX_VALUES (1u << 14) /* larger nets only cost time */

static void seal(uint8_t *image, uint32_t size)
{
    uint32_t parameters;
    if (size < 64) return;
    memcpy(&parameters, image + 24, 4);
    memcpy(image + 8, &size, 4);
    if (parameters >= 24 && parameters <= size) {
        const uint64_t hash = tinyfed_hash64(TINYFED_HASH_START, image + 24, parameters - 24);
        memcpy(image + 16, &hash, 8);
    }
    const uint32_t crc = tinyfed_crc32(tinyfed_crc32(0, image, 12), image + 16, size - 16);
    memcpy(image + 12, &crc, 4);
}

static void train(const tinyfed_model_t *model, uint8_t *image, tinyfed_mode_t mode)
{
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    if (tinyfed_plan(&plan, model, mode) != TINYFED_OK || plan.work_bytes > WORK_MAX_BYTES) return;
    if (model->input_count > STEP_MAX_VALUES || model->output_count > STEP_MAX_VALUES) return;
    uint8_t *work = malloc(plan.work_bytes);
    float *input = calloc(model->input_count, sizeof *input), *values = calloc(model->output_count, sizeof *values);
    for (uint32_t k = 0; k < model->input_count; k++) input[k] = (float)(k % 7) - 3.0f;
    const tinyfed_target_t target = {values, 0};
    const tinyfed_optimizer_t optimizer = {0.1f, 0.5f, 0.5f, 0.5f, 0.1f, 0.1f, 1.0f};
    float *parameters = (float *)(image + model->parameters_offset);
    if (tinyfed_engine_open(&engine, model, parameters, mode, work, plan.work_bytes) != TINYFED_OK) abort();
    if (mode <= TINYFED_MODE_ONLINE) {
        const tinyfed_status_t wanted = mode == TINYFED_MODE_ONLINE ? TINYFED_OK : TINYFED_E_STATE;
        if (tinyfed_train_online(&engine, NULL, input, &target, 0.1f) != wanted) abort();
    } else {
        if (tinyfed_batch_begin(&engine) != TINYFED_OK) abort();
        if (tinyfed_batch_add(&engine, NULL, input, &target) != TINYFED_OK) abort();
        if (tinyfed_batch_step(&engine, &optimizer) != TINYFED_OK) abort();
    }
    free(work);
    free(input);
    free(values);
}

/* Multiply-adds the records announce, as far as this file has to know: a bound on the time of a step. */
static int is_quick(const tinyfed_model_t *model)
{
    uint64_t cost = 0;
    for (uint32_t layer = 0; layer < model->layer_count; layer++) {
        const uint8_t *record = model->image + 64 + 32 * layer;
        uint16_t height, width;
        uint32_t channels;
        memcpy(&height, record + 4, 2);
        memcpy(&width, record + 6, 2);
        memcpy(&channels, record + 8, 4);
        cost += (uint64_t)height * width * channels * (1u + record[12] * record[13]) * 64u;
    }
    return cost < (1u << 24);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    tinyfed_model_t model;
    uint32_t offset = 0;
    const uint32_t image_bytes = (uint32_t)size - 1u; /* the last byte picks the mode and whether to seal */
    uint8_t *image = malloc(image_bytes + 1u);
    memcpy(image, data, image_bytes);
    if ((data[image_bytes] & 0x80u) == 0) seal(image, image_bytes);
    const tinyfed_status_t status = tinyfed_model_open(&model, &offset, image, image_bytes);
    if (status == TINYFED_OK && is_quick(&model)) train(&model, image, (tinyfed_mode_t)(data[image_bytes] % 6u));
    else if (status != TINYFED_OK && (status > 0 || offset > image_bytes)) abort();
    free(image);
    return 0;
}
