/* The vector bodies for aarch64. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_NEON

#include "neon.h"

#include "../vector/activation.h"
#include "../vector/conv2d.h"
#include "../vector/dense.h"

#endif
