"""NAME_example.c: a program that runs one inference of the generated image with tinyfed's engine."""

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
static @NAME@_ALIGN uint8_t arena[@NAME@_ARENA_INFER_BYTES];
static float input[@NAME@_INPUT_0_COUNT];

int main(void) {
    const uint32_t work_at = (@NAME@_IMAGE_BYTES + @NAME@_ALIGNMENT - 1) / @NAME@_ALIGNMENT * @NAME@_ALIGNMENT;
    tinyfed_model_t model;
    tinyfed_engine_t engine;
    const float *output = NULL;
    uint32_t i;

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
    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        printf(@FORMAT@);
    }
    return 0;
}
"""

_INT8 = """\
/* One inference of @name@ with tinyfed's engine, on a made-up input. On this computer, with CORE the folder
 * firmware/base and firmware/core of tinyfed's sources:
 *
 *   cc -std=c99 -O2 -ffp-contract=off -I BASE -I CORE @name@_example.c @name@.c $(find BASE CORE -name '*.c')
 */
#include <stdio.h>

#include "@name@.h"
#include "tinyfed_int8.h"

static @NAME@_ALIGN uint8_t work[@NAME@_WORK_BYTES];

int main(void) {
    tinyfed_int8_t net;
    tinyfed_int8_port_t input, output;
    uint32_t i;

    if (tinyfed_int8_open(&net, NULL, @name@_image, @NAME@_IMAGE_BYTES) != TINYFED_OK) {
        return 1;
    }
    input = tinyfed_int8_input(&net, 0);
    output = tinyfed_int8_output(&net, 0);
    for (i = 0; i < @NAME@_INPUT_0_COUNT; i++) {
        const float value = (float)(i % 16u) / 8.0f - 1.0f;
        tinyfed_int8_quantize((int8_t *)work + input.offset + i, &input, &value, 1);
    }
    if (tinyfed_int8_run(&net, work, sizeof work) != TINYFED_OK) {
        return 1;
    }
    for (i = 0; i < @NAME@_OUTPUT_0_COUNT; i++) {
        float value;
        tinyfed_int8_dequantize(&value, &output, (const int8_t *)work + output.offset + i, 1);
        printf(@FORMAT@);
    }
    return 0;
}
"""


def example_text(bundle: Bundle) -> str:
    """The program. Raises UsageError where the bundle has no image to run."""
    if not any(array.suffix == "image" for array in bundle.arrays):
        raise UsageError("an example runs tinyfed's engine: add --array image (or both)")
    if bundle.inputs[0].dtype == "int8":
        if len(bundle.inputs) > 1:
            raise UsageError(f"{len(bundle.inputs)} inputs; the example feeds one", where=bundle.source)
        shown = '"%s %.9g\\n", @name@_labels[i], (double)value' if bundle.labels else '"%.9g\\n", (double)value'
        text = _INT8.replace("@FORMAT@", shown)
        return text.replace("@name@", bundle.name).replace("@NAME@", bundle.name.upper())
    shown = '"%s %.9g\\n", @name@_labels[i], (double)output[i]' if bundle.labels else '"%.9g\\n", (double)output[i]'
    frozen = any(suffix == "FEATURES" for suffix, _, _ in bundle.figures)
    source = _FLOAT.replace("-ffp-contract=off", "-ffp-contract=off -DTINYFED_INT8") if frozen else _FLOAT
    text = source.replace("@FORMAT@", shown)
    return text.replace("@name@", bundle.name).replace("@NAME@", bundle.name.upper())
