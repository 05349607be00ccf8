/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest device accesses: by port and by guest-physical address.
 *
 * Called from a vCPU's exit with no locks held.  An access that nobody owns
 * reads all-ones, ignores writes, and is counted in the VM.  A handler acts at
 * once and cannot wait for memory; its values are already checked for size.
 */
#ifndef SPILLWAY_HV_VDEV_ACCESS_H
#define SPILLWAY_HV_VDEV_ACCESS_H

#include "base/types.h"

struct vcpu;

/* size: 1, 2, 4. */
uint32_t bus_port_in(struct vcpu *vcpu, uint16_t port, unsigned size);
void bus_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value);
/* size: 1, 2, 4, 8; may be unaligned, never crosses a page. */
uint64_t bus_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size);
void bus_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value);

/* Is a device there?  Else reads are ones and writes are lost. */
bool bus_mmio_owned(const struct vcpu *vcpu, gpa_t address);

#endif
