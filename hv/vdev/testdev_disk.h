/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host's driver makes of a disk when no guest's disk is in between: requests of one kind,
 * so many in flight, counted in time.  For builds with TESTDEV=1, and measurements
 * (tests/bench/disk): what is on the guest's first disk is overwritten.
 *
 *     port 0x2030, 4 bytes   bits 7:0    enum testdev_disk_op
 *                            bits 15:8   requests in flight, 1..TESTDEV_DISK_DEPTH
 *                            bits 31:16  pages of each, 1..BLOCK_MAX_PAGES
 *     port 0x2034, 4 bytes   written: so many requests; read: waits until they have ended, and is
 *                            the microseconds they took, or ~0: one failed, or there is no disk
 *
 * One at a time in the machine, of the VM that was made first; what is in flight when that VM ends
 * still ends by itself, and may still be written.  Its lock (RANK_VDEV) is taken by the bus.
 */
#ifndef SPILLWAY_HV_VDEV_TESTDEV_DISK_H
#define SPILLWAY_HV_VDEV_TESTDEV_DISK_H

#include "hv/vdev/bus/bus.h"

#define TESTDEV_DISK_DEPTH 32u

enum testdev_disk_op {
    TESTDEV_DISK_READ,   /* in order */
    TESTDEV_DISK_WRITE,  /* likewise */
    TESTDEV_DISK_RANDOM, /* reads, anywhere */
};

struct vm_devices;

/* The two ports, on the devices' bus.  False: out of memory. */
bool testdev_disk_attach(struct vm_devices *devices);
/* The devices go; what is in flight ends for nobody. */
void testdev_disk_detach(struct vm_devices *devices);

#endif
