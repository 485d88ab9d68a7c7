"""NAME_example.c: a program that runs one inference of the generated image with tinyfed's engine."""

import math

from tinyfed.codegen.generate import Bundle
from tinyfed.errors import UsageError

_FLOAT = """\
/* One inference of @name@ with tinyfed's engine, on a made-up input. On this computer, with CORE the folder
 * firmware/base and firmware/core of tinyfed's sources:
 *
 *   cc -std=c99 -O2 -ffp-contract=off -I BASE -I CORE @name@_example.c @name@.c $(find BASE CORE -name '*.c')
 */
#include <stdio.h>
#include <string.h>

#include "@name@.h"
#include "tinyfed_core.h"

/* The image comes first, where training changes its weights; the work area lies behind it. */
@NAME@_ALIGN static uint8_t arena[@NAME@_ARENA_INFER_BYTES];
static float input[@NAME@_INPUT_0_COUNT];

int main(void) {
    const uint32_t work_at = (@NAME@_IMAGE_BYTES + @NAME@_ALIGNMENT - 1) / @NAME@_ALIGNMENT * @NAME@_ALIGNMENT;
    tinyfed_model_t model;
    tinyfed_engine_t engine;
    const float *output = NULL;
@DECLARED@    uint32_t i;

    memcpy(arena, @name@_image, @NAME@_IMAGE_BYTES);
    if (tinyfed_model_open(&model, NULL, arena, @NAME@_IMAGE_BYTES) != TINYFED_OK) {
        return 1;
    }
    if (tinyfed_engine_open(&engine, &model, (float *)(void *)(arena + model.parameters_offset), TINYFED_MODE_INFER,
                            arena + work_at, (uint32_t)sizeof arena - work_at) != TINYFED_OK) {
        return 1;
    }
    for (i = 0; i < @NAME@_INPUT_0_COUNT; i++) {
        input[i] = (float)(i % 16u) / 8.0f - 1.0f;
    }
    if (tinyfed_infer(&engine, &output, input) != TINYFED_OK) {
        return 1;
    }
@PROBABILITIES@    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        printf(@FORMAT@);
    }
    return 0;
}
"""

# The last activation of a network that learns is part of its loss: the engine gives what comes before it.
_PROBABILITIES = {
    "softmax_cross_entropy": """\
    most = output[0];
    for (i = 1; i < @NAME@_OUTPUT_0_COUNT; i++) {
        most = output[i] > most ? output[i] : most;
    }
    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        values[i] = tinyfed_exp_f32(output[i] - most);
        sum += values[i];
    }
    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        values[i] /= sum; /* softmax: the engine gives logits */
    }
""",
    "binary_cross_entropy": """\
    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        values[i] = 1.0f / (1.0f + tinyfed_exp_f32(-output[i])); /* sigmoid: the engine gives logits */
    }
""",
}

_INT8 = """\
/* One inference of @name@ with tinyfed's engine, on a made-up input. On this computer, with CORE the folder
 * firmware/base and firmware/core of tinyfed's sources:
 *
 *   cc -std=c99 -O2 -ffp-contract=off -I BASE -I CORE @name@_example.c @name@.c $(find BASE CORE -name '*.c')
 */
#include <stdio.h>

#include "@name@.h"
#include "tinyfed_int8.h"

@NAME@_ALIGN static uint8_t work[@NAME@_WORK_BYTES];
static float values[@MOST@]; /* of the largest input or output */

int main(void) {
    tinyfed_int8_t net;
    uint32_t i, k;

    if (tinyfed_int8_open(&net, NULL, @name@_image, @NAME@_IMAGE_BYTES) != TINYFED_OK) {
        return 1;
    }
@RESET@    for (k = 0; k < net.input_count; k++) {
        const tinyfed_int8_port_t input = tinyfed_int8_input(&net, k);
        for (i = 0; i < input.count; i++) {
            values[i] = (float)(i % 16u) / 8.0f - 1.0f;
        }
        tinyfed_int8_quantize((int8_t *)work + input.offset, &input, values, input.count);
    }
    if (tinyfed_int8_run(&net, work, sizeof work) != TINYFED_OK) {
        return 1;
    }
    for (k = 0; k < net.output_count; k++) {
        const tinyfed_int8_port_t output = tinyfed_int8_output(&net, k);
        tinyfed_int8_dequantize(values, &output, (const int8_t *)work + output.offset, output.count);
        for (i = 0; i < output.count; i++) {
            printf(@FORMAT@);
        }
    }
    return 0;
}
"""

_RESET = """\
    /* A stream begins: after this every run goes on from the states that the one before left. */
    if (tinyfed_int8_reset(&net, work, sizeof work, NULL) != TINYFED_OK) {
        return 1;
    }
"""


def example_text(bundle: Bundle) -> str:
    """The program. Raises UsageError where the bundle has no image to run."""
    if not any(array.suffix == "image" for array in bundle.arrays):
        raise UsageError("an example runs tinyfed's engine: add --array image (or both)")
    has = {suffix for suffix, _, _ in bundle.figures}
    probabilities = _PROBABILITIES.get(bundle.loss, "")
    values = "values" if "WORK_BYTES" in has or probabilities else "output"
    shown = f'"%.9g\\n", (double){values}[i]'
    if bundle.labels:
        shown = f'"%s %.9g\\n", @name@_labels[i], (double){values}[i]'
    if "WORK_BYTES" in has:
        most = max(math.prod(port.shape) for port in (*bundle.inputs, *bundle.outputs))
        source = _INT8.replace("@MOST@", str(most)).replace("@RESET@", _RESET if "STATE_BYTES" in has else "")
        if any(port.dtype == "float32" for port in (*bundle.inputs, *bundle.outputs)):
            source = source.replace("-ffp-contract=off", "-ffp-contract=off -DTINYFED_FLOAT")
    else:
        defines = " -DTINYFED_INT8 -DTINYFED_FLOAT" if "FEATURES" in has else ""
        source = _FLOAT.replace("-ffp-contract=off", f"-ffp-contract=off{defines}")
        declared = "    static float values[@NAME@_OUTPUT_0_COUNT];\n" if probabilities else ""
        if bundle.loss == "softmax_cross_entropy":
            declared += "    float most, sum = 0.0f;\n"
        source = source.replace("@PROBABILITIES@", probabilities).replace("@DECLARED@", declared)
    text = source.replace("@FORMAT@", shown)
    return text.replace("@name@", bundle.name).replace("@NAME@", bundle.name.upper())
