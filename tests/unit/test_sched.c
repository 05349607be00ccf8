/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/run/sched.c hv/fair.c */
/* The scheduler's states: who may run where, who is kicked, and which time counts as a wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/run/sched.h"

#define CPUS   2u
#define NOBODY UINT32_MAX

static struct vm vm;
static struct vcpu vcpus[3];
static uint64_t now_ns;
static unsigned this_cpu, kicked;

unsigned arch_cpu_id(void)
{
    return this_cpu;
}

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

void arch_cpu_kick(unsigned cpu)
{
    assert_int_equal(kicked, NOBODY); /* one at a time */
    kicked = cpu;
}

static void up(void)
{
    memset(&vm, 0, sizeof(vm));
    memset(vcpus, 0, sizeof(vcpus));
    this_cpu = 0;
    kicked = NOBODY;
    now_ns = 1000;
    sched_init(CPUS);
    sched_add_vm(&vm, 100);
    for (unsigned i = 0; i < 3; i++) {
        vcpus[i].vm = &vm;
        vcpus[i].state = VCPU_STOPPED;
        sched_add_vcpu(&vcpus[i]);
    }
}

static unsigned take_kicked(void)
{
    unsigned cpu = kicked;

    kicked = NOBODY;
    return cpu;
}

/* Started and on this CPU. */
static struct vcpu *run(unsigned i)
{
    sched_start(&vcpus[i]);
    take_kicked();
    assert_ptr_equal(sched_pick(), &vcpus[i]);
    assert_int_equal(vcpus[i].state, VCPU_RUNNING);
    return &vcpus[i];
}

static void test_waits_for_a_cpu(void **state)
{
    struct vcpu *vcpu;
    uint64_t before;

    (void)state;
    up();
    vcpu = run(0);
    before = vcpu->wait_ns;
    now_ns += 500;
    sched_yield(vcpu);
    assert_int_equal(vcpu->wait_ns, before); /* it ran */
    assert_int_equal(vcpu->run_ns, 500);
    now_ns += 70;
    assert_ptr_equal(sched_pick(), vcpu);
    assert_int_equal(vcpu->wait_ns, before + 70);
    assert_null(sched_pick());
    sched_sleep(vcpu);
    now_ns += 9000; /* it does not want to run */
    sched_notify(vcpu);
    now_ns += 30;
    assert_ptr_equal(sched_pick(), vcpu);
    assert_int_equal(vcpu->wait_ns, before + 100);
    sched_stop(vcpu);
}

/* A pause, of one that was at work and of one that was halted. */
static void test_waits_while_paused(void **state)
{
    (void)state;
    for (unsigned halted = 0; halted < 2; halted++) {
        struct vcpu *vcpu;
        uint64_t before;

        up();
        vcpu = run(0);
        before = vcpu->wait_ns;
        vcpu->activity = halted ? ACTIVITY_HALTED : ACTIVITY_ACTIVE;
        now_ns += 5;
        sched_stop(vcpu);
        assert_int_equal(vcpu->state, VCPU_STOPPED);
        now_ns += 65000000000ull;
        sched_start(vcpu);
        now_ns += 40;
        assert_ptr_equal(sched_pick(), vcpu);
        assert_int_equal(vcpu->wait_ns - before, (halted ? 0 : 65000000000ull) + 40);
        assert_int_equal(vcpu->run_ns, 5);
        sched_stop(vcpu);
    }
}

/* What comes between the decision to wait and the wait is not lost. */
static void test_wakes_that_come_early(void **state)
{
    struct vcpu *vcpu;

    (void)state;
    up();
    vcpu = run(0);
    atomic_store(&vcpu->requests, VCPU_REQUEST_EVENT);
    sched_sleep(vcpu);
    assert_int_equal(vcpu->state, VCPU_RUNNABLE);
    atomic_store(&vcpu->requests, 0);
    assert_ptr_equal(sched_pick(), vcpu);
    sched_unpark(vcpu);
    sched_park(vcpu);
    assert_int_equal(vcpu->state, VCPU_RUNNABLE);
    assert_ptr_equal(sched_pick(), vcpu);
    sched_park(vcpu); /* once only */
    assert_int_equal(vcpu->state, VCPU_PARKED);
    sched_notify(vcpu); /* an interrupt does not bring the page */
    assert_int_equal(vcpu->state, VCPU_PARKED);
    sched_unpark(vcpu);
    assert_int_equal(vcpu->state, VCPU_RUNNABLE);
    assert_ptr_equal(sched_pick(), vcpu);
    sched_sleep(vcpu);
    assert_int_equal(vcpu->state, VCPU_SLEEPING);
    sched_unpark(vcpu); /* late: its page came by another way */
    assert_int_equal(vcpu->state, VCPU_SLEEPING);
    assert_false(sched_waiting());
    sched_notify(vcpu);
    assert_ptr_equal(sched_pick(), vcpu);
    sched_stop(vcpu);
}

static void test_who_is_kicked(void **state)
{
    struct vcpu *vcpu;

    (void)state;
    up();
    vcpu = run(0);
    this_cpu = 1;
    sched_notify(vcpu); /* it runs elsewhere */
    assert_int_equal(take_kicked(), 0);
    sched_set_idle(true);
    this_cpu = 0;
    sched_start(&vcpus[1]); /* a CPU idles */
    assert_int_equal(take_kicked(), 1);
    this_cpu = 1;
    sched_set_idle(false);
    assert_ptr_equal(sched_pick(), &vcpus[1]);
    sched_notify(&vcpus[1]); /* it has left its guest on this very CPU */
    assert_int_equal(take_kicked(), NOBODY);
    sched_stop(&vcpus[1]);
    this_cpu = 0;
    sched_stop(vcpu);
}

/* The one that somebody waits for comes before its siblings. */
static void test_preferred(void **state)
{
    (void)state;
    up();
    run(0);
    sched_start(&vcpus[1]);
    take_kicked();
    sched_start(&vcpus[2]);
    take_kicked();
    assert_true(sched_sibling_waits(&vcpus[0]));
    assert_true(sched_prefer(&vcpus[2]));
    assert_false(sched_prefer(&vcpus[0])); /* it has one */
    sched_yield_to_sibling(&vcpus[0]);
    assert_ptr_equal(sched_pick(), &vcpus[2]);
    sched_notify(&vcpus[0]); /* vcpus[2] sends it an interrupt */
    take_kicked();
    assert_true(vcpus[2].called_sibling);
    sched_yield_to_sibling(&vcpus[2]);
    assert_ptr_equal(sched_pick(), &vcpus[0]);
    sched_stop(&vcpus[0]);
    assert_ptr_equal(sched_pick(), &vcpus[1]);
    sched_stop(&vcpus[1]);
    assert_ptr_equal(sched_pick(), &vcpus[2]);
    sched_stop(&vcpus[2]);
    assert_null(sched_pick());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_a_cpu),
        cmocka_unit_test(test_waits_while_paused),
        cmocka_unit_test(test_wakes_that_come_early),
        cmocka_unit_test(test_who_is_kicked),
        cmocka_unit_test(test_preferred),
    };

    return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}
