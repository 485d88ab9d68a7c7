/* Any board of the Arduino framework whose Serial is the line, the Arduino Nano 33 BLE first of all. The framework
 * has main() and calls setup(); the firmware's own main is called tinyfed_main here (TINYFED_MAIN). */
#include <Arduino.h>
#include <string.h>

/* Both revisions of the Sense have an IMU whose library offers the same object; the build knows one of the two. */
#if __has_include(<Arduino_LSM9DS1.h>)
#include <Arduino_LSM9DS1.h>
#elif __has_include(<Arduino_BMI270_BMM150.h>)
#include <Arduino_BMI270_BMM150.h>
#else
#define NO_IMU
#endif

extern "C" {
#include "tinyfed_port.h"
int tinyfed_main(int argc, char **argv);
}

/* A USB packet: more at once only waits longer. */
static const size_t WRITE_BYTES_MAX = 64;

static uint8_t arena[TINYFED_ARENA_BYTES] __attribute__((aligned(16)));

void setup() { (void)tinyfed_main(0, nullptr); }

void loop() {}

extern "C" int tinyfed_port_start(int, char **)
{
    Serial.begin(TINYFED_BAUD);
    return 0;
}

extern "C" size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && Serial.available() > 0) bytes[count++] = static_cast<uint8_t>(Serial.read());
    return count;
}

extern "C" size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    if (!Serial) return byte_count; /* no host has opened the port: as on a wire without a cable */
    return Serial.write(bytes, byte_count < WRITE_BYTES_MAX ? byte_count : WRITE_BYTES_MAX);
}

extern "C" void tinyfed_port_idle(uint32_t timeout_ms)
{
    const uint32_t start_ms = millis();
    while (Serial.available() <= 0 && millis() - start_ms < timeout_ms) delay(1); /* the framework sleeps in delay */
}

extern "C" uint32_t tinyfed_port_now_us(void) { return static_cast<uint32_t>(micros()); }

extern "C" uint32_t tinyfed_port_instructions(void) { return 0; }

extern "C" uint8_t *tinyfed_port_arena(size_t *byte_count)
{
    *byte_count = sizeof arena;
    return arena;
}

extern "C" const uint8_t *tinyfed_port_shard(size_t *byte_count)
{
    *byte_count = TINYFED_DATA_FLASH_BYTES;
    return reinterpret_cast<const uint8_t *>(TINYFED_DATA_FLASH_ADDRESS);
}

/* Flash is written by the framework's own driver, which was not seen: nothing is kept. */
extern "C" const tinyfed_flash_t *tinyfed_port_flash(void) { return nullptr; }

extern "C" void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    static_assert(TINYFED_UNIQUE_ID_BYTES <= TINYFED_PORT_UNIQUE_ID_BYTES, "the rest is zero");
    memset(id, 0, TINYFED_PORT_UNIQUE_ID_BYTES);
    memcpy(id, reinterpret_cast<const void *>(TINYFED_UNIQUE_ID_ADDRESS), TINYFED_UNIQUE_ID_BYTES);
}

extern "C" uint32_t tinyfed_port_stack_bytes(void) { return 0; }

#ifdef NO_IMU
extern "C" const tinyfed_sensor_t *tinyfed_port_sensor(void) { return nullptr; }
#else

#ifndef TINYFED_WINDOW_CHANNELS /* of the board's manifest */
#define TINYFED_WINDOW_CHANNELS 6u
#define TINYFED_WINDOW_RATE_HZ 50u
#endif
static_assert(TINYFED_WINDOW_CHANNELS == 3u || TINYFED_WINDOW_CHANNELS == 6u,
              "the IMU has 3 channels of acceleration, and with the gyroscope 6");
static const uint32_t SENSOR_RATE_HZ = TINYFED_WINDOW_RATE_HZ;
static const uint32_t SENSOR_PERIOD_US = 1000000 / SENSOR_RATE_HZ;
static const double RADIANS = 0.017453292519943295; /* of a degree */

static uint32_t sensor_due_us;

static void sensor_start(void) { sensor_due_us = static_cast<uint32_t>(micros()) + SENSOR_PERIOD_US; }

/* Accelerometer in g, gyroscope in rad/s. The libraries run the IMU at 100 or 119 Hz; at SENSOR_RATE_HZ its newest
 * reading counts. */
static tinyfed_sensor_got_t sensor_read(double *reading)
{
    const uint32_t late_us = static_cast<uint32_t>(micros()) - sensor_due_us;
    if (static_cast<int32_t>(late_us) < 0) return TINYFED_SENSOR_NOTHING;
    if (late_us >= SENSOR_PERIOD_US) { /* the board was busy for longer than a reading */
        sensor_start();
        return TINYFED_SENSOR_GAP;
    }
    float a[3], w[3];
    if (!IMU.readAcceleration(a[0], a[1], a[2]) || !IMU.readGyroscope(w[0], w[1], w[2])) return TINYFED_SENSOR_OVER;
    sensor_due_us += SENSOR_PERIOD_US;
    for (int i = 0; i < 3; i++) {
        reading[i] = static_cast<double>(a[i]);
        if (TINYFED_WINDOW_CHANNELS > 3u) reading[3 + i] = static_cast<double>(w[i]) * RADIANS;
    }
    return TINYFED_SENSOR_READING;
}

extern "C" const tinyfed_sensor_t *tinyfed_port_sensor(void)
{
    static const tinyfed_sensor_t sensor = {TINYFED_WINDOW_CHANNELS, SENSOR_RATE_HZ, sensor_start, sensor_read};
    return IMU.begin() ? &sensor : nullptr;
}

#endif

extern "C" tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return TINYFED_CAUSE_UNKNOWN; }

extern "C" void tinyfed_port_feed(void) {}

extern "C" void tinyfed_port_reset(void) { NVIC_SystemReset(); }
