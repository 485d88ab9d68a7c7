/* The vector bodies for x86-64 with AVX2. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_X86

#include "avx2.h"

#include "variants.h"

#include "kernels/vector/activation.inc"
#include "kernels/vector/conv2d.inc"
#include "kernels/vector/dense.inc"

#endif
