/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/vm_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/block.h"
#include "hv/guest/serial.h"
#include "hv/load/load.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vm/internal.h"
#include "tests/unit/support.h"

/* ---- a machine with some VMs, whose parts are always the same ---- */

struct config host_config;

static const struct vm_config vm_config = {.name = "vm",
                                           .kernel = "kernel",
                                           .memory = 64 << 20,
                                           .tmem = 1 << 20,
                                           .vcpus = VCPUS,
                                           .shares = 100};
static const struct handover_file kernel = {.bytes = 1};
static const struct vcpu_backend backend = {.name = "fake"};
static char parts[4]; /* what pointers to space, tmem, load and devices point at */

struct vcpu vcpus[VMS * VCPUS];
uint64_t now_ns;
bool load_waits, load_fails, load_holds;
unsigned loading; /* VMs */
unsigned failures;
char failure[200]; /* the last one */

#define SPACE ((struct space *)&parts[0])
#define TMEM  ((struct tmem *)&parts[1])
#define LOAD  ((struct guest_load *)&parts[2])

const struct config *machine_config(void)
{
    return &host_config;
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
    return (struct net_switch *)&host_config.net[number];
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

bool vm_devices_power_button_heard(struct vm *vm)
{
    assert_non_null(vm->run.devices);
    return false;
}

unsigned breaks, pulses; /* that the VM has been given */

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

struct vm *first_vm;
struct vm_answer last_answer;

void poll_until(enum vm_state state)
{
    for (unsigned i = 0; i < 1000 && first_vm->state != state; i++) {
        now_ns += 50000000;
        vm_poll();
    }
    assert_int_equal(first_vm->state, state);
}

void power_off(void)
{
    vm_end(first_vm, VM_OUTCOME_OK, 0);
}

void kill_first_vm(void)
{
    assert_true(vm_kill(first_vm, &last_answer));
}

void vm_machine_start(void)
{
    support_memory_init(1024);
    host_config.vm_count = VMS;
    for (unsigned i = 0; i < VMS; i++) {
        host_config.vm[i] = vm_config;
        host_config.vm[i].nics = 2;
    }
    host_config.nic[0] = (struct net_config){.net = 1, .number = 3, .mac = {2, 9}};
    host_config.nic[1] = (struct net_config){.net = 2, .number = 0, .mac = {2, 8}};
    vm_init_all();
    first_vm = vm_at(0);
}
