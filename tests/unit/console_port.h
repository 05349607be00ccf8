/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serial port below the console, which takes everything when it is asked, and keeps it; what is
 * typed on it, and what the port was told.
 */
#ifndef SPILLWAY_TESTS_UNIT_CONSOLE_PORT_H
#define SPILLWAY_TESTS_UNIT_CONSOLE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/platform.h"

extern char port[1 << 21];
extern size_t port_bytes;
/* What comes in, and what the port was told. */
extern const char *typed;
extern size_t typed_bytes;
extern bool ready, wants_transmit;
extern unsigned wakes;
extern uint64_t now_ns;
extern platform_irq_handler on_interrupt;
extern uint64_t port_overruns;
/* What the emulator was told. */
extern char told[64];

#endif
