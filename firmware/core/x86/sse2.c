/* The vector bodies for x86-64 with SSE2. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_X86

#include "sse2.h"

#include "bodies_x86.h"

#include "../vector/activation.h"
#include "../vector/conv2d.h"
#include "../vector/dense.h"

#endif
