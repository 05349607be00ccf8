/* SPDX-License-Identifier: BSD-2-Clause */
/* The devices of hv/vdev/legacy/vtimers.h on the buses: which access settles what. */
#include "arch/x86/hw/ports.h"
#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/vdev/legacy/vtimers.h"

#define PIT_PORTS   4
#define PIT_COMMAND (IOPORT_PIT_COMMAND - IOPORT_PIT) /* offset; the others are the channels */
#define RTC_PORTS   2
#define RTC_DATA    1 /* offset; the other one selects */

static void settle(struct bus_access *access)
{
    vtimers_settle(access->range->owner);
}

/* A guest calibrates by the PIT and the PM timer, and an exit takes its time already: reading them
 * settles nothing. */
static void settle_write(struct bus_access *access)
{
    if (access->write) {
        vtimers_settle(access->range->owner);
    }
}

/* Eight-bit devices: the other byte lanes float. */
static enum bus_result give_byte(struct bus_access *access, uint8_t byte)
{
    access->value = 0xffffff00u | byte;
    return BUS_DONE;
}

/* ---- PIT ---- */

static enum bus_result read_pit(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;
    unsigned channel = (unsigned)access->offset;

    return give_byte(access, channel == PIT_COMMAND ? 0xff : vpit_read(&timers->pit, channel));
}

static enum bus_result write_pit(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    if (access->offset == PIT_COMMAND) {
        vpit_command(&timers->pit, (uint8_t)access->value);
    } else {
        vpit_write(&timers->pit, (unsigned)access->offset, (uint8_t)access->value);
    }
    return BUS_DONE;
}

static const struct bus_ops pit_ops = {
    .read = read_pit, .write = write_pit, .before = settle_write, .after = settle_write};

/* ---- port 61h ---- */

#define REFRESH_HALF_NS 15085

static enum bus_result read_port61(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;
    uint8_t value = timers->port61;

    value |= vpit_output(&timers->pit, VPIT_SPEAKER) ? SYSTEM_B_OUT2 : 0;
    value |= arch_clock_ns() / REFRESH_HALF_NS % 2 ? SYSTEM_B_REFRESH : 0;
    return give_byte(access, value);
}

static enum bus_result write_port61(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    timers->port61 = access->value & (SYSTEM_B_GATE2 | SYSTEM_B_SPEAKER);
    vpit_gate(&timers->pit, VPIT_SPEAKER, (access->value & SYSTEM_B_GATE2) != 0);
    return BUS_DONE;
}

static const struct bus_ops port61_ops = {
    .read = read_port61, .write = write_port61, .before = settle_write, .after = settle_write};

/* ---- RTC ---- */

static enum bus_result read_rtc(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    return give_byte(access, access->offset == RTC_DATA ? vcmos_read(timers->rtc) : 0xff);
}

static enum bus_result write_rtc(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    if (access->offset == RTC_DATA) {
        vcmos_write(timers->rtc, (uint8_t)access->value);
    } else {
        vcmos_select(timers->rtc, (uint8_t)access->value);
    }
    return BUS_DONE;
}

static const struct bus_ops rtc_ops = {
    .read = read_rtc, .write = write_rtc, .before = settle, .after = settle};

/* ---- HPET ---- */

static enum bus_result read_hpet(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    access->value = vhpet_read(&timers->hpet, (unsigned)access->offset, access->size);
    return BUS_DONE;
}

static enum bus_result write_hpet(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    vhpet_write(&timers->hpet, (unsigned)access->offset, access->size, access->value);
    return BUS_DONE;
}

static const struct bus_ops hpet_ops = {
    .read = read_hpet, .write = write_hpet, .before = settle_write, .after = settle_write};

/* ---- PM registers and timer ---- */

#define NOTE_POWER_OFF 1

static unsigned pm_offset(const struct bus_access *access, unsigned offset)
{
    return (unsigned)(access->range->first - VPM_PORT) + offset;
}

static enum bus_result read_pm(struct bus_access *access)
{
    struct vtimers *timers = access->range->owner;

    access->value = vpm_read(&timers->pm, pm_offset(access, (unsigned)access->offset));
    return BUS_DONE;
}

static void write_pm_byte(struct bus_access *access, unsigned offset, uint8_t value)
{
    struct vtimers *timers = access->range->owner;

    if (vpm_write(&timers->pm, pm_offset(access, offset), value)) {
        access->note = NOTE_POWER_OFF;
    }
}

static enum bus_result write_pm(struct bus_access *access)
{
    bus_write_bytes(access, VPM_PORTS - pm_offset(access, 0), write_pm_byte);
    return BUS_DONE;
}

static void after_pm(struct bus_access *access)
{
    settle(access);
    if (access->note == NOTE_POWER_OFF) {
        vm_end(access->vcpu->vm, VM_OUTCOME_OK, 0);
    }
}

static const struct bus_ops pm_ops = {
    .read = read_pm, .write = write_pm, .before = settle, .after = after_pm};
static const struct bus_ops pm_timer_ops = {.read = read_pm, .write = write_pm};

/* ---- on the buses ---- */

bool vtimers_attach(struct vtimers *timers, struct bus_map *ports, struct bus_map *memory)
{
    const struct {
        struct bus_map *map;
        struct bus_range *range;
        struct spinlock *lock;
        const struct bus_ops *ops;
        uint64_t first, count;
    } places[] = {
        {ports, &timers->pit_range, &timers->pit_lock, &pit_ops, IOPORT_PIT, PIT_PORTS},
        {ports, &timers->port61_range, &timers->pit_lock, &port61_ops, IOPORT_SYSTEM_B, 1},
        {ports, &timers->rtc_range, &timers->rtc_lock, &rtc_ops, IOPORT_CMOS, RTC_PORTS},
        {ports, &timers->pm_range, &timers->pm_lock, &pm_ops, VPM_PORT, VPM_TIMER},
        {ports, &timers->pm_timer_range, &timers->pm_lock, &pm_timer_ops, VPM_PORT + VPM_TIMER,
         VPM_PORTS - VPM_TIMER},
        {memory, &timers->hpet_range, &timers->hpet_lock, &hpet_ops, VHPET_BASE, PAGE_SIZE},
    };

    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        *places[i].range =
            (struct bus_range){.ops = places[i].ops, .owner = timers, .lock = places[i].lock};
        if (!bus_add(places[i].map, places[i].range, places[i].first, places[i].count)) {
            return false;
        }
    }
    return true;
}
