/* The nRF52840's watchdog, and why the chip started. */
#ifndef TINYFED_NRF52_WATCHDOG_H
#define TINYFED_NRF52_WATCHDOG_H

#include "tinyfed_port.h"

/* Once started it can neither be stopped nor changed, and a reset by software leaves it running. */
void tinyfed_nrf52_watchdog_start(void);
void tinyfed_nrf52_watchdog_feed(void);

/* By the chip's flags, which it clears. `noted`: what start-up has found. */
tinyfed_reset_cause_t tinyfed_nrf52_reset_cause(tinyfed_reset_cause_t noted);

#endif
