/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/virtio_ring.h"

#include <stdatomic.h>
#include <string.h>

#define NO_DESCRIPTOR 0xffffu

void virtio_ring_reset(struct virtio_ring *ring, bool interrupts)
{
    memset(ring->avail, 0, sizeof(*ring->avail));
    memset(ring->used, 0, sizeof(*ring->used));
    memset(ring->in_use, 0, sizeof(ring->in_use));
    ring->avail->flags = interrupts ? 0 : VIRTIO_AVAIL_NO_INTERRUPT;
    for (unsigned i = 0; i < ring->size; i++) {
        ring->descriptors[i].next = (uint16_t)(i + 1);
    }
    ring->descriptors[ring->size - 1].next = NO_DESCRIPTOR;
    ring->free_head = 0;
    ring->free_count = ring->size;
    ring->avail_index = 0;
    ring->used_index = 0;
}

static void descriptor_fill(struct virtio_descriptor *descriptor,
                            const struct virtio_segment *segment, bool last, uint16_t next)
{
    descriptor->address = segment->address.v;
    descriptor->bytes = segment->bytes;
    descriptor->flags = (uint16_t)((segment->device_writes ? VIRTIO_DESC_WRITE : 0) |
                                   (last ? 0 : VIRTIO_DESC_NEXT));
    descriptor->next = next;
}

/* Puts the chain that starts at `head` behind what was published. */
static void avail_append(struct virtio_ring *ring, uint16_t head, uint16_t token)
{
    ring->in_use[head] = true;
    ring->token[head] = token;
    ring->avail->ring[ring->avail_index & (ring->size - 1)] = head;
    ring->avail_index++;
}

void virtio_ring_add(struct virtio_ring *ring, const struct virtio_segment *segments,
                     unsigned count, uint16_t token)
{
    uint16_t head = ring->free_head, at = head;

    for (unsigned i = 0; i < count; i++) {
        /* The links of the free list become those of the chain. */
        uint16_t next = ring->descriptors[at].next;
        descriptor_fill(&ring->descriptors[at], &segments[i], i + 1 == count, next);
        at = next;
    }
    ring->free_head = at;
    ring->free_count = (uint16_t)(ring->free_count - count);
    avail_append(ring, head, token);
}

/* VIRTIO 1.1, 2.6.5.3 "Indirect Descriptors". */
void virtio_ring_add_indirect(struct virtio_ring *ring, const struct virtio_segment *segments,
                              unsigned count, struct virtio_descriptor *table, hpa_t table_address,
                              uint16_t token)
{
    uint16_t head = ring->free_head;
    struct virtio_descriptor *descriptor = &ring->descriptors[head];

    for (unsigned i = 0; i < count; i++) {
        descriptor_fill(&table[i], &segments[i], i + 1 == count, (uint16_t)(i + 1));
    }
    ring->free_head = descriptor->next;
    ring->free_count--;
    descriptor->address = table_address.v;
    descriptor->bytes = count * (uint32_t)sizeof(*table);
    descriptor->flags = VIRTIO_DESC_INDIRECT;
    avail_append(ring, head, token);
}

bool virtio_ring_publish(struct virtio_ring *ring)
{
    /* Release: descriptors and ring entries are in memory before the index that covers them. */
    __atomic_store_n(&ring->avail->index, ring->avail_index, __ATOMIC_RELEASE);
    /* Full: the index is visible before the device's flag is read, or both sides could sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    return !(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & VIRTIO_USED_NO_NOTIFY);
}

void virtio_ring_interrupts(struct virtio_ring *ring, bool on)
{
    __atomic_store_n(&ring->avail->flags, on ? 0 : VIRTIO_AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
}

bool virtio_ring_pending(const struct virtio_ring *ring)
{
    /* Acquire: the entry is read after the index that covers it. */
    return __atomic_load_n(&ring->used->index, __ATOMIC_ACQUIRE) != ring->used_index;
}

static void chain_free(struct virtio_ring *ring, uint16_t head)
{
    uint16_t last = head, count = 1;

    while (ring->descriptors[last].flags & VIRTIO_DESC_NEXT) {
        last = ring->descriptors[last].next;
        count++;
    }
    ring->descriptors[last].next = ring->free_head;
    ring->free_head = head;
    ring->free_count = (uint16_t)(ring->free_count + count);
}

int virtio_ring_pop(struct virtio_ring *ring)
{
    uint32_t bytes;

    return virtio_ring_pop_bytes(ring, &bytes);
}

int virtio_ring_pop_bytes(struct virtio_ring *ring, uint32_t *bytes)
{
    if (!virtio_ring_pending(ring)) {
        return -1;
    }
    const struct virtio_used_entry *entry = &ring->used->ring[ring->used_index & (ring->size - 1)];
    uint32_t head = entry->id;

    *bytes = entry->bytes;
    ring->used_index++;
    if (head >= ring->size || !ring->in_use[head]) {
        return -2;
    }
    ring->in_use[head] = false;
    chain_free(ring, (uint16_t)head);
    return ring->token[head];
}
