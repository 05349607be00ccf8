/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of its memory a VM with `balloon = auto` is asked to give up.  Pure; all in 4 KiB pages.
 *
 * Once a second the target goes one step up, one step down, or stays:
 *
 *     up     memory is short, and the guest has more available than it shall keep
 *     down   memory is plenty, or the guest has less than half of what it shall keep
 *     stays  in all other cases, and when the guest does not say what it has
 *
 *     short       free frames below the high watermark, or the VM is at its own max
 *     plenty      above BALLOON_PLENTY times that, and the VM is so far below its max
 *     shall keep  an eighth of its memory, available as its kernel reckons that
 *
 * It cannot oscillate by itself: the steps of all VMs together are at most half as large as what
 * lies between short and plenty, and a step is less than half of what a guest shall keep.  So what
 * a step up has freed is not plenty, what a step down has given away does not make memory short,
 * and no step leads a guest from one of its bounds to the other.
 *
 * The balloon never takes what the guest is promised: its min.
 */
#ifndef SPILLWAY_HV_VM_BALLOON_TARGET_H
#define SPILLWAY_HV_VM_BALLOON_TARGET_H

#include "base/types.h"

#define BALLOON_PLENTY 4u /* times the high watermark is free */

/* Of the machine. */
struct balloon_memory {
    uint64_t free, high; /* frames; the high watermark */
    unsigned vms;        /* with a balloon, at least 1 */
};

/* Of a VM. */
struct balloon_guest {
    uint64_t memory, min, max;  /* max 0: none */
    uint64_t in_frames;         /* what counts against its max */
    uint64_t target;            /* what it is asked for now */
    uint64_t actual, available; /* what it has given, and has left, as it says */
    bool known;                 /* it has said so */
};

/* The most that may be asked of it. */
uint64_t balloon_most(uint64_t memory, uint64_t min);
/* The next target. */
uint64_t balloon_target_auto(const struct balloon_memory *machine,
                             const struct balloon_guest *guest);

#endif
