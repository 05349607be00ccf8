/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads of pages that were dropped as copies of blocks of a guest's disk: a run of neighbouring
 * blocks into frames.  What a store's requests are to a store (mm/content/store_io.h), these are to
 * any disk, with the same struct; writes there are none.
 *
 * A page is good if its bytes are those that were dropped.  One that is not, or that the disk does
 * not give, is read again, alone, with pauses.  It ends badly (STORE_GIVEN_UP) when the disk has
 * given other bytes DISK_IO_TRIES times, or has failed for DISK_IO_PATIENCE_NS.  So every request
 * ends.
 *
 * Locks: RANK_STORE, inside.  disk_io_submit() may be called with locks below it held; `ended` is
 * called without any.
 */
#ifndef SPILLWAY_MM_CONTENT_DISK_IO_H
#define SPILLWAY_MM_CONTENT_DISK_IO_H

#include "mm/content/store_io.h"

#define DISK_IO_TRIES       5u
#define DISK_IO_PATIENCE_NS 30000000000ull

/* device, block, count and frame[] are set.  Never fails and never waits. */
void disk_io_submit(struct store_io *io);

/* One bounded step: requests that are due again.  Main loop. */
void disk_io_poll(uint64_t now_ns);
/* When disk_io_poll() wants to be called next; UINT64_MAX: not needed.  No lock taken. */
uint64_t disk_io_deadline(uint64_t now_ns);

#endif
