#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "line.h"
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
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
#include <time.h>
#include <unistd.h>

#define EXIT_LINE 4
#define HOST_BYTES 256
/* No operation of a coordinator lasts so long without a word (docs/wire.md). */
#define SILENT_S 30
/* A coordinator that is gone without a word, its laptop asleep or out of reach, is noticed after 5 + 3 * 2 s. */
#define PROBE_AFTER_S 5
#define PROBE_EVERY_S 2
#define PROBES 3

static int fail(const char *name, const char *why)
{
    fprintf(stderr, "tinyfed: cannot open the line '%s': %s\n", name, why);
    return EXIT_LINE;
}

static _Noreturn void end(int code)
{
    tinyfed_watchdog_release();
    _exit(code);
}

/* A coordinator that is gone must be a result, not a signal; Ctrl-C and SIGTERM end the device with 0. */
static void on_end(int number)
{
    (void)number;
    end(0);
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

static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value); /* fails on a unix socket, which needs none */
}

static void set_connection(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
    /* with bytes on the way it is these, not probes, that nobody acknowledges */
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000 * (PROBE_AFTER_S + PROBES * PROBE_EVERY_S));
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

/* The first of a host's addresses that can be had; -1, and why. */
static int open_address(const struct addrinfo *found, bool listening, const char **why)
{
    int fd = -1;
    for (; found != NULL && fd < 0; found = found->ai_next) {
        fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
        if (fd >= 0 && listening) {
            set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
            if (found->ai_family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); /* [::] hears both */
        }
        if (fd >= 0 && (listening ? bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0
                                  : connect(fd, found->ai_addr, found->ai_addrlen) == 0))
            return fd;
        *why = strerror(errno);
        if (fd >= 0) (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int open_tcp(tinyfed_line_t *line, const char *name, const char *address, bool listening)
{
    char host[HOST_BYTES];
    char *end;
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || (size_t)(colon - address) >= sizeof host)
        return fail(name, "give HOST:PORT");
    const bool brackets = address[0] == '[' && colon[-1] == ']';
    const size_t host_bytes = (size_t)(colon - address) - (brackets ? 2u : 0u);
    memcpy(host, address + (brackets ? 1 : 0), host_bytes);
    host[host_bytes] = '\0';
    if (!brackets && strchr(host, ':') != NULL) return fail(name, "write an IPv6 address in brackets: [::1]:PORT");
    const unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port > 65535ul || port == 0ul)
        return fail(name, "PORT is a number from 1 to 65535");
    const int wrong = getaddrinfo(host, colon + 1, &wanted, &found);
    if (wrong != 0) return fail(name, wrong == EAI_SYSTEM ? strerror(errno) : gai_strerror(wrong));
    const char *why = "no address";
    const int fd = open_address(found, listening, &why);
    freeaddrinfo(found);
    if (fd < 0) return fail(name, why);
    line->socket = true;
    line->network = true;
    if (listening) {
        line->listening = fd;
    } else {
        set_connection(fd);
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

static int64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec;
}

/* Who comes takes the place of whoever is there, if anybody: of one that has been silent for too long. */
static void take_connection(tinyfed_line_t *line)
{
    const int fd = accept(line->listening, NULL, NULL);
    if (fd < 0) return;
    if (line->fd >= 0) (void)close(line->fd);
    line->fd = fd;
    line->congested = false;
    line->heard_s = now_s();
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    set_connection(fd);
}

static bool may_take(const tinyfed_line_t *line)
{
    if (line->listening < 0) return false;
    return line->fd < 0 || (line->network && now_s() - line->heard_s >= SILENT_S);
}

static void lose(tinyfed_line_t *line)
{
    if (line->listening < 0) {
        if (line->socket) end(0); /* the coordinator hung up: nothing more can come */
        fprintf(stderr, "tinyfed: the line '%s' is gone: plug it in again and start anew\n", line->name);
        end(EXIT_LINE);
    }
    (void)close(line->fd);
    line->fd = -1;
    line->congested = false;
}

size_t tinyfed_line_read(tinyfed_line_t *line, uint8_t *bytes, size_t capacity)
{
    if (may_take(line)) take_connection(line);
    if (line->fd < 0 || capacity == 0u) return 0;
    const ssize_t count = read(line->fd, bytes, capacity);
    if (count > 0) {
        if (line->network) line->heard_s = now_s();
        return (size_t)count;
    }
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
