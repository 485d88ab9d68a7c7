/* The machine whose bodies of the kernels this build has. Every kernel has a plain body, named _plain, whose bits are
 * the specification; fast bodies lie in a folder per machine, and a file there is empty on every other one. The name
 * without a suffix is the body that the engine calls: of the machine's folder, chosen in x86/dispatch.c and
 * plain/dispatch.c. */
#ifndef TINYFED_KERNELS_MACHINE_H
#define TINYFED_KERNELS_MACHINE_H

/* Where the board's manifest says what its floating-point unit computes: else the bodies would be the plain ones. */
#if defined(TINYFED_ARM_FP) && ((__ARM_FP + 0) & 12) != TINYFED_ARM_FP
#error "__ARM_FP is not what the board has: the flags of its manifest did not reach the compiler, or others came after"
#endif

#if defined(TINYFED_PLAIN_ONLY) || !defined(__GNUC__)
#define TINYFED_MACHINE_PLAIN 1
#elif defined(__x86_64__)
#define TINYFED_MACHINE_X86 1
#elif defined(__aarch64__)
#define TINYFED_MACHINE_NEON 1
#elif defined(__ARM_ARCH_7EM__) && defined(__ARM_FP) && defined(__thumb2__)
#define TINYFED_MACHINE_CORTEXM4 1
#else
#define TINYFED_MACHINE_PLAIN 1
#endif

#endif
