/* The bodies for x86-64, picked at run time. */
#ifndef TINYFED_X86_H
#define TINYFED_X86_H

#include "../dense.h"

void tinyfed_dense_forward_avx2_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                                    uint32_t outputs);
void tinyfed_dense_backward_avx2_f32(const tinyfed_dense_step_t *step);
void tinyfed_activate_avx2_f32(float *y, uint32_t count, uint8_t activation, float alpha);
void tinyfed_dense_forward_sse_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                                   uint32_t outputs);
void tinyfed_dense_backward_sse_f32(const tinyfed_dense_step_t *step);
void tinyfed_activate_sse_f32(float *y, uint32_t count, uint8_t activation, float alpha);

#endif
