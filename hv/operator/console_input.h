/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has been typed: from the port into a ring, at the port's interrupt, so that nothing is lost
 * while a CPU is elsewhere; from there the monitor takes it, as fast as it or the guest whose
 * console is attached can.  When the ring is nearly full, the other side is asked to wait (RTS).
 */
#ifndef SPILLWAY_HV_OPERATOR_CONSOLE_INPUT_H
#define SPILLWAY_HV_OPERATOR_CONSOLE_INPUT_H

#include "base/types.h"

struct uart;

#define CONSOLE_INPUT_BYTES 65536u /* power of two */

/* All that the port has.  The port's interrupt and, should one get lost, the main loop; any CPU. */
void console_input_take(struct uart *uart);
/* The next character, which stays; -1: none.  By one CPU at a time: the monitor. */
int console_input_peek(void);
/* It is done with. */
void console_input_drop(void);
/* All before the next `c` is done with.  False: there is none, nothing has changed. */
bool console_input_skip_to(char c);

#endif
