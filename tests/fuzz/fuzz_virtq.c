/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer on a virtio device: any accesses of a guest to its registers, its configuration space
 * and its ring, with pages that are out now and then, and a device that holds what it takes.
 *
 *     make fuzz-virtq [FUZZ_RUNS=10000000]
 *
 * Input: a stream of orders, one byte each, with their operands behind them.  After each input the
 * device is stopped, and no page of the guest's may be held.
 */
#include <stdlib.h>
#include <string.h>

#include "hv/vdev/access.h"
#include "hv/vdev/virtio/virtio.h"
#include "mm/content/page_io.h"
#include "mm/owner/wait.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

/* Of hv/vdev/kvmasync.c: no vCPU runs here, so nobody waits for a page that is read. */
bool wait_hand_over(struct mm_waiter *from, struct mm_waiter *to)
{
    (void)from;
    (void)to;
    abort();
}

uint32_t page_io_vacant(void)
{
    return 0;
}

#define DEVFN     (31u << 3)
#define SIZE      16u
#define MEMORY    (DRIVER_BUFFERS + 0x2000u)
#define CHAIN_MAX 64u /* in one call */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_device device;
static struct {
    uint16_t head[VIRTQ_SIZE_MAX];
    unsigned count, queue;
} held;

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- the device ---- */

/* What virtq.h promises of a chain. */
static void check_chain(const struct virtq_chain *chain)
{
    uint64_t readable = 0, writable = 0;

    check(chain->count > 0 && chain->count <= VIRTQ_SEGMENTS_MAX && chain->head < SIZE);
    for (unsigned i = 0; i < chain->count; i++) {
        const struct virtq_segment *s = &chain->segment[i];

        check(s->bytes != 0 && s->address.v + s->bytes >= s->address.v);
        check(s->device_writes || writable == 0);
        *(s->device_writes ? &writable : &readable) += s->bytes;
    }
    check(readable == chain->readable && writable == chain->writable);
}

/* Every other chain is held until the next call. */
static enum bus_result notify(struct virtio_device *d, unsigned queue, struct mm_waiter *waiter)
{
    static struct virtq_chain chain;

    for (unsigned n = 0; n < CHAIN_MAX; n++) {
        enum virtq_result result = virtio_take(d, queue, &chain, waiter);

        if (result != VIRTQ_CHAIN) {
            virtio_signal(d, queue);
            return result == VIRTQ_PARK ? BUS_PARK : BUS_DONE;
        }
        check_chain(&chain);
        if (n % 4 == 3) {
            virtio_untake(d, queue, chain.head);
        } else if (queue == held.queue && n % 2 == 0) {
            held.head[held.count++] = chain.head;
            check(held.count <= SIZE);
        } else {
            virtio_give(d, queue, chain.head, chain.writable);
        }
    }
    return virtio_again(waiter);
}

static bool reset(struct virtio_device *d)
{
    (void)d;
    held.count = 0;
    return true;
}

static void destroy(struct virtio_device *d)
{
    (void)d;
}

static const struct virtio_device_ops ops = {.notify = notify, .reset = reset, .destroy = destroy};
static const struct virtio_type type = {.number = 42, .class_code = 0xff0000, .ops = &ops};

static void give_held(void)
{
    spin_lock(&device.lock);
    while (held.count > 0) {
        virtio_give(&device, held.queue, held.head[--held.count], 1);
    }
    virtio_signal(&device, held.queue);
    spin_unlock(&device.lock);
}

/* ---- the guest ---- */

/* A guest-physical address: a small number of 16 bytes, or anything. */
static uint64_t address(struct input *in)
{
    uint64_t value = take(in, 2);

    return value >= 0xff00 ? take(in, 8) : value * 16;
}

static void write_descriptor(struct input *in)
{
    unsigned queue = (unsigned)take(in, 1) % 2, number = (unsigned)take(in, 1) % SIZE;
    uint64_t at = address(in);
    uint32_t bytes = (uint32_t)take(in, 1);

    bytes = bytes == 0xff ? (uint32_t)take(in, 4) : bytes;
    driver_descriptor(queue, number, at, bytes, (uint16_t)take(in, 1), (uint16_t)take(in, 1));
}

static void write_memory(struct input *in)
{
    uint64_t at = DRIVER_RINGS + take(in, 2) % (MEMORY - DRIVER_RINGS - 8);
    uint64_t value = take(in, 8);

    memcpy(vfake.memory + at, &value, sizeof(value));
}

static void order(struct virtio_driver *driver, struct input *in)
{
    unsigned size = 1u << (take(in, 1) % 4);
    struct vcpu *vcpu = &vfake.vcpu[0];

    switch (take(in, 1) % 9) {
    case 0:
        (void)vdev_mmio_write(vcpu, gpa(driver->common + take(in, 2) % VIRTIO_BAR_BYTES), size,
                              take(in, 8));
        break;
    case 1:
        (void)vdev_mmio_write(vcpu, gpa(VPCI_ECAM_BASE + DEVFN * PAGE_SIZE + take(in, 1)), size,
                              take(in, 8));
        break;
    case 2:
        write_descriptor(in);
        break;
    case 3:
        driver_publish(driver, (unsigned)take(in, 1) % 2, (uint16_t)take(in, 1) % (SIZE + 1));
        break;
    case 4:
    case 5:
        (void)driver_notify(driver, (unsigned)take(in, 1) % 3);
        break;
    case 6:
        write_memory(in);
        break;
    case 7:
        vfake.wait_at = vfake.calls + (unsigned)take(in, 1) % 8;
        give_held();
        break;
    default:
        (void)vfake_mmio_read(gpa(driver->common + take(in, 2) % VIRTIO_BAR_BYTES), size);
        break;
    }
}

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct virtio_driver driver;

    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    memset(&device, 0, sizeof(device));
    held.count = 0;
    check(virtio_create(&device, &type, &vfake.vm.run.devices->pci, DEVFN, 0, 2, SIZE, NULL, 0));
    driver_start(&driver, DEVFN, UINT64_MAX, 2, SIZE);
    while (in.at < in.end) {
        order(&driver, &in);
    }
    virtio_stop(&device);
    check(virtio_is_quiet(&device));
    virtio_destroy(&device);
    vfake_stop();
    check(vfake.pins == 0);
    return 0;
}
