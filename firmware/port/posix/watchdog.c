#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int device = -1, notified = -1;
static struct sockaddr_un notify_address;
static socklen_t notify_bytes;
static time_t fed_s;

/* sd_notify(3), "Standalone Implementations": a datagram to $NOTIFY_SOCKET; '@' begins an abstract name. */
static void open_notify(void)
{
    const char *name = getenv("NOTIFY_SOCKET"), *wanted = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (name == NULL || wanted == NULL || (pid != NULL && atol(pid) != (long)getpid())) return;
    const size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length >= sizeof notify_address.sun_path) return;
    notify_address.sun_family = AF_UNIX;
    memcpy(notify_address.sun_path, name, length);
    if (name[0] == '@') notify_address.sun_path[0] = '\0';
    notify_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

const char *tinyfed_watchdog_open(const char *path, unsigned timeout_ms)
{
    int timeout_s = (int)(timeout_ms / 1000u);
    open_notify();
    if (path == NULL) return NULL;
    device = open(path, O_WRONLY | O_CLOEXEC);
    if (device < 0) return strerror(errno);
    if (ioctl(device, WDIOC_SETTIMEOUT, &timeout_s) == 0) return NULL;
    const int why = errno;
    tinyfed_watchdog_release();
    return why == ENOTTY ? "it is no watchdog" : strerror(why);
}

void tinyfed_watchdog_feed(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec == fed_s) return;
    fed_s = now.tv_sec;
    if (device >= 0) (void)!write(device, "", 1); /* any byte but V */
    if (notified >= 0)
        (void)sendto(notified, "WATCHDOG=1", 10, MSG_NOSIGNAL, (const struct sockaddr *)&notify_address, notify_bytes);
}

void tinyfed_watchdog_release(void)
{
    if (device < 0) return;
    (void)!write(device, "V", 1); /* the "magic close" of the kernel's watchdog API */
    (void)close(device);
    device = -1;
}
