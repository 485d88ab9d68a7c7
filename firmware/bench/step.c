/* Measures online steps of a model on an emulated Cortex-M4: an image of its own, around the real core.
 *
 * The emulator puts the job (struct job, then model image, inputs, targets) into the data flash. SysTick runs at the
 * core's clock; under `-icount shift=7` an instruction takes 128 ns of it, so ticks are instructions times a constant,
 * the same on every run. Results leave by semihosting, one `name value` a line. */
#include <string.h>

#include "cortexm.h"
#include "semihost.h"
#include "tinyfed_core.h"

typedef struct job {
    uint32_t image_offset, image_bytes; /* offsets from the start of the job */
    uint32_t inputs_offset, targets_offset;
    uint32_t sample_count;
    float learning_rate;
} job_t;
_Static_assert(sizeof(job_t) == 24 && offsetof(job_t, image_bytes) == 4 && offsetof(job_t, inputs_offset) == 8 &&
                   offsetof(job_t, targets_offset) == 12 && offsetof(job_t, sample_count) == 16 &&
                   offsetof(job_t, learning_rate) == 20,
               "tinyfed_host.bench.board knows the offsets");

#define STACK_PAINT 0x5A5A5A5Au

extern uint32_t tinyfed_ld_stack_start[];

void tinyfed_cortexm_interrupt(uint32_t irq) { (void)irq; }

static void must(tinyfed_status_t status)
{
    if (status == TINYFED_OK) return;
    tell("status", (uint32_t)-status);
    finish(1);
}

/* What the counting plugin looks for: it counts between the two. */
__attribute__((noinline, used)) void tinyfed_bench_begin(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline, used)) void tinyfed_bench_end(void) { __asm volatile("" ::: "memory"); }

static uint32_t *stack_pointer(void)
{
    uint32_t *sp;
    __asm volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

typedef struct step {
    tinyfed_engine_t *engine;
    const float *input;
    tinyfed_target_t target;
    float learning_rate;
} step_t;

/* Ticks of one step, and of nothing where engine is NULL; *stack_bytes of stack below this frame. */
static __attribute__((noinline)) uint32_t measure(uint32_t *stack_bytes, const step_t *step)
{
    uint32_t *const top = stack_pointer();
    tinyfed_status_t status = TINYFED_OK;
    for (volatile uint32_t *word = tinyfed_ld_stack_start; word < top; word++) *word = STACK_PAINT;
    tinyfed_bench_begin();
    const uint32_t before = TINYFED_SYST_CVR;
    if (step->engine != NULL)
        status = tinyfed_train_online(step->engine, NULL, step->input, &step->target, step->learning_rate);
    const uint32_t after = TINYFED_SYST_CVR;
    tinyfed_bench_end();
    const uint32_t *word = tinyfed_ld_stack_start;
    while (word < top && *word == STACK_PAINT) word++;
    *stack_bytes = (uint32_t)((const uint8_t *)top - (const uint8_t *)word);
    must(status);
    return (before - after) & TINYFED_SYST_MAX;
}

int main(int argc, char **argv)
{
    const uint8_t *const bytes = (const uint8_t *)(uintptr_t)TINYFED_DATA_FLASH_ADDRESS;
    job_t job;
    size_t arena_bytes;
    uint8_t *arena = tinyfed_port_arena(&arena_bytes);
    tinyfed_model_t model;
    tinyfed_plan_t plan;
    tinyfed_engine_t engine;
    (void)argc;
    (void)argv;
    memcpy(&job, bytes, sizeof job);
    if (job.image_bytes > arena_bytes) finish(2);
    memcpy(arena, bytes + job.image_offset, job.image_bytes);
    must(tinyfed_model_open(&model, NULL, arena, job.image_bytes));
    must(tinyfed_plan(&plan, &model, TINYFED_MODE_ONLINE));
    if (plan.arena_bytes > arena_bytes) finish(2);
    uint8_t *work = arena + (plan.arena_bytes - plan.work_bytes);
    must(tinyfed_engine_open(&engine, &model, (float *)(void *)(arena + model.parameters_offset), TINYFED_MODE_ONLINE,
                             work, plan.work_bytes));
    TINYFED_SYST_RVR = TINYFED_SYST_MAX;
    TINYFED_SYST_CVR = 0u;
    TINYFED_SYST_CSR = 5u; /* core clock, no interrupt */
    step_t step = {NULL, NULL, {NULL, 0}, job.learning_rate};
    uint32_t stack_bytes, most_stack_bytes = 0;
    tell("overhead_ticks", measure(&stack_bytes, &step));
    step.engine = &engine;
    const bool labels = model.loss == TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY;
    for (uint32_t k = 0; k < job.sample_count; k++) {
        step.input = (const float *)(const void *)(bytes + job.inputs_offset) + k * model.input_count;
        step.target.values = (const float *)(const void *)(bytes + job.targets_offset) + k * model.output_count;
        if (labels) memcpy(&step.target.label, bytes + job.targets_offset + 4u * k, 4);
        tell("ticks", measure(&stack_bytes, &step));
        if (stack_bytes > most_stack_bytes) most_stack_bytes = stack_bytes;
    }
    const uint64_t hash = tinyfed_weights_hash(engine.parameters, model.parameter_count);
    tell("arena_bytes", plan.arena_bytes);
    tell("work_bytes", plan.work_bytes);
    tell("parameter_bytes", 4u * model.parameter_count);
    tell("stack_bytes", most_stack_bytes);
    tell("weights_hash_high", (uint32_t)(hash >> 32));
    tell("weights_hash_low", (uint32_t)hash);
    finish(0);
    return 0;
}
