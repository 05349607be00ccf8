/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest device accesses: by port and by guest-physical address.
 *
 * Called from a vCPU's exit with no locks held.  An access that nobody owns reads all-ones, ignores
 * writes, and is counted in the VM.  BUS_DONE, or BUS_PARK: nothing has changed and the vCPU's
 * waiter is registered; the instruction shall run again.  What the instruction has accessed before
 * that (one wider than 8 bytes or over the end of a page, or one that reads and writes) it then
 * accesses again: so a device whose reads have effects parks in its first access of a sequence, or
 * never.
 */
#ifndef SPILLWAY_HV_VDEV_ACCESS_H
#define SPILLWAY_HV_VDEV_ACCESS_H

#include "base/types.h"
#include "hv/vdev/bus/bus.h"

struct vcpu;

/* size: 1, 2, 4.  *value is set when it is done. */
enum bus_result vdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value);
enum bus_result vdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value);
/* size: 1, 2, 4, 8; may be unaligned, never crosses a page. */
enum bus_result vdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t *value);
enum bus_result vdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value);

/* Is a device in that page?  Else reads are ones and writes are lost. */
bool vdev_mmio_owned(const struct vcpu *vcpu, gpa_t address);

#endif
