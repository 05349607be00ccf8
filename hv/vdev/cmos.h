/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock and memory of a PC: ports 0x70 and 0x71.  All under the VM's device lock. */
#ifndef SPILLWAY_HV_VDEV_CMOS_H
#define SPILLWAY_HV_VDEV_CMOS_H

#include "base/types.h"

#define CMOS_BYTES 128

struct cmos {
    uint8_t index;
    uint8_t byte[CMOS_BYTES];
};

void cmos_reset(struct cmos *cmos);
/* The index port; bit 7, which masks NMI, is ignored. */
void cmos_select(struct cmos *cmos, uint8_t value);
/* The byte that is selected.  The time is the host's; setting it has no effect, alarms and the rest
 * are memory. */
uint8_t cmos_read(const struct cmos *cmos);
void cmos_write(struct cmos *cmos, uint8_t value);

#endif
