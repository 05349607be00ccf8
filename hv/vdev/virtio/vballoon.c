/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/vballoon.h"

#include <stdlib.h>
#include <string.h>

#include "hv/guest/vm.h"

#define QUEUE_SIZE   128
#define CLASS_OTHER  0x00ff00u /* unclassified */
#define BUDGET_PAGES 16384u    /* looked at in one exit; 64 MiB */
#define CHAIN_PAGES  16u       /* what a chain costs at least */
#define FEATURES                                                                                   \
    (VIRTIO_BALLOON_F_STATS | VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_PAGE_POISON |     \
     VIRTIO_BALLOON_F_PAGE_REPORTING)

enum outcome {
    SERVED,  /* the chain can be given back */
    KEPT,    /* ... but not now */
    WAITING, /* the waiter is registered */
    AGAIN,   /* the budget is spent */
    FAILED,  /* the device is broken */
    NOTHING, /* there is no chain */
};

static struct vballoon *balloon_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vballoon, device);
}

static struct space *space_of(struct vballoon *balloon)
{
    return balloon->device.vm->run.space;
}

static bool spend(struct vballoon *balloon, uint64_t pages)
{
    balloon->budget -= MIN(balloon->budget, pages);
    return balloon->budget > 0;
}

/* ---- reading a chain ------------------------------------------------------------------------ */

/* Some of what the device may read, from that offset on, that is in one segment and one page.
 * *bytes: at most so many; in fact so many, 0: there is no more. */
static enum mm_result read_piece(struct vballoon *balloon, uint32_t offset, void *to,
                                 uint32_t *bytes, struct mm_waiter *waiter)
{
    const struct virtq_chain *chain = &balloon->chain;

    for (unsigned i = 0; i < chain->count && !chain->segment[i].device_writes; i++) {
        const struct virtq_segment *segment = &chain->segment[i];

        if (offset < segment->bytes) {
            *bytes = MIN(*bytes, segment->bytes - offset);
            return space_read(space_of(balloon), gpa(segment->address.v + offset), to, *bytes,
                              waiter);
        }
        offset -= segment->bytes;
    }
    *bytes = 0;
    return MM_OK;
}

/* As much as there is of *bytes from that offset on; *bytes says so, whatever the outcome is. */
static enum outcome read_chain(struct vballoon *balloon, uint32_t offset, void *to, uint32_t *bytes,
                               struct mm_waiter *waiter)
{
    uint32_t left = *bytes, got;

    *bytes = 0;
    do {
        got = left;
        switch (read_piece(balloon, offset + *bytes, (char *)to + *bytes, &got, waiter)) {
        case MM_OK:
            break;
        case MM_WAIT:
            return WAITING;
        default:
            virtio_break(&balloon->device, "its driver names a list that is not in memory");
            return FAILED;
        }
        *bytes += got;
        left -= got;
    } while (got != 0 && left != 0);
    return SERVED;
}

/* The chain is a list of entries of that size: `use` gets all that are whole, some at a time.  What
 * has been used does not come again, so that it ends however short memory is. */
static enum outcome read_list(struct vballoon *balloon, unsigned queue, unsigned entry_bytes,
                              void (*use)(struct vballoon *balloon, unsigned count),
                              struct mm_waiter *waiter)
{
    struct vballoon_progress *progress = &balloon->progress[queue];

    for (;;) {
        uint32_t bytes = sizeof(balloon->list);
        enum outcome outcome = read_chain(balloon, progress->done, balloon->list, &bytes, waiter);
        unsigned count = bytes / entry_bytes;

        use(balloon, count);
        progress->done += count * entry_bytes;
        if (outcome != SERVED || count == 0) {
            return outcome;
        }
        if (!spend(balloon, count)) {
            return AGAIN;
        }
    }
}

/* ---- pages that are given up ---------------------------------------------------------------- */

/* A driver's pages often follow each other, up or down.  Returns how many ranges they are. */
static unsigned merge(const uint32_t *list, unsigned count, struct gfn_range *ranges)
{
    unsigned used = 0;

    for (unsigned i = 0; i < count; i++) {
        struct gfn_range *last = &ranges[used - (used != 0)];

        if (used != 0 && list[i] == last->first.v + last->pages) {
            last->pages++;
        } else if (used != 0 && list[i] + 1ull == last->first.v) {
            last->first.v--;
            last->pages++;
        } else {
            ranges[used++] = (struct gfn_range){gfn(list[i]), 1};
        }
    }
    return used;
}

static void give_up(struct vballoon *balloon, unsigned count)
{
    space_discard(space_of(balloon), balloon->ranges, merge(balloon->list, count, balloon->ranges));
}

/* ---- pages that are free -------------------------------------------------------------------- */

/* The whole pages of the segment that are left, as far as the budget goes.  True: all of them.
 * What the device may not write is not given to it. */
static bool rest_of_segment(const struct vballoon *balloon, const struct virtq_segment *segment,
                            const struct vballoon_progress *progress, struct gfn_range *range)
{
    uint64_t at = segment->address.v;
    uint64_t first = (at >> PAGE_SHIFT) + !IS_ALIGNED(at, PAGE_SIZE) + progress->done;
    uint64_t end = segment->device_writes ? (at + segment->bytes) >> PAGE_SHIFT : 0;

    range->first = gfn(first);
    range->pages = MIN(end - MIN(first, end), balloon->budget);
    return first + range->pages >= end;
}

/* Ranges of the chain from where the last go has ended; all of it, or the budget is spent. */
static unsigned gather_reported(struct vballoon *balloon, struct vballoon_progress *progress)
{
    const struct virtq_chain *chain = &balloon->chain;
    unsigned used = 0;

    while (progress->segment < chain->count && balloon->budget > 0) {
        struct gfn_range *range = &balloon->ranges[used++];

        if (rest_of_segment(balloon, &chain->segment[progress->segment], progress, range)) {
            *progress = (struct vballoon_progress){.segment = progress->segment + 1};
        } else {
            progress->done += (uint32_t)range->pages;
        }
        spend(balloon, range->pages);
    }
    return used;
}

_Static_assert(VIRTQ_SEGMENTS_MAX <= VBALLOON_PAGES_MAX, "a range for each segment");

/* 5.5.6.6 "Page Poison", 5.5.6.7 "Free Page Reporting": a page may come back as it was, or full of
 * the value that the driver has set. */
static bool expects_poison(const struct vballoon *balloon)
{
    return (balloon->device.features & VIRTIO_BALLOON_F_PAGE_POISON) && balloon->config.poison != 0;
}

static enum outcome take_report(struct vballoon *balloon, unsigned queue)
{
    struct vballoon_progress *progress = &balloon->progress[queue];
    unsigned ranges;

    if (expects_poison(balloon) || !(balloon->device.features & VIRTIO_BALLOON_F_PAGE_REPORTING)) {
        return SERVED;
    }
    ranges = gather_reported(balloon, progress);
    space_discard(space_of(balloon), balloon->ranges, ranges);
    return progress->segment < balloon->chain.count ? AGAIN : SERVED;
}

/* ---- statistics ----------------------------------------------------------------------------- */

static void note_stat(struct vballoon *balloon, const struct virtio_balloon_stat *stat)
{
    uint64_t pages = MIN(stat->value / PAGE_SIZE, balloon->device.vm->memory_pages);

    switch (stat->tag) {
    case VIRTIO_BALLOON_STAT_FREE:
        balloon->stats.free = pages;
        break;
    case VIRTIO_BALLOON_STAT_AVAILABLE:
        balloon->stats.available = pages;
        balloon->stats.known = true;
        break;
    case VIRTIO_BALLOON_STAT_CACHES:
        balloon->stats.cache = pages;
        break;
    default:
        break;
    }
}

static void note_stats(struct vballoon *balloon, unsigned count)
{
    const struct virtio_balloon_stat *stats = (const void *)balloon->list;

    for (unsigned i = 0; i < count; i++) {
        note_stat(balloon, &stats[i]);
    }
}

/* The buffer stays here until others are wanted; of two the older one goes back. */
static enum outcome take_stats(struct vballoon *balloon, struct mm_waiter *waiter)
{
    enum outcome outcome = read_list(balloon, VIRTIO_BALLOON_STATS,
                                     sizeof(struct virtio_balloon_stat), note_stats, waiter);

    if (outcome != SERVED) {
        return outcome;
    }
    if (balloon->has_stats_head) {
        virtio_give(&balloon->device, VIRTIO_BALLOON_STATS, balloon->stats_head, 0);
    }
    balloon->stats_head = balloon->chain.head;
    balloon->has_stats_head = true;
    return KEPT;
}

/* ---- queues --------------------------------------------------------------------------------- */

static enum outcome serve(struct vballoon *balloon, unsigned queue, struct mm_waiter *waiter)
{
    switch (queue) {
    case VIRTIO_BALLOON_INFLATE:
        return read_list(balloon, queue, sizeof(uint32_t), give_up, waiter);
    case VIRTIO_BALLOON_STATS:
        return take_stats(balloon, waiter);
    case VIRTIO_BALLOON_FREE_PAGES:
        /* Without FREE_PAGE_HINT there is no such queue, and Linux counts the next one as this. */
    case VIRTIO_BALLOON_REPORTING:
        return take_report(balloon, queue);
    default:
        return SERVED;
    }
}

/* Serves the next chain.  What cannot be ended now goes back into the queue, and comes again. */
static enum outcome serve_next(struct vballoon *balloon, unsigned queue, struct mm_waiter *waiter)
{
    struct virtio_device *device = &balloon->device;
    enum virtq_result taken = virtio_take(device, queue, &balloon->chain, waiter);
    enum outcome outcome;

    if (taken != VIRTQ_CHAIN) {
        return taken == VIRTQ_PARK ? WAITING : NOTHING;
    }
    outcome = serve(balloon, queue, waiter);
    if (outcome == WAITING || outcome == AGAIN) {
        virtio_untake(device, queue, balloon->chain.head);
        return outcome;
    }
    balloon->progress[queue] = (struct vballoon_progress){0};
    if (outcome == SERVED) {
        virtio_give(device, queue, balloon->chain.head, 0);
    }
    return outcome == FAILED || spend(balloon, CHAIN_PAGES) ? outcome : AGAIN;
}

static enum bus_result serve_all(struct vballoon *balloon, unsigned queue, struct mm_waiter *waiter)
{
    for (;;) {
        switch (serve_next(balloon, queue, waiter)) {
        case SERVED:
        case KEPT:
            break;
        case WAITING:
            return BUS_PARK;
        case AGAIN:
            return virtio_again(waiter);
        default:
            return BUS_DONE;
        }
    }
}

static enum bus_result notify(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter)
{
    struct vballoon *balloon = balloon_of(device);
    enum bus_result result;

    balloon->budget = BUDGET_PAGES;
    result = serve_all(balloon, queue, waiter);
    virtio_signal(device, queue);
    return result;
}

/* ---- configuration and life ----------------------------------------------------------------- */

static void config_write(struct virtio_device *device, unsigned offset, unsigned bytes,
                         uint64_t value)
{
    struct vballoon *balloon = balloon_of(device);

    if (bytes != sizeof(uint32_t)) {
        return;
    }
    if (offset == offsetof(struct virtio_balloon_config, actual)) {
        balloon->config.actual = (uint32_t)value;
    } else if (offset == offsetof(struct virtio_balloon_config, poison)) {
        balloon->config.poison = (uint32_t)value;
    }
}

/* What the guest had given up it has back: it begins anew. */
static bool reset(struct virtio_device *device)
{
    struct vballoon *balloon = balloon_of(device);

    balloon->config.actual = 0;
    balloon->config.poison = 0;
    balloon->has_stats_head = false;
    memset(&balloon->stats, 0, sizeof(balloon->stats));
    memset(balloon->progress, 0, sizeof(balloon->progress));
    return true;
}

/* Linux puts its buffer for statistics into the queue before the driver is ready, when its
 * notification does not count.  True: the device's waiter is registered. */
static bool look_for_stats(struct virtio_device *device)
{
    struct vballoon *balloon = balloon_of(device);

    balloon->budget = BUDGET_PAGES;
    return !balloon->has_stats_head &&
           serve_next(balloon, VIRTIO_BALLOON_STATS, &device->waiter) == WAITING;
}

static void destroy(struct virtio_device *device)
{
    free(balloon_of(device));
}

static const struct virtio_device_ops ops = {.notify = notify,
                                             .config_write = config_write,
                                             .reset = reset,
                                             .resume = look_for_stats,
                                             .destroy = destroy};

struct vballoon *vballoon_create(struct vpci *pci, uint8_t devfn)
{
    static const struct virtio_type type = {
        .number = VIRTIO_TYPE_BALLOON, .class_code = CLASS_OTHER, .ops = &ops};
    struct vballoon *balloon = calloc(1, sizeof(*balloon));

    if (balloon != NULL &&
        !virtio_create(&balloon->device, &type, pci, devfn, FEATURES, VIRTIO_BALLOON_QUEUES,
                       QUEUE_SIZE, &balloon->config, sizeof(balloon->config))) {
        virtio_destroy(&balloon->device);
        return NULL;
    }
    return balloon;
}

static void ask_for_stats(struct vballoon *balloon)
{
    balloon->has_stats_head = false;
    virtio_give(&balloon->device, VIRTIO_BALLOON_STATS, balloon->stats_head, 0);
    virtio_signal(&balloon->device, VIRTIO_BALLOON_STATS);
}

void vballoon_poll(struct vballoon *balloon, uint32_t target)
{
    spin_lock(&balloon->device.lock);
    if (balloon->config.pages != target) {
        balloon->config.pages = target;
        virtio_config_changed(&balloon->device);
    }
    if (balloon->has_stats_head && virtio_is_running(&balloon->device)) {
        ask_for_stats(balloon);
    } else if (!look_for_stats(&balloon->device)) {
        waiter_end_turn(&balloon->device.waiter);
    }
    spin_unlock(&balloon->device.lock);
}

void vballoon_get_stats(struct vballoon *balloon, struct vballoon_stats *stats)
{
    spin_lock(&balloon->device.lock);
    *stats = balloon->stats;
    stats->target = balloon->config.pages;
    stats->actual = MIN(balloon->config.actual, balloon->device.vm->memory_pages);
    spin_unlock(&balloon->device.lock);
}
