/* Which bodies of the kernels this build has. Every kernel has a plain body, whose bits are the specification; fast
 * bodies lie in a folder per machine, and a file there is empty on every other one. */
#ifndef TINYFED_BODIES_H
#define TINYFED_BODIES_H

#if defined(TINYFED_PLAIN_ONLY) || !defined(__GNUC__)
#define TINYFED_BODIES_PLAIN 1
#elif defined(__x86_64__)
#define TINYFED_BODIES_X86 1
#elif defined(__aarch64__)
#define TINYFED_BODIES_NEON 1
#elif defined(__ARM_ARCH_7EM__) && defined(__ARM_FP) && defined(__thumb2__)
#define TINYFED_BODIES_CORTEXM4 1
#else
#define TINYFED_BODIES_PLAIN 1
#endif

#endif
