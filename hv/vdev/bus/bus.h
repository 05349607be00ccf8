/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's buses: which device is at which port, and at which guest-physical address.
 *
 *     bus_transfer(map, address, access)
 *         bus_find()          no lock: a byte for each low address; above them a sorted table
 *         ops->before()       no lock
 *         range->lock         the device's own
 *             still there?    else BUS_NOBODY
 *             ops->read() or ops->write()
 *         ops->after()        no lock, unless the handler has parked
 *
 * A device brings its ranges, their handlers and its lock.  Ranges come and go while vCPUs run, as
 * those of a PCI device do; they do not overlap.  An access is of the range in which its first byte
 * lies, with all of its bytes: what a handler does with those behind the range's end is its own
 * matter.
 *
 * A handler looks first and acts last.  One that needs a guest page which is not there registers
 * the vCPU's waiter (space_read() and its like do), changes nothing, and returns BUS_PARK: the vCPU
 * waits, and its access comes again.
 */
#ifndef SPILLWAY_HV_VDEV_BUS_BUS_H
#define SPILLWAY_HV_VDEV_BUS_BUS_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/types.h"

#define BUS_RANGES_MAX 160 /* two for each of 16 disks and 16 network cards, and all else */

struct bus_range;
struct vcpu;

enum bus_result {
    BUS_DONE,
    BUS_PARK,   /* nothing has changed; access->vcpu's waiter is registered */
    BUS_NOBODY, /* no device takes it: reads are ones, writes are lost */
};

/* One access, on the stack of who makes it. */
struct bus_access {
    struct vcpu *vcpu;
    const struct bus_range *range; /* set by bus_transfer() ... */
    uint64_t offset;               /* ... and this: of its first byte into the range */
    uint64_t value;                /* written, or what the handler has read */
    unsigned size;                 /* bytes: 1, 2, 4; in memory 8 as well */
    bool write;
    unsigned note; /* 0, or what the handler leaves for its own after() */
};

/* `access->range->owner` is the device. */
struct bus_ops {
    /* The range's lock is held. */
    enum bus_result (*read)(struct bus_access *access);
    enum bus_result (*write)(struct bus_access *access);
    /* Around them, without it; NULL: nothing. */
    void (*before)(struct bus_access *access);
    void (*after)(struct bus_access *access);
};

/* The device's; lives as long as the map, zero at first. */
struct bus_range {
    const struct bus_ops *ops;
    void *owner;
    struct spinlock *lock; /* what follows, and the device */
    bool present;
    uint8_t number; /* in the map */
    uint64_t first, count;
};

/*
 * Who is where, in two ways.  A bus whose low addresses are in use all the time has the number of
 * the range for each of them: one load and another one.  All ranges are in a table sorted by
 * address, which is searched between two looks at the count of its changes.  Both change under the
 * lock, and are read without it.
 */
struct bus_map {
    struct spinlock lock;
    _Atomic uint8_t *low; /* numbers of the ranges of the addresses below ... */
    uint64_t low_count;   /* ... this */
    _Atomic(struct bus_range *) numbered[BUS_RANGES_MAX + 1]; /* [0]: NULL */
    _Atomic uint32_t changes;                                 /* odd: while it is being changed */
    _Atomic uint32_t count;
    struct {
        _Atomic uint64_t first, last;
        _Atomic(struct bus_range *) range;
    } place[BUS_RANGES_MAX];
};

/* Empty.  `low`: a byte for each of the first addresses, zero, which lives as long; NULL for none.
 */
void bus_init(struct bus_map *map, _Atomic uint8_t *low, uint64_t low_count);

/*
 * Puts a range there, with its ops, owner and lock.  False: it is empty, goes beyond the last
 * address, overlaps another one, or the map is full.  Locks below the range's own may be held.
 */
bool bus_add(struct bus_map *map, struct bus_range *range, uint64_t first, uint64_t count);
/*
 * Takes the range out, if it is there.  After the return none of its handlers runs, and none
 * begins.  Waits for a handler that runs, and that ends soon since none waits for anything but
 * locks.  Locks below the range's own may be held; so no handler takes out its own range.
 */
void bus_remove(struct bus_map *map, struct bus_range *range);

/* The range with that address, or NULL.  It may be gone when this returns: bus_transfer() looks
 * again.  No lock; the time grows with the logarithm of the number of ranges, and for low addresses
 * not at all. */
struct bus_range *bus_find(struct bus_map *map, uint64_t address);
/* Is no range there?  Likewise. */
bool bus_is_free(struct bus_map *map, uint64_t first, uint64_t count);

/* Makes the access.  No locks held. */
enum bus_result bus_transfer(struct bus_map *map, uint64_t address, struct bus_access *access);

/*
 * For devices whose registers are bytes, as those of a PC are: an access wider than a byte reaches
 * consecutive ones.  Reads by read_byte() the bytes that lie below `end`, an offset into the range;
 * those behind it float.
 */
void bus_read_bytes(struct bus_access *access, unsigned end,
                    uint8_t (*read_byte)(struct bus_access *access, unsigned offset));
void bus_write_bytes(struct bus_access *access, unsigned end,
                     void (*write_byte)(struct bus_access *access, unsigned offset, uint8_t value));

#endif
