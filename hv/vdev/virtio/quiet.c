/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/quiet.h"

#include "base/bits.h"

#define COST_MAX_NS 1000000u /* of one: the host may have been away meanwhile */
#define WAIT_COSTS  64u      /* notifications that may be saved are worth waiting for */

static bool dear(const struct quiet *quiet)
{
    return quiet->cost_ns >= QUIET_DEAR_NS;
}

void quiet_note_cost(struct quiet *quiet, uint64_t ns)
{
    uint32_t cost = (uint32_t)MIN(ns, (uint64_t)COST_MAX_NS);

    quiet->cost_ns = (quiet->cost_ns * 7 + cost) / 8;
}

bool quiet_may(const struct quiet *quiet, unsigned in_flight)
{
    return quiet->grace || in_flight >= (dear(quiet) ? 1 : QUIET_MANY);
}

uint64_t quiet_wait_ns(const struct quiet *quiet)
{
    uint64_t ns = (uint64_t)quiet->cost_ns * WAIT_COSTS;

    return MIN(MAX(ns, (uint64_t)QUIET_WAIT_MIN_NS), (uint64_t)QUIET_WAIT_MAX_NS);
}

void quiet_ended(struct quiet *quiet, uint64_t now)
{
    if (!dear(quiet)) {
        quiet->grace = false;
    } else if (quiet->grace || quiet->skipped >= quiet->skip) {
        quiet->skipped = 0;
        quiet->grace = true;
        quiet->grace_end = now + quiet_wait_ns(quiet);
    } else {
        quiet->skipped++;
    }
}

void quiet_found(struct quiet *quiet, unsigned taken, bool sleeps)
{
    if (taken > (sleeps ? 0 : 1)) {
        quiet->skip = 0;
    }
}

void quiet_wakes(struct quiet *quiet, uint64_t now)
{
    quiet->grace_end = now + quiet_wait_ns(quiet);
}

void quiet_timer_begins(struct quiet *quiet, uint64_t now)
{
    quiet->ends = quiet->grace && now >= quiet->grace_end;
    quiet->grace = quiet->grace && !quiet->ends;
}

/* One that has waited alone has waited in vain. */
void quiet_timer_ends(struct quiet *quiet, bool idle, unsigned taken)
{
    bool graced = quiet->grace || quiet->ends;

    if (graced && idle && taken == 1) {
        quiet->skip = (uint8_t)MIN(quiet->skip * 2u + 1u, QUIET_SKIP_MAX);
        quiet->grace = false;
    }
}
