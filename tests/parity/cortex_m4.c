/* On QEMU's mps2-an386: start-up, and output by semihosting. The blob is loaded at 0x21000000. */
#include "parity.h"

#define BLOB ((const uint8_t *)0x21000000u)

extern uint32_t stack_top[], bss_start[], bss_end[];

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void parity_print(const char *line) { semihost(0x04, line); /* SYS_WRITE0 */ }

static void leave(uint32_t code)
{
    const uint32_t block[2] = {0x20026u, code}; /* ADP_Stopped_ApplicationExit */
    semihost(0x20, block);                      /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}

static void fault(void) { leave(99); }

static void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the FPU is off after reset */
    __asm__ volatile("dsb\n isb");
    for (uint32_t *p = bss_start; p < bss_end; p++) *p = 0;
    leave((uint32_t)parity_run(BLOB));
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top,           (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault};
