/* SPDX-License-Identifier: BSD-2-Clause */
/* An 8254 timer whose outputs reach nobody but port 0x61.  All under the VM's device lock. */
#ifndef SPILLWAY_HV_VDEV_PIT_H
#define SPILLWAY_HV_VDEV_PIT_H

#include "base/types.h"

#define PIT_CHANNELS 3

struct pit_channel {
    uint8_t mode;        /* 0-5 */
    uint8_t access;      /* 1: low byte, 2: high byte, 3: low then high */
    bool write_high;     /* access 3: the next byte written is the high one */
    bool read_high;      /* access 3: the next byte read is the high one */
    bool latched;        /* `latch` waits to be read */
    bool status_latched; /* `status` waits to be read, before the count */
    uint16_t latch;
    uint8_t status;
    uint32_t reload;   /* 1..65536 */
    uint64_t start_ns; /* when counting began */
};

struct pit {
    struct pit_channel channel[PIT_CHANNELS];
};

/* Power-on state: square wave, 65536. */
void pit_reset(struct pit *pit);
/* The port of a channel; index below PIT_CHANNELS. */
uint8_t pit_read(struct pit *pit, unsigned index);
void pit_write(struct pit *pit, unsigned index, uint8_t value);
/* The control word. */
void pit_command(struct pit *pit, uint8_t value);
/* The channel's output line now. */
bool pit_output(const struct pit *pit, unsigned index);
/* The channel's gate rises: it counts from the start. */
void pit_gate(struct pit *pit, unsigned index);

#endif
