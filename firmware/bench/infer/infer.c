/* Counts an int8 program's instructions on QEMU's mps2-an386: a bare image that talks by semihosting. The host
 * loads a blob at BLOB: magic, program bytes, input bytes, runs; then the program and the runs' inputs, each on 16
 * bytes. A line a run: instructions and the outputs' bytes in hexadecimal; then the deepest stack. */
#include "../semihost.h"
#include "tinyfed_int8.h"

#define BLOB ((const uint8_t *)0x21000000u)
#define BLOB_MAGIC 0x48434E42u /* "BNCH" */
#define WORK_BYTES 0x300000u

/* CMSDK timer 0 counts down at 25 MHz; with -icount shift=7 an instruction takes 128 ns, 3.2 ticks. */
#define TIMER_CONTROL (*(volatile uint32_t *)0x40000000u)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004u)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008u)

extern uint32_t bench_stack_start[], bench_stack_end[];
static uint8_t work[WORK_BYTES] __attribute__((aligned(16), section(".noinit")));

static void print_bytes(const uint8_t *bytes, uint32_t count)
{
    static const char hex[] = "0123456789abcdef";
    char text[65];
    while (count != 0) {
        const uint32_t now = count < 32u ? count : 32u;
        for (uint32_t i = 0; i < now; i++) {
            text[2u * i] = hex[bytes[i] >> 4];
            text[2u * i + 1u] = hex[bytes[i] & 15u];
        }
        text[2u * now] = 0;
        print(text);
        bytes += now;
        count -= now;
    }
}

static uint32_t elapsed(uint32_t from) { return from - TIMER_VALUE; }

#define PAINT 0xA5A5A5A5u

static uint32_t deepest_stack(void)
{
    const uint32_t *p = bench_stack_start;
    while (p < bench_stack_end && *p == PAINT) p++;
    return (uint32_t)((const uint8_t *)bench_stack_end - (const uint8_t *)p);
}

/* What the counting plugin looks for: it counts between the two. */
__attribute__((noinline, used)) void tinyfed_bench_begin(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline, used)) void tinyfed_bench_end(void) { __asm volatile("" ::: "memory"); }

/* Its own frame, so that what is painted below belongs to the engine. */
static __attribute__((noinline)) uint32_t run(const tinyfed_int8_t *net)
{
    const uint32_t here = (uint32_t)(uintptr_t)__builtin_frame_address(0);
    for (uint32_t *p = bench_stack_start; (uint32_t)(uintptr_t)p < here - 128u; p++) *p = PAINT;
    tinyfed_bench_begin();
    const uint32_t from = TIMER_VALUE;
    if (tinyfed_int8_run(net, work, sizeof work) != TINYFED_OK) finish(4);
    const uint32_t ticks = elapsed(from);
    tinyfed_bench_end();
    return ticks;
}

static void load_inputs(const tinyfed_int8_t *net, const uint8_t *inputs)
{
    for (uint32_t i = 0; i < net->input_count; i++) {
        const tinyfed_int8_port_t port = tinyfed_int8_input(net, i);
        for (uint32_t k = 0; k < tinyfed_int8_port_bytes(&port); k++) work[port.offset + k] = *inputs++;
    }
}

void bench_main(void);

void bench_main(void)
{
    const uint32_t *head = (const uint32_t *)BLOB;
    if (head[0] != BLOB_MAGIC) finish(2);
    const uint32_t program_bytes = head[1], input_bytes = head[2], runs = head[3];
    const uint8_t *program = BLOB + 16, *inputs = program + ((program_bytes + 15u) & ~15u);
    tinyfed_int8_t net;
    if (tinyfed_int8_open(&net, NULL, program, program_bytes) != TINYFED_OK) finish(3);
    if (net.work_bytes > WORK_BYTES) finish(5);
    if (tinyfed_int8_reset(&net, work, sizeof work, NULL) != TINYFED_OK) finish(4);
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CONTROL = 1;
    const uint32_t from = TIMER_VALUE;
    const uint32_t empty = elapsed(from);
    uint32_t stack = 0;
    for (uint32_t i = 0; i < runs; i++, inputs += (input_bytes + 15u) & ~15u) {
        load_inputs(&net, inputs);
        const uint32_t ticks = run(&net) - empty;
        const uint32_t here = (uint32_t)(uintptr_t)__builtin_frame_address(0);
        const uint32_t used = deepest_stack() - ((uint32_t)(uintptr_t)bench_stack_end - here);
        if (used > stack) stack = used;
        tell("instructions", (uint32_t)((uint64_t)ticks * 10u / 32u));
        print("output ");
        for (uint32_t k = 0; k < net.output_count; k++) {
            const tinyfed_int8_port_t port = tinyfed_int8_output(&net, k);
            print_bytes(work + port.offset, tinyfed_int8_port_bytes(&port));
        }
        print("\n");
    }
    tell("stack", stack);
    finish(0);
}

static void fault(void) { finish(99); }

void bench_start(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    bench_stack_end,     (const void *)bench_start, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault,       (const void *)fault};

void bench_start(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the FPU is off after reset */
    __asm__ volatile("dsb\n\tisb");
    bench_main();
}
