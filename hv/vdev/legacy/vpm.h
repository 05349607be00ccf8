/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI fixed hardware of a guest: PM1 event and control registers, PM timer (ACPI 6.4, 4.8.3 "PM1
 * Registers" and 4.8.3.3 "Power Management Timer"), and what raises the SCI: the power button, the
 * alarm of the RTC, the timer's carry.  There is no SMI command port: it is in ACPI mode for ever.
 * The FADT (hv/vdev/legacy/acpi.c) names the ports.  All under the device's
 * lock (hv/vdev/legacy/vtimers.h).
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPM_H
#define SPILLWAY_HV_VDEV_LEGACY_VPM_H

#include "arch/x86/hw/acpi.h"
#include "base/bits.h"
#include "base/types.h"

#define VPM_PORT         0x600 /* PM1 status, PM1 enable: 2 bytes each */
#define VPM_PORTS        12
#define VPM_CONTROL      4 /* offset of PM1 control, 2 bytes */
#define VPM_TIMER        8 /* offset of the PM timer, 4 bytes */
#define VPM_SCI          9 /* IRQ, level */
#define VPM_TIMER_HZ     PM_TIMER_HZ
#define VPM_SLEEP_OFF    5 /* SLP_TYP of soft off; in dsdt.asl, too */
#define VPM_EVENT_TIMER  BIT(0)
#define VPM_EVENT_GLOBAL BIT(5)  /* of the global lock: never happens, can be enabled */
#define VPM_EVENT_PRESS  BIT(8)  /* power button */
#define VPM_EVENT_RTC    BIT(10) /* its alarm */

struct vpm {
    uint16_t status, enable;
    uint8_t sleep_type;
    uint64_t carry_ns; /* when the timer's highest bit changes next */
};

/* Power-on state. */
void vpm_reset(struct vpm *pm);
/* One of VPM_EVENT_* has happened; those that the guest has not seen yet are one. */
void vpm_raise(struct vpm *pm, uint16_t event);
/* Has it happened, and the guest has not acknowledged it yet? */
bool vpm_happened(const struct vpm *pm, uint16_t event);
/* Has the guest enabled an event that has not happened yet? */
bool vpm_wants(const struct vpm *pm, uint16_t event);
/* The line of the SCI. */
bool vpm_line(const struct vpm *pm);
/* Looks whether the timer has carried. */
void vpm_elapse(struct vpm *pm);
/* When it has to be looked at next; TIMER_NEVER: its carry does not interrupt. */
uint64_t vpm_next_ns(const struct vpm *pm);

/* The bytes from an offset below VPM_PORTS on, all of this moment; ones behind the last. */
uint64_t vpm_read(const struct vpm *pm, unsigned offset);
/* True: the guest switches itself off. */
bool vpm_write(struct vpm *pm, unsigned offset, uint8_t value);

#endif
