/* Any board of the Arduino framework whose Serial is the line, the Arduino Nano 33 BLE first of all. The framework
 * has main() and calls setup(); the firmware's own main is called tinyfed_main here (TINYFED_MAIN). */
#include <Arduino.h>
#include <string.h>

/* The Nano 33 BLE and its Sense have an LSM9DS1, those of the second revision a BMI270 and BMM150. Both libraries offer
 * the same object; the build knows one of the two. */
#if __has_include(<Arduino_LSM9DS1.h>)
#include <Arduino_LSM9DS1.h>
#elif __has_include(<Arduino_BMI270_BMM150.h>)
#include <Arduino_BMI270_BMM150.h>
#else
#define NO_IMU
#endif

#if defined(__MBED__) && defined(TINYFED_STORE_ADDRESS)
#include <FlashIAP.h>
#define FLASH_IAP
#endif

extern "C" {
#include "tinyfed_port.h"
int tinyfed_main(int argc, char **argv);
}

/* One less than a USB packet of full speed: a host ends its read with a packet that is not full, and mbed sends no
 * empty one behind a full one. */
static const size_t WRITE_BYTES_MAX = 63;

/* A host that reads takes a packet within a frame of USB, 1 ms. */
static const uint32_t HOST_READS_US = 2000;

static bool line_full;         /* the last write took less than it was given */
static uint32_t line_taken_us; /* when the line last took something */

/* Arduino's mbed has no DEVICE_WATCHDOG and no DEVICE_RESET_REASON for the Nano, so no mbed::Watchdog and no
 * mbed::ResetReason: the registers of the nRF52840 Product Specification 1.1, "WDT" and "POWER" (RESETREAS). */
#ifdef NRF_WDT
static const uint32_t WDT_RELOAD = 0x6E524635;
static const uint32_t WDT_RUN_IN_SLEEP = 1; /* and pause while a debugger has the processor */
static const uint32_t RESETREAS_PIN = 1u << 0, RESETREAS_DOG = 1u << 1, RESETREAS_SOFTWARE = 1u << 2;
static const uint32_t RESETREAS_LOCKUP = 1u << 3;

static tinyfed_reset_cause_t cause;

/* The register gathers causes until they are cleared, by writing ones; none: power came or had sunk. */
static tinyfed_reset_cause_t take_cause(void)
{
    const uint32_t reasons = NRF_POWER->RESETREAS;
    NRF_POWER->RESETREAS = reasons;
    if (reasons & RESETREAS_DOG) return TINYFED_CAUSE_WATCHDOG;
    if (reasons & RESETREAS_LOCKUP) return TINYFED_CAUSE_FAULT;
    if (reasons & RESETREAS_PIN) return TINYFED_CAUSE_PIN;
    if (reasons & RESETREAS_SOFTWARE) return TINYFED_CAUSE_SOFTWARE;
    return reasons == 0 ? TINYFED_CAUSE_POWER : TINYFED_CAUSE_UNKNOWN;
}

/* A restart by software leaves it running, as it was set. */
static void watchdog_start(void)
{
    if (NRF_WDT->RUNSTATUS == 0) {
        NRF_WDT->CONFIG = WDT_RUN_IN_SLEEP;
        NRF_WDT->CRV = TINYFED_WATCHDOG_MS * 32768u / 1000u - 1u;
        NRF_WDT->RREN = 1;
        NRF_WDT->TASKS_START = 1;
    }
    NRF_WDT->RR[0] = WDT_RELOAD;
}

extern "C" void tinyfed_port_feed(void) { NRF_WDT->RR[0] = WDT_RELOAD; }

extern "C" tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return cause; }
#else
extern "C" void tinyfed_port_feed(void) {}

extern "C" tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return TINYFED_CAUSE_UNKNOWN; }
#endif

static uint8_t arena[TINYFED_ARENA_BYTES] __attribute__((aligned(16)));

void setup() { (void)tinyfed_main(0, nullptr); }

void loop() {}

extern "C" int tinyfed_port_start(int, char **)
{
    Serial.begin(TINYFED_BAUD);
#ifdef NRF_WDT
    cause = take_cause();
    watchdog_start();
#endif
    return 0;
}

extern "C" size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && Serial.available() > 0) bytes[count++] = static_cast<uint8_t>(Serial.read());
    return count;
}

/* Bytes that the line takes without waiting. Serial's operator bool waits 1 ms, and mbed's write until a host that may
 * never read has read. */
static size_t send(const uint8_t *bytes, size_t byte_count)
{
#ifdef __MBED__
    uint32_t taken = 0;
    if (!Serial.connected()) return byte_count; /* no host has opened the port: as on a wire without a cable */
    Serial.send_nb(const_cast<uint8_t *>(bytes), static_cast<uint32_t>(byte_count), &taken);
    return taken;
#else
    const int room = Serial.availableForWrite();
    if (room <= 0) return 0;
    return Serial.write(bytes, byte_count < static_cast<size_t>(room) ? byte_count : static_cast<size_t>(room));
#endif
}

extern "C" size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    const size_t taken = send(bytes, byte_count < WRITE_BYTES_MAX ? byte_count : WRITE_BYTES_MAX);
    line_full = taken < byte_count;
    if (taken > 0) line_taken_us = static_cast<uint32_t>(micros());
    return taken;
}

extern "C" void tinyfed_port_idle(uint32_t timeout_ms)
{
    if (line_full && static_cast<uint32_t>(micros()) - line_taken_us < HOST_READS_US) return;
    if (line_full && timeout_ms > 1) timeout_ms = 1; /* there may be room then */
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

#ifdef FLASH_IAP
/* mbed's documented driver of the flash that the program runs from. The processor stands still for the 85 ms in which a
 * page is erased (nRF52840 Product Specification 1.1, "NVMC", t_ERASEPAGE); USB holds the host back meanwhile. */
static const uint32_t BLOCK_BYTES = 4096;
static const uint32_t FLASH_WRITE_BYTES = 256; /* 64 words of 41 us */

static mbed::FlashIAP iap;

static tinyfed_flash_state_t flash_erase(uint32_t offset)
{
    return iap.erase(TINYFED_STORE_ADDRESS + offset, BLOCK_BYTES) == 0 ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

static tinyfed_flash_state_t flash_write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    const int failed = iap.program(bytes, TINYFED_STORE_ADDRESS + offset, byte_count);
    return failed == 0 ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

extern "C" const tinyfed_flash_t *tinyfed_port_flash(void)
{
    static const tinyfed_flash_t flash = {reinterpret_cast<const uint8_t *>(TINYFED_STORE_ADDRESS),
                                          TINYFED_STORE_BYTES / 2u,
                                          BLOCK_BYTES,
                                          FLASH_WRITE_BYTES,
                                          0,
                                          flash_erase,
                                          flash_write};
    static_assert(TINYFED_STORE_ADDRESS % BLOCK_BYTES == 0 && TINYFED_STORE_BYTES % (2u * BLOCK_BYTES) == 0,
                  "each slot is whole pages");
    static bool asked, good;
    if (!asked) {
        asked = true;
        good =
            iap.init() == 0 && iap.get_sector_size(TINYFED_STORE_ADDRESS) == BLOCK_BYTES && iap.get_page_size() == 4u;
    }
    return good ? &flash : nullptr;
}
#else
extern "C" const tinyfed_flash_t *tinyfed_port_flash(void) { return nullptr; }
#endif

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

static const uint32_t SILENT_MAX = SENSOR_RATE_HZ / 2u; /* half a second without a reading: it gives none any more */

static uint32_t sensor_due_us, sensor_silent;
static bool sensor_waited;

static void sensor_restart(void)
{
    sensor_due_us = static_cast<uint32_t>(micros()) + SENSOR_PERIOD_US;
    sensor_waited = false;
}

static void sensor_start(void)
{
    sensor_silent = 0;
    sensor_restart();
}

/* Accelerometer in g, gyroscope in rad/s. The libraries run the IMU at 100 or 119 Hz; at SENSOR_RATE_HZ its newest
 * reading counts. An address that nobody acknowledges gives -1, and "available". */
static tinyfed_sensor_got_t sensor_read(double *reading)
{
    const uint32_t late_us = static_cast<uint32_t>(micros()) - sensor_due_us;
    const bool lost = late_us >= SENSOR_PERIOD_US;
    if (static_cast<int32_t>(late_us) < 0) return TINYFED_SENSOR_NOTHING;
    if (IMU.accelerationAvailable() <= 0) {
        sensor_waited = true;
        if (!lost) return TINYFED_SENSOR_NOTHING;
        sensor_restart();
        return ++sensor_silent < SILENT_MAX ? TINYFED_SENSOR_GAP : TINYFED_SENSOR_OVER;
    }
    sensor_silent = 0;
    if (lost) { /* the board was busy for longer than a reading */
        sensor_restart();
        return TINYFED_SENSOR_GAP;
    }
    float a[3], w[3];
    if (IMU.readAcceleration(a[0], a[1], a[2]) <= 0 || IMU.readGyroscope(w[0], w[1], w[2]) <= 0)
        return TINYFED_SENSOR_OVER;
    /* What was waited for comes at the IMU's own pace. */
    sensor_due_us = (sensor_waited ? static_cast<uint32_t>(micros()) : sensor_due_us) + SENSOR_PERIOD_US;
    sensor_waited = false;
    for (int i = 0; i < 3; i++) {
        reading[i] = static_cast<double>(a[i]);
        if (TINYFED_WINDOW_CHANNELS > 3u) reading[3 + i] = static_cast<double>(w[i]) * RADIANS;
    }
    return TINYFED_SENSOR_READING;
}

/* The libraries' rates are nominal: 99.84 Hz is said for 100. */
extern "C" const tinyfed_sensor_t *tinyfed_port_sensor(void)
{
    static const tinyfed_sensor_t sensor = {TINYFED_WINDOW_CHANNELS, SENSOR_RATE_HZ, sensor_start, sensor_read};
    return IMU.begin() && IMU.accelerationSampleRate() + 1.0f >= SENSOR_RATE_HZ ? &sensor : nullptr;
}

#endif

extern "C" void tinyfed_port_reset(void) { NVIC_SystemReset(); }
