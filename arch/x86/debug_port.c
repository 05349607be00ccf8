/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The debug port of an emulator: QEMU's isa-debugcon and Bochs' port_e9_hack.  Bytes written to it
 * reach whoever started the emulator, and no guest reaches it.  A read gives the port's own number;
 * on a PC nothing answers there, and nothing is written.
 */
#include "arch/x86/hw/ports.h"
#include "drivers/platform.h"
#include "hv/arch.h"

void arch_tell_emulator(const char *line)
{
    if (port_in8(IOPORT_DEBUG) != IOPORT_DEBUG) {
        return;
    }
    for (; *line != '\0'; line++) {
        port_out8(IOPORT_DEBUG, (uint8_t)*line);
    }
    port_out8(IOPORT_DEBUG, '\n');
}
