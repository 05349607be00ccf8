/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/vdev_fake.h"

#include <stdlib.h>
#include <string.h>

#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/operator/console.h"
#include "hv/run/sched.h"
#include "hv/timer.h"
#include "hv/vdev/access.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

struct vdev_fake vfake;

/* ---- hv/arch.h ---- */

unsigned arch_cpu_id(void)
{
    return 0;
}

unsigned arch_cpu_count(void)
{
    return 1;
}

uint64_t arch_clock_ns(void)
{
    return vfake.clock_ns;
}

uint64_t arch_tsc(void)
{
    return vfake.clock_ns * (VFAKE_TSC_KHZ / 1000000);
}

uint64_t arch_tsc_khz(void)
{
    return VFAKE_TSC_KHZ;
}

bool vfake_no_random;

bool arch_has_random(void)
{
    return !vfake_no_random;
}

/* A counter that no byte of which is zero for long. */
uint64_t arch_random(void)
{
    return ++vfake.randoms * 0x0101010101010101;
}

uint64_t arch_boot_epoch_ns(void)
{
    return vfake.epoch * 1000000000ull;
}

/* ---- hv/guest/vcpu.h, hv/guest/vm.h, hv/operator/console.h ---- */

void vcpu_notify(struct vcpu *vcpu)
{
    vfake.notified[vcpu->index]++;
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
    vfake.requested[vcpu->index] |= requests;
}

void vm_end(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    (void)vm;
    vfake.ends++;
    vfake.outcome = outcome;
    vfake.code = code;
}

void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    (void)vm;
    (void)level;
    (void)format;
    vfake.logs++;
}

void vm_reset_request(struct vm *vm)
{
    (void)vm;
    vfake.resets++;
}

void guest_serial_output(struct vm *vm, const char *text, size_t bytes)
{
    (void)vm;
    for (size_t i = 0; i < bytes && vfake.output_bytes < sizeof(vfake.output); i++) {
        vfake.output[vfake.output_bytes++] = text[i];
    }
}

bool guest_serial_busy(const struct vm *vm)
{
    (void)vm;
    return vfake.busy;
}

void loop_wake_monitor(void)
{
    vfake.room_calls++;
}

void vcpu_charge_service(struct vcpu *vcpu, uint64_t ns)
{
    (void)ns;
    vfake.served[vcpu->index]++;
}

/* ---- mm/space/space.h ---- */

static bool waits(void)
{
    vfake.calls++;
    return vfake.calls == vfake.wait_at || (vfake.wait_often && vfake.calls % 2 == 1);
}

static bool owned(gpa_t at, size_t bytes)
{
    return at.v <= vfake.memory_bytes && bytes <= vfake.memory_bytes - at.v;
}

enum mm_result space_read(struct space *space, gpa_t from, void *to, size_t bytes,
                          struct mm_waiter *waiter)
{
    (void)space;
    (void)waiter;
    if (!owned(from, bytes)) {
        return MM_NO_MEMSLOT;
    }
    if (waits()) {
        return MM_WAIT;
    }
    memcpy(to, vfake.memory + from.v, bytes);
    return MM_OK;
}

enum mm_result space_write(struct space *space, gpa_t to, const void *from, size_t bytes,
                           struct mm_waiter *waiter)
{
    (void)space;
    (void)waiter;
    if (!owned(to, bytes) || bytes > PAGE_SIZE) {
        return MM_NO_MEMSLOT;
    }
    if (waits()) {
        return MM_WAIT;
    }
    memcpy(vfake.memory + to.v, from, bytes);
    vfake.writes++;
    return MM_OK;
}

/* No page is a hole afterwards: what was there stays. */
uint64_t space_discard(struct space *space, const struct gfn_range *ranges, unsigned count)
{
    uint64_t pages = vfake.memory_bytes / PAGE_SIZE;

    (void)space;
    for (unsigned i = 0; i < count; i++) {
        for (uint64_t page = ranges[i].first.v;
             page < pages && page - ranges[i].first.v < ranges[i].pages; page++) {
            vfake.discards++;
            if (vfake.discarded != NULL) {
                vfake.discarded[page]++;
            }
        }
    }
    return 0;
}

/* Its frames are numbered as its pages are. */
unsigned space_pin_pages(struct space *space, const gfn_t *pages, unsigned count, unsigned how,
                         pfn_t *frames, struct mm_waiter *waiter, enum mm_result *result)
{
    unsigned pinned = 0;

    (void)space;
    (void)how;
    (void)waiter;
    *result = MM_OK;
    while (pinned < count && *result == MM_OK) {
        if (vfake.no_pins || !owned(gfn_to_gpa(pages[pinned]), PAGE_SIZE)) {
            *result = MM_NO_MEMSLOT;
        } else if (waits()) {
            *result = MM_WAIT;
        } else {
            frames[pinned] = pfn(pages[pinned].v);
            pinned++;
        }
    }
    vfake.pins += pinned;
    return pinned;
}

void space_unpin_pages(struct space *space, const gfn_t *pages, unsigned count, bool written,
                       const struct space_block *block)
{
    (void)space;
    (void)written;
    (void)block;
    for (unsigned i = 0; i < count; i++) {
        if (vfake.pins-- == 0 || !owned(gfn_to_gpa(pages[i]), PAGE_SIZE)) {
            abort();
        }
    }
}

/* Devices here have disks that no page is known to be a copy of: the rest is never called. */

struct store *store_of_disk(const struct block_device *device)
{
    (void)device;
    return NULL;
}

int space_add_disk(struct space *space, struct store *store)
{
    (void)space;
    (void)store;
    abort();
}

enum mm_result space_disk_overwrite(struct space *space, unsigned disk, uint64_t block,
                                    uint64_t blocks, struct mm_waiter *waiter, gfn_t *lost)
{
    (void)space;
    (void)disk;
    (void)block;
    (void)blocks;
    (void)waiter;
    (void)lost;
    abort();
}

void space_watch(struct space *space)
{
    (void)space;
    abort();
}

void space_disk_flushed(struct space *space, unsigned disk, uint32_t epoch)
{
    (void)space;
    (void)disk;
    (void)epoch;
    abort();
}

void space_disk_not_flushed(struct space *space, unsigned disk, uint32_t epoch)
{
    (void)space;
    (void)disk;
    (void)epoch;
    abort();
}

/* Frames of the hypervisor's own: beyond the guest's. */
#define OWN_FIRST 0x100000u
static uint8_t own[320][PAGE_SIZE];
static bool own_used[ARRAY_SIZE(own)];

void *mm_frame_ptr(pfn_t frame)
{
    return frame.v >= OWN_FIRST ? own[frame.v - OWN_FIRST] : vfake.memory + (frame.v << PAGE_SHIFT);
}

bool __wrap_frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);
bool __wrap_frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    (void)use;
    (void)flags;
    if (order != 0 || vfake.own_frames == vfake.own_most) {
        return false;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(own); i++) {
        if (!own_used[i]) {
            own_used[i] = true;
            vfake.own_frames++;
            memset(own[i], 0, PAGE_SIZE);
            *out = pfn(OWN_FIRST + i);
            return true;
        }
    }
    return false;
}

void frame_free(pfn_t first)
{
    if (first.v < OWN_FIRST || !own_used[first.v - OWN_FIRST]) {
        abort();
    }
    own_used[first.v - OWN_FIRST] = false;
    vfake.own_frames--;
}

void waiter_end_turn(struct mm_waiter *waiter)
{
    (void)waiter;
}

void waiter_cancel(struct mm_waiter *waiter)
{
    waiter->queue = MM_WAITS_NOT;
    vfake.cancels++;
}

/* ---- hv/machine.h ---- */

static void set_state(struct vcpu *vcpu, const struct guest_state *state)
{
    (void)vcpu;
    vfake.states++;
    vfake.state = *state;
}

static unsigned privilege(struct vcpu *vcpu)
{
    (void)vcpu;
    return vfake.ring;
}

static bool runs_64bit(struct vcpu *vcpu)
{
    (void)vcpu;
    return !vfake.narrow;
}

static bool interruptible(struct vcpu *vcpu)
{
    return !vfake.deaf && !vcpu->event.valid;
}

static const struct vcpu_backend backend = {
    .name = "fake",
    .set_state = set_state,
    .privilege = privilege,
    .runs_64bit = runs_64bit,
    .interruptible = interruptible,
};

const struct vcpu_backend *machine_backend(void)
{
    return &backend;
}

/* ---- the test's side ---- */

void vfake_start(unsigned vcpus)
{
    memset(&vfake, 0, sizeof(vfake));
    vfake.clock_ns = 1000000000;
    vfake.own_most = ARRAY_SIZE(own);
    timer_init_cpus();
    vfake.vm.name = "fake";
    vfake.vm.cmos = &vfake.cmos;
    vfake.vm.tsc_khz = VFAKE_TSC_KHZ;
    vfake.vm.run.vcpu_count = vcpus;
    (void)vm_devices_create(&vfake.vm);
    for (unsigned i = 0; i < vcpus; i++) {
        struct vcpu *vcpu = &vfake.vcpu[i];

        vcpu->vm = &vfake.vm;
        vcpu->index = i;
        vcpu->vlapic = vlapic_create(vcpu);
        vfake.vm.run.vcpu[i] = vcpu;
        vlapic_mmio_write(vcpu, 0xf0, 4, 0x1ff);
        vlapic_begin_run(vcpu->vlapic);
    }
}

void vfake_stop(void)
{
    for (unsigned i = 0; i < vfake.vm.run.vcpu_count; i++) {
        vlapic_destroy(vfake.vcpu[i].vlapic);
    }
    vm_devices_destroy(&vfake.vm);
    free(vfake.memory);
    vfake.memory = NULL;
}

void vfake_advance(uint64_t ns)
{
    vfake.clock_ns += ns;
    timer_run();
}

/* What waits has no business here. */
static void expect_done(enum bus_result result)
{
    if (result != BUS_DONE) {
        abort();
    }
}

uint32_t vfake_port_in(uint16_t port, unsigned size)
{
    uint32_t value;

    expect_done(vdev_port_in(&vfake.vcpu[0], port, size, &value));
    return value;
}

void vfake_port_out(uint16_t port, unsigned size, uint32_t value)
{
    expect_done(vdev_port_out(&vfake.vcpu[0], port, size, value));
}

uint64_t vfake_mmio_read(gpa_t address, unsigned size)
{
    uint64_t value;

    expect_done(vdev_mmio_read(&vfake.vcpu[0], address, size, &value));
    return value;
}

void vfake_mmio_write(gpa_t address, unsigned size, uint64_t value)
{
    expect_done(vdev_mmio_write(&vfake.vcpu[0], address, size, value));
}

void vfake_memory(uint64_t bytes)
{
    free(vfake.memory);
    vfake.memory = calloc(1, bytes);
    vfake.memory_bytes = bytes;
    vfake.vm.memory_pages = bytes >> PAGE_SHIFT;
}

void vm_lose_page(struct vm *vm, const char *format, ...)
{
    (void)vm;
    (void)format;
    vfake.lost_pages++;
}
