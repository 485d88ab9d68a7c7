/* A stand-in for the Arduino framework, written from its public reference: just what firmware/port/arduino uses. Its
 * Serial is file descriptor 0 in and 1 out. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

class StandInSerial
{
  public:
    void begin(unsigned long baud);
    int available();
    int read();
    size_t write(const uint8_t *bytes, size_t byte_count); /* with mbed it waits until the host has read */
    int availableForWrite();
    explicit operator bool(); /* waits 1 ms */
#ifdef __MBED__
    bool connected();
    void send_nb(uint8_t *bytes, uint32_t byte_count, uint32_t *taken, bool now = true);
#endif
};

bool stand_in_imu_is(const char *state);
[[noreturn]] void stand_in_hang();

extern StandInSerial Serial;
extern const uint8_t stand_in_id[8];

#ifdef __MBED__
/* The nRF52840's registers of the watchdog and of the causes of resets. */
struct StandInWatchdog {
    struct Start {
        void operator=(uint32_t value);
    } TASKS_START;
    uint32_t CONFIG, CRV, RREN, RUNSTATUS;
    struct Reload {
        void operator=(uint32_t value);
    } RR[8];
};
struct StandInPower {
    struct Reasons {
        uint32_t bits;
        operator uint32_t() const { return bits; }
        void operator=(uint32_t ones) { bits &= ~ones; }
    } RESETREAS;
};
extern StandInWatchdog stand_in_watchdog;
extern StandInPower stand_in_power;
#define NRF_WDT (&stand_in_watchdog)
#define NRF_POWER (&stand_in_power)
#endif

unsigned long millis();
unsigned long micros();
void delay(unsigned long duration_ms);
[[noreturn]] void NVIC_SystemReset();
void setup();
void loop();

#endif
