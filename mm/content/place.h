/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page's place: where its bytes are.  Its owner keeps it, 4 bits of kind and 56 of payload, in
 * the entry of a second-level table (space) or in a descriptor (tmem), and it is the only truth
 * about it.
 *
 *     tiers (mm/content/tier.h)     payload               whose
 *       HOLE                        0                     all zero; the entry 0 is this place
 *       WORD                        mm/content/pattern.h  one repeated word
 *       SLOT                        slot in 31:0          the store's; 55:32 are the owner's
 *       DISK                        block in 31:0         the owner's disk 55:52; 51:32 are his too
 *     frames
 *       READING                     frame                 a read into it is in flight
 *       WRITING                     frame                 it still holds the page; a write is in
 *                                                         flight, or about to be
 *       FRAME                       frame                 here (in tables: a leaf, not a place)
 *     LOST                          0                     nowhere any more
 *
 *            fill                leaves                  write done
 *     HOLE ---------> FRAME ---------------> WRITING ---------------> SLOT, DISK
 *     WORD --------->  ^  \---> HOLE, WORD      |                      |  read
 *                      |  \---> SLOT or DISK,   |                      v
 *                      |        if clean        |      FRAME <----- READING -----> LOST
 *                      +<-- taken back, failed -+
 *
 * Pure data, no locks.
 */
#ifndef SPILLWAY_MM_CONTENT_PLACE_H
#define SPILLWAY_MM_CONTENT_PLACE_H

#include "base/bits.h"
#include "base/types.h"
#include "mm/content/tiers.h"

#define PLACE_OF_TIER(kind, name) PLACE_##kind,
enum place_kind {
    TIERS(PLACE_OF_TIER) PLACE_LOST, /* the next three have a frame */
    PLACE_READING,
    PLACE_WRITING,
    PLACE_FRAME,
    PLACE_KINDS,
};

_Static_assert(PLACE_HOLE == 0, "an entry of 0 is a hole");
_Static_assert(PLACE_KINDS <= 16, "a kind has 4 bits");

struct place {
    enum place_kind kind;
    uint64_t payload; /* 56 bits */
};

/* Of a SLOT. */
#define PLACE_SLOT_NUMBER BITS(31, 0)
#define PLACE_SLOT_OWNERS BITS(55, 32)

static inline struct place place(enum place_kind kind, uint64_t payload)
{
    return (struct place){.kind = kind, .payload = payload};
}

static inline struct place place_of_slot(uint32_t slot, uint64_t owners)
{
    return place(PLACE_SLOT,
                 FIELD_PREP(PLACE_SLOT_OWNERS, owners) | FIELD_PREP(PLACE_SLOT_NUMBER, slot));
}

static inline uint32_t place_slot(struct place at)
{
    return (uint32_t)FIELD_GET(PLACE_SLOT_NUMBER, at.payload);
}

/* Of a DISK. */
#define PLACE_DISK_BLOCK  BITS(31, 0)
#define PLACE_DISK_OWNERS BITS(51, 32)
#define PLACE_DISK_NUMBER BITS(55, 52)

static inline struct place place_of_disk(unsigned disk, uint32_t block, uint64_t owners)
{
    return place(PLACE_DISK, FIELD_PREP(PLACE_DISK_NUMBER, (uint64_t)disk) |
                                 FIELD_PREP(PLACE_DISK_OWNERS, owners) |
                                 FIELD_PREP(PLACE_DISK_BLOCK, block));
}

static inline unsigned place_disk(struct place at)
{
    return (unsigned)FIELD_GET(PLACE_DISK_NUMBER, at.payload);
}

static inline uint32_t place_block(struct place at)
{
    return (uint32_t)FIELD_GET(PLACE_DISK_BLOCK, at.payload);
}

/* Of READING, WRITING and FRAME. */
static inline bool place_has_frame(enum place_kind kind)
{
    return kind >= PLACE_READING;
}

static inline pfn_t place_frame(struct place at)
{
    return pfn(at.payload);
}

#endif
