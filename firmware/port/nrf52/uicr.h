/* What a full erase of an nRF52840 takes away beside the program: the open debug port and the reset pin. */
#ifndef TINYFED_NRF52_UICR_H
#define TINYFED_NRF52_UICR_H

#include <stdbool.h>

/* Opens the debug port, and writes the words of UICR that are erased. What somebody has written there stays, a lock
 * too. Returns whether UICR has changed: it counts from the next reset on. */
bool tinyfed_nrf52_uicr_restore(void);

#endif
