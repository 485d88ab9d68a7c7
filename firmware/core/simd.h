/* Eight floats at once, for bodies that are compiled once for each instruction set: the including file defines
 * SIMD_TARGET (the attribute of its functions) and the few operations that compilers do not find by themselves:
 *   static uint32_t simd_live(const float *x)   bit k set where x[k] != 0 (or NaN), k = 0..7
 *   static void simd_load_part(v8_t *v, const float *x, uint32_t n)   x[0..n), n < 8, zeros behind
 *   static void simd_store_part(float *x, const v8_t *v, uint32_t n)
 * Vectors go by pointer: by value they would change the calling convention where the machine has no such registers.
 * A vector's lanes are the lanes of a reduction, so every body gives the bits of the plain one. */
#ifndef TINYFED_SIMD_H
#define TINYFED_SIMD_H

#include <stdint.h>
#include <string.h>

typedef float v8_t __attribute__((vector_size(32)));
typedef int32_t i8_t __attribute__((vector_size(32)));
typedef float v8_unaligned_t __attribute__((vector_size(32), aligned(4), may_alias));

#define SIMD_INLINE SIMD_TARGET static inline __attribute__((always_inline))

#define SIMD_LOAD(p) (*(const v8_unaligned_t *)(p))
#define SIMD_STORE(p, v) (*(v8_unaligned_t *)(p) = (v))
#define SIMD_SHUFFLE __builtin_shufflevector

/* Before a loop of known length over vectors: they shall stay in registers at -O2 too. */
#ifdef __clang__
#define SIMD_UNROLL /* clang does it by itself */
#else
#define SIMD_UNROLL _Pragma("GCC unroll 8")
#endif

#endif
