/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device that kvm-unit-tests expect of QEMU (pc-testdev), and one that reads and writes the
 * guest's memory by itself, in builds with TESTDEV=1 only: the others are linked with
 * testdev_none.c, in which nothing is there.
 *
 *     port 0xe0..0xe3     a register
 *     port 0xe4           a guest-physical address: its page is evicted; read: 1 if it is in no
 *                         frame any more, 0 if that has to be written again until it is
 *     port 0x2000 + n     interrupt line n gets that level
 *     port 0x2020         a guest-physical address ...
 *     port 0x2024         ... from and to which this one reads and writes; it moves on by as much
 *     port 0x2028         how often such an access has had to wait for a page; written: so often
 *     port 0x2030, 0x2034 how fast the host's disk is: hv/vdev/testdev_disk.h
 *     0xff000000, 64 KiB  memory of a device
 *     0xff010000, 4 KiB   what lies at that address, which stays, and behind it
 *
 * Its lock (RANK_VDEV) is taken by the bus.
 */
#ifndef SPILLWAY_HV_VDEV_TESTDEV_H
#define SPILLWAY_HV_VDEV_TESTDEV_H

#include "base/types.h"

struct vm_devices;

/* Sets devices->test, on the devices' buses.  False: out of memory. */
bool testdev_create(struct vm_devices *devices);
/* After all other devices: the 8259s are as a BIOS leaves them, with IRQ 11 open.  No vCPU runs. */
void testdev_reset(struct vm_devices *devices);
void testdev_destroy(struct vm_devices *devices);

#endif
