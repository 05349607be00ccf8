/* SPDX-License-Identifier: BSD-2-Clause */
/* An emulator's debug port as a sink: whoever started it is told how the machine ended. */
#ifndef SPILLWAY_HV_OPERATOR_EMULATOR_PORT_H
#define SPILLWAY_HV_OPERATOR_EMULATOR_PORT_H

/* It becomes a sink, unless it is one. */
void emulator_port_open(void);

#endif
