/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device that kvm-unit-tests expect of QEMU (pc-testdev), in builds with TESTDEV=1 only: the
 * others are linked with testdev_none.c, in which nothing is there.
 *
 *     port 0xe0..0xe3     a register
 *     port 0xe4           a guest-physical address: its page is evicted at once
 *     port 0x2000 + n     interrupt line n gets that level
 *     0xff000000, 64 KiB  memory of a device
 *
 * Locks: the devices' lock (RANK_VDEV) is taken inside.
 */
#ifndef SPILLWAY_HV_VDEV_TESTDEV_H
#define SPILLWAY_HV_VDEV_TESTDEV_H

#include "base/types.h"

struct vcpu;
struct vm_devices;

/* Sets devices->test.  False: out of memory. */
bool testdev_create(struct vm_devices *devices);
/* After all other devices: the 8259s are as a BIOS leaves them, with IRQ 11 open.  Lock held. */
void testdev_reset(struct vm_devices *devices);
void testdev_destroy(struct vm_devices *devices);
/* False: not a port of it. */
bool testdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value);
bool testdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value);
bool testdev_owns_mmio(gpa_t address);
/* size: 1, 2, 4, 8, not beyond the page. */
uint64_t testdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size);
void testdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value);

#endif
