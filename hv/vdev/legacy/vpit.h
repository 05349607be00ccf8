/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An 8254 timer.  Channel 0 is IRQ 0, channel 2 is at port 61h (8254 datasheet, "Mode
 * Definitions").
 *
 * A channel is a line that depends on time alone: nothing runs until somebody wants an interrupt.
 * Time is in input clocks since arch_clock_ns() was 0.  All under the device's lock
 * (hv/vdev/legacy/vtimers.h).
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPIT_H
#define SPILLWAY_HV_VDEV_LEGACY_VPIT_H

#include "base/types.h"

#define VPIT_CHANNELS 3
#define VPIT_SYSTEM   0 /* the channel of IRQ 0 */
#define VPIT_SPEAKER  2 /* the channel whose gate and output are at port 61h */

struct vpit_channel {
    uint8_t mode;        /* 0-5 */
    uint8_t access;      /* 1: low byte, 2: high byte, 3: low then high */
    bool bcd;            /* counts four decimal digits */
    bool gate;           /* its input; those of channels 0 and 1 are high for ever */
    bool loaded;         /* a count has been written since the mode was */
    bool started;        /* it counts; modes 1 and 5 wait for the gate to rise */
    bool write_high;     /* access 3: the next byte written is the high one */
    bool read_high;      /* access 3: the next byte read is the high one */
    bool latched;        /* `latch` waits to be read */
    bool status_latched; /* `status` waits to be read, before the count */
    uint8_t low;         /* access 3: the byte that has been written */
    uint8_t status;
    uint16_t latch;
    uint32_t reload;  /* 1..65536, binary */
    uint32_t next;    /* the reload of the next period or trigger; 0: the same */
    uint64_t start;   /* when counting began: input clocks */
    uint64_t elapsed; /* gate low: how far it had counted */
};

struct vpit {
    struct vpit_channel channel[VPIT_CHANNELS];
    uint64_t edge_ns; /* when channel 0's output rises next; TIMER_NEVER */
};

/* As a PC's firmware leaves it: square wave, 65536; the gate of the speaker's channel is low. */
void vpit_reset(struct vpit *pit);
/* The port of a channel; index below VPIT_CHANNELS. */
uint8_t vpit_read(struct vpit *pit, unsigned index);
void vpit_write(struct vpit *pit, unsigned index, uint8_t value);
/* The control word. */
void vpit_command(struct vpit *pit, uint8_t value);
/* The channel's output line now. */
bool vpit_output(struct vpit *pit, unsigned index);
/* The channel's gate. */
void vpit_gate(struct vpit *pit, unsigned index, bool level);
/* How often has channel 0's output risen since the last look? */
unsigned vpit_elapse(struct vpit *pit);
/* IRQ 0's line between two rising edges.  That of a periodic output is high all the time: a request
 * would be lost where it falls. */
bool vpit_line(struct vpit *pit);

#endif
