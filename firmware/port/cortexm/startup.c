/* From reset to main on a Cortex-M4F, and the vector table. Addresses come from cortexm.ld. */
#include "cortexm.h"

#define CPACR TINYFED_REG(0xE000ED88u)
#define ICSR TINYFED_REG(0xE000ED04u)
#define VTOR TINYFED_REG(0xE000ED08u)
#define AIRCR TINYFED_REG(0xE000ED0Cu)

/* Device interrupts in the table: the STM32F405 has 82, the nRF52840 48. */
#define IRQ_COUNT 96

#define STACK_PAINT 0xA5A5A5A5u

#ifndef TINYFED_ARENA_BYTES
#error "the board's manifest gives TINYFED_ARENA_BYTES"
#endif

#ifndef TINYFED_DATA_FLASH_ADDRESS
#error "memory.data_flash is missing in the manifest: where the device's samples lie"
#endif

extern uint32_t tinyfed_ld_stack_start[], tinyfed_ld_stack_end[];
extern uint32_t tinyfed_ld_data_load[], tinyfed_ld_data_start[], tinyfed_ld_data_end[];
extern uint32_t tinyfed_ld_bss_start[], tinyfed_ld_bss_end[];

int main(int argc, char **argv);
void tinyfed_reset(void);
void tinyfed_start(void);

/* Not zeroed at start: whoever opens a model in it fills what is read. */
static uint8_t arena[TINYFED_ARENA_BYTES] __attribute__((aligned(16), section(".noinit.arena")));

#define NOTE 0x7EC05E00u /* and the cause: by chance no memory holds that after power-on */

static volatile uint32_t noted __attribute__((section(".noinit.note")));
__attribute__((weak)) volatile uint32_t *const tinyfed_cortexm_note = &noted;

/* Inline: a fault may have come of a full stack. */
static inline void reset(tinyfed_reset_cause_t cause)
{
    *tinyfed_cortexm_note = NOTE + (uint32_t)cause;
    __asm volatile("dsb" ::: "memory");
    AIRCR = 0x05FA0004u; /* key, SYSRESETREQ */
    for (;;) __asm volatile("dsb");
}

void tinyfed_cortexm_reset(tinyfed_reset_cause_t cause) { reset(cause); }

tinyfed_reset_cause_t tinyfed_cortexm_noted(void)
{
    const uint32_t cause = *tinyfed_cortexm_note - NOTE;
    *tinyfed_cortexm_note = NOTE + (uint32_t)TINYFED_CAUSE_PIN;
    return cause > (uint32_t)TINYFED_CAUSE_FAULT ? TINYFED_CAUSE_UNKNOWN : (tinyfed_reset_cause_t)cause;
}

/* A fault in the firmware must not take the device off the line for ever. */
static void on_fault(void) { reset(TINYFED_CAUSE_FAULT); }

static void on_nothing(void) {}

__attribute__((weak)) void tinyfed_cortexm_nmi(void) {}

__attribute__((weak)) void tinyfed_cortexm_tick(void) {}

static void on_interrupt(void)
{
    uint32_t ipsr;
    __asm volatile("mrs %0, ipsr" : "=r"(ipsr));
    tinyfed_cortexm_interrupt((ipsr & 0x1FFu) - 16u);
}

typedef struct vectors {
    uint32_t *stack;
    void (*exceptions[15])(void);
    void (*interrupts[IRQ_COUNT])(void);
} vectors_t;
_Static_assert(offsetof(vectors_t, exceptions) == 4 && offsetof(vectors_t, interrupts) == 64,
               "the processor knows them");

__attribute__((section(".vectors"), used)) static const vectors_t vectors = {
    .stack = tinyfed_ld_stack_end,
    .exceptions = {tinyfed_reset, tinyfed_cortexm_nmi, on_fault, on_fault, on_fault, on_fault, NULL, NULL, NULL, NULL,
                   on_nothing, on_nothing, NULL, on_nothing, tinyfed_cortexm_tick},
    .interrupts = {[0 ... IRQ_COUNT - 1] = on_interrupt},
};

/* A reset leaves the processor with its own stack and every mask open; a boot loader that only jumps here may not: it
 * may run on the process stack, with interrupts masked, enabled and pending. */
__attribute__((naked)) void tinyfed_reset(void)
{
    __asm volatile("cpsid i\n"
                   "mov r0, #0\n msr control, r0\n isb\n msr basepri, r0\n msr faultmask, r0\n"
                   "ldr r0, =tinyfed_ld_stack_end\n msr msp, r0\n"
                   "b tinyfed_start\n .ltorg");
}

/* SysTick and every interrupt off, none pending, all of one priority (Armv7-M ARM, B3.2.4, B3.2.11, B3.3, B3.4); then
 * the masks open. */
static void silence(void)
{
    TINYFED_SYST_CSR = 0u;
    ICSR = 1u << 27 | 1u << 25; /* PENDSVCLR, PENDSTCLR */
    for (uint32_t word = 0; word < IRQ_COUNT / 32u; word++) {
        TINYFED_REG(0xE000E180u + 4u * word) = 0xFFFFFFFFu; /* NVIC_ICER */
        TINYFED_REG(0xE000E280u + 4u * word) = 0xFFFFFFFFu; /* NVIC_ICPR */
    }
    for (uint32_t word = 0; word < IRQ_COUNT / 4u; word++) TINYFED_REG(0xE000E400u + 4u * word) = 0u; /* NVIC_IPR */
    for (uint32_t word = 0; word < 3u; word++) TINYFED_REG(0xE000ED18u + 4u * word) = 0u;             /* SHPR1 to 3 */
    __asm volatile("dsb\n isb" ::: "memory");
    tinyfed_interrupts_on();
}

/* Uses no float and calls nothing before the FPU, the stack's paint and the data are there. */
__attribute__((used)) void tinyfed_start(void)
{
    CPACR |= 0xFu << 20; /* full access to the FPU */
    __asm volatile("dsb\n isb" ::: "memory");
    VTOR = (uint32_t)(uintptr_t)&vectors;

    /* Everything below this function's own frame. */
    uint32_t *const frame = (uint32_t *)__builtin_frame_address(0) - 32;
    for (volatile uint32_t *word = tinyfed_ld_stack_start; word < frame; word++) *word = STACK_PAINT;

    const uint32_t *from = tinyfed_ld_data_load;
    for (volatile uint32_t *to = tinyfed_ld_data_start; to < tinyfed_ld_data_end; to++) *to = *from++;
    for (volatile uint32_t *to = tinyfed_ld_bss_start; to < tinyfed_ld_bss_end; to++) *to = 0;

    silence();
    (void)main(0, NULL);
    tinyfed_port_reset();
}

void tinyfed_port_reset(void) { reset(TINYFED_CAUSE_SOFTWARE); }

uint8_t *tinyfed_port_arena(size_t *byte_count)
{
    *byte_count = sizeof arena;
    return arena;
}

const uint8_t *tinyfed_port_shard(size_t *byte_count)
{
    *byte_count = TINYFED_DATA_FLASH_BYTES;
    return (const uint8_t *)(uintptr_t)TINYFED_DATA_FLASH_ADDRESS;
}

uint32_t tinyfed_port_stack_bytes(void)
{
    const uint32_t *word = tinyfed_ld_stack_start;
    while (word < tinyfed_ld_stack_end && *word == STACK_PAINT) word++;
    return (uint32_t)((const uint8_t *)tinyfed_ld_stack_end - (const uint8_t *)word);
}

void tinyfed_cortexm_idle(uint32_t timeout_ms, uint32_t core_hz, bool (*awake)(void))
{
    const uint32_t ticks_per_ms = core_hz / 1000u;
    const uint32_t longest_ms = TINYFED_SYST_MAX / ticks_per_ms;
    if (timeout_ms > longest_ms) timeout_ms = longest_ms;
    if (timeout_ms == 0u) return;
    tinyfed_interrupts_off();
    if (!awake()) {
        TINYFED_SYST_RVR = timeout_ms * ticks_per_ms - 1u;
        TINYFED_SYST_CVR = 0u;
        TINYFED_SYST_CSR = 7u; /* core clock, interrupt, run */
        __asm volatile("dsb\n wfi" ::: "memory");
        TINYFED_SYST_CSR = 0u;
    }
    tinyfed_interrupts_on();
}
