/* SPDX-License-Identifier: BSD-2-Clause */
/* A local APIC as its vCPU sees it, for its tests. */
#ifndef SPILLWAY_TESTS_UNIT_VLAPIC_ACCESS_H
#define SPILLWAY_TESTS_UNIT_VLAPIC_ACCESS_H

#include "tests/unit/vdev_fake.h"

static inline uint32_t reg_read(unsigned cpu, unsigned offset)
{
    return (uint32_t)vlapic_mmio_read(&vfake.vcpu[cpu], offset, 4);
}

static inline void reg_write(unsigned cpu, unsigned offset, uint32_t value)
{
    vlapic_mmio_write(&vfake.vcpu[cpu], offset, 4, value);
}

static inline int pending(unsigned cpu)
{
    return vlapic_highest_pending(vfake.vcpu[cpu].vlapic);
}

/* Takes the highest vector and ends it: -1 when there is none. */
static inline int take(unsigned cpu)
{
    int vector = pending(cpu);

    if (vector >= 0) {
        vlapic_accept(vfake.vcpu[cpu].vlapic, (unsigned)vector);
        reg_write(cpu, 0xb0, 0);
    }
    return vector;
}

#endif
