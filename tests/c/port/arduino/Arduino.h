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
    size_t write(const uint8_t *bytes, size_t byte_count);
    explicit operator bool() const { return true; }
};

extern StandInSerial Serial;
extern const uint8_t stand_in_id[8], *stand_in_flash;

unsigned long millis();
unsigned long micros();
void delay(unsigned long duration_ms);
[[noreturn]] void NVIC_SystemReset();
void setup();
void loop();

#endif
