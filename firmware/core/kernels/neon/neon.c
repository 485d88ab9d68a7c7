/* The vector bodies for aarch64. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_NEON

#include "neon.h"

#include "kernels/vector/activation.inc"
#include "kernels/vector/conv2d.inc"
#include "kernels/vector/dense.inc"

#endif
