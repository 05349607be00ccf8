/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a disk (hv/vdev/disk/) and two CPUs, for test_disk_identity: TLBs that keep what
 * they have until a shootdown, memory that is half of what the guest has, pages that leave all the
 * time, and a disk of random blocks.
 */
#ifndef SPILLWAY_TESTS_UNIT_IDENTITY_GUEST_H
#define SPILLWAY_TESTS_UNIT_IDENTITY_GUEST_H

#include "hv/vdev/disk/vdisk.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"

#define SLOTS        8u   /* requests at a time */
#define PAGES        224u /* that the guest works with */
#define GUEST_PAGES  (PAGES + SLOTS)
#define BLOCKS       160u
#define STORE_BLOCKS 95u  /* it is tight now and then */
#define FRAMES       230u /* tables, stores, the disk's own and the cache of a CPU included */
#define CPUS         2u
#define RANGE_AT(s)  gpa((PAGES + (s)) * PAGE_SIZE)

struct identity_guest {
    struct fake_disk store_disk, disk;
    struct store *identity;
    struct space *space;
    struct vdisk vdisk;
    struct {
        bool valid, dirty;
        pfn_t frame;
    } tlb[CPUS][GUEST_PAGES];
    bool timer_set;
    void (*disk_has_changed)(void); /* all of it, perhaps: a write or a flush has failed */
    bool held[PAGES];               /* by the device, by a lasting pin */
    pfn_t held_at[PAGES];
};

extern struct identity_guest identity_guest;

/* One round of a CPU's main loop. */
void identity_guest_turn(void);
/* Where the CPU finds the page now, to read it or to write to it. */
uint8_t *identity_guest_translate(unsigned cpu, unsigned page, bool write);
/* By the hypervisor. */
void identity_guest_put(gpa_t at, const void *bytes, size_t count);
/* space_overwrite(). */
void identity_guest_fill(gfn_t page, uint64_t word, bool *done);

void identity_guest_up(const struct table_format *format, const struct vdisk_host *host);
void identity_guest_down(void);

#endif
