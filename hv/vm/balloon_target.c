/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vm/balloon_target.h"

#include "base/bits.h"

#define KEPT_PART 8u  /* of its memory, as `available` */
#define STEP_PART 64u /* of its memory */

_Static_assert(STEP_PART > 2 * KEPT_PART, "a step is less than half of what a guest shall keep");

uint64_t balloon_most(uint64_t memory, uint64_t min)
{
    return memory - MIN(memory, min);
}

/* Frames between short and plenty. */
static uint64_t band(const struct balloon_memory *machine)
{
    return (BALLOON_PLENTY - 1) * machine->high;
}

static uint64_t step_of(const struct balloon_memory *machine, const struct balloon_guest *guest)
{
    return MIN(guest->memory / STEP_PART, band(machine) / 2 / machine->vms);
}

static bool is_short(const struct balloon_memory *machine, const struct balloon_guest *guest)
{
    return machine->free < machine->high ||
           (guest->max != 0 && guest->in_frames >= guest->max - guest->max / STEP_PART);
}

static bool is_plenty(const struct balloon_memory *machine, const struct balloon_guest *guest)
{
    return machine->free > BALLOON_PLENTY * machine->high &&
           (guest->max == 0 || guest->in_frames + BALLOON_PLENTY * step_of(machine, guest) <
                                   guest->max - guest->max / STEP_PART);
}

uint64_t balloon_target_auto(const struct balloon_memory *machine,
                             const struct balloon_guest *guest)
{
    uint64_t most = balloon_most(guest->memory, guest->min);
    uint64_t kept = guest->memory / KEPT_PART, step = step_of(machine, guest);
    uint64_t target = MIN(guest->target, most);

    if (!guest->known) {
        return target;
    }
    if (is_plenty(machine, guest) || guest->available < kept / 2) {
        return target - MIN(target, step);
    }
    if (is_short(machine, guest) && guest->available > kept) {
        uint64_t spared = guest->actual + guest->available - kept;

        return MAX(target, MIN(MIN(target + step, spared), most));
    }
    return target;
}
