/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that wait for a port's owner: a ring of bytes, so that many small ones or a few large
 * ones find room, and no more than that.
 *
 *     put --> | record | frame, padded to 8 | record | frame | ... --> peek, next
 *
 * Locks: whoever puts holds the port's lock; the owner takes with a lock of its own.  One of each
 * at a time: they do not wait for each other.
 */
#ifndef SPILLWAY_HV_NET_QUEUE_H
#define SPILLWAY_HV_NET_QUEUE_H

#include "hv/net/frame.h"

struct net_queue {
    pfn_t *frame; /* of which the ring is made */
    unsigned frames;
    uint32_t size;               /* bytes, a power of two */
    _Atomic uint32_t put, taken; /* bytes since ever */
    /* Of the frame that was peeked at. */
    struct net_frame first;
    struct net_piece piece[NET_PIECES_MAX];
    uint8_t head[NET_HEAD_BYTES];
};

/* Zero before.  A ring of `bytes`, a power of two, in frames of the pool: whole pages.  False: out
 * of memory, and net_queue_destroy() follows. */
bool net_queue_create(struct net_queue *queue, uint32_t bytes);
void net_queue_destroy(struct net_queue *queue);
/* Copies the frame, which is valid.  False: no room. */
bool net_queue_put(struct net_queue *queue, const struct net_frame *frame);
/* The first frame, until the next call; NULL: none. */
const struct net_frame *net_queue_peek(struct net_queue *queue);
/* Removes the first frame, which was peeked at. */
void net_queue_next(struct net_queue *queue);
/* Removes all. */
void net_queue_clear(struct net_queue *queue);
bool net_queue_is_empty(const struct net_queue *queue);

#endif
