/* SPDX-License-Identifier: BSD-2-Clause */
/* The rank checker of base/lock.h: which locks each CPU holds. */
#include "base/lock.h"
#include "base/log.h"

#ifndef NDEBUG

#define CPUS     64u
#define HELD_MAX 80u /* a snapshot of the frame allocator holds one lock of each CPU */

/* Own CPU only: interrupts are off, and an NMI takes no lock. */
static struct {
    const struct spinlock *lock[HELD_MAX];
    unsigned count;
} __attribute__((aligned(64))) held[CPUS];

void lock_note_wait(const struct spinlock *l)
{
    unsigned cpu = lock_cpu_id();

    for (unsigned i = 0; i < held[cpu].count; i++) {
        const struct spinlock *other = held[cpu].lock[i];

        if (other->rank >= l->rank) {
            panic("lock order: CPU %u holds '%s' (rank %u) and waits for '%s' (rank %u)", cpu,
                  other->name, (unsigned)other->rank, l->name, (unsigned)l->rank);
        }
    }
}

void lock_note_held(const struct spinlock *l)
{
    unsigned cpu = lock_cpu_id();

    if (held[cpu].count == HELD_MAX) {
        panic("CPU %u holds %u locks and takes '%s'", cpu, HELD_MAX, l->name);
    }
    held[cpu].lock[held[cpu].count++] = l;
}

void lock_note_release(const struct spinlock *l)
{
    unsigned cpu = lock_cpu_id();

    for (unsigned i = held[cpu].count; i-- > 0;) {
        if (held[cpu].lock[i] == l) {
            held[cpu].lock[i] = held[cpu].lock[--held[cpu].count];
            return;
        }
    }
    panic("CPU %u releases '%s', which it does not hold", cpu, l->name);
}

#endif
