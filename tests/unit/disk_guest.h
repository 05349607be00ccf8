/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's disk (hv/vdev/disk/) on a fake disk, in a guest whose memory is twice what there is and
 * whose pages leave all the time: random requests against plain arrays of what disk and memory must
 * hold.
 *
 * Each request in flight has a lane of its own, a stretch of the disk and one of guest memory; so
 * what comes out does not depend on their order.
 */
#ifndef SPILLWAY_TESTS_UNIT_DISK_GUEST_H
#define SPILLWAY_TESTS_UNIT_DISK_GUEST_H

#include "hv/vdev/disk/vdisk.h"
#include "tests/unit/fake_disk.h"

#define LANES        20u
#define LANE_PAGES   24u /* of memory */
#define LANE_BLOCKS  24u /* of the disk */
#define LANE_BYTES   (LANE_PAGES * PAGE_SIZE)
#define DISK_BLOCKS  (LANES * LANE_BLOCKS)
#define ANSWER_PAGE  (LANES * LANE_PAGES) /* and behind: the bytes of their status */
#define GUEST_PAGES  (ANSWER_PAGE + LANES)
#define FRAMES       420u /* the store's and the tables' included */
#define LANE_SECTORS (LANE_BLOCKS * BLOCK_SECTORS)

struct lane {
    struct vdisk_request *request; /* NULL: none */
    bool known;                    /* what its stretch of the disk holds */
    int answered;                  /* the status that is in its byte; -1: none */
    uint8_t memory[LANE_BYTES], disk[LANE_BLOCKS * PAGE_SIZE];
};

struct guest_state {
    struct fake_disk store_disk, disk;
    struct store *store;
    struct store *identity; /* the disk, for pages that are copies of its blocks */
    struct space *space;
    struct vdisk vdisk;
    struct lane lane[LANES];
    uint64_t free_at_start;
    uint64_t done[3];
    bool timer_set, closed, idle;
    uint64_t idle_calls;
    unsigned lost;
};

extern struct guest_state disk_guest;

/* One round of a CPU's main loop. */
void disk_guest_turn(void);
/* By the guest's own CPU: copies to or from a lane's memory, waiting as long as it takes. */
void disk_guest_copy(unsigned lane, void *bytes, bool to_guest);
/* By the guest's own CPU, waiting as long as it takes. */
void disk_guest_put(uint64_t at, const void *bytes, size_t count);
void disk_guest_get(uint64_t at, void *bytes, size_t count);
/* Random bytes, a multiple of 8 of them. */
void disk_guest_fill(uint8_t *bytes, size_t count);
/* A random request in that lane. */
void disk_guest_start(unsigned lane);
/* A machine with the guest, and a disk that reads and writes `unit` sectors at least. */
void disk_guest_up(const struct table_format *format, uint8_t unit);
/* All that has been submitted, and until nothing is in flight. */
void disk_guest_give_up(void);
/* As at a VM's end: given up, waited for, closed, drained. */
void disk_guest_down(void);
/* Until no request is in flight. */
void disk_guest_settle(void);
/* So many rounds, each with a random request; what comes out is checked. */
void disk_guest_run(unsigned rounds);

#endif
