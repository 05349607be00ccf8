/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds without TESTDEV=1: nothing is there. */
#include "hv/vdev/testdev.h"

bool testdev_create(struct vm_devices *devices)
{
    (void)devices;
    return true;
}

void testdev_reset(struct vm_devices *devices)
{
    (void)devices;
}

void testdev_destroy(struct vm_devices *devices)
{
    (void)devices;
}

bool testdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value)
{
    (void)vcpu;
    (void)port;
    (void)size;
    (void)value;
    return false;
}

bool testdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    (void)vcpu;
    (void)port;
    (void)size;
    (void)value;
    return false;
}

bool testdev_owns_mmio(gpa_t address)
{
    (void)address;
    return false;
}

uint64_t testdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size)
{
    (void)vcpu;
    (void)address;
    (void)size;
    return UINT64_MAX;
}

void testdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    (void)vcpu;
    (void)address;
    (void)size;
    (void)value;
}
