/* Inference of full-integer (int8) networks, bit for bit as TensorFlow Lite Micro computes it.
 *
 * A network is a program (docs/int8.md): a table of operators, weights laid out for the kernels, and the
 * place of every tensor in one work area. It is read where it lies, in flash or RAM. No heap, no global
 * state; all sizes are in bytes. */
#ifndef TINYFED_INT8_H
#define TINYFED_INT8_H

#include "tinyfed_core.h"

/* Which bodies of the kernels run; all give the same bits. */
typedef enum tinyfed_int8_kernels {
    TINYFED_INT8_KERNELS_PLAIN = 0,
    TINYFED_INT8_KERNELS_BUILT = 1, /* of the build's target: Cortex-M4 DSP, SSE2 or NEON */
    TINYFED_INT8_KERNELS_BEST = 2   /* what this processor has beyond that: AVX2 */
} tinyfed_int8_kernels_t;

/* How an input or output is stored. */
typedef enum tinyfed_int8_type {
    TINYFED_TYPE_INT8 = 0,
    TINYFED_TYPE_UINT8 = 1,
    TINYFED_TYPE_FLOAT32 = 2
} tinyfed_int8_type_t;

/* An input or output of the network. real value = scale * (q - zero_point); a float32 is the real value. What users
 * have as uint8 lies in the work area as int8, 128 lower: value ^ 0x80. zero_point is the int8 one. */
typedef struct tinyfed_int8_port {
    uint32_t offset; /* in the work area */
    uint32_t count;  /* values */
    float scale;
    int32_t zero_point;
    uint8_t type; /* tinyfed_int8_type_t */
} tinyfed_int8_port_t;

static inline uint32_t tinyfed_int8_port_bytes(const tinyfed_int8_port_t *port)
{
    return port->count * (port->type == TINYFED_TYPE_FLOAT32 ? (uint32_t)sizeof(float) : 1u);
}

/* Validate everything about program[0..program_bytes), aligned to TINYFED_ALIGNMENT, and fill net. Running
 * a validated program writes nothing outside its work area and reads nothing outside it and the program.
 * On error *error_offset (may be NULL) is the offset of the first field that is wrong. */
tinyfed_status_t tinyfed_int8_open(tinyfed_int8_t *net, uint32_t *error_offset, const uint8_t *program,
                                   uint32_t program_bytes) TINYFED_MUST_USE;

/* index < input_count, and < output_count. */
tinyfed_int8_port_t tinyfed_int8_input(const tinyfed_int8_t *net, uint32_t index);
tinyfed_int8_port_t tinyfed_int8_output(const tinyfed_int8_t *net, uint32_t index);

/* Give the state of that name in work, or with NULL every state, its first value: before the first run of a network
 * with states (state_count), and where a new stream begins. E_ARGUMENT: no state has the name. */
tinyfed_status_t tinyfed_int8_reset(const tinyfed_int8_t *net, void *work, uint32_t work_bytes,
                                    const char *name) TINYFED_MUST_USE;

/* Run the program on the inputs that lie in work[0..work_bytes); the outputs lie there until the next run.
 * Inputs may be overwritten. States are kept, so nothing else may lie in work between runs of a stream. */
tinyfed_status_t tinyfed_int8_run(const tinyfed_int8_t *net, void *work, uint32_t work_bytes) TINYFED_MUST_USE;

/* real -> what the port stores, int8 rounded half away from zero and clamped; and back. NaN becomes the zero point. */
void tinyfed_int8_quantize(int8_t *q, const tinyfed_int8_port_t *port, const float *values, uint32_t count);
void tinyfed_int8_dequantize(float *values, const tinyfed_int8_port_t *port, const int8_t *q, uint32_t count);

#endif
