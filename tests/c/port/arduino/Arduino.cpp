#include "Arduino.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

StandInSerial Serial;
const uint8_t stand_in_id[8] = {0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8};
static const uint8_t erased[256] = {0xFF};
const uint8_t *stand_in_flash = erased;

static bool begun;

void StandInSerial::begin(unsigned long baud) { begun = baud == 115200; }

int StandInSerial::available()
{
    struct pollfd in = {0, POLLIN, 0};
    if (!begun) abort();
    return poll(&in, 1, 0) == 1 ? 1 : 0;
}

int StandInSerial::read()
{
    uint8_t byte;
    if (::read(0, &byte, 1) != 1) exit(0); /* the test has hung up */
    return byte;
}

size_t StandInSerial::write(const uint8_t *bytes, size_t byte_count)
{
    const ssize_t count = ::write(1, bytes, byte_count);
    return count > 0 ? static_cast<size_t>(count) : 0;
}

/* A clock that stands still unless the port waits or looks at it: it never runs ahead of this computer's, however busy.
 */
static unsigned long clock_us;

unsigned long micros() { return ++clock_us; }
unsigned long millis() { return micros() / 1000u; }
void delay(unsigned long duration_ms)
{
    usleep(static_cast<useconds_t>(duration_ms) * 1000u);
    clock_us += duration_ms * 1000u;
}
void NVIC_SystemReset() { exit(42); }

int main()
{
    setup();
    for (;;) loop();
}
