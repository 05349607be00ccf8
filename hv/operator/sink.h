/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sink: one way on which what the console shows leaves the machine.  All of them are shown the
 * same bytes in the same order; each takes them at its own pace out of the console's ring, which
 * forgets a byte when every sink has it:
 *
 *           tail of the slowest      tail of another            head
 *   --------+------------------------+--------------------------+----
 *           | one has these          | both have yet to take    |
 *
 * When the ring is full of what the slowest sink has yet to take, what comes is lost for all.
 *
 * A sink's file fills in its functions, none of them NULL, and adds it: that is all that the rest
 * of the console ever knows of it.  A sink stays for ever.
 */
#ifndef SPILLWAY_HV_OPERATOR_SINK_H
#define SPILLWAY_HV_OPERATOR_SINK_H

#include "base/list.h"
#include "base/types.h"

enum sink_patience {
    SINK_NOW,   /* take what can be taken without waiting */
    SINK_WAIT,  /* take all, and wait for it; a dead sink drops it */
    SINK_PANIC, /* the same, but wait for no lock */
};

struct sink {
    struct list link; /* this and tail: the console's */
    uint64_t tail;    /* it has taken so many bytes of all that were ever shown */
    /* Takes bytes; how many.  RANK_CONSOLE is held, but not in a panic. */
    size_t (*take)(struct sink *sink, const char *text, size_t bytes, enum sink_patience patience);
    /* After it has taken what it could: is there more for it?  It calls console_drain() when it can
     * take that.  RANK_CONSOLE is held. */
    void (*expect)(struct sink *sink, bool more);
    /* Waits until all that it has taken is out. */
    void (*finish)(struct sink *sink);
    /* The machine ends: how, in the one line that was shown last. */
    void (*end)(struct sink *sink, const char *line);
};

/* From now on it is shown what is shown, and first what no sink has taken yet.  Any context. */
void console_add_sink(struct sink *sink);

#endif
