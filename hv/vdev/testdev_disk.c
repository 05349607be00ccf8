/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/testdev_disk.h"

#include "base/bits.h"
#include "base/block.h"
#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define PORT_SHAPE 0x2030u
#define PORT_COUNT 0x2034u

#define SHAPE_OP    BITS(7, 0)
#define SHAPE_DEPTH BITS(15, 8)
#define SHAPE_PAGES BITS(31, 16)

#define BUFFER_ORDER 6u
_Static_assert(1u << BUFFER_ORDER == BLOCK_MAX_PAGES, "a request's pages");

#define FAILED  UINT32_MAX
#define GOLDEN  0x9e3779b97f4a7c15ull
#define NS_A_US 1000u

static void end_one(struct block_request *request, enum block_status status);

static struct {
    struct spinlock lock;
    bool ready;                /* the lock is */
    struct vm_devices *user;   /* NULL: none */
    struct bus_range range[2]; /* of the user */
    struct vcpu *waits;        /* for the end; NULL: none */
    uint32_t shape;
    uint32_t left, in_flight; /* requests */
    uint64_t next, random;    /* block */
    uint64_t start_ns;
    uint32_t result; /* microseconds */
    bool failed;
    struct block_device *device;
    uint32_t buffers;
    pfn_t memory[TESTDEV_DISK_DEPTH]; /* the buffers, of BLOCK_MAX_PAGES each */
    struct block_request request[TESTDEV_DISK_DEPTH];
} job;

/* ---- requests ---- */

static uint64_t next_block(uint32_t pages)
{
    uint64_t block = job.next;

    if (FIELD_GET(SHAPE_OP, job.shape) == TESTDEV_DISK_RANDOM) {
        job.random = job.random * GOLDEN + 1;
        return (job.random >> 24) % (job.device->blocks - pages + 1);
    }
    if (block + pages > job.device->blocks) {
        block = 0;
    }
    job.next = block + pages;
    return block;
}

static void submit(struct block_request *request)
{
    uint32_t pages = (uint32_t)FIELD_GET(SHAPE_PAGES, job.shape);

    *request = (struct block_request){.pages = pages, .done = end_one};
    request->op = FIELD_GET(SHAPE_OP, job.shape) == TESTDEV_DISK_WRITE ? BLOCK_WRITE : BLOCK_READ;
    request->block = next_block(pages);
    for (uint32_t i = 0; i < pages; i++) {
        request->page[i] = pfn(job.memory[request - job.request].v + i);
    }
    job.left--;
    job.in_flight++;
    block_submit(job.device, request);
}

static void free_buffers(void)
{
    while (job.buffers > 0) {
        frame_free(job.memory[--job.buffers]);
    }
}

static bool make_buffers(uint32_t count)
{
    while (job.buffers < count) {
        if (!frame_alloc_zeroed(BUFFER_ORDER, ALLOC_META, 0, &job.memory[job.buffers])) {
            free_buffers();
            return false;
        }
        job.buffers++;
    }
    return true;
}

/* The last one has ended. */
static void finish(void)
{
    uint64_t us = (arch_clock_ns() - job.start_ns) / NS_A_US;

    free_buffers();
    job.result = job.failed ? FAILED : (uint32_t)us;
    if (job.waits != NULL) {
        job.waits->waiter.wake(&job.waits->waiter);
        job.waits = NULL;
    }
}

static void end_one(struct block_request *request, enum block_status status)
{
    spin_lock(&job.lock);
    job.in_flight--;
    if (status != BLOCK_OK || job.user == NULL) {
        job.failed |= status != BLOCK_OK;
        job.left = 0;
    }
    if (job.left > 0) {
        submit(request);
    } else if (job.in_flight == 0) {
        finish();
    }
    spin_unlock(&job.lock);
}

/* ---- registers ---- */

static bool shape_is_possible(void)
{
    uint64_t depth = FIELD_GET(SHAPE_DEPTH, job.shape), pages = FIELD_GET(SHAPE_PAGES, job.shape);

    return FIELD_GET(SHAPE_OP, job.shape) <= TESTDEV_DISK_RANDOM && depth > 0 &&
           depth <= TESTDEV_DISK_DEPTH && pages > 0 && pages <= BLOCK_MAX_PAGES &&
           pages <= job.device->blocks;
}

static void begin(struct vm *vm, uint32_t count)
{
    uint32_t depth = (uint32_t)FIELD_GET(SHAPE_DEPTH, job.shape);

    job.result = FAILED;
    if (count == 0 || vm->run.disk_count == 0 || vm->run.disk[0].read_only) {
        return;
    }
    job.device = vm->run.disk[0].device;
    if (!shape_is_possible() || !make_buffers(depth)) {
        return;
    }
    job.failed = false;
    job.left = count;
    job.next = 0;
    job.random = 1;
    job.start_ns = arch_clock_ns();
    for (uint32_t i = 0; i < MIN(depth, count); i++) {
        submit(&job.request[i]);
    }
}

static enum bus_result read_word(struct bus_access *access)
{
    if (access->size != 4 || access->offset != 0) {
        return BUS_NOBODY;
    }
    if (access->range == &job.range[0]) {
        access->value = job.shape;
        return BUS_DONE;
    }
    if (job.in_flight > 0) {
        job.waits = access->vcpu;
        return BUS_PARK;
    }
    access->value = job.result;
    return BUS_DONE;
}

static enum bus_result write_word(struct bus_access *access)
{
    if (access->size != 4 || access->offset != 0) {
        return BUS_NOBODY;
    }
    if (job.in_flight == 0 && access->range == &job.range[0]) {
        job.shape = (uint32_t)access->value;
    } else if (job.in_flight == 0) {
        begin(access->vcpu->vm, (uint32_t)access->value);
    }
    return BUS_DONE;
}

/* ---- life ---- */

static const struct bus_ops ops = {read_word, write_word, NULL, NULL};

/* Ports of the machine's only job: of the VM that was first. */
static bool take(struct vm_devices *devices)
{
    bool free;

    spin_lock(&job.lock);
    free = job.user == NULL && job.in_flight == 0;
    if (free) {
        job.user = devices;
    }
    spin_unlock(&job.lock);
    return free;
}

bool testdev_disk_attach(struct vm_devices *devices)
{
    if (!job.ready) { /* VMs are made one after the other: RANK_VM_LIST */
        spin_init(&job.lock, RANK_VDEV, "testdev disk");
        job.ready = true;
    }
    if (!take(devices)) {
        return true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(job.range); i++) {
        job.range[i] = (struct bus_range){.ops = &ops, .owner = &job, .lock = &job.lock};
        if (!bus_add(&devices->ports, &job.range[i], i == 0 ? PORT_SHAPE : PORT_COUNT, 4)) {
            testdev_disk_detach(devices);
            return false;
        }
    }
    return true;
}

void testdev_disk_detach(struct vm_devices *devices)
{
    spin_lock(&job.lock);
    if (job.user == devices) {
        job.user = NULL;
        job.waits = NULL;
    }
    spin_unlock(&job.lock);
}
