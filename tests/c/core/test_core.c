/* Core against the golden images, and against every damaged and truncated one. argv[1]: model-image.txt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinyfed_core.h"

#define LINE_MAX_BYTES 65536
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef struct vector {
    char name[32];
    uint8_t
        *image; /* on the heap (malloc aligns to 16), exactly as long as it is: the sanitizer sees one byte too far */
    uint32_t image_bytes;
    unsigned long long structure_hash, weights_hash;
    uint32_t parameter_count, arena_infer, arena_online;
    float input[64], target[64], output[64], evaluated[1], loss[1], after[256];
    long label;
} vector_t;

static uint32_t from_hex(uint8_t *bytes, const char *text)
{
    uint32_t count = 0;
    for (; text[0] > ' ' && text[1] > ' '; text += 2) {
        const char pair[3] = {text[0], text[1], 0};
        bytes[count++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return count;
}

static void read_value(vector_t *vector, const char *key, const char *value)
{
    if (strcmp(key, "name") == 0) snprintf(vector->name, sizeof vector->name, "%s", value);
    if (strcmp(key, "image") == 0) {
        vector->image_bytes = (uint32_t)(strlen(value) / 2);
        vector->image = malloc(vector->image_bytes);
        from_hex(vector->image, value);
    }
    if (strcmp(key, "parameter_count") == 0) vector->parameter_count = (uint32_t)strtoul(value, NULL, 10);
    if (strcmp(key, "structure_hash") == 0) vector->structure_hash = strtoull(value, NULL, 16);
    if (strcmp(key, "weights_hash") == 0) vector->weights_hash = strtoull(value, NULL, 16);
    if (strcmp(key, "arena_infer") == 0) vector->arena_infer = (uint32_t)strtoul(value, NULL, 10);
    if (strcmp(key, "arena_online") == 0) vector->arena_online = (uint32_t)strtoul(value, NULL, 10);
    if (strcmp(key, "label") == 0) vector->label = strtol(value, NULL, 10);
    if (strcmp(key, "input") == 0) from_hex((uint8_t *)vector->input, value);
    if (strcmp(key, "target") == 0) from_hex((uint8_t *)vector->target, value);
    if (strcmp(key, "output") == 0) from_hex((uint8_t *)vector->output, value);
    if (strcmp(key, "evaluated") == 0) from_hex((uint8_t *)vector->evaluated, value);
    if (strcmp(key, "loss") == 0) from_hex((uint8_t *)vector->loss, value);
    if (strcmp(key, "weights_after") == 0) from_hex((uint8_t *)vector->after, value);
}

static void check_step(const vector_t *vector)
{
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    uint32_t at = 0;
    CHECK(tinyfed_model_open(&model, &at, vector->image, vector->image_bytes) == TINYFED_OK);
    CHECK(model.parameter_count == vector->parameter_count);
    CHECK(tinyfed_model_structure_hash(&model) == vector->structure_hash);
    CHECK(tinyfed_weights_hash((const float *)(vector->image + model.parameters_offset), model.parameter_count) ==
          vector->weights_hash);
    CHECK(tinyfed_plan(&plan, &model, TINYFED_MODE_INFER) == TINYFED_OK && plan.arena_bytes == vector->arena_infer);
    CHECK(tinyfed_plan(&plan, &model, TINYFED_MODE_ONLINE) == TINYFED_OK && plan.arena_bytes == vector->arena_online);

    uint8_t *arena = malloc(plan.arena_bytes);
    memset(arena, 0xA5, plan.arena_bytes); /* what was there must not matter */
    memcpy(arena, vector->image, vector->image_bytes);
    uint8_t *work = arena + (plan.arena_bytes - plan.work_bytes);
    float *parameters = (float *)(arena + model.parameters_offset);
    CHECK(tinyfed_model_open(&model, &at, arena, vector->image_bytes) == TINYFED_OK);
    CHECK(tinyfed_engine_open(&engine, &model, parameters, TINYFED_MODE_ONLINE, work, plan.work_bytes - 1) ==
          TINYFED_E_MEMORY);
    CHECK(tinyfed_engine_open(&engine, &model, parameters, TINYFED_MODE_ONLINE, work, 4) == TINYFED_E_MEMORY);
    CHECK(tinyfed_engine_open(&engine, &model, parameters + 1, TINYFED_MODE_ONLINE, work, plan.work_bytes) ==
          TINYFED_E_ALIGNMENT);
    CHECK(tinyfed_engine_open(&engine, &model, parameters, TINYFED_MODE_ONLINE, work, plan.work_bytes) == TINYFED_OK);

    const float *output = NULL;
    CHECK(tinyfed_infer(&engine, &output, vector->input) == TINYFED_OK);
    CHECK(memcmp(output, vector->output, model.output_count * sizeof *output) == 0);
    const tinyfed_target_t target = {vector->label < 0 ? vector->target : NULL, (int32_t)vector->label};
    const tinyfed_target_t wrong = {NULL, (int32_t)model.output_count};
    tinyfed_score_t score;
    CHECK(tinyfed_evaluate(&engine, &score, vector->input, &wrong) == TINYFED_E_ARGUMENT);
    CHECK(tinyfed_evaluate(&engine, &score, vector->input, &target) == TINYFED_OK);
    CHECK(memcmp(&score.loss, vector->evaluated, sizeof score.loss) == 0);
    CHECK(tinyfed_train_online(&engine, &score, vector->input, &target, 0.125f) == TINYFED_OK);
    CHECK(memcmp(&score.loss, vector->loss, sizeof score.loss) == 0);
    CHECK(memcmp(parameters, vector->after, model.parameter_count * sizeof *parameters) == 0);
    free(arena);
}

static void check_refusals(const vector_t *vector)
{
    tinyfed_model_t model;
    uint32_t at = 0;
    CHECK(tinyfed_model_open(&model, &at, vector->image + 1, vector->image_bytes - 1) == TINYFED_E_ALIGNMENT);
    for (uint32_t length = 0; length < vector->image_bytes; length++) {
        uint8_t *part = malloc(length + 1);
        memcpy(part, vector->image, length);
        CHECK(tinyfed_model_open(&model, &at, part, length) < 0 && at <= length);
        free(part);
    }
    for (uint32_t index = 0; index < vector->image_bytes; index++)
        for (unsigned change = 1; change < 256; change++) {
            vector->image[index] ^= (uint8_t)change;
            CHECK(tinyfed_model_open(&model, &at, vector->image, vector->image_bytes) < 0);
            vector->image[index] ^= (uint8_t)change;
        }
}

/* The same damage under a checksum and a hash that fit it: the meaning of the fields is what is left to refuse it. */
static void check_resealed(const vector_t *vector)
{
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    uint32_t at = 0, accepted = 0, offset;
    uint8_t *copy = malloc(vector->image_bytes);
    memcpy(&offset, vector->image + 24, 4);
    for (uint32_t index = 24; index < offset; index++)
        for (unsigned change = 1; change < 256; change++) {
            memcpy(copy, vector->image, vector->image_bytes);
            copy[index] ^= (uint8_t)change;
            const uint64_t hash = tinyfed_hash64(TINYFED_HASH_START, copy + 24, offset - 24);
            memcpy(copy + 16, &hash, sizeof hash);
            const uint32_t crc = tinyfed_crc32(tinyfed_crc32(0, copy, 12), copy + 16, vector->image_bytes - 16);
            memcpy(copy + 12, &crc, sizeof crc);
            if (tinyfed_model_open(&model, &at, copy, vector->image_bytes) != TINYFED_OK) continue;
            accepted++;
            CHECK(tinyfed_plan(&plan, &model, TINYFED_MODE_ONLINE) == TINYFED_OK);
            tinyfed_engine_t engine;
            uint8_t *work = malloc(plan.work_bytes);
            float *input = calloc(model.input_count, sizeof *input),
                  *values = calloc(model.output_count, sizeof *values);
            const tinyfed_target_t target = {values, 0};
            CHECK(tinyfed_engine_open(&engine, &model, (float *)(copy + model.parameters_offset), TINYFED_MODE_ONLINE,
                                      work, plan.work_bytes) == TINYFED_OK);
            CHECK(tinyfed_train_online(&engine, NULL, input, &target, 0.5f) == TINYFED_OK);
            free(work);
            free(input);
            free(values);
        }
    printf("%s: %u of %u changes of its structure are models too\n", vector->name, (unsigned)accepted,
           (unsigned)((offset - 24) * 255));
    free(copy);
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    vector_t vector = {0};
    unsigned count = 0;
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ' ');
        if (line[0] == '#' || value == NULL) continue;
        *value++ = 0;
        value[strcspn(value, "\n")] = 0;
        read_value(&vector, line, value);
        if (strcmp(line, "weights_after") != 0) continue; /* the last of a vector */
        check_step(&vector);
        check_refusals(&vector);
        check_resealed(&vector);
        free(vector.image);
        count++;
    }
    fclose(file);
    CHECK(count >= 4);
    printf("%u golden images\n", count);
    return 0;
}
