/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small port devices of a PC: CMOS RTC (0x70/0x71), PIT (0x40-0x43) and
 * port 0x61, keyboard controller (0x60/0x64: only its reset line), 0xCF9, status
 * port 0xF4, POST port 0x80.  Under the VM's device lock; what ends or resets
 * the VM is returned as an action, for the caller to do after unlocking.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPLATFORM_H
#define SPILLWAY_HV_VDEV_LEGACY_VPLATFORM_H

#include "arch/x86/hw/ports.h"
#include "base/types.h"
#include "hv/vdev/legacy/vcmos.h"
#include "hv/vdev/legacy/vpit.h"

#define STATUS_PORT        0xf4
#define PLATFORM_CMOS_PORT IOPORT_CMOS /* and the next one */

enum platform_action {
    PLATFORM_NONE,
    PLATFORM_RESET,
    PLATFORM_POWER_OFF,
    PLATFORM_STATUS, /* the value written is the status */
};

struct vdev_platform {
    struct vcmos *cmos; /* the VM's */
    struct vpit pit;
    uint8_t port61; /* bits 1:0 as written */
    uint8_t kbc_command;
    uint8_t reset_control;
};

/* Power-on state, with that clock. */
void vdev_platform_reset(struct vdev_platform *platform, struct vcmos *cmos);
/* size 1, 2, 4.  True: the port is one of these, *value is set. */
bool vdev_platform_in(struct vdev_platform *platform, uint16_t port, unsigned size,
                      uint32_t *value);
/* True: the port is one of these; *action says what the VM shall do. */
bool vdev_platform_out(struct vdev_platform *platform, uint16_t port, unsigned size, uint32_t value,
                       enum platform_action *action);

#endif
