/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/virtq.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "mm/env.h"

/* Offsets: 2.6.6 "The Virtqueue Available Ring", 2.6.8 "The Virtqueue Used Ring". */
#define RING_FLAGS   0u
#define RING_INDEX   2u
#define RING_ENTRIES 4u

static unsigned avail_event_at(const struct virtq *queue)
{
    return RING_ENTRIES + queue->size * (unsigned)sizeof(struct virtio_used_entry);
}

static unsigned used_event_at(const struct virtq *queue)
{
    return RING_ENTRIES + queue->size * (unsigned)sizeof(uint16_t);
}

static uint64_t part_bytes(const struct virtq *queue, unsigned number)
{
    static const uint8_t bytes_each[VIRTQ_PARTS] = {
        sizeof(struct virtio_descriptor), sizeof(uint16_t), sizeof(struct virtio_used_entry)};
    uint64_t bytes = (uint64_t)queue->size * bytes_each[number];

    return number == VIRTQ_DESCRIPTORS ? bytes : bytes + RING_ENTRIES + sizeof(uint16_t);
}

/* ---- the ring's memory.  All fields are aligned to their size, so none crosses a page. ---- */

static void *at(const struct virtq *queue, unsigned number, unsigned offset)
{
    const struct virtq_part *part = &queue->part[number];
    uint64_t in_pages = (part->address.v & ~PAGE_MASK) + offset;

    return part->page[in_pages >> PAGE_SHIFT] + (in_pages & ~PAGE_MASK);
}

static uint16_t load16(const struct virtq *queue, unsigned number, unsigned offset, int order)
{
    return __atomic_load_n((uint16_t *)at(queue, number, offset), order);
}

static void store16(const struct virtq *queue, unsigned number, unsigned offset, uint16_t value)
{
    /* Release: what the guest finds by this index is there before it. */
    __atomic_store_n((uint16_t *)at(queue, number, offset), value, __ATOMIC_RELEASE);
}

/* One look: what the guest writes meanwhile does not matter. */
static struct virtio_descriptor load_descriptor(const struct virtq *queue, unsigned number)
{
    uint64_t *words = at(queue, VIRTQ_DESCRIPTORS, number * (unsigned)sizeof(uint64_t) * 2);
    uint64_t copy[2] = {__atomic_load_n(&words[0], __ATOMIC_RELAXED),
                        __atomic_load_n(&words[1], __ATOMIC_RELAXED)};
    struct virtio_descriptor descriptor;

    memcpy(&descriptor, copy, sizeof(descriptor));
    return descriptor;
}

/* ---- enable, disable ---- */

static void unpin(struct virtq *queue)
{
    for (unsigned number = 0; number < VIRTQ_PARTS; number++) {
        struct virtq_part *part = &queue->part[number];

        while (part->pinned > 0) {
            part->pinned--;
            space_unpin(queue->space, gfn((part->address.v >> PAGE_SHIFT) + part->pinned),
                        number == VIRTQ_USED);
        }
    }
}

static enum mm_result pin_part(struct virtq *queue, unsigned number, struct mm_waiter *waiter)
{
    struct virtq_part *part = &queue->part[number];
    uint64_t first = part->address.v >> PAGE_SHIFT;
    uint64_t last = (part->address.v + part_bytes(queue, number) - 1) >> PAGE_SHIFT;
    unsigned access = number == VIRTQ_USED ? ACCESS_READ | ACCESS_WRITE : ACCESS_READ;

    while (first + part->pinned <= last) {
        pfn_t frame;
        enum mm_result result = space_pin(queue->space, gfn(first + part->pinned),
                                          access | SPACE_PIN_LASTING, &frame, waiter);

        if (result != MM_OK) {
            return result;
        }
        part->page[part->pinned++] = mm_frame_ptr(frame);
    }
    return MM_OK;
}

/* 2.6 "Split Virtqueues": each part has its alignment. */
static bool is_sound(const struct virtq *queue)
{
    static const uint8_t alignment[VIRTQ_PARTS] = {16, 2, 4};

    for (unsigned number = 0; number < VIRTQ_PARTS; number++) {
        uint64_t address = queue->part[number].address.v;

        if (!IS_ALIGNED(address, alignment[number]) ||
            address + part_bytes(queue, number) < address) {
            return false;
        }
    }
    return queue->size != 0;
}

static void begin(struct virtq *queue, uint64_t features)
{
    queue->indirect = (features & VIRTIO_F_INDIRECT) != 0;
    queue->event_index = (features & VIRTIO_F_EVENT_INDEX) != 0;
    queue->enabled = true;
}

enum mm_result virtq_enable(struct virtq *queue, struct space *space, uint64_t features,
                            struct mm_waiter *waiter)
{
    queue->space = space;
    if (!is_sound(queue)) {
        return MM_NO_MEMSLOT;
    }
    for (unsigned number = 0; number < VIRTQ_PARTS; number++) {
        enum mm_result result = pin_part(queue, number, waiter);

        if (result != MM_OK) {
            unpin(queue); /* nobody waits for a page with others in his hands */
            return result;
        }
    }
    begin(queue, features);
    return MM_OK;
}

void virtq_init(struct virtq *queue, uint16_t size_max, struct virtio_descriptor *table)
{
    memset(queue, 0, sizeof(*queue));
    queue->size_max = size_max;
    queue->table = table;
    queue->size = size_max;
    queue->vector = VIRTIO_NO_VECTOR;
}

void virtq_disable(struct virtq *queue)
{
    unpin(queue);
    virtq_init(queue, queue->size_max, queue->table);
}

/* ---- take ---- */

static bool is_taken(const struct virtq *queue, uint16_t head)
{
    return queue->taken[head / 64] & BIT(head % 64);
}

/* Adds what a descriptor describes.  False: it breaks a rule. */
static bool add_segment(struct virtq_chain *chain, const struct virtio_descriptor *descriptor)
{
    bool writes = (descriptor->flags & VIRTIO_DESC_WRITE) != 0;
    uint32_t *total = writes ? &chain->writable : &chain->readable;

    /* 2.6.4.2: what the device writes comes last; 2.6.5: 2^32 bytes at most. */
    if (descriptor->bytes == 0 || chain->count == VIRTQ_SEGMENTS_MAX ||
        (!writes && chain->writable != 0) ||
        descriptor->bytes > UINT32_MAX - chain->writable - chain->readable ||
        descriptor->address + descriptor->bytes < descriptor->address) {
        return false;
    }
    *total += descriptor->bytes;
    chain->segment[chain->count++] = (struct virtq_segment){
        .address = gpa(descriptor->address), .bytes = descriptor->bytes, .device_writes = writes};
    return true;
}

/* Follows the chain in a copied table: each step takes an entry more of the chain, so it ends. */
static bool add_table(const struct virtq *queue, unsigned entries, struct virtq_chain *chain)
{
    unsigned number = 0;

    for (;;) {
        const struct virtio_descriptor *descriptor = &queue->table[number];

        /* 2.6.5.3.1: no table in a table. */
        if ((descriptor->flags & VIRTIO_DESC_INDIRECT) || !add_segment(chain, descriptor)) {
            return false;
        }
        if (!(descriptor->flags & VIRTIO_DESC_NEXT)) {
            return true;
        }
        number = descriptor->next;
        if (number >= entries) {
            return false;
        }
    }
}

/* 2.6.5.3 "Indirect Descriptors": the table may lie in pages that are out. */
static enum virtq_result add_indirect(struct virtq *queue,
                                      const struct virtio_descriptor *descriptor,
                                      struct virtq_chain *chain, struct mm_waiter *waiter)
{
    uint32_t bytes = descriptor->bytes;
    enum mm_result result;

    if (!queue->indirect || (descriptor->flags & VIRTIO_DESC_NEXT) || bytes == 0 ||
        bytes % sizeof(*descriptor) != 0 || bytes > VIRTQ_SEGMENTS_MAX * sizeof(*descriptor) ||
        descriptor->address + bytes < descriptor->address) {
        return VIRTQ_BROKEN;
    }
    result = space_read(queue->space, gpa(descriptor->address), queue->table, bytes, waiter);
    if (result == MM_WAIT) {
        return VIRTQ_PARK;
    }
    return result == MM_OK && add_table(queue, bytes / sizeof(*descriptor), chain) ? VIRTQ_CHAIN
                                                                                   : VIRTQ_BROKEN;
}

/* Follows the chain from its head.  At most as many steps as a chain may have segments. */
static enum virtq_result follow(struct virtq *queue, struct virtq_chain *chain,
                                struct mm_waiter *waiter)
{
    unsigned number = chain->head;

    for (;;) {
        struct virtio_descriptor descriptor = load_descriptor(queue, number);

        if (descriptor.flags & VIRTIO_DESC_INDIRECT) {
            return add_indirect(queue, &descriptor, chain, waiter);
        }
        if (!add_segment(chain, &descriptor)) {
            return VIRTQ_BROKEN;
        }
        if (!(descriptor.flags & VIRTIO_DESC_NEXT)) {
            return VIRTQ_CHAIN;
        }
        number = descriptor.next;
        if (number >= queue->size) {
            return VIRTQ_BROKEN;
        }
    }
}

/* Nothing is there: asks the guest to notify, and looks once more, since it may not have seen that
 * (2.6.10 "Available Buffer Notification Suppression").  A quiet queue's guest passes an index that
 * is behind it only when it has added 65,535 more. */
static bool is_empty(struct virtq *queue, uint16_t *index)
{
    *index = load16(queue, VIRTQ_AVAIL, RING_INDEX, __ATOMIC_ACQUIRE);
    if (*index != queue->avail_next) {
        return false;
    }
    if (queue->quiet) {
        store16(queue, VIRTQ_USED, avail_event_at(queue), queue->avail_next - 1);
    } else if (queue->event_index) {
        store16(queue, VIRTQ_USED, avail_event_at(queue), queue->avail_next);
        atomic_thread_fence(memory_order_seq_cst);
        *index = load16(queue, VIRTQ_AVAIL, RING_INDEX, __ATOMIC_ACQUIRE);
    }
    return *index == queue->avail_next;
}

static enum virtq_result take_next(struct virtq *queue, uint16_t index, struct virtq_chain *chain,
                                   struct mm_waiter *waiter)
{
    uint16_t head =
        load16(queue, VIRTQ_AVAIL, RING_ENTRIES + queue->avail_next % queue->size * sizeof(head),
               __ATOMIC_RELAXED);
    enum virtq_result result;

    /* An index that ran backwards, or further than the ring is long; a head that is none. */
    if ((uint16_t)(index - queue->avail_next) > queue->size || head >= queue->size ||
        is_taken(queue, head)) {
        return VIRTQ_BROKEN;
    }
    chain->head = head;
    chain->count = 0;
    chain->readable = 0;
    chain->writable = 0;
    result = follow(queue, chain, waiter);
    if (result == VIRTQ_CHAIN) {
        queue->avail_next++;
        queue->in_flight++;
        queue->taken[head / 64] |= BIT(head % 64);
    }
    return result;
}

enum virtq_result virtq_take(struct virtq *queue, struct virtq_chain *chain,
                             struct mm_waiter *waiter)
{
    enum virtq_result result;
    uint16_t index;

    if (!queue->enabled) {
        return VIRTQ_EMPTY;
    }
    if (queue->broken) {
        return VIRTQ_BROKEN;
    }
    if (is_empty(queue, &index)) {
        return VIRTQ_EMPTY;
    }
    result = take_next(queue, index, chain, waiter);
    queue->broken = result == VIRTQ_BROKEN;
    return result;
}

static void forget(struct virtq *queue, uint16_t head)
{
    ASSERT(head < queue->size && is_taken(queue, head));
    queue->taken[head / 64] &= ~BIT(head % 64);
    queue->in_flight--;
}

void virtq_set_quiet(struct virtq *queue, bool quiet)
{
    queue->quiet = quiet && queue->event_index;
}

void virtq_untake(struct virtq *queue, uint16_t head)
{
    forget(queue, head);
    queue->avail_next--;
}

/* ---- give ---- */

/* 2.6.8 "The Virtqueue Used Ring"; the guest does not see it before the index has moved. */
static void write_used(struct virtq *queue, const struct virtq_used *used)
{
    unsigned entry = RING_ENTRIES + queue->used_next % queue->size * 8u;

    forget(queue, used->head);
    __atomic_store_n((uint32_t *)at(queue, VIRTQ_USED, entry), used->head, __ATOMIC_RELAXED);
    __atomic_store_n((uint32_t *)at(queue, VIRTQ_USED, entry + 4), used->written, __ATOMIC_RELAXED);
    queue->used_next++;
}

void virtq_give_all(struct virtq *queue, const struct virtq_used *used, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        write_used(queue, &used[i]);
    }
    store16(queue, VIRTQ_USED, RING_INDEX, queue->used_next);
}

void virtq_give(struct virtq *queue, uint16_t head, uint32_t written)
{
    const struct virtq_used used = {head, written};

    virtq_give_all(queue, &used, 1);
}

/* 2.6.7 "Used Buffer Notification Suppression". */
bool virtq_wants_signal(struct virtq *queue)
{
    uint16_t before = queue->signalled, event;
    bool first = !queue->signalled_once;

    if (!queue->enabled || queue->used_next == before) {
        return false;
    }
    queue->signalled = queue->used_next;
    queue->signalled_once = true;
    /* The index has been stored; only then what the guest wants: it looks in the other order. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!queue->event_index) {
        return !(load16(queue, VIRTQ_AVAIL, RING_FLAGS, __ATOMIC_RELAXED) &
                 VIRTIO_AVAIL_NO_INTERRUPT);
    }
    event = load16(queue, VIRTQ_AVAIL, used_event_at(queue), __ATOMIC_RELAXED);
    return first ||
           (uint16_t)(queue->used_next - event - 1) < (uint16_t)(queue->used_next - before);
}
