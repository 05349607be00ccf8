/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/vrng.h"

#include <stdlib.h>
#include <string.h>

#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/timer.h"

#define QUEUE_SIZE  16
#define CLASS_OTHER 0xff0000 /* a device of no class that PCI has */
#define NS_PER_BYTE (1000000000ull / VRNG_RATE)
#define BURST_NS    (VRNG_BURST * NS_PER_BYTE)

struct vrng {
    struct virtio_device device; /* its lock: what follows */
    struct timer timer;
    uint64_t paid_ns; /* all that has been given was due at that time */
    struct virtq_chain chain;
};

static struct vrng *rng_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vrng, device);
}

/* Where bytes go: the first piece of the chain that is the device's.  False: there is none. */
static bool find_room(const struct virtq_chain *chain, gpa_t *address, uint32_t *bytes)
{
    for (unsigned i = 0; i < chain->count; i++) {
        if (chain->segment[i].device_writes) {
            *address = chain->segment[i].address;
            *bytes = MIN(chain->segment[i].bytes, VRNG_PIECE);
            return true;
        }
    }
    return false;
}

static enum mm_result fill(struct vrng *rng, gpa_t address, uint32_t bytes,
                           struct mm_waiter *waiter)
{
    uint64_t random[VRNG_PIECE / sizeof(uint64_t)];

    for (unsigned i = 0; i * sizeof(random[0]) < bytes; i++) {
        random[i] = arch_random();
    }
    return space_write(rng->device.vm->run.space, address, random, bytes, waiter);
}

/* One chain that has been taken.  False: it waits for a page. */
static bool serve(struct vrng *rng, const struct virtq_chain *chain, struct mm_waiter *waiter)
{
    enum mm_result result = MM_NO_MEMSLOT;
    uint32_t bytes = 0;
    gpa_t address;

    if (find_room(chain, &address, &bytes)) {
        result = fill(rng, address, bytes, waiter);
    }
    if (result == MM_WAIT) {
        virtio_untake(&rng->device, 0, chain->head);
        return false;
    }
    if (result != MM_OK) {
        virtio_break(&rng->device, "a buffer for random bytes cannot be written");
        return true;
    }
    virtio_give(&rng->device, 0, chain->head, bytes);
    rng->paid_ns += bytes * NS_PER_BYTE;
    return true;
}

/* How long it has to wait until the next chain may be served: 0: not at all. */
static uint64_t debt_ns(struct vrng *rng)
{
    uint64_t now = arch_clock_ns();

    rng->paid_ns = MAX(rng->paid_ns, now > BURST_NS ? now - BURST_NS : 0);
    return rng->paid_ns > now ? rng->paid_ns - now : 0;
}

/* All chains that may be served now; those that may not are the timer's.  True: the waiter is
 * registered. */
static bool serve_all(struct vrng *rng, struct mm_waiter *waiter)
{
    enum virtq_result result = VIRTQ_EMPTY;
    bool waits = false;

    while (!waits && debt_ns(rng) == 0) {
        result = virtio_take(&rng->device, 0, &rng->chain, waiter);
        if (result != VIRTQ_CHAIN) {
            break;
        }
        waits = !serve(rng, &rng->chain, waiter);
    }
    virtio_signal(&rng->device, 0);
    if (!waits && debt_ns(rng) != 0) {
        timer_set(&rng->timer, rng->paid_ns);
    }
    return waits || result == VIRTQ_PARK;
}

static enum bus_result notify(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter)
{
    (void)queue;
    return serve_all(rng_of(device), waiter) ? BUS_PARK : BUS_DONE;
}

static bool resume(struct virtio_device *device)
{
    return serve_all(rng_of(device), &device->waiter);
}

static void fire(struct timer *timer)
{
    struct vrng *rng = CONTAINER_OF(timer, struct vrng, timer);

    spin_lock(&rng->device.lock);
    (void)serve_all(rng, &rng->device.waiter);
    spin_unlock(&rng->device.lock);
}

/* It has been stopped: the timer does nothing any more. */
static void destroy(struct virtio_device *device)
{
    timer_cancel_sync(&rng_of(device)->timer);
    free(rng_of(device));
}

static const struct virtio_device_ops ops = {
    .notify = notify, .resume = resume, .destroy = destroy};
static const struct virtio_type type = {
    .number = VIRTIO_TYPE_RNG, .class_code = CLASS_OTHER, .ops = &ops};

struct virtio_device *vrng_create(struct vpci *pci, uint8_t devfn)
{
    struct vrng *rng = calloc(1, sizeof(*rng));

    if (rng == NULL) {
        return NULL;
    }
    timer_init(&rng->timer, fire);
    if (!virtio_create(&rng->device, &type, pci, devfn, 0, 1, QUEUE_SIZE, NULL, 0)) {
        virtio_destroy(&rng->device);
        return NULL;
    }
    return &rng->device;
}
