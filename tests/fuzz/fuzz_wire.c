/* libFuzzer: the device's link with the pair device's application behind it. The fuzzer's bytes are a list of things
 * that happen: raw bytes come, a frame with a right CRC comes, time passes, the port takes some bytes, the device works
 * a little. What the device says must always be whole frames, and nothing may be trained or sent that is not whole.
 *
 * A command is a byte, whose low three bits say what, and its operands; scripts/fuzz-wire writes the first ones. */
#include "tinyfed_bytes.h"
#include "../c/wire/pair_device.h"
#include "wire_link.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES 4096u
#define PAYLOAD_MAX 255u

typedef struct input {
    const uint8_t *bytes;
    size_t left;
} input_t;

static uint8_t next(input_t *in)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->bytes++;
}

static const uint8_t *take(input_t *in, uint32_t wanted, uint32_t *got)
{
    const uint8_t *bytes = in->bytes;
    *got = wanted < in->left ? wanted : (uint32_t)in->left;
    in->bytes += *got;
    in->left -= *got;
    return bytes;
}

static uint32_t session; /* as the device gave it last; 0: not yet */

static void receive_frame(device_t *device, input_t *in, uint32_t now_ms)
{
    static tinyfed_wire_encoder_t encoder;
    uint8_t frame[2u * PAYLOAD_MAX];
    const uint8_t type = next(in), sequence = next(in);
    encoder.head[0] = TINYFED_WIRE_VERSION;
    encoder.head[1] = type;
    tinyfed_put32(encoder.head + 2, session);
    tinyfed_put16(encoder.head + 6, sequence);
    encoder.head_bytes = type == HELLO_REQUEST ? TINYFED_WIRE_GREETING_BYTES : TINYFED_WIRE_HEADER_BYTES;
    encoder.body = take(in, next(in), &encoder.body_bytes);
    tinyfed_wire_encoder_begin(&encoder);
    device_receive(device, frame, (uint32_t)tinyfed_wire_encode(&encoder, frame, sizeof frame), now_ms);
}

static tinyfed_wire_decoder_t listener;

static void listen(const uint8_t *bytes, uint32_t byte_count)
{
    for (uint32_t i = 0; i < byte_count; i++) {
        const tinyfed_wire_decoded_t got = tinyfed_wire_decode(&listener, bytes[i]);
        if (got == TINYFED_WIRE_DAMAGED) abort();
        if (got == TINYFED_WIRE_FRAME) {
            if (listener.head[0] != TINYFED_WIRE_VERSION || listener.head[1] < 0x80u) abort();
            if (listener.head[1] == HELLO) session = tinyfed_get32(listener.head + TINYFED_WIRE_GREETING_BYTES + 12);
            tinyfed_wire_decoder_reset(&listener);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[512];
    input_t in = {data, size};
    uint32_t now_ms = 0xFFFFF000u; /* the clock wraps soon */
    device_t *device = device_new(ARENA_BYTES, 1024);
    device_set_steps(device, 3);
    session = 0;
    tinyfed_wire_decoder_reset(&listener);
    while (in.left > 0) {
        const uint8_t command = next(&in);
        uint32_t got = 0;
        const uint8_t *bytes;
        switch (command & 7u) {
        case 0:
            bytes = take(&in, next(&in), &got);
            device_receive(device, bytes, got, now_ms);
            break;
        case 1:
        case 2:
        case 3: receive_frame(device, &in, now_ms); break;
        case 4: now_ms += (uint32_t)(command >> 3) * 40u; break;
        case 5: listen(out, device_transmit(device, out, 1u + (command >> 3) * 16u, now_ms)); break;
        case 6: device_work(device, now_ms); break;
        default:
            now_ms += device_idle_ms(device, now_ms);
            device_work(device, now_ms);
            while ((got = device_transmit(device, out, sizeof out, now_ms)) > 0) {
                listen(out, got);
                if (device_counter(device, 6) == 0) continue;
                if (in.left-- == 0) { /* an upload nobody acknowledges is repeated for ever, but not at one moment */
                    in.left = 0;
                    break;
                }
                in.bytes++;
            }
            break;
        }
    }
    if (device_counter(device, 1) != 0) abort();
    device_free(device);
    return 0;
}
