/* Linux' watchdogs: the kernel's, which resets the computer, and systemd's, which starts the program anew. */
#ifndef TINYFED_POSIX_WATCHDOG_H
#define TINYFED_POSIX_WATCHDOG_H

/* Have the kernel reset the computer after `timeout_ms` without a feed; path NULL: it does not. systemd is fed where it
 * has asked for that. Returns NULL, or what is wrong in words. */
const char *tinyfed_watchdog_open(const char *path, unsigned timeout_ms);

/* As often as one likes: they are told once a second. */
void tinyfed_watchdog_feed(void);

/* The program ends because it was told to: the computer is not to be reset for that. May be called from a signal. */
void tinyfed_watchdog_release(void);

#endif
