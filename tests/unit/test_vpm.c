/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c hv/vm/stop.c */
/* ACPI fixed hardware as a guest sees it, and `stop` as the operator does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/loop.h"
#include "hv/timer.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "tests/unit/vdev_fake.h"

#define VECTOR  0x51
#define TICK_NS 100000000ull

/* ---- what hv/vm/stop.c calls ---- */

static unsigned wakes, cuts;
static struct vm_answer answer;

void loop_wake_vms(void)
{
    wakes++;
}

void vm_set_ending(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    assert_int_equal(outcome, VM_OUTCOME_STOPPED);
    assert_int_equal(code, 0);
    vm->state = VM_ENDING;
    cuts++;
}

bool vm_refuse(struct vm_answer *to, const char *format, ...)
{
    strcpy(to->text, format); /* those of `stop` have no arguments */
    return false;
}

bool vm_stay_off(struct vm *vm)
{
    return vm->state == VM_ENDING && vm->run.restart;
}

/* ---- the device ---- */

#define STATUS  VPM_PORT
#define ENABLE  (VPM_PORT + 2)
#define CONTROL (VPM_PORT + VPM_CONTROL)
#define TIMER   (VPM_PORT + VPM_TIMER)

static uint32_t in(uint16_t port, unsigned size)
{
    return vfake_port_in(port, size);
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
    vfake_port_out(port, size, value);
}

static uint32_t events(void)
{
    return in(STATUS, 2);
}

static void route_interrupt(uint32_t low)
{
    vfake_mmio_write(gpa(VIOAPIC_BASE), 4, 0x10 + 2 * VPM_SCI);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x10), 4, low);
}

static int pending(void)
{
    return vlapic_highest_pending(vfake.vcpu[0].vlapic);
}

/* Takes the interrupt and ends it, as the handler does when its work is done. */
static void handle(bool acknowledged)
{
    struct vlapic *vlapic = vfake.vcpu[0].vlapic;

    assert_int_equal(pending(), VECTOR);
    vlapic_accept(vlapic, VECTOR);
    if (acknowledged) {
        out(STATUS, 2, events());
    }
    vlapic_mmio_write(&vfake.vcpu[0], 0xb0, 4, 0);
}

static void press_and_answer(void **state)
{
    (void)state;
    vfake_start(1);
    route_interrupt(RTE_LEVEL | VECTOR);
    out(ENABLE, 2, VPM_EVENT_PRESS);
    assert_int_equal(events(), 0);
    assert_int_equal(pending(), -1);
    vm_devices_press_power_button(&vfake.vm);
    assert_int_equal(events(), VPM_EVENT_PRESS);
    handle(false); /* not acknowledged: it comes again */
    assert_false(vm_devices_power_button_heard(&vfake.vm));
    handle(true);
    assert_true(vm_devices_power_button_heard(&vfake.vm));
    assert_int_equal(events(), 0);
    assert_int_equal(pending(), -1);
    vm_devices_press_power_button(&vfake.vm);
    vm_devices_press_power_button(&vfake.vm); /* one event */
    handle(true);
    assert_int_equal(pending(), -1);
    vfake_stop();
}

static void press_before_the_driver(void **state)
{
    (void)state;
    vfake_start(1);
    route_interrupt(RTE_LEVEL | VECTOR);
    vm_devices_press_power_button(&vfake.vm);
    assert_int_equal(pending(), -1); /* not enabled */
    out(ENABLE + 1, 1, VPM_EVENT_PRESS >> 8);
    handle(true);
    assert_int_equal(pending(), -1);
    vfake_stop();
}

/* A guest cannot press the button; what it clears is what it names; lanes are bytes. */
static void register_bits(void **state)
{
    (void)state;
    vfake_start(1);
    route_interrupt(RTE_LEVEL | VECTOR);
    out(STATUS, 2, 0xffff);
    assert_int_equal(events(), 0);
    out(ENABLE, 2, 0xffff);
    assert_int_equal(in(ENABLE, 2),
                     VPM_EVENT_TIMER | VPM_EVENT_GLOBAL | VPM_EVENT_PRESS | VPM_EVENT_RTC);
    assert_int_equal(pending(), -1);
    vm_devices_press_power_button(&vfake.vm);
    out(STATUS, 2, 0xfeff);
    out(STATUS, 1, 0xff);
    assert_int_equal(events(), VPM_EVENT_PRESS);
    assert_int_equal(in(STATUS, 4), VPM_EVENT_PRESS | in(ENABLE, 2) << 16);
    out(STATUS + 1, 1, VPM_EVENT_PRESS >> 8);
    assert_int_equal(events(), 0);
    assert_int_equal(in(CONTROL, 2), 1); /* ACPI mode, whatever is written */
    out(CONTROL, 2, 0);
    assert_int_equal(in(CONTROL, 2), 1);
    assert_int_equal(in(VPM_PORT + 6, 2), 0);
    out(VPM_PORT, 4, 0xffffffff);
    out(TIMER + 2, 4, 0xffffffff); /* read-only, and beyond the last port */
    assert_int_equal(in(TIMER + 3, 4) >> 8, 0xffffff);
    assert_int_equal(vfake.ends, 0);
    vfake_stop();
}

static void switch_off(void **state)
{
    (void)state;
    vfake_start(1);
    out(CONTROL, 2, 5 << 10);           /* not enabled */
    out(CONTROL, 2, 3 << 10 | 1 << 13); /* S3: there is none */
    assert_int_equal(vfake.ends, 0);
    assert_int_equal(in(CONTROL, 2), 3 << 10 | 1);
    out(CONTROL + 1, 1, 5 << 2 | 1 << 5);
    assert_int_equal(vfake.ends, 1);
    out(CONTROL, 2, 5 << 10 | 1 << 13);
    assert_int_equal(vfake.ends, 2);
    assert_int_equal(vfake.outcome, VM_OUTCOME_OK);
    vfake_stop();
}

/* 3.579545 MHz, 32 bits; its carry is an event, and wakes nobody who has not asked for it. */
static void pm_timer(void **state)
{
    uint32_t begin;

    (void)state;
    vfake_start(1);
    route_interrupt(RTE_LEVEL | VECTOR);
    begin = in(TIMER, 4);
    vfake.clock_ns += 10 * NS_PER_S;
    assert_int_equal(in(TIMER, 4) - begin, 35795450);
    assert_int_equal(in(TIMER, 2), in(TIMER, 4) & 0xffff);
    assert_int_equal(in(TIMER - 2, 4) >> 16, in(TIMER, 2));               /* control and timer */
    assert_int_equal(in(TIMER + 2, 4), 0xffff0000u | in(TIMER, 4) >> 16); /* beyond its end */
    assert_int_equal(timer_next(), TIMER_NEVER);
    vfake.clock_ns += 600 * NS_PER_S; /* 2^31 clocks are 599.9 s */
    assert_int_equal(events(), VPM_EVENT_TIMER);
    assert_int_equal(pending(), -1);
    out(STATUS, 2, VPM_EVENT_TIMER);
    out(ENABLE, 2, VPM_EVENT_TIMER);
    assert_true(timer_next() != TIMER_NEVER);
    vfake.vcpu[0].state = VCPU_SLEEPING;
    vfake_advance(580 * NS_PER_S);
    assert_int_equal(pending(), -1);
    vfake_advance(10 * NS_PER_S);
    handle(true);
    assert_int_equal(in(TIMER, 4) >> 31, 0);
    vfake_stop();
}

static void reset_forgets(void **state)
{
    (void)state;
    vfake_start(1);
    out(ENABLE, 2, VPM_EVENT_PRESS);
    vm_devices_press_power_button(&vfake.vm);
    vm_devices_reset(&vfake.vm);
    route_interrupt(RTE_LEVEL | VECTOR);
    assert_int_equal(events(), 0);
    assert_int_equal(in(ENABLE, 2), 0);
    assert_int_equal(pending(), -1);
    vfake_stop();
    vm_devices_press_power_button(&vfake.vm); /* no devices: nothing */
}

/* ---- stop ---- */

static void start_vm(unsigned vcpus)
{
    vfake_start(vcpus);
    spin_init(&vfake.vm.lock, RANK_VM, "vm");
    vfake.vm.state = VM_RUNNING;
    vfake.vm.run.stop_ns = 0;
    for (unsigned i = 0; i < vcpus; i++) {
        vfake.vcpu[i].state = VCPU_SLEEPING;
    }
    wakes = cuts = 0;
}

/* A poll for each tick, as the main loop does. */
static void pass(uint64_t ns)
{
    for (uint64_t end = vfake.clock_ns + ns; vfake.clock_ns < end && cuts == 0;) {
        unsigned before = wakes;

        vfake_advance(TICK_NS);
        assert_int_equal(wakes, before + 1); /* the timer is armed as long as somebody is asked */
        vm_poll_stop(&vfake.vm);
    }
}

/* One that has acknowledged its button is given time for what it has to do. */
static void grace_ends(void **state)
{
    (void)state;
    start_vm(1);
    assert_true(vm_stop(&vfake.vm, &answer));
    assert_int_equal(events(), VPM_EVENT_PRESS);
    out(STATUS, 2, events());
    pass(2 * NS_PER_S);
    assert_int_equal(events(), 0);
    pass(2 * NS_PER_S); /* a second time: it may have slept */
    assert_int_equal(events(), VPM_EVENT_PRESS);
    pass(85 * NS_PER_S); /* that one is not acknowledged: nothing has to be, twice */
    assert_int_equal(cuts, 0);
    out(STATUS, 2, events());
    assert_false(vm_stop(&vfake.vm, &answer));
    assert_int_equal(events(), 0); /* not pressed a second time */
    pass(NS_PER_S);
    assert_int_equal(cuts, 1);
    vfake_stop();
}

static void grace_of_a_deaf_one_ends(void **state)
{
    (void)state;
    for (unsigned hears_late = 0; hears_late < 2; hears_late++) {
        start_vm(1);
        assert_true(vm_stop(&vfake.vm, &answer));
        pass(9 * NS_PER_S);
        assert_int_equal(cuts, 0);
        if (hears_late) {
            out(STATUS, 2, events());
            pass(80 * NS_PER_S);
            assert_int_equal(cuts, 0);
        }
        pass(NS_PER_S);
        assert_int_equal(cuts, 1);
        vfake_stop();
    }
}

static void only_its_own_time_counts(void **state)
{
    (void)state;
    start_vm(2);
    assert_true(vm_stop(&vfake.vm, &answer));
    vfake.vm.state = VM_PAUSED;
    pass(100 * NS_PER_S);
    vfake.vm.state = VM_RUNNING;
    vfake.vcpu[0].state = VCPU_PARKED;
    pass(100 * NS_PER_S);
    vfake.vcpu[0].state = VCPU_RUNNABLE;
    pass(100 * NS_PER_S);
    assert_int_equal(cuts, 0);
    vfake.vcpu[1].state = VCPU_RUNNING; /* one of two: it goes on */
    pass(5 * NS_PER_S);
    vfake.vcpu[0].state = vfake.vcpu[1].state = VCPU_SLEEPING;
    pass(5 * NS_PER_S - TICK_NS);
    assert_int_equal(cuts, 0);
    /* A poll that is late by a minute has seen no more than two ticks of it. */
    vm_poll_stop(&vfake.vm);
    assert_int_equal(cuts, 0);
    vfake_advance(60 * NS_PER_S);
    vm_poll_stop(&vfake.vm);
    assert_int_equal(cuts, 1);
    vfake_stop();
}

static void late_polls(void **state)
{
    (void)state;
    start_vm(1);
    assert_true(vm_stop(&vfake.vm, &answer));
    for (unsigned i = 0; i < 49; i++) { /* two ticks each, of ten seconds */
        vfake_advance(60 * NS_PER_S);
        vm_poll_stop(&vfake.vm);
        assert_int_equal(cuts, 0);
    }
    vfake_advance(60 * NS_PER_S);
    vm_poll_stop(&vfake.vm);
    assert_int_equal(cuts, 1);
    vfake_stop();
}

static void stop_in_each_state(void **state)
{
    static const struct {
        enum vm_state state;
        bool answered;
        unsigned cuts;
    } expected[] = {{VM_STOPPED, true, 0},
                    {VM_LOADING, false, 1},
                    {VM_RUNNING, false, 0},
                    {VM_PAUSED, true, 0},
                    {VM_ENDING, true, 0}};

    (void)state;
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        start_vm(1);
        vfake.vm.state = expected[i].state;
        assert_int_equal(!vm_stop(&vfake.vm, &answer), expected[i].answered);
        assert_int_equal(cuts, expected[i].cuts);
        assert_int_equal(vfake.vm.run.stop_ns != 0, expected[i].state == VM_RUNNING);
        assert_int_equal(events(), expected[i].state == VM_RUNNING ? VPM_EVENT_PRESS : 0);
        vfake_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(press_and_answer),
        cmocka_unit_test(press_before_the_driver),
        cmocka_unit_test(register_bits),
        cmocka_unit_test(reset_forgets),
        cmocka_unit_test(switch_off),
        cmocka_unit_test(pm_timer),
        cmocka_unit_test(grace_ends),
        cmocka_unit_test(grace_of_a_deaf_one_ends),
        cmocka_unit_test(only_its_own_time_counts),
        cmocka_unit_test(late_polls),
        cmocka_unit_test(stop_in_each_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
