#include "played.h"

#include "tinyfed_bytes.h"

#define HEADER_BYTES 24u
#define VERSION 1u

static struct {
    const uint8_t *ends;     /* of each take, 4 bytes */
    const uint8_t *readings; /* [readings][channels] float64 */
    uint32_t channels, takes, period_us;
    uint32_t take;    /* to be played next */
    uint32_t at, end; /* readings */
    uint32_t due_us;
    uint32_t (*now_us)(void); /* NULL: every reading is due */
} played;

/* Channels of the recording; 0: there is none. */
static uint32_t open_recording(const uint8_t *bytes, size_t byte_count, uint32_t *rate_hz)
{
    memset(&played, 0, sizeof played);
    *rate_hz = 0;
    if (bytes == NULL || byte_count < HEADER_BYTES || memcmp(bytes, "TFRC", 4) != 0 || bytes[4] != VERSION) return 0;
    const uint32_t channels = bytes[5], takes = tinyfed_get32(bytes + 12), readings = tinyfed_get32(bytes + 16);
    if (channels == 0u || takes == 0u || takes > (byte_count - HEADER_BYTES) / 4u) return 0;
    const size_t head = (HEADER_BYTES + 4u * (size_t)takes + 7u) & ~(size_t)7u;
    if (head > byte_count || readings > (byte_count - head) / (8u * channels)) return 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < takes; i++) {
        const uint32_t end = tinyfed_get32(bytes + HEADER_BYTES + 4u * i);
        if (end <= before || end > readings) return 0;
        before = end;
    }
    played.ends = bytes + HEADER_BYTES;
    played.readings = bytes + head;
    played.channels = channels;
    played.takes = takes;
    played.period_us = tinyfed_get32(bytes + 8);
    *rate_hz = tinyfed_get16(bytes + 6);
    return channels;
}

static void start(void)
{
    if (played.takes == 0u) return; /* another call found no recording */
    played.at = played.take == 0u ? 0u : tinyfed_get32(played.ends + 4u * (played.take - 1u));
    played.end = tinyfed_get32(played.ends + 4u * played.take);
    played.take = (played.take + 1u) % played.takes;
    if (played.now_us != NULL) played.due_us = played.now_us() + played.period_us;
}

static tinyfed_sensor_got_t read_next(double *reading)
{
    if (played.at == played.end) return TINYFED_SENSOR_OVER;
    if (played.now_us != NULL && (int32_t)(played.now_us() - played.due_us) < 0) return TINYFED_SENSOR_NOTHING;
    memcpy(reading, played.readings + 8u * (size_t)played.channels * played.at, 8u * (size_t)played.channels);
    played.at++;
    played.due_us += played.period_us;
    return TINYFED_SENSOR_READING;
}

const tinyfed_sensor_t *tinyfed_played_sensor(const uint8_t *bytes, size_t byte_count, uint32_t (*now_us)(void))
{
    static tinyfed_sensor_t sensor = {.start = start, .read = read_next};
    sensor.channels = open_recording(bytes, byte_count, &sensor.rate_hz);
    played.now_us = now_us;
    return sensor.channels != 0u ? &sensor : NULL;
}
