/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small ports of a PC that keep next to nothing: keyboard controller (0x60, 0x64: only its
 * reset line), 0xCF9, status port 0xF4, POST port 0x80, the port that is written for a delay.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPLATFORM_H
#define SPILLWAY_HV_VDEV_LEGACY_VPLATFORM_H

#include "arch/x86/hw/ports.h"
#include "base/lock.h"
#include "base/types.h"
#include "hv/vdev/bus/bus.h"

#define STATUS_PORT 0xf4

#define VPLATFORM_RANGES 6

struct vplatform {
    struct bus_range range[VPLATFORM_RANGES];
    struct spinlock lock; /* what follows */
    uint8_t kbc_command;
    uint8_t reset_control;
};

/* Once, in power-on state.  False: no room on the bus. */
bool vplatform_init(struct vplatform *platform, struct bus_map *ports);
/* Power-on state. */
void vplatform_reset(struct vplatform *platform);

#endif
