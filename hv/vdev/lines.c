/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/lines.h"

#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"

/* ---- lines ---- */

static void tell_intr(struct vm_devices *devices)
{
    bool intr = vpic_output(&devices->pic);

    if (intr != devices->intr) {
        devices->intr = intr;
        lapic_set_intr(devices->vm->run.vcpu[0], intr);
    }
}

static unsigned pin_of(unsigned irq)
{
    return irq == LINE_PIT ? LINE_PIT_PIN : irq;
}

void lines_set(struct vm_devices *devices, unsigned irq, bool level)
{
    if (((devices->lines >> irq) & 1) == level) {
        return;
    }
    devices->lines ^= (uint16_t)BIT(irq);
    vpic_set_line(&devices->pic, irq, level);
    tell_intr(devices);
    ioapic_set_pin(&devices->ioapic, pin_of(irq), level);
}

/* ---- time ---- */

/* Has somebody not masked the line? */
static bool is_open(const struct vm_devices *devices, unsigned irq)
{
    return vpic_is_open(&devices->pic, irq) || ioapic_is_open(&devices->ioapic, pin_of(irq));
}

/* Would a tick reach anybody now?  In the 8259 one that waits for the CPU takes all others in. */
static bool tick_is_heard(const struct vm_devices *devices)
{
    const struct vpic *pic = &devices->pic;

    return (vpic_is_open(pic, LINE_PIT) && !vpic_is_requested(pic, LINE_PIT)) ||
           ioapic_is_open(&devices->ioapic, LINE_PIT_PIN);
}

static void pulse(struct vm_devices *devices, unsigned irq)
{
    lines_set(devices, irq, false);
    lines_set(devices, irq, true);
}

/* IRQ 0: of the PIT, or of the HPET in its place. */
static void settle_tick(struct vm_devices *devices)
{
    bool hpet = vhpet_is_legacy(&devices->hpet);
    uint64_t now = arch_clock_ns();
    unsigned pit_ticks = pit_elapse(&devices->platform.pit);
    unsigned ticks = hpet ? vhpet_elapse(&devices->hpet, 0) : pit_ticks;

    devices->ticks = MIN(devices->ticks + ticks, LINE_TICKS_MAX);
    if (devices->ticks > 0 && now >= devices->tick_ns) {
        devices->ticks -= tick_is_heard(devices);
        devices->tick_ns = now + LINE_TICK_MIN_NS;
        pulse(devices, LINE_PIT);
    }
    if (!is_open(devices, LINE_PIT)) {
        devices->ticks = 0;
    }
    if (!hpet && !pit_line(&devices->platform.pit)) {
        lines_set(devices, LINE_PIT, false);
    }
}

static uint64_t next_tick_ns(const struct vm_devices *devices)
{
    uint64_t next = devices->platform.pit.edge_ns;

    if (!tick_is_heard(devices)) {
        return TIMER_NEVER;
    }
    if (vhpet_is_legacy(&devices->hpet)) {
        next = vhpet_next_ns(&devices->hpet, 0);
    }
    return devices->ticks > 0 ? devices->tick_ns : MAX(next, devices->tick_ns);
}

/* The HPET's comparators that have an interrupt of their own. */
static void settle_hpet(struct vm_devices *devices)
{
    struct vhpet *hpet = &devices->hpet;
    bool legacy = vhpet_is_legacy(hpet);

    for (unsigned i = legacy ? 1 : 0; i < VHPET_TIMERS; i++) {
        unsigned matches = vhpet_elapse(hpet, i);

        if (legacy && i == 1) {
            if (matches > 0) {
                pulse(devices, LINE_RTC);
            }
        } else if (vhpet_pin(hpet, i) != 0) {
            ioapic_set_pin(&devices->ioapic, vhpet_pin(hpet, i),
                           matches > 0 || vhpet_line(hpet, i));
            ioapic_set_pin(&devices->ioapic, vhpet_pin(hpet, i), vhpet_line(hpet, i));
        }
    }
}

static uint64_t next_hpet_ns(const struct vm_devices *devices)
{
    const struct vhpet *hpet = &devices->hpet;
    bool legacy = vhpet_is_legacy(hpet);
    uint64_t next = TIMER_NEVER;

    for (unsigned i = legacy ? 1 : 0; i < VHPET_TIMERS; i++) {
        bool heard = legacy && i == 1 ? is_open(devices, LINE_RTC)
                                      : vhpet_pin(hpet, i) != 0 &&
                                            ioapic_is_open(&devices->ioapic, vhpet_pin(hpet, i));

        if (heard) {
            next = MIN(next, vhpet_next_ns(hpet, i));
        }
    }
    return next;
}

/* IRQ 8, unless the HPET has it; and the alarm is an event of ACPI. */
static void settle_rtc(struct vm_devices *devices)
{
    struct cmos *cmos = devices->platform.cmos;

    if (cmos_elapse(cmos)) {
        vpm_raise(&devices->pm, VPM_EVENT_RTC);
    }
    if (!vhpet_is_legacy(&devices->hpet)) {
        lines_set(devices, LINE_RTC, cmos_line(cmos));
    }
}

/* Its alarm may wake a guest that has masked IRQ 8. */
static uint64_t next_rtc_ns(const struct vm_devices *devices)
{
    bool line = is_open(devices, LINE_RTC) && !vhpet_is_legacy(&devices->hpet);

    return line || vpm_wants(&devices->pm, VPM_EVENT_RTC) ? cmos_next_ns(devices->platform.cmos)
                                                          : TIMER_NEVER;
}

static uint64_t next_ns(const struct vm_devices *devices)
{
    uint64_t next = MIN(next_hpet_ns(devices), next_rtc_ns(devices));

    next = MIN(next, vpm_next_ns(&devices->pm));
    if (next != TIMER_NEVER) {
        next = MAX(next, devices->rest_ns);
    }
    return MIN(next, next_tick_ns(devices));
}

static void arm(struct vm_devices *devices)
{
    uint64_t next = next_ns(devices);

    if (next == devices->armed_ns) {
        return;
    }
    devices->armed_ns = next;
    if (next == TIMER_NEVER) {
        timer_cancel(&devices->timer);
    } else {
        timer_set(&devices->timer, next);
    }
}

void lines_settle(struct vm_devices *devices)
{
    settle_tick(devices);
    settle_hpet(devices);
    settle_rtc(devices);
    vpm_elapse(&devices->pm);
    lines_set(devices, VPM_SCI, vpm_line(&devices->pm));
    tell_intr(devices);
    arm(devices);
}

/* Does some vCPU run, or sleep until an interrupt comes? */
static bool somebody_is_there(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        uint32_t state = atomic_load(&vm->run.vcpu[i]->state);

        if (state == VCPU_RUNNING || state == VCPU_SLEEPING) {
            return true;
        }
    }
    return false;
}

/* From the main loop, maybe inside another VM's turn: whose timer it is pays for it. */
static void fire(struct timer *timer)
{
    struct vm_devices *devices = CONTAINER_OF(timer, struct vm_devices, timer);
    uint64_t begin = arch_clock_ns();

    spin_lock(&devices->lock);
    devices->armed_ns = TIMER_NEVER;
    devices->rest_ns = begin + LINE_TICK_MIN_NS;
    /* Before the look: a vCPU that begins to run behind it sees the flag. */
    atomic_store(&devices->held, true);
    if (somebody_is_there(devices->vm)) {
        atomic_store(&devices->held, false);
        lines_settle(devices);
    }
    spin_unlock(&devices->lock);
    vcpu_charge_service(devices->vm->run.vcpu[0], arch_clock_ns() - begin);
}

void vm_devices_begin_run(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;

    if (atomic_load(&devices->held)) {
        spin_lock(&devices->lock);
        atomic_store(&devices->held, false);
        lines_settle(devices);
        spin_unlock(&devices->lock);
    }
}

uint8_t vm_devices_acknowledge(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;
    uint8_t vector;

    spin_lock(&devices->lock);
    vector = vpic_acknowledge(&devices->pic);
    lines_settle(devices);
    spin_unlock(&devices->lock);
    return vector;
}

/* ---- life ---- */

void lines_init(struct vm_devices *devices)
{
    timer_init(&devices->timer, fire);
    devices->armed_ns = TIMER_NEVER;
}

void lines_reset(struct vm_devices *devices)
{
    vpic_reset(&devices->pic);
    vhpet_reset(&devices->hpet);
    devices->lines = 0;
    devices->ticks = 0;
    devices->armed_ns = TIMER_NEVER;
    timer_cancel(&devices->timer);
    atomic_store(&devices->held, false);
    tell_intr(devices);
    lines_settle(devices);
}

void lines_stop(struct vm_devices *devices)
{
    timer_cancel_sync(&devices->timer);
}
