/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a guest need not notify.  A notification is an exit; what is added without one waits until
 * somebody looks.  So a queue is quiet only while that is soon, and while the device's timer is
 * set, which looks after quiet_wait_ns() at the latest:
 *
 *     many requests are in flight          the end of one of them looks
 *     some are, and exits are dear         likewise
 *     the last one has just ended, and     the guest has been told, and asks for more before long:
 *     exits are dear (the grace)           several, that one look will find together
 *
 * What an exit costs is measured: the time that a notification's handling takes.  Under a
 * hypervisor or in an emulator that is 20 to 100 us, as long as a disk needs for a request, and
 * waiting pays; on hardware it is 1 or 2 us, and does not.  A guest that has only one request at a
 * time, while other work keeps its CPU, would wait in vain for others: the grace is found to be of
 * no use, and not given so often, down to each 64th time.
 *
 * Locks: the device's, for all calls.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_QUIET_H
#define SPILLWAY_HV_VDEV_VIRTIO_QUIET_H

#include "base/types.h"

#define QUIET_DEAR_NS     8000u    /* a notification that costs so much is dear */
#define QUIET_WAIT_MIN_NS 200000u  /* between two looks, at least ... */
#define QUIET_WAIT_MAX_NS 1000000u /* ... and at most */
#define QUIET_MANY        4u       /* in flight: one of them ends soon */
#define QUIET_SKIP_MAX    63u

struct quiet {
    uint32_t cost_ns;   /* of a notification, the mean of the last ones */
    bool grace;         /* now; it ends at ... */
    uint64_t grace_end; /* nanoseconds */
    bool ends;          /* with the look that the timer is at */
    uint8_t skip;       /* so often the grace is not given, before it is again ... */
    uint8_t skipped;    /* ... and so often it has not been */
};

/* A notification has been handled. */
void quiet_note_cost(struct quiet *quiet, uint64_t ns);
/* May a queue be quiet that has so many in flight? */
bool quiet_may(const struct quiet *quiet, unsigned in_flight);
/* While one is, the device looks that often. */
uint64_t quiet_wait_ns(const struct quiet *quiet);
/* A request has ended. */
void quiet_ended(struct quiet *quiet, uint64_t now);
/* Somebody has looked into a queue and found so many.  `sleeps`: of a vCPU that has nothing else to
 * do, so that not even one has waited. */
void quiet_found(struct quiet *quiet, unsigned taken, bool sleeps);
/* The guest has slept, and the timer rested meanwhile. */
void quiet_wakes(struct quiet *quiet, uint64_t now);
/* The timer looks, before and after: `idle`, nothing was in flight; so many were found. */
void quiet_timer_begins(struct quiet *quiet, uint64_t now);
void quiet_timer_ends(struct quiet *quiet, bool idle, unsigned taken);

#endif
