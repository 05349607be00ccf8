/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer on the tmem hypercall: whole calls with any registers, any batch, in the real decoder
 * and the real mm/, with a guest of little memory, a late disk and a pager that is run now and
 * then.
 *
 *     make fuzz-hypercall [FUZZ_RUNS=10000000]
 *
 * Input: a stream of bytes; each entry of a batch takes a few, so that valid operations are common.
 * After each input the VM is taken down, and nothing may be left.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/exit.h"
#include "hv/run/hypercall.h"
#include "hv/run/hypercall_tmem.h"
#include "hv/vdev/irq/vlapic.h"
#include "mm/content/store_internal.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/policy/pager.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define FRAMES      700u
#define GUEST_PAGES 40u
#define SLOTS       2048u
#define CALLS_MAX   24u
#define TURNS_MAX   10000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_disk disk;
static struct store *store;
static uint64_t free_at_start;
static unsigned ring;
static bool failed;

/* ---- what hv/ finds around it ---- */

static unsigned privilege(struct vcpu *vcpu)
{
    (void)vcpu;
    return ring;
}

static bool runs_64bit(struct vcpu *vcpu)
{
    (void)vcpu;
    return true;
}

static const struct vcpu_backend backend = {
    .name = "fuzz", .privilege = privilege, .runs_64bit = runs_64bit};

const struct vcpu_backend *machine_backend(void)
{
    return &backend;
}

/* KVM's calls: unit tests have their effects. */
unsigned vlapic_send_set(struct vm *vm, uint64_t first, uint64_t set, uint32_t icr)
{
    (void)vm;
    (void)icr;
    return first == 0 ? set & 1 : 0;
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
    (void)requests;
    if (vcpu == NULL) {
        panic("a request to nobody");
    }
}

/* hv/run/sched.h, which has a name of the C library's in it */
bool sched_prefer(struct vcpu *vcpu);

bool sched_prefer(struct vcpu *vcpu)
{
    return vcpu != NULL;
}

void vm_lose_page(struct vm *vm, const char *format, ...)
{
    (void)vm;
    (void)format;
    failed = true;
}

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

/* ---- input ---- */

/* Small numbers mostly, anything now and then. */
static uint64_t number(struct input *in, unsigned bytes, uint64_t usual)
{
    uint64_t first = take(in, 1);

    return first >= 0xf8 ? take(in, bytes) : first % usual;
}

static void make_entry(struct input *in, struct spillway_tmem_op *op)
{
    memset(op, 0, sizeof(*op));
    op->op = (uint32_t)number(in, 4, 9);
    op->pool = (uint32_t)number(in, 4, 4) + 64;
    op->index = (uint32_t)number(in, 4, 16);
    op->object[0] = number(in, 8, 3);
    op->address = number(in, 8, GUEST_PAGES + 2) * (in->at < in->end && *in->at == 0xff ? 1 : 4096);
    if (op->op == SPILLWAY_TMEM_CREATE) {
        op->flags = (uint32_t)number(in, 4, 4);
        op->pool = 0;
    }
    op->status = (int32_t)number(in, 4, 2);
    if (take(in, 1) == 0xff) {
        op->flags ^= (uint32_t)take(in, 1);
        op->reserved = (uint32_t)take(in, 1);
    }
}

/* ---- a call ---- */

static void machine_turn(void)
{
    support_clock_advance(5000000);
    pager_run();
    fake_disk_settle(&disk);
}

static void check_registers(const struct vcpu *vcpu, uint64_t base, uint64_t count)
{
    const uint64_t *gpr = vcpu->regs.gpr;

    if (gpr[GPR_RAX] != 0) {
        return;
    }
    if (gpr[GPR_RCX] != 0 || gpr[GPR_RBX] != base + count * sizeof(struct spillway_tmem_op)) {
        panic("a call ended with RBX 0x%llx and RCX 0x%llx", (unsigned long long)gpr[GPR_RBX],
              (unsigned long long)gpr[GPR_RCX]);
    }
}

/* Not every time: a pager that takes all at once would take what has just come in. */
static void let_time_pass(unsigned turn)
{
    fake_disk_settle(&disk);
    if (turn % 8 == 7) {
        machine_turn();
    }
}

static void write_batch(struct vcpu *vcpu, uint64_t base, const void *ops, uint64_t entries)
{
    size_t bytes = entries * sizeof(struct spillway_tmem_op);

    for (unsigned turns = 0; turns < TURNS_MAX; turns++) {
        if (space_write(vcpu->space, gpa(base), ops, bytes, &vcpu->waiter) != MM_WAIT) {
            return;
        }
        let_time_pass(turns);
    }
    panic("a write into the guest's memory does not end");
}

static void one_call(struct vcpu *vcpu, struct input *in)
{
    static struct spillway_tmem_op ops[SPILLWAY_TMEM_BATCH];
    uint64_t *gpr = vcpu->regs.gpr;
    uint64_t entries = take(in, 1) % 12 + 1, base = number(in, 8, GUEST_PAGES * 64) * 64;

    for (unsigned i = 0; i < entries; i++) {
        make_entry(in, &ops[i]);
    }
    write_batch(vcpu, base, ops, entries);
    ring = take(in, 1) == 0xff ? 3 : 0;
    gpr[GPR_RAX] = take(in, 1) == 0xff ? take(in, 8) : SPILLWAY_TMEM_CALL;
    gpr[GPR_RBX] = base;
    gpr[GPR_RCX] = take(in, 1) == 0xff ? take(in, 8) : entries;
    uint64_t rax = gpr[GPR_RAX], count = gpr[GPR_RCX] & UINT32_MAX;

    for (unsigned turns = 0; turns < TURNS_MAX; turns++) {
        bool again = false;
        enum exit_result result = hypercall_dispatch(vcpu, &again);

        if (result == EXIT_FAIL || failed) {
            panic("the VM was failed, though no page of its is lost");
        }
        if ((result == EXIT_RESUME || result == EXIT_YIELD) && !again) {
            if (rax == SPILLWAY_TMEM_CALL) {
                check_registers(vcpu, base, count);
            }
            return;
        }
        let_time_pass(turns);
        gpr[GPR_RAX] = rax;
    }
    panic("a call does not end");
}

/* ---- one input ---- */

static void set_up(void)
{
    support_memory_init(FRAMES);
    fake_disk_init(&disk, SLOTS + 1, 1);
    store = support_open_store(&disk);
    free_at_start = frame_stats_get().free;
}

static void make_vm(struct vm *vm, struct vcpu *vcpu, uint64_t quota)
{
    struct space_config space = {
        .name = "vm", .format = &fake_format, .store = store, .shares = 100};
    struct tmem_config tmem = {
        .name = "vm", .store = store, .quota = quota, .shares = 100, .seed = 1};

    vm->run.space = tmem.space = space_create(&space);
    if (vm->run.space == NULL || !space_add_memslot(vm->run.space, gfn(0), GUEST_PAGES, 0)) {
        panic("no space");
    }
    vm->run.tmem = tmem_create(&tmem);
    if (vm->run.tmem == NULL) {
        panic("no tmem");
    }
    vcpu->vm = vm;
    vcpu->space = vm->run.space;
    vcpu->waiter.wake = wake;
}

static void end_vm(struct vm *vm, struct vcpu *vcpu)
{
    waiter_cancel(&vcpu->waiter);
    tmem_close(vm->run.tmem);
    while (!tmem_drain(vm->run.tmem)) {
        fake_disk_settle(&disk);
    }
    space_close(vm->run.space);
    while (!space_drain(vm->run.space)) {
        fake_disk_settle(&disk);
    }
    tmem_free(vm->run.tmem);
    space_free(vm->run.space);
    struct store_stats figures;

    store_get_stats(store, &figures);
    if (frame_stats_get().free != free_at_start || figures.slots_used != 0) {
        panic("frames or slots leaked");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct vm vm = {.name = "vm"};
    struct vcpu vcpu = {0};

    if (store == NULL) {
        set_up();
    }
    uint8_t how = (uint8_t)take(&in, 1);

    make_vm(&vm, &vcpu, how % 4 == 0 ? 8 : 200);
    /* Little memory, or so little that everything is on its way to the disk. */
    if (how & 4) {
        frame_alloc_set_watermarks(4, FRAMES, FRAMES);
    } else {
        frame_alloc_set_watermarks(4, 16, 64);
    }
    for (unsigned i = 0; i < CALLS_MAX && in.at < in.end; i++) {
        one_call(&vcpu, &in);
        if (how & 8) {
            machine_turn();
        }
    }
    end_vm(&vm, &vcpu);
    return 0;
}
