/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/loop.h"

#include <stdatomic.h>

#include "base/bits.h"
#include "base/block.h"
#include "drivers/nic.h"
#include "hv/arch.h"
#include "hv/operator/console.h"
#include "hv/operator/monitor.h"
#include "hv/run/run.h"
#include "hv/run/sched.h"
#include "hv/timer.h"
#include "hv/vm/control.h"
#include "mm/policy/pager.h"

#define DRAIN_NS 500000ull    /* the serial port takes 16 bytes in 1.4 ms */
#define BUSY_NS  1000000ull   /* look at a disk that has requests, should an interrupt get lost */
#define TICK_NS  100000000ull /* and at everything else */
#define LATER_NS 300000ull    /* an armed timer is moved by more than this only */
#define SHARE_NS 20000ull     /* all idle CPUs together look no more often than this */

#define WORK_PAGER   BIT(0)
#define WORK_VMS     BIT(1)
#define WORK_MONITOR BIT(2)

static _Atomic uint32_t work;        /* WORK_* */
static struct timer vm_timer;        /* of loop_wake_vms_after() */
static _Atomic uint64_t nics_due_ns; /* nic_deadline(), when NICs were last polled */
static uint64_t armed_ns[MAX_CPUS];  /* own CPU only: what arch_timer_arm was told; 0: is over */

static void add_work(uint32_t what)
{
    atomic_fetch_or(&work, what);
}

static bool take_work(uint32_t what)
{
    return (atomic_load_explicit(&work, memory_order_relaxed) & what) != 0 &&
           (atomic_fetch_and(&work, ~what) & what) != 0;
}

void loop_wake_pager(void)
{
    add_work(WORK_PAGER);
}

void loop_wake_vms(void)
{
    add_work(WORK_VMS);
    arch_cpu_kick(0);
}

void loop_wake_monitor(void)
{
    add_work(WORK_MONITOR);
}

/* From loop_poll(), which looks at the VMs' work next. */
static void vm_timer_fire(struct timer *timer)
{
    (void)timer;
    add_work(WORK_VMS);
}

void loop_init(void)
{
    timer_init_cpus();
    timer_init(&vm_timer, vm_timer_fire);
}

void loop_wake_vms_after(uint64_t ns)
{
    timer_set(&vm_timer, arch_clock_ns() + ns);
}

bool loop_work_pending(void)
{
    return atomic_load_explicit(&work, memory_order_relaxed) != 0;
}

static void poll_pager(void)
{
    uint64_t deadline = pager_deadline();

    if (!take_work(WORK_PAGER) && arch_clock_ns() < deadline) {
        return;
    }
    if (pager_run()) {
        loop_wake_pager();
    }
}

void loop_poll(void)
{
    unsigned cpu = arch_cpu_id();

    if (armed_ns[cpu] <= arch_clock_ns()) {
        armed_ns[cpu] = 0;
    }
    timer_run();
    block_poll();
    nic_poll();
    atomic_store_explicit(&nics_due_ns, nic_deadline(), memory_order_relaxed);
    poll_pager();
    if (take_work(WORK_VMS)) {
        vm_poll();
    }
    monitor_poll(take_work(WORK_MONITOR));
    console_drain();
}

void loop_arm_timer(uint64_t limit_ns)
{
    unsigned cpu = arch_cpu_id();
    uint64_t deadline = MIN(limit_ns, timer_next());
    uint64_t nics = atomic_load_explicit(&nics_due_ns, memory_order_relaxed);

    deadline = MIN(deadline, nics);
    /* A timer that fires too early costs an exit.  To move it by a little, for every vCPU that
     * follows one that parked, would cost an access to the APIC each time. */
    if (armed_ns[cpu] == 0 || deadline < armed_ns[cpu] || deadline > armed_ns[cpu] + LATER_NS) {
        armed_ns[cpu] = deadline;
        arch_timer_arm(deadline);
    }
}

/*
 * The time at which an idle CPU looks again, whatever interrupts come.  What it looks for is the
 * machine's and not its own, so the more CPUs there are, the less often each one looks: the timers
 * of 64 CPUs, each for the same half millisecond, left QEMU no time for anything else.
 */
static uint64_t idle_limit(void)
{
    uint64_t now = arch_clock_ns(), soonest = now + arch_cpu_count() * SHARE_NS;
    uint64_t limit = MIN(now + TICK_NS, pager_deadline());

    if (block_busy()) {
        limit = MIN(limit, now + BUSY_NS);
    }
    if (console_drain()) {
        limit = MIN(limit, now + DRAIN_NS);
    }
    return MAX(limit, soonest);
}

static void idle(void)
{
    sched_set_idle(true);
    /* A wake-up before this look is seen by it; one after it kicks this CPU. */
    if (!sched_waiting() && !loop_work_pending()) {
        loop_arm_timer(idle_limit());
        arch_idle();
        armed_ns[arch_cpu_id()] = 0;
    }
    sched_set_idle(false);
}

void loop_run(void)
{
    for (;;) {
        struct vcpu *vcpu;

        loop_poll();
        vcpu = sched_pick();
        if (vcpu != NULL) {
            run_vcpu(vcpu);
        } else {
            idle();
        }
    }
}
