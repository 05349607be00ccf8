/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/machine/loop.c hv/timer.c */
/* A CPU's main loop: for when its timer is armed, and what it does of the machine's work. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/block.h"
#include "base/types.h"
#include "drivers/nic.h"
#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/operator/console.h"
#include "hv/operator/monitor.h"
#include "hv/run/run.h"
#include "hv/run/sched.h"
#include "hv/timer.h"
#include "hv/vm/control.h"
#include "mm/policy/pager.h"

#define US 1000ull
#define MS 1000000ull

static struct {
    uint64_t now_ns, armed_ns, pager_ns, nics_ns;
    unsigned arms, kicks, cpus;
    unsigned pager_runs, vm_polls, monitor_asked;
    bool pager_goes_on, disks_busy, port_busy, waiting, kept_idle;
    struct vcpu *vcpu;
    jmp_buf out; /* of loop_run() */
} machine;

unsigned arch_cpu_id(void)
{
    return 0;
}

unsigned arch_cpu_count(void)
{
    return machine.cpus;
}

uint64_t arch_clock_ns(void)
{
    return machine.now_ns;
}

void arch_cpu_kick(unsigned cpu)
{
    assert_int_equal(cpu, 0);
    machine.kicks++;
}

void arch_timer_arm(uint64_t deadline_ns)
{
    machine.armed_ns = deadline_ns;
    machine.arms++;
}

void arch_idle(void)
{
    longjmp(machine.out, 1);
}

void run_vcpu(struct vcpu *vcpu)
{
    assert_ptr_equal(vcpu, machine.vcpu);
    longjmp(machine.out, 2);
}

void block_poll(void)
{
}

bool block_busy(void)
{
    return machine.disks_busy;
}

void nic_poll(void)
{
}

uint64_t nic_deadline(void)
{
    return machine.nics_ns;
}

uint64_t pager_deadline(void)
{
    return machine.pager_ns;
}

bool pager_run(void)
{
    machine.pager_runs++;
    return machine.pager_goes_on;
}

void vm_poll(void)
{
    machine.vm_polls++;
}

void monitor_poll(bool asked)
{
    machine.monitor_asked += asked;
}

bool console_drain(void)
{
    return machine.port_busy;
}

bool sched_waiting(void)
{
    return machine.waiting;
}

struct vcpu *sched_pick(void)
{
    return machine.vcpu;
}

void sched_set_idle(bool idle)
{
    machine.kept_idle = idle;
}

/* Later than all before, so that what was armed then is over. */
static void up(void)
{
    uint64_t now_ns = machine.now_ns + 10000 * MS;

    memset(&machine, 0, sizeof(machine));
    machine.cpus = 1;
    machine.now_ns = now_ns;
    machine.pager_ns = machine.nics_ns = UINT64_MAX;
    loop_init();
    loop_poll();
    machine.monitor_asked = machine.pager_runs = machine.vm_polls = 0;
}

/* 1: it idled, 2: it ran a vCPU. */
static int turn(void)
{
    int how = setjmp(machine.out);

    if (how == 0) {
        loop_run();
    }
    return how;
}

static void expect_armed(uint64_t limit_ns, uint64_t armed_ns, unsigned arms)
{
    machine.arms = 0;
    loop_arm_timer(limit_ns);
    assert_int_equal(machine.arms, arms);
    assert_int_equal(machine.armed_ns, armed_ns);
}

/* One access to the APIC where it pays, and never a timer that comes too late. */
static void test_an_armed_timer(void **state)
{
    uint64_t at;

    (void)state;
    up();
    at = machine.now_ns + 10 * MS;
    expect_armed(at, at, 1);
    expect_armed(at, at, 0);
    expect_armed(at + 300 * US, at, 0); /* a little early */
    expect_armed(at + 300 * US + 1, at + 300 * US + 1, 1);
    expect_armed(at, at, 1); /* late by anything */
    machine.nics_ns = at - 5 * MS;
    loop_poll();
    expect_armed(at, at - 5 * MS, 1); /* the NICs' own */
    machine.nics_ns = UINT64_MAX;
    loop_poll();
    expect_armed(at, at, 1);
    machine.now_ns = at; /* it has fired */
    loop_poll();
    expect_armed(at + 100 * US, at + 100 * US, 1);
}

static void fire(struct timer *timer)
{
    (void)timer;
    machine.kicks++;
}

static void test_a_timer_that_is_set_and_taken_back(void **state)
{
    struct timer timer;
    uint64_t far, soon;

    (void)state;
    up();
    far = machine.now_ns + 20 * MS;
    soon = machine.now_ns + 1 * MS;
    timer_init(&timer, fire);
    expect_armed(far, far, 1);
    timer_set(&timer, soon);
    expect_armed(far, soon, 1);
    timer_cancel(&timer);
    expect_armed(far, far, 1); /* or it would fire for nothing */
    timer_set(&timer, soon);
    expect_armed(far, soon, 1);
    machine.now_ns = soon;
    loop_poll();
    assert_int_equal(machine.kicks, 1);
    expect_armed(far, far, 1);
}

static void test_idle(void **state)
{
    (void)state;
    up();
    machine.pager_ns = machine.now_ns + 30 * MS;
    assert_int_equal(turn(), 1);
    assert_true(machine.kept_idle);
    assert_int_equal(machine.armed_ns, machine.now_ns + 30 * MS);
    up();
    assert_int_equal(turn(), 1);
    assert_int_equal(machine.armed_ns, machine.now_ns + 100 * MS);
    up();
    machine.disks_busy = true;
    assert_int_equal(turn(), 1);
    assert_int_equal(machine.armed_ns, machine.now_ns + 1 * MS);
    up();
    machine.port_busy = true;
    assert_int_equal(turn(), 1);
    assert_int_equal(machine.armed_ns, machine.now_ns + 500 * US);
    up();
    machine.port_busy = true;
    machine.cpus = 64; /* all of them idle: each looks less often */
    assert_int_equal(turn(), 1);
    assert_int_equal(machine.armed_ns, machine.now_ns + 1280 * US);
}

static void test_work(void **state)
{
    (void)state;
    up();
    machine.vcpu = (struct vcpu *)&machine;
    loop_wake_vms();
    assert_int_equal(machine.kicks, 1);
    loop_wake_monitor();
    assert_true(loop_work_pending());
    assert_int_equal(turn(), 2);
    assert_int_equal(machine.vm_polls, 1);
    assert_int_equal(machine.monitor_asked, 1);
    assert_false(loop_work_pending());
    assert_int_equal(turn(), 2); /* once */
    assert_int_equal(machine.vm_polls, 1);
    assert_int_equal(machine.monitor_asked, 1);
    loop_wake_vms_after(5 * MS);
    machine.now_ns += 5 * MS - 1;
    loop_poll();
    assert_int_equal(machine.vm_polls, 1);
    machine.now_ns++;
    loop_poll();
    assert_int_equal(machine.vm_polls, 2);
}

/* The pager runs when it is called, when it is due, and again as long as it has something to do. */
static void test_pager(void **state)
{
    (void)state;
    up();
    loop_poll();
    assert_int_equal(machine.pager_runs, 0);
    machine.pager_goes_on = true;
    loop_wake_pager();
    loop_poll();
    loop_poll();
    assert_int_equal(machine.pager_runs, 2);
    machine.pager_goes_on = false;
    loop_poll();
    loop_poll();
    assert_int_equal(machine.pager_runs, 3);
    machine.pager_ns = machine.now_ns;
    loop_poll();
    assert_int_equal(machine.pager_runs, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_armed_timer),
        cmocka_unit_test(test_a_timer_that_is_set_and_taken_back),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_pager),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
