/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/queue.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

struct record {
    struct net_offload offload;
    uint32_t bytes;
};

#define RECORD_BYTES   ((uint32_t)sizeof(struct record))
#define SPACE_OF(size) ((uint32_t)ALIGN_UP(RECORD_BYTES + (size), 8))

_Static_assert(sizeof(struct record) == 16, "records are aligned, so none wraps");

bool net_queue_create(struct net_queue *queue, uint32_t bytes)
{
    queue->size = bytes;
    queue->frame = calloc(bytes / PAGE_SIZE, sizeof(queue->frame[0]));
    while (queue->frame != NULL && queue->frames < bytes / PAGE_SIZE) {
        if (!frame_alloc_zeroed(0, ALLOC_META, 0, &queue->frame[queue->frames])) {
            return false;
        }
        queue->frames++;
    }
    return queue->frame != NULL;
}

void net_queue_destroy(struct net_queue *queue)
{
    while (queue->frames > 0) {
        frame_free(queue->frame[--queue->frames]);
    }
    free(queue->frame);
    queue->frame = NULL;
}

bool net_queue_is_empty(const struct net_queue *queue)
{
    return atomic_load_explicit(&queue->put, memory_order_acquire) ==
           atomic_load_explicit(&queue->taken, memory_order_relaxed);
}

/* Bytes of the ring from there on that lie in one page: at most so many, and in fact so many. */
static uint8_t *part(const struct net_queue *queue, uint32_t at, uint32_t *bytes)
{
    uint32_t offset = at & (queue->size - 1), in_page = offset & ~(uint32_t)PAGE_MASK;

    *bytes = MIN(*bytes, (uint32_t)PAGE_SIZE - in_page);
    return (uint8_t *)mm_frame_ptr(queue->frame[offset >> PAGE_SHIFT]) + in_page;
}

static void copy_in(struct net_queue *queue, uint32_t at, const void *from, uint32_t bytes)
{
    for (uint32_t done = 0, now; done < bytes; done += now) {
        uint8_t *to;

        now = bytes - done;
        to = part(queue, at + done, &now);
        memcpy(to, (const uint8_t *)from + done, now);
    }
}

static void copy_out(const struct net_queue *queue, uint32_t at, void *to, uint32_t bytes)
{
    for (uint32_t done = 0, now; done < bytes; done += now) {
        const uint8_t *from;

        now = bytes - done;
        from = part(queue, at + done, &now);
        memcpy((uint8_t *)to + done, from, now);
    }
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

/* What is behind the head: a piece of each page. */
static void add_rest(struct net_queue *queue, uint32_t at, uint32_t bytes)
{
    for (uint32_t now; bytes != 0; bytes -= now, at += now) {
        const uint8_t *data;

        now = bytes;
        data = part(queue, at, &now);
        queue->piece[queue->first.pieces++] = (struct net_piece){data, now};
    }
}

_Static_assert(NET_FRAME_MAX / 4096 + 3 <= NET_PIECES_MAX, "the longest frame's pages");

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
    queue->first = (struct net_frame){record.offload, record.bytes, 1, queue->piece};
    add_rest(queue, at + RECORD_BYTES + head, record.bytes - head);
    return &queue->first;
}

void net_queue_next(struct net_queue *queue)
{
    uint32_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);

    atomic_store_explicit(&queue->taken, taken + SPACE_OF(queue->first.bytes),
                          memory_order_release);
}

void net_queue_clear(struct net_queue *queue)
{
    atomic_store_explicit(&queue->taken, atomic_load_explicit(&queue->put, memory_order_acquire),
                          memory_order_release);
}
