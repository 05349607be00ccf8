/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/start.c hv/vm/end.c hv/vm/stop.c hv/vm/restart.c hv/vm/control.c hv/vm/vm.c
 *          hv/vm/tmem.c hv/vm/watch.c tests/unit/vm_machine.c */
/*
 * However a run of a VM has ended, and whatever it has left: the next one begins with the state
 * with which the first one began, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vm/control.h"
#include "tests/unit/vm_machine.h"

#define START_NS 5000000000ull /* of each run that is compared */

static void start(void)
{
    now_ns = START_NS;
    load_waits = true;
    assert_true(vm_start(first_vm, &last_answer));
    poll_until(VM_RUNNING);
}

static void fail_with_code(void)
{
    vm_end(first_vm, VM_OUTCOME_FAILED, 77);
}

static void lose_page(void)
{
    vm_lose_page(first_vm, "page at 0x%x", 0x1000);
    assert_string_equal(failure, "vm vm: failed: page at 0x1000 is lost: the store could not give "
                                 "it back");
}

static void kill_paused(void)
{
    assert_true(vm_pause(first_vm, &last_answer));
    assert_true(vm_resume(first_vm, &last_answer));
    assert_true(vm_pause(first_vm, &last_answer));
    kill_first_vm();
}

/* The guest does not last_answer: its power is cut. */
static void stop(void)
{
    assert_true(vm_stop(first_vm, &last_answer));
    vcpus[0].state = VCPU_SLEEPING;
    vcpus[1].state = VCPU_SLEEPING;
}

static void stop_and_reset(void)
{
    assert_true(vm_stop(first_vm, &last_answer));
    vm_reset_request(first_vm);
}

/* Three of them, so that the last one is not followed by another run. */
static void triple_faults(void)
{
    for (unsigned i = 0; i < 3; i++) {
        poll_until(VM_RUNNING);
        vm_triple_fault(first_vm, 1, 0x1000);
    }
}

static void reset_and_kill(void)
{
    vm_reset_request(first_vm);
    kill_first_vm();
}

/* Ended before its kernel was in memory: a run that begins, waits, and never gets further. */
static void fail_to_load(void)
{
    power_off();
    poll_until(VM_STOPPED);
    load_waits = load_fails = true;
    assert_true(vm_start(first_vm, &last_answer));
    poll_until(VM_STOPPED);
    load_fails = false;
    assert_int_equal(first_vm->run.outcome, VM_OUTCOME_FAILED);
}

static void kill_while_loading(void)
{
    power_off();
    poll_until(VM_STOPPED);
    assert_true(vm_start(first_vm, &last_answer));
    assert_int_equal(first_vm->state, VM_LOADING);
    kill_first_vm();
}

/* What a guest does to its VM while it runs. */
static void leave_marks(void)
{
    first_vm->run.unowned_io = 1;
    first_vm->run.unowned_mmio = 2;
    first_vm->run.unowned_msr = 3;
    first_vm->run.mmio_refused = true;
    first_vm->run.lent_to = &vcpus[1];
    vcpus[0].run_ns = 5000000000; /* long enough not to be one that resets itself at once */
}

static void same_start(void (*const way_to_end)(void))
{
    struct vm first, second;

    start();
    memcpy(&first, first_vm, sizeof(first));
    leave_marks();
    way_to_end();
    poll_until(VM_STOPPED);
    assert_memory_not_equal(&first.run, &first_vm->run, sizeof(first.run));
    memset(&first_vm->run, 0xa5, sizeof(first_vm->run)); /* and whatever else it may have left */
    start();
    memcpy(&second, first_vm, sizeof(second));
    second.lock = first.lock; /* what a lock and a timer keep is their own */
    second.restart_timer = first.restart_timer;
    assert_memory_equal(&first.run, &second.run, sizeof(first.run));
    assert_memory_equal(&first, &second, sizeof(first));
    power_off();
    poll_until(VM_STOPPED);
}

static void however_it_ended(void **state)
{
    static void (*const ways[])(void) = {
        power_off,      fail_with_code, lose_page,      kill_first_vm, kill_paused,       stop,
        stop_and_reset, triple_faults,  reset_and_kill, fail_to_load,  kill_while_loading};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        same_start(ways[i]);
    }
    assert_int_equal(failures, 7); /* lines: code, page (2), triple fault (2), load (2) */
}

/* A VM that resets itself, and is started again by nobody. */
static void after_its_own_reset(void **state)
{
    struct vm first;

    (void)state;
    start();
    memcpy(&first, first_vm, sizeof(first));
    leave_marks();
    load_waits = true;
    vm_reset_request(first_vm);
    poll_until(VM_LOADING);
    poll_until(VM_RUNNING);
    first.run.start_ns = first_vm->run.start_ns;
    assert_memory_equal(&first.run, &first_vm->run, sizeof(first.run));
    power_off();
    poll_until(VM_STOPPED);
    assert_int_equal(first_vm->run.outcome, VM_OUTCOME_OK);
    assert_int_equal(first_vm->run.total.run_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_it_ended),
        cmocka_unit_test(after_its_own_reset),
    };

    vm_machine_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
