/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has been typed.  The port's interrupt puts it into a ring, so that nothing is lost while a
 * CPU is elsewhere; the monitor takes it from there, as fast as it or the guest whose console is
 * attached can.  When the ring is nearly full, the other side is asked to wait (RTS).
 */
#ifndef SPILLWAY_HV_OPERATOR_CONSOLE_INPUT_H
#define SPILLWAY_HV_OPERATOR_CONSOLE_INPUT_H

#include "base/types.h"

struct uart;

#define CONSOLE_INPUT_BYTES 65536u /* power of two */

/* Takes all that the port has.  From the port's interrupt or, should one get lost, the main loop.
 */
void console_input_take(struct uart *uart);
/* The next character, which stays; -1: none.  By one CPU at a time: the monitor. */
int console_input_peek(void);
/* Drops that character. */
void console_input_drop(void);
/* Drops all before the next `c`.  False: there is none, nothing has changed. */
bool console_input_skip_to(char c);

#endif
