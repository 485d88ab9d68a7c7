/* Checks each line it reads from standard input against firmware/visit; the formats are those of tests/golden and of
 * tests/unit/test_visit.py. The engine is a stand-in that notes what it is shown. Ends with 1 at the first line that
 * does not hold. */
#include "../words.h"
#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

#define LINE_MAX_BYTES (4u << 20)
#define STEPS_MAX 65536u

static uint32_t batch_fill, batch_steps, batch_sizes_bad, batch_expected;

typedef struct step {
    uint32_t class, index, label;
} step_t;
static step_t trained[STEPS_MAX], evaluated[STEPS_MAX];
static uint32_t trained_count, evaluated_count;

static void note(step_t *steps, uint32_t *count, const float *input, const tinyfed_target_t *target)
{
    step_t step = {(uint32_t)input[0], (uint32_t)input[1], (uint32_t)target->label};
    if (*count < STEPS_MAX) steps[(*count)++] = step;
}

tinyfed_status_t tinyfed_train_online(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                      const tinyfed_target_t *target, float learning_rate)
{
    (void)engine, (void)learning_rate;
    note(trained, &trained_count, input, target);
    score->loss = (float)trained_count; /* so that the means of first and last steps are known */
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_evaluate(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                  const tinyfed_target_t *target)
{
    (void)engine;
    note(evaluated, &evaluated_count, input, target);
    score->loss = 2.0f;
    score->correct = target->label == 0;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_batch_begin(tinyfed_engine_t *engine)
{
    (void)engine;
    batch_fill = batch_steps = batch_sizes_bad = 0;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_batch_add(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                   const tinyfed_target_t *target)
{
    batch_fill++;
    return tinyfed_train_online(engine, score, input, target, 0.0f);
}

tinyfed_status_t tinyfed_batch_step(tinyfed_engine_t *engine, const tinyfed_optimizer_t *optimizer)
{
    (void)engine, (void)optimizer;
    batch_steps++;
    batch_sizes_bad += batch_fill > batch_expected || batch_fill == 0;
    batch_fill = 0;
    return TINYFED_OK;
}

float tinyfed_sin_f32(float x) { return x; }

static void check_order(void)
{
    uint32_t byte_count;
    tinyfed_order_t order;
    long status = decimal();
    uint8_t *bytes = bytes_of(word(), &byte_count);
    expect(tinyfed_order_decode(&order, bytes, byte_count) == (tinyfed_status_t)status, "order: status");
    if (status != TINYFED_OK) {
        free(bytes);
        return;
    }
    expect(order.source == decimal() && order.ways == decimal() && order.passes == decimal(), "order: source..passes");
    expect(order.shots == decimal() && order.queries == decimal() && order.seed == hexadecimal(), "order: shots..seed");
    expect(tinyfed_bits(order.learning_rate) == hexadecimal(), "order: learning rate");
    expect(order.checkpoint_count == decimal(), "order: checkpoint count");
    for (uint32_t i = 0; i < order.checkpoint_count; i++)
        expect(order.checkpoints[i] == decimal(), "order: checkpoint");
    if (bytes[0] == 1) {
        expect(!order.update && !order.flags && !order.batch && order.proximal == 0.0f, "order: version 1 has no more");
    } else {
        expect(order.update == decimal() && order.flags == decimal() && order.batch == decimal(),
               "order: update..batch");
        expect(tinyfed_bits(order.proximal) == hexadecimal(), "order: proximal");
    }
    if (bytes[0] >= 3) {
        expect(order.local_first == decimal() && order.local_last == decimal(), "order: local layers");
        expect(order.reconstruct == decimal() && order.top == decimal(), "order: reconstruct, top");
        expect(order.answer == decimal(), "order: answer");
    } else {
        expect(!order.local_first && !order.local_last && !order.reconstruct && !order.top && !order.answer,
               "order: of version 3");
    }
    expect(order.start == (bytes[0] == 4 ? (uint32_t)decimal() : 0u), "order: start");
    free(bytes);
}

static void check_result(void)
{
    uint32_t byte_count;
    uint8_t *bytes = bytes_of(word(), &byte_count), encoded[TINYFED_RESULT_BYTES];
    tinyfed_result_t result;
    result.samples = (uint32_t)decimal();
    result.loss_first = tinyfed_float((uint32_t)hexadecimal());
    result.loss_last = tinyfed_float((uint32_t)hexadecimal());
    result.train_us = (uint32_t)decimal();
    result.train_instructions = (uint32_t)decimal();
    result.stack_bytes = (uint32_t)decimal();
    result.arena_bytes = (uint32_t)decimal();
    result.checkpoint_count = (uint8_t)decimal();
    for (uint32_t i = 0; i < result.checkpoint_count; i++) {
        result.checkpoints[i].shots = (uint32_t)decimal();
        result.checkpoints[i].count = (uint32_t)decimal();
        result.checkpoints[i].correct = (uint32_t)decimal();
        result.checkpoints[i].loss = tinyfed_float((uint32_t)hexadecimal());
    }
    expect(tinyfed_result_encode(encoded, &result) == byte_count, "result: length");
    expect(memcmp(encoded, bytes, byte_count) == 0, "result: bytes");
    free(bytes);
}

static void check_shard(void)
{
    uint32_t byte_count, first, count;
    tinyfed_shard_t shard;
    const char *expected = word();
    uint8_t *bytes = bytes_of(word(), &byte_count);
    tinyfed_status_t status = tinyfed_shard_open(&shard, bytes, byte_count);
    expect(expected[0] == '*' || status == (tinyfed_status_t)strtol(expected, NULL, 10), "shard: status");
    if (status == TINYFED_OK) {
        float sum = 0.0f;
        for (uint32_t label = 0; label < shard.class_count; label++) {
            tinyfed_shard_class(&shard, &first, &count, label);
            sum += shard.samples[(first + count) * (shard.feature_count + shard.target_count) - 1];
        }
        expect(!(sum > 3e38f), "shard: samples");
        if (expected[0] != '*') {
            expect(shard.feature_count == decimal() && shard.class_count == decimal() &&
                       shard.sample_count == decimal(),
                   "shard: sizes");
        }
    }
    if (byte_count > 1)
        expect(tinyfed_shard_open(&shard, bytes + 1, byte_count - 1) == TINYFED_E_ALIGNMENT, "shard: odd");
    free(bytes);
}

static void check_random(char kind)
{
    tinyfed_random_t random = {hexadecimal()};
    uint32_t length = kind == 's' ? (uint32_t)decimal() : 0,
             bound = kind == 'b' || kind == 's' ? (uint32_t)decimal() : 0;
    if (kind == 's') {
        uint16_t sequence[256];
        expect(length <= 256, "sequence: length");
        tinyfed_random_sequence(&random, sequence, length, bound);
        for (uint32_t i = 0; i < length; i++) expect(sequence[i] == decimal(), "sequence");
        return;
    }
    for (char *text = strtok(NULL, " \n"); text != NULL; text = strtok(NULL, " \n")) {
        uint64_t value = strtoull(text, NULL, 16);
        if (kind == 'n') expect(tinyfed_random_next(&random) == value, "next");
        if (kind == 'b') expect(tinyfed_random_below(&random, bound) == value, "below");
        if (kind == 'u') expect(tinyfed_bits(tinyfed_random_unit(&random)) == value, "unit");
    }
}

/* Compare with "class:index:label,..."; "-" is none. */
static void check_steps(const step_t *steps, uint32_t count, const char *text, const char *what)
{
    uint32_t i = 0;
    if (text[0] != '-') {
        for (; i < count; i++) {
            char *end;
            uint32_t class = (uint32_t)strtoul(text, &end, 10);
            uint32_t index = (uint32_t)strtoul(end + 1, &end, 10);
            uint32_t label = (uint32_t)strtoul(end + 1, &end, 10);
            expect(steps[i].class == class && steps[i].index == index && steps[i].label == label, what);
            if (*end == 0) {
                i++;
                break;
            }
            text = end + 1;
        }
    }
    expect(i == count, what);
}

static uint8_t *make_shard(const char *counts, uint32_t *byte_count)
{
    uint32_t classes = 1, total = 0, label = 0;
    for (const char *p = counts; *p; p++) classes += *p == ',';
    uint32_t offset = (32 + 4 * classes + 15) & ~15u;
    uint8_t *bytes = calloc(1, offset);
    for (const char *p = counts; *p; label++) {
        char *end;
        uint32_t count = (uint32_t)strtoul(p, &end, 10);
        bytes = realloc(bytes, offset + 8 * (total + count));
        expect(bytes != NULL && ((uintptr_t)bytes & 15u) == 0, "realloc");
        for (uint32_t i = 0; i < count; i++, total++) {
            tinyfed_put32(bytes + offset + 8 * total, tinyfed_bits((float)label));
            tinyfed_put32(bytes + offset + 8 * total + 4, tinyfed_bits((float)i));
        }
        tinyfed_put32(bytes + 32 + 4 * label, total);
        p = *end ? end + 1 : end;
    }
    *byte_count = offset + 8 * total;
    memcpy(bytes, "TFSH\1\1\0\0", 8);
    uint32_t fields[5] = {2, classes, total, offset, *byte_count};
    for (uint32_t i = 0; i < 5; i++) tinyfed_put32(bytes + 8 + 4 * i, fields[i]);
    tinyfed_put32(bytes + 28, tinyfed_crc32(tinyfed_crc32(0, bytes, 28), bytes + 32, *byte_count - 32));
    return bytes;
}

static void check_draw(void)
{
    uint32_t byte_count, order_bytes, scratch_bytes;
    tinyfed_order_t order;
    uint8_t *encoded = bytes_of(word(), &order_bytes);
    expect(tinyfed_order_decode(&order, encoded, order_bytes) == TINYFED_OK, "draw: order");
    uint8_t *bytes = make_shard(word(), &byte_count);
    tinyfed_shard_t shard;
    expect(tinyfed_shard_open(&shard, bytes, byte_count) == TINYFED_OK, "draw: shard");
    tinyfed_model_t model = {0};
    model.input_count = 2;
    model.output_count = order.ways;
    model.loss = TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY;
    tinyfed_engine_t engine = {0};
    engine.model = &model;
    engine.mode = tinyfed_order_mode(&order);
    batch_expected = order.batch ? order.batch : (uint32_t)order.ways * order.shots;
    expect(tinyfed_visit_scratch_bytes(&scratch_bytes, &order, &shard, &model) == TINYFED_OK, "draw: scratch");
    void *scratch = malloc(scratch_bytes);
    tinyfed_visit_t visit;
    expect(tinyfed_visit_begin(&visit, &engine, &order, &shard, scratch, scratch_bytes - 16) == TINYFED_E_MEMORY,
           "draw: too little scratch");
    expect(tinyfed_visit_begin(&visit, &engine, &order, &shard, scratch, scratch_bytes) == TINYFED_OK, "draw: begin");
    trained_count = evaluated_count = 0;
    bool done = false;
    while (!done) {
        uint32_t before = trained_count + evaluated_count;
        expect(tinyfed_visit_step(&visit, &done) == TINYFED_OK, "draw: step");
        expect(trained_count + evaluated_count - before <= 1, "draw: more than one sample in a step");
    }
    expect(tinyfed_visit_step(&visit, &done) == TINYFED_E_STATE, "draw: a step after the end");
    check_steps(trained, trained_count, word(), "draw: training steps");
    uint32_t each = order.checkpoint_count ? evaluated_count / order.checkpoint_count : 0;
    expect(each * order.checkpoint_count == evaluated_count, "draw: evaluation samples");
    const char *expected = word();
    for (uint32_t i = 0; i < order.checkpoint_count; i++) {
        check_steps(evaluated + i * each, each, expected, "draw: evaluation samples");
    }
    tinyfed_result_t result;
    tinyfed_visit_result(&visit, &result);
    expect(result.samples == trained_count && result.checkpoint_count == order.checkpoint_count, "draw: counts");
    /* Losses were 1, 2, 3...: the mean of the first w is (w + 1) / 2. */
    float window = order.ways > 1 ? order.ways : trained_count < 4 ? 1.0f : (float)(trained_count / 4);
    expect(result.loss_first == (window + 1.0f) / 2.0f, "draw: first loss");
    expect(result.loss_last == (float)trained_count - (window - 1.0f) / 2.0f, "draw: last loss");
    for (uint32_t i = 0; i < result.checkpoint_count; i++) {
        uint32_t zeros = 0;
        for (uint32_t j = 0; j < each; j++) zeros += evaluated[i * each + j].label == 0;
        expect(result.checkpoints[i].count == each && result.checkpoints[i].correct == zeros, "draw: checkpoint");
        expect(result.checkpoints[i].loss == 2.0f && result.checkpoints[i].shots == order.checkpoints[i],
               "draw: point");
    }
    if (engine.mode != TINYFED_MODE_ONLINE) {
        uint32_t pass = (uint32_t)order.ways * order.shots, size = batch_expected < pass ? batch_expected : pass;
        expect(batch_steps == order.passes * ((pass + size - 1) / size), "draw: updates");
        expect(batch_sizes_bad == 0 && batch_fill == 0, "draw: batches");
    }
    free(scratch);
    free(bytes);
    free(encoded);
}

int main(void)
{
    char *line = malloc(LINE_MAX_BYTES);
    while (line != NULL && fgets(line, LINE_MAX_BYTES, stdin) != NULL) {
        line_number++;
        char *kind = strtok(line, " \n");
        if (kind == NULL || kind[0] == '#') continue;
        if (!strcmp(kind, "order")) check_order();
        else if (!strcmp(kind, "result")) check_result();
        else if (!strcmp(kind, "shard")) check_shard();
        else if (!strcmp(kind, "draw")) check_draw();
        else if (!strcmp(kind, "next") || !strcmp(kind, "below") || !strcmp(kind, "unit") || !strcmp(kind, "sequence"))
            check_random(kind[0]);
        else expect(0, "unknown kind");
    }
    printf("%u lines hold\n", line_number);
    free(line);
    return 0;
}
