#include "Arduino.h"
#include "FlashIAP.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

StandInSerial Serial;
const uint8_t stand_in_id[8] = {0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8};

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

/* From the store to where a newer boot loader lies. */
static const uint32_t FLASH_BEGIN = 0x50000, FLASH_END = 0xE0000, PAGE_BYTES = 4096;
static uint8_t *flash; /* writable; at its address it can only be read */

static void flash_open()
{
    const char *path = getenv("STAND_IN_FLASH");
    const size_t byte_count = FLASH_END - FLASH_BEGIN;
    void *place = reinterpret_cast<void *>(static_cast<uintptr_t>(FLASH_BEGIN));
    const int file = path != nullptr ? open(path, O_RDWR) : memfd_create("flash", 0);
    if (file < 0 || ftruncate(file, static_cast<off_t>(byte_count)) != 0) die("no flash");
    flash = static_cast<uint8_t *>(mmap(nullptr, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    if (mmap(place, byte_count, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0) != place)
        die("no place for flash");
}

/* Bytes that are done of the next operation: half of it where the power is cut. */
static uint32_t until_cut(uint32_t address, uint32_t byte_count, uint32_t unit, bool *cut)
{
    static int operations;
    const char *at = getenv("STAND_IN_CUT");
    if (address % unit != 0 || byte_count % unit != 0) die("not whole pages or words");
    if (address < FLASH_BEGIN || address + byte_count > 0x80000) die("outside the store");
    *cut = at != nullptr && ++operations == atoi(at);
    return *cut ? byte_count / 2u : byte_count;
}

int mbed::FlashIAP::init() { return 0; }

int mbed::FlashIAP::erase(uint32_t address, uint32_t byte_count)
{
    bool cut;
    const uint32_t done = until_cut(address, byte_count, PAGE_BYTES, &cut);
    memset(flash + (address - FLASH_BEGIN), 0xFF, done);
    delay(byte_count / PAGE_BYTES * 85);
    if (cut) _exit(43);
    return 0;
}

int mbed::FlashIAP::program(const void *bytes, uint32_t address, uint32_t byte_count)
{
    bool cut;
    const uint32_t done = until_cut(address, byte_count, 4, &cut);
    for (uint32_t i = 0; i < done; i++) {
        uint8_t *to = flash + (address - FLASH_BEGIN) + i;
        if (*to != 0xFF) die("written twice");
        *to = static_cast<uint8_t>(*to & static_cast<const uint8_t *>(bytes)[i]);
    }
    if (cut) _exit(43);
    return 0;
}

uint32_t mbed::FlashIAP::get_sector_size(uint32_t) const { return PAGE_BYTES; }
uint32_t mbed::FlashIAP::get_page_size() const { return 4; }

/* Start anew with the same line and the same flash. */
[[noreturn]] static void restart(const char *reasons)
{
    setenv("STAND_IN_RESETREAS", reasons, 1);
    unsetenv("STAND_IN_IMU");
    execl("/proc/self/exe", "device", static_cast<char *>(nullptr));
    abort();
}

/* A clock that stands still unless the port waits or looks at it: it never runs ahead of this computer's, however busy.
 */
static unsigned long clock_us, fed_us;

#ifdef __MBED__
StandInWatchdog stand_in_watchdog;
StandInPower stand_in_power;

void StandInWatchdog::Start::operator=(uint32_t value)
{
    if (value == 1 && stand_in_watchdog.RREN == 1) stand_in_watchdog.RUNSTATUS = 1, fed_us = clock_us;
}

void StandInWatchdog::Reload::operator=(uint32_t value)
{
    if (value == 0x6E524635 && this == stand_in_watchdog.RR) fed_us = clock_us;
}

/* Its crystal runs four times as fast, so that a test that takes 3 s sees whether it is fed. */
static void look_at_watchdog()
{
    const unsigned long patience_us = (stand_in_watchdog.CRV + 1ul) * 1000000ul / 4ul / 32768ul;
    if (stand_in_watchdog.RUNSTATUS == 1 && clock_us - fed_us > patience_us) restart("2");
}
#else
static void look_at_watchdog() { (void)fed_us; }
#endif

static void pass(unsigned long duration_us)
{
    clock_us += duration_us;
    look_at_watchdog();
}

void stand_in_hang()
{
    for (;;) pass(1000);
}

unsigned long micros()
{
    pass(1);
    return clock_us;
}
unsigned long millis() { return micros() / 1000u; }
void delay(unsigned long duration_ms)
{
    usleep(static_cast<useconds_t>(duration_ms) * 1000u);
    pass(duration_ms * 1000u);
}
void NVIC_SystemReset() { restart("4"); }

int main()
{
    flash_open();
#ifdef __MBED__
    const char *reasons = getenv("STAND_IN_RESETREAS");
    stand_in_power.RESETREAS.bits = reasons != nullptr ? static_cast<uint32_t>(atoi(reasons)) : 0;
#endif
    setup();
    for (;;) loop();
}
