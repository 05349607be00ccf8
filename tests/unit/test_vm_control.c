/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/start.c hv/vm/end.c hv/vm/stop.c hv/vm/restart.c hv/vm/control.c hv/vm/vm.c
 *          hv/vm/tmem.c hv/vm/watch.c tests/unit/vm_machine.c */
/*
 * VMs that are started and ended side by side, and what reaches one of them: its turn to be loaded,
 * NMI and BREAK, its NICs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hv/machine.h"
#include "hv/vm/control.h"
#include "tests/unit/vm_machine.h"

/* Few are loaded at a time; who ends, or is not wanted any more, makes room for the next one. */
static void loads_in_turn(void **state)
{
    (void)state;
    load_holds = true;
    for (unsigned i = 0; i < VMS; i++) {
        assert_true(vm_start(vm_at(i), &last_answer));
        vm_poll();
        assert_int_equal(loading, MIN(i + 1, 4));
    }
    assert_true(vm_kill(vm_at(0), &last_answer)); /* one that loads, and one that waits */
    assert_true(vm_kill(vm_at(4), &last_answer));
    for (unsigned i = 0; i < 100; i++) {
        now_ns += 50000000;
        vm_poll();
    }
    assert_int_equal(vm_at(0)->state, VM_STOPPED);
    assert_int_equal(vm_at(4)->state, VM_STOPPED);
    assert_int_equal(loading, 4);
    load_holds = false;
    for (unsigned i = 0; i < VMS; i++) {
        vm_at(i)->run.load_ready = true; /* their waiters have been woken */
    }
    for (unsigned i = 0; i < 100; i++) {
        vm_poll();
        assert_in_range(loading, 0, 4);
    }
    assert_int_equal(loading, 0);
    for (unsigned i = 0; i < VMS; i++) {
        assert_int_equal(vm_at(i)->state, i % 4 == 0 ? VM_STOPPED : VM_RUNNING);
        vm_end(vm_at(i), VM_OUTCOME_OK, 0);
    }
    poll_until(VM_STOPPED);
}

/* NMI and BREAK reach a guest that has begun to run, also while it is paused. */
static void signals(void **state)
{
    (void)state;
    assert_false(vm_nmi(first_vm, &last_answer));
    assert_false(vm_break(first_vm, &last_answer));
    load_waits = true;
    assert_true(vm_start(first_vm, &last_answer));
    assert_false(vm_nmi(first_vm, &last_answer));
    assert_false(vm_break(first_vm, &last_answer));
    assert_string_equal(last_answer.text, "expected a VM that is running or paused");
    assert_int_equal(breaks + pulses, 0);
    poll_until(VM_RUNNING);
    assert_true(vm_nmi(first_vm, &last_answer));
    assert_int_equal(pulses, VCPUS);
    assert_true(vm_break(first_vm, &last_answer));
    assert_false(vm_break(first_vm, &last_answer));
    assert_string_equal(last_answer.text, "expected a guest that reads its serial port");
    assert_true(vm_pause(first_vm, &last_answer));
    assert_true(vm_nmi(first_vm, &last_answer));
    assert_true(vm_break(first_vm, &last_answer));
    assert_int_equal(breaks, 3);
    assert_int_equal(pulses, 2 * VCPUS);
    kill_first_vm();
    assert_false(vm_nmi(first_vm, &last_answer));
    assert_false(vm_break(first_vm, &last_answer));
    poll_until(VM_STOPPED);
}

/* Each on its switch, in the order of their numbers. */
static void nics_of_a_run(void **state)
{
    (void)state;
    assert_true(vm_start(first_vm, &last_answer));
    assert_int_equal(first_vm->run.nic_count, 2);
    assert_int_equal(first_vm->run.nic[0].number, 0);
    assert_ptr_equal(first_vm->run.nic[0].net, machine_switch(2));
    assert_memory_equal(first_vm->run.nic[0].mac, host_config.nic[1].mac,
                        sizeof(host_config.nic[1].mac));
    assert_int_equal(first_vm->run.nic[1].number, 3);
    assert_ptr_equal(first_vm->run.nic[1].net, machine_switch(1));
    assert_true(vm_kill(first_vm, &last_answer));
    poll_until(VM_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_in_turn),
        cmocka_unit_test(signals),
        cmocka_unit_test(nics_of_a_run),
    };

    vm_machine_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
