/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices that interrupt by time (PIT with port 61h, RTC, HPET, PM timer) and the one timer of
 * the host that they share.  It runs only for an interrupt that somebody has not masked, and while
 * some vCPU of the VM could take one.
 *
 *     vtimers_settle():  timers->lock --> each device's lock, one after the other
 *                                    \--> lines (hv/vdev/irq/lines.h)
 *
 * An access takes its device's lock alone, and settles before and after that where what is due
 * shows.
 *
 * No two ticks of IRQ 0 come within VTIMERS_TICK_MIN_NS: a guest cannot keep the host busy.  A
 * guest that counts them shall not lose some because its vCPU had no CPU for a moment: those that
 * were missed follow, up to VTIMERS_TICKS_MAX.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VTIMERS_H
#define SPILLWAY_HV_VDEV_LEGACY_VTIMERS_H

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/timer.h"
#include "hv/vdev/bus/bus.h"
#include "hv/vdev/legacy/vcmos.h"
#include "hv/vdev/legacy/vhpet.h"
#include "hv/vdev/legacy/vpit.h"
#include "hv/vdev/legacy/vpm.h"

#define VTIMERS_TICK_MIN_NS 200000ull
#define VTIMERS_TICKS_MAX   16u

struct lines;
struct vm;

struct vtimers {
    struct vm *vm;
    struct lines *lines;

    struct spinlock pit_lock; /* ... of what follows */
    struct vpit pit;
    uint8_t port61; /* bits 1:0 as written */
    struct bus_range pit_range, port61_range;

    struct spinlock rtc_lock; /* ... of what follows */
    struct vcmos *rtc;        /* the VM's */
    struct bus_range rtc_range;

    struct spinlock hpet_lock; /* ... of what follows */
    struct vhpet hpet;
    struct bus_range hpet_range;

    struct spinlock pm_lock; /* ... of what follows */
    struct vpm pm;
    struct bus_range pm_range, pm_timer_range;

    struct spinlock lock; /* ... of what follows, but `held` */
    unsigned ticks;       /* of IRQ 0 that are to follow */
    uint64_t tick_ns;     /* not before then */
    uint64_t rest_ns;     /* the other devices: not before then */
    struct timer timer;
    uint64_t armed_ns; /* for when it is; TIMER_NEVER */
    _Atomic bool held; /* it has come due while no vCPU could take an interrupt */
};

/* Once, with the VM's clock and buses; then reset.  False: no room there. */
bool vtimers_init(struct vtimers *timers, struct vm *vm, struct lines *lines, struct bus_map *ports,
                  struct bus_map *memory);
/* Power-on state, after the lines'.  No vCPU runs. */
void vtimers_reset(struct vtimers *timers);
/* The VM is going away, no vCPU runs, no lock held. */
void vtimers_stop(struct vtimers *timers);

/* What had to happen by now has happened, and the timer is armed for what comes next.  No locks at
 * or above RANK_VTIMERS held. */
void vtimers_settle(struct vtimers *timers);
/* A vCPU begins to run: what the timer has left to it is done.  No locks held. */
void vtimers_begin_run(struct vtimers *timers);
/* The guest's power button.  No locks at or above RANK_VTIMERS held. */
void vtimers_press_power_button(struct vtimers *timers);
/* Has the guest acknowledged the last press?  Likewise. */
bool vtimers_power_button_heard(struct vtimers *timers);

/* vtimers_ports.c: puts the devices on the buses.  False: no room there. */
bool vtimers_attach(struct vtimers *timers, struct bus_map *ports, struct bus_map *memory);

#endif
