#ifndef TINYFED_TRAINING_LOSS_H
#define TINYFED_TRAINING_LOSS_H

#include "kernels/activation.h"

/* The loss of outputs y[count], which are overwritten: by the gradient before the last activation
 * (`derivative`) where `trains`, else by nothing of use. */
void tinyfed_loss_f32(tinyfed_score_t *score, float *y, uint32_t count, uint8_t loss, const tinyfed_target_t *target,
                      bool trains, uint8_t derivative, float alpha);

#endif
