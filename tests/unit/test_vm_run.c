/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/start.c hv/vm/end.c hv/vm/stop.c hv/vm/restart.c hv/vm/control.c hv/vm/vm.c
 *          hv/vm/tmem.c hv/vm/watch.c */
/*
 * However a run of a VM has ended, and whatever it has left: the next one begins with the state
 * with which the first one began, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/block.h"
#include "hv/config/config.h"
#include "hv/guest/serial.h"
#include "hv/load/load.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/run/vcpu.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vdev/legacy/vcmos.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "tests/unit/support.h"

#define VMS      8
#define VCPUS    2
#define START_NS 5000000000ull /* of each run that is compared */

/* ---- a machine with some VMs, whose parts are always the same ---- */

static struct config config;
static const struct vm_config vm_config = {.name = "vm",
                                           .kernel = "kernel",
                                           .memory = 64 << 20,
                                           .tmem = 1 << 20,
                                           .vcpus = VCPUS,
                                           .shares = 100};
static const struct handover_file kernel = {.bytes = 1};
static const struct vcpu_backend backend = {.name = "fake"};
static struct vcpu vcpus[VMS * VCPUS];
static char parts[4]; /* what pointers to space, tmem, load and devices point at */
static uint64_t now_ns;
static bool load_waits, load_fails, load_holds;
static unsigned loading; /* VMs */
static unsigned failures;
static char failure[200]; /* the last one */

#define SPACE ((struct space *)&parts[0])
#define TMEM  ((struct tmem *)&parts[1])
#define LOAD  ((struct guest_load *)&parts[2])

const struct config *machine_config(void)
{
    return &config;
}

const struct handover_file *machine_file(const char *path)
{
    return strcmp(path, "kernel") == 0 ? &kernel : NULL;
}

const struct vcpu_backend *machine_backend(void)
{
    return &backend;
}

struct store *machine_store(void)
{
    return NULL;
}

struct net_switch *machine_switch(unsigned number)
{
    return (struct net_switch *)&config.net[number];
}

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

uint64_t arch_tsc_khz(void)
{
    return 1000000;
}

uint64_t arch_random(void)
{
    return 4;
}

void *arch_ptr(hpa_t address)
{
    (void)address;
    return parts;
}

void loop_wake_vms(void)
{
}

void loop_wake_vms_after(uint64_t ns)
{
    (void)ns;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->fire = fire;
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
}

void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    va_list args;

    (void)vm;
    if (level != LOG_ERROR) {
        return;
    }
    failures++;
    va_start(args, format);
    vsnprintf(failure, sizeof(failure), format, args);
    va_end(args);
}

void guest_serial_flush(struct vm *vm)
{
    (void)vm;
}

bool vm_promise(struct vm *vm, const struct admission_terms *terms, struct vm_answer *answer)
{
    (void)answer;
    vm->promised.pages = terms->memory;
    return true;
}

void vm_unpromise(struct vm *vm)
{
    vm->promised.pages = 0;
}

struct admission_terms vm_terms(const struct vm *vm)
{
    return (struct admission_terms){.memory = vm->memory_pages};
}

uint64_t vm_promises_broken(void)
{
    return 0;
}

uint64_t admission_working(const struct admission_terms *terms)
{
    return terms->memory / 2;
}

bool vm_find_disks(const struct vm *vm, struct vm_disks *disks, struct vm_answer *answer)
{
    (void)vm;
    (void)answer;
    static struct block_device device = {.name = "vd0"};

    memset(disks, 0, sizeof(*disks));
    disks->disk[0].device = disks->disk[1].device = &device;
    disks->count = 2;
    return true;
}

uint32_t admission_start_cost(const struct admission_terms *terms)
{
    (void)terms;
    return 10;
}

struct space *space_create(const struct space_config *space)
{
    (void)space;
    return SPACE;
}

bool space_add_memslot(struct space *space, gfn_t base, uint64_t pages, uint32_t flags)
{
    (void)base;
    (void)flags;
    return space == SPACE && pages != 0;
}

void waiter_end_turn(struct mm_waiter *waiter)
{
    waiter->asked = false;
}

void waiter_cancel(struct mm_waiter *waiter)
{
    waiter->queue = MM_WAITS_NOT;
}

void space_get_stats(struct space *space, struct space_stats *stats)
{
    assert_ptr_equal(space, SPACE);
    memset(stats, 0x11, sizeof(*stats));
}

void space_close(struct space *space)
{
    assert_ptr_equal(space, SPACE);
}

bool space_drain(struct space *space)
{
    return space == SPACE;
}

void space_free(struct space *space)
{
    assert_ptr_equal(space, SPACE);
}

uint64_t tmem_create_cost(uint64_t quota)
{
    return quota;
}

struct tmem *tmem_create(const struct tmem_config *tmem)
{
    assert_ptr_equal(tmem->space, SPACE);
    return TMEM;
}

bool tmem_set_quota(struct tmem *tmem, uint64_t quota)
{
    return tmem == TMEM && quota != 0;
}

void tmem_get_stats(struct tmem *tmem, struct tmem_stats *stats)
{
    assert_ptr_equal(tmem, TMEM);
    memset(stats, 0x22, sizeof(*stats));
}

void tmem_close(struct tmem *tmem)
{
    assert_ptr_equal(tmem, TMEM);
}

bool tmem_drain(struct tmem *tmem)
{
    return tmem == TMEM;
}

void tmem_free(struct tmem *tmem)
{
    assert_ptr_equal(tmem, TMEM);
}

unsigned guest_layout(uint64_t memory_bytes, struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS])
{
    memslot[0] = (struct guest_memslot){.pages = memory_bytes / PAGE_SIZE};
    return 1;
}

struct guest_load *guest_load_start(struct vm *vm, const struct guest_image *image,
                                    char error[GUEST_LOAD_ERROR_MAX])
{
    (void)error;
    assert_int_equal(vm->run.vcpu_count, VCPUS);
    loading++;
    return image->kernel != NULL ? LOAD : NULL;
}

enum mm_result guest_load_step(struct guest_load *load, struct mm_waiter *waiter)
{
    assert_ptr_equal(load, LOAD);
    if (load_fails) {
        return MM_LOST;
    }
    if (load_holds) {
        return MM_WAIT;
    }
    if (load_waits) {
        load_waits = false;
        waiter->queue = MM_WAITS_FRAME;
        waiter->wake(waiter);
        return MM_WAIT;
    }
    waiter->asked = true;
    return MM_OK;
}

bool guest_load_done(const struct guest_load *load)
{
    return load == LOAD;
}

void guest_load_free(struct guest_load *load)
{
    assert_ptr_equal(load, LOAD);
    loading--;
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index)
{
    struct vcpu *vcpu = &vcpus[vm->index * VCPUS + index];

    *vcpu = (struct vcpu){.vm = vm, .index = index, .state = VCPU_STOPPED};
    return vcpu;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    assert_int_equal(vcpu->state, VCPU_STOPPED);
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
    if (requests & VCPU_REQUEST_STOP) {
        vcpu->state = VCPU_STOPPED;
    }
}

void sched_add_vm(struct vm *vm, uint32_t weight)
{
    vm->share.weight = weight;
}

void sched_start(struct vcpu *vcpu)
{
    vcpu->state = VCPU_RUNNABLE;
}

void kvmclock_paused(struct vcpu *vcpu)
{
    vcpu->was_paused = true;
}

static bool devices_stopped;

bool vm_devices_create(struct vm *vm)
{
    vm->run.devices = (struct vm_devices *)&parts[3];
    return true;
}

void vm_devices_reset(struct vm *vm)
{
    assert_non_null(vm->run.devices);
}

/* Not at once: something is in flight. */
bool vm_devices_stop(struct vm *vm)
{
    (void)vm;
    devices_stopped = !devices_stopped;
    return !devices_stopped;
}

void vm_devices_destroy(struct vm *vm)
{
    vm->run.devices = NULL;
}

void vm_balloons_poll(void)
{
}

void vm_devices_press_power_button(struct vm *vm)
{
    assert_non_null(vm->run.devices);
}

static unsigned breaks, pulses; /* that the VM has been given */

bool vm_devices_break(struct vm *vm)
{
    assert_non_null(vm->run.devices);
    return ++breaks != 2; /* the second one finds the port full */
}

void vlapic_pulse_lint1(struct vcpu *vcpu)
{
    assert_non_null(vcpu);
    pulses++;
}

/* ---- runs ---- */

static struct vm *vm;
static struct vm_answer answer;

static void poll_until(enum vm_state state)
{
    for (unsigned i = 0; i < 1000 && vm->state != state; i++) {
        now_ns += 50000000;
        vm_poll();
    }
    assert_int_equal(vm->state, state);
}

static void start(void)
{
    now_ns = START_NS;
    load_waits = true;
    assert_true(vm_start(vm, &answer));
    poll_until(VM_RUNNING);
}

static void power_off(void)
{
    vm_end(vm, VM_OUTCOME_OK, 0);
}

static void fail_with_code(void)
{
    vm_end(vm, VM_OUTCOME_FAILED, 77);
}

static void lose_page(void)
{
    vm_lose_page(vm, "page at 0x%x", 0x1000);
    assert_string_equal(failure, "vm vm: failed: page at 0x1000 is lost: the store could not give "
                                 "it back");
}

static void kill(void)
{
    assert_true(vm_kill(vm, &answer));
}

static void kill_paused(void)
{
    assert_true(vm_pause(vm, &answer));
    assert_true(vm_resume(vm, &answer));
    assert_true(vm_pause(vm, &answer));
    kill();
}

/* The guest does not answer: its power is cut. */
static void stop(void)
{
    assert_true(vm_stop(vm, &answer));
    vcpus[0].state = VCPU_SLEEPING;
    vcpus[1].state = VCPU_SLEEPING;
}

static void stop_and_reset(void)
{
    assert_true(vm_stop(vm, &answer));
    vm_reset_request(vm);
}

/* Three of them, so that the last one is not followed by another run. */
static void triple_faults(void)
{
    for (unsigned i = 0; i < 3; i++) {
        poll_until(VM_RUNNING);
        vm_triple_fault(vm, 1, 0x1000);
    }
}

static void reset_and_kill(void)
{
    vm_reset_request(vm);
    kill();
}

/* Ended before its kernel was in memory: a run that begins, waits, and never gets further. */
static void fail_to_load(void)
{
    power_off();
    poll_until(VM_STOPPED);
    load_waits = load_fails = true;
    assert_true(vm_start(vm, &answer));
    poll_until(VM_STOPPED);
    load_fails = false;
    assert_int_equal(vm->run.outcome, VM_OUTCOME_FAILED);
}

static void kill_while_loading(void)
{
    power_off();
    poll_until(VM_STOPPED);
    assert_true(vm_start(vm, &answer));
    assert_int_equal(vm->state, VM_LOADING);
    kill();
}

/* What a guest does to its VM while it runs. */
static void leave_marks(void)
{
    vm->run.unowned_io = 1;
    vm->run.unowned_mmio = 2;
    vm->run.unowned_msr = 3;
    vm->run.mmio_refused = true;
    vm->run.lent_to = &vcpus[1];
    vcpus[0].run_ns = 5000000000; /* long enough not to be one that resets itself at once */
}

static void same_start(void (*const way_to_end)(void))
{
    struct vm first, second;

    start();
    memcpy(&first, vm, sizeof(first));
    leave_marks();
    way_to_end();
    poll_until(VM_STOPPED);
    assert_memory_not_equal(&first.run, &vm->run, sizeof(first.run));
    memset(&vm->run, 0xa5, sizeof(vm->run)); /* and whatever else it may have left */
    start();
    memcpy(&second, vm, sizeof(second));
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
        power_off,      fail_with_code, lose_page,      kill,         kill_paused,       stop,
        stop_and_reset, triple_faults,  reset_and_kill, fail_to_load, kill_while_loading};

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
    memcpy(&first, vm, sizeof(first));
    leave_marks();
    load_waits = true;
    vm_reset_request(vm);
    poll_until(VM_LOADING);
    poll_until(VM_RUNNING);
    first.run.start_ns = vm->run.start_ns;
    assert_memory_equal(&first.run, &vm->run, sizeof(first.run));
    power_off();
    poll_until(VM_STOPPED);
    assert_int_equal(vm->run.outcome, VM_OUTCOME_OK);
    assert_int_equal(vm->run.total.run_us, 0);
}

/* Few are loaded at a time; who ends, or is not wanted any more, makes room for the next one. */
static void loads_in_turn(void **state)
{
    (void)state;
    load_holds = true;
    for (unsigned i = 0; i < VMS; i++) {
        assert_true(vm_start(vm_at(i), &answer));
        vm_poll();
        assert_int_equal(loading, MIN(i + 1, 4));
    }
    assert_true(vm_kill(vm_at(0), &answer)); /* one that loads, and one that waits */
    assert_true(vm_kill(vm_at(4), &answer));
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
    assert_false(vm_nmi(vm, &answer));
    assert_false(vm_break(vm, &answer));
    load_waits = true;
    assert_true(vm_start(vm, &answer));
    assert_false(vm_nmi(vm, &answer));
    assert_false(vm_break(vm, &answer));
    assert_string_equal(answer.text, "expected a VM that is running or paused");
    assert_int_equal(breaks + pulses, 0);
    poll_until(VM_RUNNING);
    assert_true(vm_nmi(vm, &answer));
    assert_int_equal(pulses, VCPUS);
    assert_true(vm_break(vm, &answer));
    assert_false(vm_break(vm, &answer));
    assert_string_equal(answer.text, "expected a guest that reads its serial port");
    assert_true(vm_pause(vm, &answer));
    assert_true(vm_nmi(vm, &answer));
    assert_true(vm_break(vm, &answer));
    assert_int_equal(breaks, 3);
    assert_int_equal(pulses, 2 * VCPUS);
    kill();
    assert_false(vm_nmi(vm, &answer));
    assert_false(vm_break(vm, &answer));
    poll_until(VM_STOPPED);
}

/* Each on its switch, in the order of their numbers. */
static void nics_of_a_run(void **state)
{
    (void)state;
    assert_true(vm_start(vm, &answer));
    assert_int_equal(vm->run.nic_count, 2);
    assert_int_equal(vm->run.nic[0].number, 0);
    assert_ptr_equal(vm->run.nic[0].net, machine_switch(2));
    assert_memory_equal(vm->run.nic[0].mac, config.nic[1].mac, sizeof(config.nic[1].mac));
    assert_int_equal(vm->run.nic[1].number, 3);
    assert_ptr_equal(vm->run.nic[1].net, machine_switch(1));
    assert_true(vm_kill(vm, &answer));
    poll_until(VM_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_it_ended), cmocka_unit_test(after_its_own_reset),
        cmocka_unit_test(loads_in_turn),    cmocka_unit_test(signals),
        cmocka_unit_test(nics_of_a_run),
    };

    support_memory_init(1024);
    config.vm_count = VMS;
    for (unsigned i = 0; i < VMS; i++) {
        config.vm[i] = vm_config;
        config.vm[i].nics = 2;
    }
    config.nic[0] = (struct net_config){.net = 1, .number = 3, .mac = {2, 9}};
    config.nic[1] = (struct net_config){.net = 2, .number = 0, .mac = {2, 8}};
    vm_init_all();
    vm = vm_at(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
