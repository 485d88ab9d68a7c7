#include "Arduino.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

StandInSerial Serial;
const uint8_t stand_in_id[8] = {0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8};
static const uint8_t erased[256] = {0xFF};
const uint8_t *stand_in_flash = erased;

static bool begun;

/* What a board would suffer from ends the test. */
[[noreturn]] static void die(const char *why)
{
    fprintf(stderr, "stand-in: %s\n", why);
    abort();
}

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

static bool host_reads()
{
    struct pollfd out = {1, POLLOUT, 0};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

size_t StandInSerial::write(const uint8_t *bytes, size_t byte_count)
{
#ifdef __MBED__
    if (!host_reads()) die("write waits for a host that does not read");
#endif
    const ssize_t count = ::write(1, bytes, byte_count);
    return count > 0 ? static_cast<size_t>(count) : 0;
}

int StandInSerial::availableForWrite() { return host_reads() ? 64 : 0; }

#ifdef __MBED__
bool StandInSerial::connected() { return true; }

void StandInSerial::send_nb(uint8_t *bytes, uint32_t byte_count, uint32_t *taken, bool now)
{
    if (!now || byte_count >= 64) die("a full packet, and none behind it, ends no host's read");
    *taken = host_reads() ? static_cast<uint32_t>(write(bytes, byte_count)) : 0;
}
#endif

StandInSerial::operator bool()
{
    static int asked;
    if (++asked > 10) die("operator bool waits 1 ms: not in a loop");
    delay(1);
    return true;
}

bool stand_in_imu_is(const char *state)
{
    const char *now = getenv("STAND_IN_IMU");
    return now != nullptr && strcmp(now, state) == 0;
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
