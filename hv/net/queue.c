/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/queue.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

struct record {
    struct net_offload offload;
    uint32_t bytes;
};

#define RECORD_BYTES   ((uint32_t)sizeof(struct record))
#define SPACE_OF(size) ((uint32_t)ALIGN_UP(RECORD_BYTES + (size), 8))

_Static_assert(sizeof(struct record) == 16, "records are aligned, so none wraps");

bool net_queue_create(struct net_queue *queue, uint32_t bytes)
{
    memset(queue, 0, sizeof(*queue));
    queue->size = bytes;
    queue->ring = malloc(bytes);
    return queue->ring != NULL;
}

void net_queue_destroy(struct net_queue *queue)
{
    free(queue->ring);
    queue->ring = NULL;
}

bool net_queue_is_empty(const struct net_queue *queue)
{
    return atomic_load_explicit(&queue->put, memory_order_acquire) ==
           atomic_load_explicit(&queue->taken, memory_order_relaxed);
}

static void copy_in(struct net_queue *queue, uint32_t at, const void *from, uint32_t bytes)
{
    uint32_t offset = at & (queue->size - 1), first = MIN(bytes, queue->size - offset);

    memcpy(queue->ring + offset, from, first);
    memcpy(queue->ring, (const uint8_t *)from + first, bytes - first);
}

static void copy_out(const struct net_queue *queue, uint32_t at, void *to, uint32_t bytes)
{
    uint32_t offset = at & (queue->size - 1), first = MIN(bytes, queue->size - offset);

    memcpy(to, queue->ring + offset, first);
    memcpy((uint8_t *)to + first, queue->ring, bytes - first);
}

bool net_queue_put(struct net_queue *queue, const struct net_frame *frame)
{
    const struct record record = {frame->offload, frame->bytes};
    uint32_t put = atomic_load_explicit(&queue->put, memory_order_relaxed), at = put;
    /* Acquire: what has been taken has been read. */
    uint32_t taken = atomic_load_explicit(&queue->taken, memory_order_acquire);

    if (queue->size - (put - taken) < SPACE_OF(frame->bytes)) {
        return false;
    }
    copy_in(queue, at, &record, RECORD_BYTES);
    at += RECORD_BYTES;
    for (unsigned i = 0; i < frame->pieces; i++) {
        copy_in(queue, at, frame->piece[i].data, frame->piece[i].bytes);
        at += frame->piece[i].bytes;
    }
    /* Release: the frame is there before whoever takes sees it. */
    atomic_store_explicit(&queue->put, put + SPACE_OF(frame->bytes), memory_order_release);
    return true;
}

/* What is behind the head, in one piece or two. */
static void add_rest(struct net_queue *queue, uint32_t at, uint32_t bytes)
{
    uint32_t offset = at & (queue->size - 1), first = MIN(bytes, queue->size - offset);

    if (first != 0) {
        queue->piece[queue->frame.pieces++] = (struct net_piece){queue->ring + offset, first};
    }
    if (bytes != first) {
        queue->piece[queue->frame.pieces++] = (struct net_piece){queue->ring, bytes - first};
    }
}

const struct net_frame *net_queue_peek(struct net_queue *queue)
{
    uint32_t at = atomic_load_explicit(&queue->taken, memory_order_relaxed), head;
    struct record record;

    if (net_queue_is_empty(queue)) {
        return NULL;
    }
    copy_out(queue, at, &record, RECORD_BYTES);
    head = MIN(record.bytes, NET_HEAD_BYTES);
    copy_out(queue, at + RECORD_BYTES, queue->head, head);
    queue->piece[0] = (struct net_piece){queue->head, head};
    queue->frame = (struct net_frame){record.offload, record.bytes, 1, queue->piece};
    add_rest(queue, at + RECORD_BYTES + head, record.bytes - head);
    return &queue->frame;
}

void net_queue_next(struct net_queue *queue)
{
    uint32_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);

    atomic_store_explicit(&queue->taken, taken + SPACE_OF(queue->frame.bytes),
                          memory_order_release);
}

void net_queue_clear(struct net_queue *queue)
{
    atomic_store_explicit(&queue->taken, atomic_load_explicit(&queue->put, memory_order_acquire),
                          memory_order_release);
}
