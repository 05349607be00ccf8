/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vpm.h"

#include <string.h>

#include "hv/arch.h"
#include "hv/timer.h"

#define EVENTS         (VPM_EVENT_TIMER | VPM_EVENT_GLOBAL | VPM_EVENT_PRESS | VPM_EVENT_RTC)
#define ENABLE_OFFSET  2
#define SCI_ENABLED    0x01              /* PM1 control: the events raise an SCI, not an SMI */
#define SLEEP_ENABLE   (PM1_SLP_EN >> 8) /* in the high byte */
#define CARRY_CLOCKS   BIT(31)
#define HIGH_BYTE_TYPE BITS(4, 2) /* PM1_SLP_TYP there */

static uint64_t clocks_of(uint64_t ns)
{
    return ns / NS_PER_S * VPM_TIMER_HZ + ns % NS_PER_S * VPM_TIMER_HZ / NS_PER_S;
}

static uint64_t ns_of(uint64_t clocks)
{
    return clocks / VPM_TIMER_HZ * NS_PER_S +
           (clocks % VPM_TIMER_HZ * NS_PER_S + VPM_TIMER_HZ - 1) / VPM_TIMER_HZ;
}

static void aim(struct vpm *pm)
{
    uint64_t carries = clocks_of(arch_clock_ns()) / CARRY_CLOCKS;

    pm->carry_ns = ns_of((carries + 1) * CARRY_CLOCKS);
}

void vpm_reset(struct vpm *pm)
{
    memset(pm, 0, sizeof(*pm));
    aim(pm);
}

void vpm_raise(struct vpm *pm, uint16_t event)
{
    pm->status |= event;
}

bool vpm_happened(const struct vpm *pm, uint16_t event)
{
    return pm->status & event;
}

bool vpm_wants(const struct vpm *pm, uint16_t event)
{
    return pm->enable & ~pm->status & event;
}

bool vpm_line(const struct vpm *pm)
{
    return (pm->status & pm->enable) != 0;
}

void vpm_elapse(struct vpm *pm)
{
    if (arch_clock_ns() >= pm->carry_ns) {
        pm->status |= VPM_EVENT_TIMER;
        aim(pm);
    }
}

uint64_t vpm_next_ns(const struct vpm *pm)
{
    return pm->enable & VPM_EVENT_TIMER ? pm->carry_ns : TIMER_NEVER;
}

uint64_t vpm_read(const struct vpm *pm, unsigned offset)
{
    uint64_t events = pm->status | (uint32_t)pm->enable << 16;
    uint64_t control = SCI_ENABLED | FIELD_PREP(PM1_SLP_TYP, (uint64_t)pm->sleep_type);
    uint64_t timer = ~(uint64_t)UINT32_MAX | (uint32_t)clocks_of(arch_clock_ns());
    unsigned shift = 8 * (offset % VPM_TIMER);

    if (offset >= VPM_TIMER) {
        return ~(~timer >> shift);
    }
    return (events | control << 32) >> shift | (shift != 0 ? timer << (64 - shift) : 0);
}

/* ACPI 6.4, 4.8.3.1: status bits are cleared by writing ones. */
bool vpm_write(struct vpm *pm, unsigned offset, uint8_t value)
{
    unsigned shift = 8 * (offset % 2);
    uint16_t bits = (uint16_t)(value << shift);

    if (offset < ENABLE_OFFSET) {
        pm->status &= (uint16_t)~bits;
    } else if (offset < VPM_CONTROL) {
        pm->enable = (uint16_t)((pm->enable & ~(0xff << shift)) | (bits & EVENTS));
    } else if (offset == VPM_CONTROL + 1) {
        pm->sleep_type = (uint8_t)FIELD_GET(HIGH_BYTE_TYPE, value);
        return (value & SLEEP_ENABLE) && pm->sleep_type == VPM_SLEEP_OFF;
    }
    return false;
}
