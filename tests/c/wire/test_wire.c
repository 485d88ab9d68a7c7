/* Holds firmware/wire to tests/golden/wire.txt, whose name is the argument. Ends with 1 at the first line that does
 * not hold. The format is described there. */
#include "tinyfed_checksum.h"
#include "../words.h"
#include "pair_device.h"
#include "tinyfed_wire.h"

#define LINE_BYTES 65536u
#define BYTES_MAX 16384u

static void check_checksum(bool crc)
{
    uint32_t n;
    uint8_t *bytes = bytes_of(word(), &n);
    const uint64_t wanted = hexadecimal();
    /* in two pieces: both can be continued */
    if (crc) {
        expect(tinyfed_crc32(tinyfed_crc32(0, bytes, n / 2), bytes + n / 2, n - n / 2) == wanted, "CRC-32");
    } else {
        const uint64_t first = tinyfed_hash64(TINYFED_HASH_START, bytes, n / 2);
        expect(tinyfed_hash64(first, bytes + n / 2, n - n / 2) == wanted, "hash");
    }
    free(bytes);
}

static tinyfed_wire_decoder_t decoder;

/* Feeds all bytes; returns how many good frames came, leaves the last one in the decoder. A chunk's payload goes to
 * sink when it is not NULL. */
static unsigned decode(const uint8_t *bytes, uint32_t n, uint8_t *sink, uint32_t sink_bytes)
{
    unsigned frames = 0;
    for (uint32_t i = 0; i < n; i++) {
        const tinyfed_wire_decoded_t got = tinyfed_wire_decode(&decoder, bytes[i]);
        if (got == TINYFED_WIRE_AIM) {
            decoder.sink = sink;
            decoder.sink_bytes = sink_bytes;
        }
        if (got == TINYFED_WIRE_FRAME) frames++;
        if (got == TINYFED_WIRE_DAMAGED || (got == TINYFED_WIRE_FRAME && i + 1u < n))
            tinyfed_wire_decoder_reset(&decoder);
    }
    return frames;
}

static void check_frame(void)
{
    const uint8_t version = (uint8_t)hexadecimal();
    const uint8_t type = (uint8_t)hexadecimal();
    const uint32_t session = (uint32_t)hexadecimal();
    const uint16_t sequence = (uint16_t)hexadecimal();
    uint32_t payload_bytes, n;
    uint8_t *payload = bytes_of(word(), &payload_bytes);
    uint8_t *bytes = bytes_of(word(), &n);

    /* the frame's first twelve bytes come from head, as the link does it, and the rest from where it lies */
    static tinyfed_wire_encoder_t encoder;
    static uint8_t out[BYTES_MAX];
    const bool greeting = type == 0x01u || type == 0x81u || version != TINYFED_WIRE_VERSION;
    const uint32_t header_bytes = greeting ? TINYFED_WIRE_GREETING_BYTES : TINYFED_WIRE_HEADER_BYTES;
    uint8_t header[TINYFED_WIRE_HEADER_BYTES] = {version, type};
    for (uint32_t i = 0; i < 4u; i++) header[2u + i] = (uint8_t)(session >> 8u * i);
    header[6] = (uint8_t)sequence;
    header[7] = (uint8_t)(sequence >> 8);
    const uint32_t room_in_head = TINYFED_WIRE_HEADER_BYTES + 4u - header_bytes;
    const uint32_t in_head = payload_bytes < room_in_head ? payload_bytes : room_in_head;
    for (uint32_t room = 1; room <= 300; room += 13) {
        memcpy(encoder.head, header, header_bytes);
        if (in_head > 0) memcpy(encoder.head + header_bytes, payload, in_head);
        encoder.head_bytes = header_bytes + in_head;
        encoder.body = payload + in_head;
        encoder.body_bytes = payload_bytes - in_head;
        tinyfed_wire_encoder_begin(&encoder);
        uint32_t made = 0;
        size_t more;
        while ((more = tinyfed_wire_encode(&encoder, out + made, room)) > 0) made += (uint32_t)more;
        expect(made == n && memcmp(out, bytes, n) == 0, "encoded otherwise");
    }

    uint8_t *sink = malloc(payload_bytes + 1u);
    expect(sink != NULL, "malloc");
    tinyfed_wire_decoder_reset(&decoder);
    const bool long_one = payload_bytes > in_head;
    expect(decode(bytes, n, long_one ? sink : NULL, payload_bytes - in_head) == 1, "not one frame");
    expect(decoder.count == header_bytes + payload_bytes + TINYFED_WIRE_CRC_BYTES, "another length");
    expect(memcmp(decoder.head, header, header_bytes) == 0, "another header");
    expect(in_head == 0 || memcmp(decoder.head + header_bytes, payload, in_head) == 0, "another payload's head");
    expect(!long_one || memcmp(sink, payload + in_head, payload_bytes - in_head) == 0, "another payload");
    free(sink);

    if (payload_bytes >
        in_head + 1u) { /* one byte less of room than the payload has: dropped, nothing written behind */
        sink = malloc(payload_bytes - in_head - 1u);
        tinyfed_wire_decoder_reset(&decoder);
        expect(decode(bytes, n, sink, payload_bytes - in_head - 1u) == 0, "a chunk larger than its room was taken");
        free(sink);
    }
    free(payload);
    free(bytes);
}

static void check_damaged(void)
{
    static const uint8_t good[] = {0x00, 0x09, 0x01, 0x01, 0x21, 0x43, 0x01, 0x10, 0x51, 0x81, 0x02, 0x29, 0x00};
    uint32_t n;
    uint8_t *bytes = bytes_of(word(), &n);
    tinyfed_wire_decoder_reset(&decoder);
    expect(decode(bytes, n, NULL, 0) == 0, "a damaged frame was taken");
    tinyfed_wire_decoder_reset(&decoder);
    expect(decode(bytes, n, NULL, 0) == 0 && decode(good, sizeof good, NULL, 0) == 1, "the frame after it was lost");
    free(bytes);
}

static device_t *device;
static uint8_t reply[BYTES_MAX];
static uint32_t reply_bytes;

static void check_dialogue(bool down)
{
    uint32_t n;
    uint8_t *bytes = bytes_of(word(), &n);
    if (device == NULL) {
        device = device_new(65536, 1024);
        device_set_steps(device, 3);
    }
    if (down) {
        expect(reply_bytes == 0, "the device said more than the golden dialogue has");
        device_receive(device, bytes, n, 1000000);
        for (int step = 0; step < 5; step++) { /* the visit has three */
            uint32_t more;
            device_work(device, 1000000);
            while ((more = device_transmit(device, reply + reply_bytes, BYTES_MAX - reply_bytes, 1000000)) > 0)
                reply_bytes += more;
        }
    } else {
        expect(reply_bytes == n && memcmp(reply, bytes, n) == 0, "the device answers otherwise");
        reply_bytes = 0;
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    static char line[LINE_BYTES];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    expect(file != NULL, "usage: test_wire tests/golden/wire.txt");
    unsigned checked = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line_number++;
        expect(strchr(line, '\n') != NULL, "the line is too long");
        const char *what = strtok(line, " \n");
        if (what == NULL || what[0] == '#') continue;
        if (strcmp(what, "crc") == 0) check_checksum(true);
        else if (strcmp(what, "hash") == 0) check_checksum(false);
        else if (strcmp(what, "frame") == 0) check_frame();
        else if (strcmp(what, "damaged") == 0) check_damaged();
        else if (strcmp(what, "down") == 0) check_dialogue(true);
        else if (strcmp(what, "up") == 0) check_dialogue(false);
        else expect(false, "unknown word");
        checked++;
    }
    fclose(file);
    expect(checked >= 50, "the golden file is cut off");
    if (device != NULL) device_free(device);
    printf("%u lines\n", checked);
    return 0;
}
