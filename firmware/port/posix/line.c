#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "line.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define EXIT_LINE 4
#define HOST_BYTES 16

static int fail(const char *name, const char *why)
{
    fprintf(stderr, "tinyfed: cannot open the line '%s': %s\n", name, why);
    return EXIT_LINE;
}

/* A coordinator that is gone must be a result, not a signal; Ctrl-C and SIGTERM end the device with 0. */
static void on_end(int number)
{
    (void)number;
    _exit(0);
}

static int set_raw(int fd)
{
    struct termios settings;
    if (tcgetattr(fd, &settings) != 0) return -1;
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    (void)cfsetispeed(&settings, B115200);
    (void)cfsetospeed(&settings, B115200);
    return tcsetattr(fd, TCSANOW, &settings);
}

static int open_tty(tinyfed_line_t *line, const char *path)
{
    line->fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (line->fd < 0) return fail(path, strerror(errno));
    if (set_raw(line->fd) != 0) return fail(path, "not a serial line");
    return 0;
}

static int open_pty(tinyfed_line_t *line)
{
    line->fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (line->fd < 0 || grantpt(line->fd) != 0 || unlockpt(line->fd) != 0) return fail("pty", strerror(errno));
    const char *path = ptsname(line->fd);
    if (path == NULL) return fail("pty", strerror(errno));
    /* Held open for ever: without any reader at the other end the master reports an error, not silence. */
    const int other = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other < 0 || set_raw(other) != 0) return fail(path, strerror(errno));
    printf("%s\n", path);
    fflush(stdout);
    return 0;
}

static int open_unix(tinyfed_line_t *line, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return fail(path, "the path is longer than a unix socket's can be");
    strcpy(address.sun_path, path);
    line->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd < 0 || connect(line->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return fail(path, strerror(errno));
    line->socket = true;
    return 0;
}

/* HOST is numeric, so that a static program needs nothing of the system it runs on. */
static int open_tcp(tinyfed_line_t *line, const char *name, const char *address, bool listening)
{
    char host[HOST_BYTES];
    char *end;
    struct sockaddr_in target = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) return fail(name, "give HOST:PORT");
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    const unsigned long port = strtoul(colon + 1, &end, 10);
    if (inet_pton(AF_INET, host, &target.sin_addr) != 1)
        return fail(name, "HOST is an IPv4 address such as 192.168.1.5");
    if (end == colon + 1 || *end != '\0' || port > 65535ul || port == 0ul)
        return fail(name, "PORT is a number from 1 to 65535");
    target.sin_port = htons((uint16_t)port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    if (fd < 0) return fail(name, strerror(errno));
    line->socket = true;
    if (listening) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&target, sizeof target) != 0 || listen(fd, 1) != 0)
            return fail(name, strerror(errno));
        line->listening = fd;
    } else {
        if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0) return fail(name, strerror(errno));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        line->fd = fd;
    }
    return 0;
}

static int open_inherited(tinyfed_line_t *line, const char *name)
{
    int listening = 0;
    socklen_t length = sizeof listening;
    line->listening = atoi(name + 3);
    line->socket = true;
    if (getsockopt(line->listening, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening == 0)
        return fail(name, "not a listening socket");
    return 0;
}

int tinyfed_line_open(tinyfed_line_t *line, const char *name)
{
    *line = (tinyfed_line_t){.fd = -1, .listening = -1, .name = name};
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, on_end);
    (void)signal(SIGTERM, on_end);
    int result;
    if (strcmp(name, "pty") == 0) result = open_pty(line);
    else if (strncmp(name, "tcp:", 4) == 0) result = open_tcp(line, name, name + 4, false);
    else if (strncmp(name, "listen:", 7) == 0) result = open_tcp(line, name, name + 7, true);
    else if (strncmp(name, "unix:", 5) == 0) result = open_unix(line, name + 5);
    else if (strncmp(name, "fd:", 3) == 0) result = open_inherited(line, name);
    else result = open_tty(line, name);
    if (result != 0) return result;
    const int fd = line->fd >= 0 ? line->fd : line->listening;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) return fail(name, strerror(errno));
    return 0;
}

static void take_connection(tinyfed_line_t *line)
{
    const int one = 1;
    line->fd = accept(line->listening, NULL, NULL);
    if (line->fd < 0) return;
    (void)fcntl(line->fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(line->fd, F_SETFD, FD_CLOEXEC);
    (void)setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one,
                     sizeof one); /* fails on a unix socket, which needs none */
}

static void lose(tinyfed_line_t *line)
{
    if (line->listening < 0) {
        if (line->socket) _exit(0); /* the coordinator hung up: nothing more can come */
        fprintf(stderr, "tinyfed: the line '%s' is gone: plug it in again and start anew\n", line->name);
        _exit(EXIT_LINE);
    }
    (void)close(line->fd);
    line->fd = -1;
    line->congested = false;
}

size_t tinyfed_line_read(tinyfed_line_t *line, uint8_t *bytes, size_t capacity)
{
    if (line->fd < 0) take_connection(line);
    if (line->fd < 0 || capacity == 0u) return 0;
    const ssize_t count = read(line->fd, bytes, capacity);
    if (count > 0) return (size_t)count;
    if (count == 0 && !line->socket) return 0; /* VMIN 0: silence */
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    lose(line);
    return 0;
}

size_t tinyfed_line_write(tinyfed_line_t *line, const uint8_t *bytes, size_t byte_count)
{
    line->congested = false;
    if (line->fd < 0) return byte_count; /* nobody listens, as on a wire without a cable */
    const ssize_t count = write(line->fd, bytes, byte_count);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        lose(line);
        return byte_count;
    }
    const size_t taken = count > 0 ? (size_t)count : 0u;
    line->congested = taken < byte_count;
    return taken;
}

void tinyfed_line_wait(tinyfed_line_t *line, uint32_t timeout_ms)
{
    struct pollfd waiting = {.fd = line->fd >= 0 ? line->fd : line->listening, .events = POLLIN};
    if (line->fd >= 0 && line->congested) waiting.events |= POLLOUT;
    (void)poll(&waiting, 1, (int)timeout_ms);
    /* A serial line that was unplugged is readable for ever with nothing to read. */
    if (line->fd >= 0 && !line->socket && (waiting.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) lose(line);
}
