/* What tanh is made of, for its bodies. */
#ifndef TINYFED_MATH_TANH_COEFFICIENTS_H
#define TINYFED_MATH_TANH_COEFFICIENTS_H

/* tanh(x) = x P(x^2) / Q(x^2), both of degree 4, a minimax fit of the relative error on |x| <= 9 with float32
 * coefficients (2^-25.2). All coefficients are positive, so nothing cancels. At the bound the quotient is 1 and
 * nowhere is it larger; beyond, tanh is 1 within the error stated in docs/numerics.md. */
#define TINYFED_TANH_BOUND 0x1.048bcep+3f

/* Of P from the highest power down, then of Q; the last of each is 1. */
#define TINYFED_TANH_COEFFICIENTS                                                                                      \
    0x1.cbb16ap-27f, 0x1.5a2cfap-16f, 0x1.ca69ecp-9f, 0x1.1213d4p-3f, 0x1.a2248cp-21f, 0x1.58cffep-12f,                \
        0x1.a816b2p-6f, 0x1.de5f38p-2f

#endif
