/* What Linux' drivers give and take: an IMU behind a sysfs that the test has written, and a watchdog that is a file.
 * usage: test_linux iio NAMES CHANNELS RATE LATE_US... | test_linux watchdog FILE */
#define _XOPEN_SOURCE 700
#include "iio.h"
#include "watchdog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>

static uint32_t clock_us = 0xFFFFF000u; /* it wraps soon */
static uint32_t now_us(void) { return clock_us; }

/* The C library's asks a driver, and the file has none. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list values;
    va_start(values, request);
    printf("timeout of %d s\n", *va_arg(values, int *));
    va_end(values);
    (void)fd;
    return 0;
}

int main(int argc, char **argv)
{
    if (strcmp(argv[1], "watchdog") == 0) {
        const char *wrong = tinyfed_watchdog_open(argv[2], 8000u);
        if (wrong != NULL) return puts(wrong), 1;
        for (int i = 0; i < 150; i++) {
            tinyfed_watchdog_feed();
            (void)poll(NULL, 0, 10);
        }
        tinyfed_watchdog_release();
        return 0;
    }
    const char *wrong = tinyfed_iio_open(argv[2], (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]), now_us);
    if (wrong != NULL) return puts(wrong), 1;
    const tinyfed_sensor_t *sensor = tinyfed_iio_sensor();
    sensor->start();
    for (int i = 5; i < argc; i++) {
        double reading[6];
        clock_us += (uint32_t)atoi(argv[i]);
        const tinyfed_sensor_got_t got = sensor->read(reading);
        printf("%d", (int)got);
        for (uint32_t k = 0; k < sensor->channels && got == TINYFED_SENSOR_READING; k++) printf(" %.17g", reading[k]);
        puts("");
    }
    return 0;
}
