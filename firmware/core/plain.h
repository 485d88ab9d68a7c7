/* First in the files with plain bodies: where a build has fast ones too, the plain ones take names of their own. The
 * linker drops them there where nothing calls them; tests compare with them. */
#ifndef TINYFED_PLAIN_H
#define TINYFED_PLAIN_H

#include "kernels/machine.h"

#ifndef TINYFED_BODIES_PLAIN
#define tinyfed_activate_f32 tinyfed_activate_plain_f32
#define tinyfed_dense_forward_f32 tinyfed_dense_forward_plain_f32
#define tinyfed_dense_backward_f32 tinyfed_dense_backward_plain_f32
#define tinyfed_conv2d_forward_f32 tinyfed_conv2d_forward_plain_f32
#define tinyfed_conv2d_input_gradient_f32 tinyfed_conv2d_input_gradient_plain_f32
#define tinyfed_conv2d_weight_gradient_f32 tinyfed_conv2d_weight_gradient_plain_f32
#endif

#endif
