/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vtimers.h"

#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/vdev/irq/lines.h"

/* What the devices say of this moment. */
struct look {
    unsigned pit_ticks;
    uint64_t pit_next;
    bool pit_line;
    bool legacy; /* HPET's comparators 0 and 1 stand in for PIT and RTC */
    unsigned matches[VHPET_TIMERS], pin[VHPET_TIMERS];
    uint64_t hpet_next[VHPET_TIMERS];
    bool hpet_line[VHPET_TIMERS];
    bool alarm, rtc_line;
    bool wakes; /* the alarm is an event that ACPI waits for */
    bool pm_line;
    uint64_t pm_next;
};

/* ---- looking; timers->lock held ---- */

static void look_at_pit(struct vtimers *timers, struct look *now)
{
    spin_lock(&timers->pit_lock);
    now->pit_ticks = vpit_elapse(&timers->pit);
    now->pit_line = vpit_line(&timers->pit);
    now->pit_next = timers->pit.edge_ns;
    spin_unlock(&timers->pit_lock);
}

static void look_at_hpet(struct vtimers *timers, struct look *now)
{
    struct vhpet *hpet = &timers->hpet;

    spin_lock(&timers->hpet_lock);
    now->legacy = vhpet_is_legacy(hpet);
    for (unsigned i = 0; i < VHPET_TIMERS; i++) {
        now->matches[i] = vhpet_elapse(hpet, i);
        now->hpet_line[i] = vhpet_line(hpet, i);
        now->hpet_next[i] = vhpet_next_ns(hpet, i);
        now->pin[i] = vhpet_pin(hpet, i);
    }
    spin_unlock(&timers->hpet_lock);
}

static void look_at_rtc(struct vtimers *timers, struct look *now)
{
    spin_lock(&timers->rtc_lock);
    now->alarm = vcmos_elapse(timers->rtc);
    now->rtc_line = vcmos_line(timers->rtc);
    spin_unlock(&timers->rtc_lock);
}

/* The alarm is an event of its. */
static void look_at_pm(struct vtimers *timers, struct look *now)
{
    struct vpm *pm = &timers->pm;

    spin_lock(&timers->pm_lock);
    if (now->alarm) {
        vpm_raise(pm, VPM_EVENT_RTC);
    }
    vpm_elapse(pm);
    now->pm_line = vpm_line(pm);
    now->pm_next = vpm_next_ns(pm);
    now->wakes = vpm_wants(pm, VPM_EVENT_RTC);
    spin_unlock(&timers->pm_lock);
}

/* ---- lines; timers->lock held ---- */

/* Would a tick reach anybody now?  In the 8259 one that waits for the CPU takes all others in. */
static bool tick_is_heard(const struct lines *lines)
{
    return (lines_pic_is_open(lines, LINE_PIT) && !lines_pic_is_requested(lines, LINE_PIT)) ||
           vioapic_is_open(&lines->ioapic, LINE_PIT_PIN);
}

static void pulse(struct lines *lines, unsigned irq)
{
    lines_set(lines, irq, false);
    lines_set(lines, irq, true);
}

/* IRQ 0: of the PIT, or of the HPET in its place. */
static void settle_tick(struct vtimers *timers, const struct look *now)
{
    struct lines *lines = timers->lines;
    unsigned ticks = now->legacy ? now->matches[0] : now->pit_ticks;
    uint64_t clock = arch_clock_ns();

    timers->ticks = MIN(timers->ticks + ticks, VTIMERS_TICKS_MAX);
    if (timers->ticks > 0 && clock >= timers->tick_ns) {
        timers->ticks -= tick_is_heard(lines);
        timers->tick_ns = clock + VTIMERS_TICK_MIN_NS;
        pulse(lines, LINE_PIT);
    }
    if (!lines_is_open(lines, LINE_PIT)) {
        timers->ticks = 0;
    }
    if (!now->legacy && !now->pit_line) {
        lines_set(lines, LINE_PIT, false);
    }
}

/* The HPET's comparators that have an interrupt of their own. */
static void settle_hpet(struct vtimers *timers, const struct look *now)
{
    struct vioapic *ioapic = &timers->lines->ioapic;

    for (unsigned i = now->legacy ? 1 : 0; i < VHPET_TIMERS; i++) {
        if (now->legacy && i == 1) {
            if (now->matches[i] > 0) {
                pulse(timers->lines, LINE_RTC);
            }
        } else if (now->pin[i] != 0) {
            vioapic_set_pin(ioapic, now->pin[i], now->matches[i] > 0 || now->hpet_line[i]);
            vioapic_set_pin(ioapic, now->pin[i], now->hpet_line[i]);
        }
    }
}

/* ---- the host's timer; timers->lock held ---- */

static uint64_t next_tick_ns(const struct vtimers *timers, const struct look *now)
{
    uint64_t next = now->legacy ? now->hpet_next[0] : now->pit_next;

    if (!tick_is_heard(timers->lines)) {
        return TIMER_NEVER;
    }
    return timers->ticks > 0 ? timers->tick_ns : MAX(next, timers->tick_ns);
}

static uint64_t next_hpet_ns(const struct vtimers *timers, const struct look *now)
{
    const struct lines *lines = timers->lines;
    uint64_t next = TIMER_NEVER;

    for (unsigned i = now->legacy ? 1 : 0; i < VHPET_TIMERS; i++) {
        bool heard = now->legacy && i == 1
                         ? lines_is_open(lines, LINE_RTC)
                         : now->pin[i] != 0 && vioapic_is_open(&lines->ioapic, now->pin[i]);

        if (heard) {
            next = MIN(next, now->hpet_next[i]);
        }
    }
    return next;
}

/* Its alarm may wake a guest that has masked IRQ 8. */
static uint64_t next_rtc_ns(struct vtimers *timers, const struct look *now)
{
    uint64_t next = TIMER_NEVER;

    if (now->wakes || (lines_is_open(timers->lines, LINE_RTC) && !now->legacy)) {
        spin_lock(&timers->rtc_lock);
        next = vcmos_next_ns(timers->rtc);
        spin_unlock(&timers->rtc_lock);
    }
    return next;
}

static uint64_t next_ns(struct vtimers *timers, const struct look *now)
{
    uint64_t next = MIN(next_hpet_ns(timers, now), next_rtc_ns(timers, now));

    next = MIN(next, now->pm_next);
    if (next != TIMER_NEVER) {
        next = MAX(next, timers->rest_ns);
    }
    return MIN(next, next_tick_ns(timers, now));
}

static void arm(struct vtimers *timers, const struct look *now)
{
    uint64_t next = next_ns(timers, now);

    if (next == timers->armed_ns) {
        return;
    }
    timers->armed_ns = next;
    if (next == TIMER_NEVER) {
        timer_cancel(&timers->timer);
    } else {
        timer_set(&timers->timer, next);
    }
}

static void settle(struct vtimers *timers)
{
    struct look now;

    look_at_pit(timers, &now);
    look_at_hpet(timers, &now);
    look_at_rtc(timers, &now);
    look_at_pm(timers, &now);
    settle_tick(timers, &now);
    settle_hpet(timers, &now);
    if (!now.legacy) {
        lines_set(timers->lines, LINE_RTC, now.rtc_line);
    }
    lines_set(timers->lines, VPM_SCI, now.pm_line);
    arm(timers, &now);
}

void vtimers_settle(struct vtimers *timers)
{
    spin_lock(&timers->lock);
    settle(timers);
    spin_unlock(&timers->lock);
}

/* ---- whose time it is ---- */

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
    struct vtimers *timers = CONTAINER_OF(timer, struct vtimers, timer);
    uint64_t begin = arch_clock_ns();

    spin_lock(&timers->lock);
    timers->armed_ns = TIMER_NEVER;
    timers->rest_ns = begin + VTIMERS_TICK_MIN_NS;
    /* Before the look: a vCPU that begins to run behind it sees the flag. */
    atomic_store(&timers->held, true);
    if (somebody_is_there(timers->vm)) {
        atomic_store(&timers->held, false);
        settle(timers);
    }
    spin_unlock(&timers->lock);
    vcpu_charge_service(timers->vm->run.vcpu[0], arch_clock_ns() - begin);
}

void vtimers_begin_run(struct vtimers *timers)
{
    if (atomic_load(&timers->held)) {
        spin_lock(&timers->lock);
        atomic_store(&timers->held, false);
        settle(timers);
        spin_unlock(&timers->lock);
    }
}

void vtimers_press_power_button(struct vtimers *timers)
{
    spin_lock(&timers->pm_lock);
    vpm_raise(&timers->pm, VPM_EVENT_PRESS);
    spin_unlock(&timers->pm_lock);
    vtimers_settle(timers);
}

bool vtimers_power_button_heard(struct vtimers *timers)
{
    bool heard;

    spin_lock(&timers->pm_lock);
    heard = !vpm_happened(&timers->pm, VPM_EVENT_PRESS);
    spin_unlock(&timers->pm_lock);
    return heard;
}

/* ---- life ---- */

bool vtimers_init(struct vtimers *timers, struct vm *vm, struct lines *lines, struct bus_map *ports,
                  struct bus_map *memory)
{
    timers->vm = vm;
    timers->lines = lines;
    timers->rtc = vm->cmos;
    timers->armed_ns = TIMER_NEVER;
    spin_init(&timers->lock, RANK_VTIMERS, "vtimers");
    spin_init(&timers->pit_lock, RANK_VCLOCK, "vpit");
    spin_init(&timers->rtc_lock, RANK_VCLOCK, "vcmos");
    spin_init(&timers->hpet_lock, RANK_VCLOCK, "vhpet");
    spin_init(&timers->pm_lock, RANK_VCLOCK, "vpm");
    timer_init(&timers->timer, fire);
    return vtimers_attach(timers, ports, memory);
}

static void reset_devices(struct vtimers *timers)
{
    spin_lock(&timers->pit_lock);
    vpit_reset(&timers->pit);
    timers->port61 = 0;
    spin_unlock(&timers->pit_lock);
    spin_lock(&timers->rtc_lock);
    vcmos_reset(timers->rtc);
    spin_unlock(&timers->rtc_lock);
    spin_lock(&timers->hpet_lock);
    vhpet_reset(&timers->hpet);
    spin_unlock(&timers->hpet_lock);
    spin_lock(&timers->pm_lock);
    vpm_reset(&timers->pm);
    spin_unlock(&timers->pm_lock);
}

void vtimers_reset(struct vtimers *timers)
{
    spin_lock(&timers->lock);
    reset_devices(timers);
    timers->ticks = 0;
    timers->armed_ns = TIMER_NEVER;
    timer_cancel(&timers->timer);
    atomic_store(&timers->held, false);
    settle(timers);
    spin_unlock(&timers->lock);
}

void vtimers_stop(struct vtimers *timers)
{
    timer_cancel_sync(&timers->timer);
}
