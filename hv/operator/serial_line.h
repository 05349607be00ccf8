/* SPDX-License-Identifier: BSD-2-Clause */
/* The serial line: a sink of the console (hv/operator/sink.h), and where what is typed comes from.
 */
#ifndef SPILLWAY_HV_OPERATOR_SERIAL_LINE_H
#define SPILLWAY_HV_OPERATOR_SERIAL_LINE_H

#include "base/types.h"

/* Opens the port; it becomes a sink.  Boot CPU. */
void serial_line_open(uint16_t port, unsigned baud);
/* COM1, 115200 baud, unless a port is open: in a panic before the configuration has been read. */
void serial_line_open_default(void);
/* Interrupts by what comes and by room for more; after the interrupt controllers are up. */
void serial_line_enable_interrupts(void);
/* Looks at the port, should its interrupt have got lost.  Main loop, by one CPU at a time. */
void serial_line_poll(void);

#endif
