#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "iio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/bus/iio/devices"
#define CHANNELS_MAX 6u
#define PATH_BYTES 512
#define NAME_BYTES 64
#define LINE_BYTES 4096 /* a file of sysfs is a page at most */

/* Linux' Documentation/ABI/testing/sysfs-bus-iio: (raw + offset) * scale is m/s^2, or rad/s. */
#define STANDARD_GRAVITY 9.80665
static const char *const KINDS[] = {"accel", "anglvel"};
static const double UNITS[] = {1.0 / STANDARD_GRAVITY, 1.0};

static struct {
    int fd[CHANNELS_MAX];
    double scale[CHANNELS_MAX], offset[CHANNELS_MAX];
    uint32_t period_us, due_us;
    uint32_t (*now_us)(void);
} iio;
static tinyfed_sensor_t sensor;
static char told[256];

static int open_file(const char *folder, const char *name, int flags)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return -1;
    return open(path, flags | O_CLOEXEC);
}

/* A file's one line. sysfs makes it anew at each read from its begin. */
static bool read_line(int fd, char text[LINE_BYTES])
{
    const ssize_t count = pread(fd, text, LINE_BYTES - 1u, 0);
    if (count <= 0) return false;
    text[count] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static bool read_number(int fd, double *value)
{
    char text[LINE_BYTES], *end;
    if (!read_line(fd, text)) return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

/* What a channel's file says, or else the one that its kind shares; without both `value` stays. False: it is no number,
 * and to go on as if it were not there would be another unit. */
static bool attribute(const char *folder, const char *kind, char axis, const char *what, double *value)
{
    char name[NAME_BYTES];
    for (int shared = 0; shared < 2; shared++) {
        if (shared == 0) (void)snprintf(name, sizeof name, "in_%s_%c_%s", kind, axis, what);
        else (void)snprintf(name, sizeof name, "in_%s_%s", kind, what);
        const int fd = open_file(folder, name, O_RDONLY);
        if (fd < 0 && errno == ENOENT) continue;
        const bool good = fd >= 0 && read_number(fd, value);
        if (fd >= 0) (void)close(fd);
        return good;
    }
    return true;
}

/* The folder of the device with this name. */
static bool find(const char *devices, const char *wanted, char folder[PATH_BYTES])
{
    DIR *all = opendir(devices);
    bool found = false;
    if (all == NULL) return false;
    for (struct dirent *one = readdir(all); one != NULL && !found; one = readdir(all)) {
        char name[LINE_BYTES];
        if (one->d_name[0] == '.') continue;
        if (snprintf(folder, PATH_BYTES, "%s/%s", devices, one->d_name) >= PATH_BYTES) continue;
        const int fd = open_file(folder, "name", O_RDONLY);
        found = strcmp(one->d_name, wanted) == 0 || (fd >= 0 && read_line(fd, name) && strcmp(name, wanted) == 0);
        if (fd >= 0) (void)close(fd);
    }
    (void)closedir(all);
    return found;
}

/* Of the frequencies that a device offers the least that does; `rate_hz` where it lists none. */
static double offered(const char *folder, const char *name, uint32_t rate_hz)
{
    char file[2 * NAME_BYTES], text[LINE_BYTES];
    double best = 0.0;
    (void)snprintf(file, sizeof file, "%s_available", name);
    const int fd = open_file(folder, file, O_RDONLY);
    if (fd >= 0 && read_line(fd, text) && text[0] != '[') { /* [least step most] is a range */
        char *at, *end = text;
        do {
            at = end;
            const double one = strtod(at, &end); /* 0 where none follows, and `end` stays */
            if (one >= (double)rate_hz && (best == 0.0 || one < best)) best = one;
        } while (end != at);
    }
    if (fd >= 0) (void)close(fd);
    return best > 0.0 ? best : (double)rate_hz;
}

/* Ask the device to measure at least so often, and say what it does. 0: it does not say. */
static double set_rate(const char *folder, const char *kind, uint32_t rate_hz)
{
    char name[NAME_BYTES];
    double value = 0.0;
    for (int shared = 0; shared < 2; shared++) {
        (void)snprintf(name, sizeof name, shared == 0 ? "in_%s_sampling_frequency" : "sampling_frequency", kind);
        const int fd = open_file(folder, name, O_RDONLY);
        if (fd < 0) continue;
        if (read_number(fd, &value) && value < (double)rate_hz) {
            const int writable = open_file(folder, name, O_WRONLY); /* root alone may, unless a udev rule lets others */
            char text[NAME_BYTES];
            const int count = snprintf(text, sizeof text, "%g\n", offered(folder, name, rate_hz));
            if (writable >= 0 && write(writable, text, (size_t)count) == count) (void)read_number(fd, &value);
            if (writable >= 0) (void)close(writable);
        }
        (void)close(fd);
        return value;
    }
    return 0.0;
}

/* The channels of a kind that a device has: 3 or none. */
static const char *open_kind(const char *folder, uint32_t kind, uint32_t rate_hz)
{
    for (uint32_t axis = 0; axis < 3u; axis++) {
        char name[NAME_BYTES];
        const uint32_t channel = 3u * kind + axis;
        (void)snprintf(name, sizeof name, "in_%s_%c_raw", KINDS[kind], "xyz"[axis]);
        const int fd = open_file(folder, name, O_RDONLY);
        if (fd < 0) return axis == 0u ? NULL : "a channel is missing";
        iio.fd[channel] = fd;
        iio.scale[channel] = 1.0;
        iio.offset[channel] = 0.0;
        if (!attribute(folder, KINDS[kind], "xyz"[axis], "scale", &iio.scale[channel])) return "its scale is no number";
        if (!attribute(folder, KINDS[kind], "xyz"[axis], "offset", &iio.offset[channel]))
            return "its offset is no number";
        iio.scale[channel] *= UNITS[kind];
    }
    const double measured_hz = set_rate(folder, KINDS[kind], rate_hz);
    if (measured_hz > 0.0 && measured_hz < (double)rate_hz) {
        (void)snprintf(told, sizeof told,
                       "it measures %g times a second, %u are needed: set sampling_frequency as root", measured_hz,
                       (unsigned)rate_hz);
        return told;
    }
    sensor.channels = 3u * kind + 3u;
    return NULL;
}

static const char *open_device(const char *name, uint32_t channels, uint32_t rate_hz)
{
    char devices[PATH_BYTES] = DEVICES, folder[PATH_BYTES];
    const char *slash = strrchr(name, '/');
    if (slash != NULL) {
        if ((size_t)(slash - name) >= sizeof devices) return "the path is too long";
        memcpy(devices, name, (size_t)(slash - name));
        devices[slash - name] = '\0';
    }
    if (!find(devices, slash != NULL ? slash + 1 : name, folder)) {
        (void)snprintf(told, sizeof told, "no such device; `cat %.160s/*/name` lists them", devices);
        return told;
    }
    const char *wrong = NULL;
    for (uint32_t kind = 0; kind < channels / 3u && wrong == NULL; kind++)
        if (iio.fd[3u * kind] < 0) wrong = open_kind(folder, kind, rate_hz);
    return wrong;
}

static void start(void) { iio.due_us = iio.now_us() + iio.period_us; }

/* A reading takes as long as the bus does: at 400 kHz some 0.2 ms a channel. */
static tinyfed_sensor_got_t read_next(double *reading)
{
    const int32_t late_us = (int32_t)(iio.now_us() - iio.due_us);
    if (late_us < 0) return TINYFED_SENSOR_NOTHING;
    if ((uint32_t)late_us >= iio.period_us) {
        start();
        return TINYFED_SENSOR_GAP;
    }
    for (uint32_t i = 0; i < sensor.channels; i++) {
        double raw;
        if (!read_number(iio.fd[i], &raw)) return TINYFED_SENSOR_OVER;
        reading[i] = (raw + iio.offset[i]) * iio.scale[i];
    }
    iio.due_us += iio.period_us;
    return TINYFED_SENSOR_READING;
}

const char *tinyfed_iio_open(const char *names, uint32_t channels, uint32_t rate_hz, uint32_t (*now_us)(void))
{
    char name[PATH_BYTES];
    const char *wrong = NULL;
    for (uint32_t i = 0; i < CHANNELS_MAX; i++) iio.fd[i] = -1;
    if (channels != 3u && channels != CHANNELS_MAX) return "the windows of this firmware are of other sensors";
    while (wrong == NULL && *names != '\0') {
        const size_t length = strcspn(names, ",");
        if (length >= sizeof name) return "the name is too long";
        memcpy(name, names, length);
        name[length] = '\0';
        wrong = open_device(name, channels, rate_hz);
        names += length + (names[length] == ',' ? 1u : 0u);
    }
    if (wrong != NULL) return wrong;
    if (iio.fd[0] < 0) return "it has no accelerometer (in_accel_x_raw)";
    if (channels == CHANNELS_MAX && iio.fd[3] < 0)
        return "it has no gyroscope (in_anglvel_x_raw): name the device that has one too, with a comma between";
    iio.period_us = 1000000u / rate_hz;
    iio.now_us = now_us;
    sensor.rate_hz = rate_hz;
    sensor.start = start;
    sensor.read = read_next;
    return NULL;
}

const tinyfed_sensor_t *tinyfed_iio_sensor(void) { return sensor.start != NULL ? &sensor : NULL; }
