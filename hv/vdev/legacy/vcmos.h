/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The clock and memory of a PC: ports 0x70 and 0x71, IRQ 8 (MC146818 datasheet).
 *
 * It has a battery: the clock, which runs at the host's pace from what the guest has set, and the
 * memory are kept from one start of a VM to the next, as long as the hypervisor runs.  At first
 * the clock shows the host's time, UTC.
 *
 * All is a function of time: flags are set when somebody looks.  All under the device's
 * lock (hv/vdev/legacy/vtimers.h).
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VCMOS_H
#define SPILLWAY_HV_VDEV_LEGACY_VCMOS_H

#include "base/types.h"

#define VCMOS_BYTES 128

struct vcmos {
    bool kept; /* it has been initialised once */
    uint8_t index;
    uint8_t byte[VCMOS_BYTES]; /* of the time: while SET; of register C: the flags that are set */
    uint8_t weekday_shift;     /* what the guest wants the day of the week to be, in days */
    int64_t offset_s;          /* the clock, less the host's */
    uint32_t offset_ns;
    int64_t stopped_s; /* what it shows while its divider is held in reset */
    int64_t seen_s;    /* the second of the last look */
    uint64_t seen_period;
    int64_t alarm_s; /* the next second that the alarm matches; INT64_MAX: none does */
};

/* The VM starts: no interrupt is enabled or pending. */
void vcmos_reset(struct vcmos *cmos);
/* The index port; bit 7, which masks NMI, is ignored. */
void vcmos_select(struct vcmos *cmos, uint8_t value);
/* The byte that is selected.  Reading register C clears its flags. */
uint8_t vcmos_read(struct vcmos *cmos);
void vcmos_write(struct vcmos *cmos, uint8_t value);

/* Sets the flags that are due.  True: an alarm that is to interrupt has come. */
bool vcmos_elapse(struct vcmos *cmos);
/* IRQ 8. */
bool vcmos_line(const struct vcmos *cmos);
/* When a flag that is to interrupt will be set next; TIMER_NEVER. */
uint64_t vcmos_next_ns(const struct vcmos *cmos);

#endif
