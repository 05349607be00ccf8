/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ticket spinlock with a rank.
 *
 * Interrupts are always off while the hypervisor runs, so a lock needs no
 * interrupt variant.  A CPU may take a lock only if its rank is greater than
 * that of every lock it holds; debug builds check that (spin_trylock is exempt:
 * it cannot wait).  docs/locking.md is the table of what each lock protects.
 */
#ifndef SPILLWAY_BASE_LOCK_H
#define SPILLWAY_BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Taken in this order, top to bottom. */
enum lock_rank {
    RANK_MONITOR,       /* hv: monitor command in progress */
    RANK_VM_LIST,       /* hv: list of VMs */
    RANK_VM,            /* hv: one VM's life-cycle state */
    RANK_VPCI,          /* hv: configuration space of a VM's PCI bus, and where its BARs are */
    RANK_VDEV,          /* hv: one virtual device of a VM (UART, virtio, ...) */
    RANK_VPCI_FUNCTION, /* hv: interrupts of one function of that bus */
    RANK_VTIMERS,       /* hv: the timer of a VM's devices */
    RANK_VCLOCK,      /* hv: one of the devices that interrupt by time: PIT, RTC, HPET, PM timer */
    RANK_VLINES,      /* hv: interrupt lines of a VM */
    RANK_VPIC,        /* hv: its 8259s, or its IOAPIC */
    RANK_VLAPIC,      /* hv: one vCPU's local APIC */
    RANK_VBUS,        /* hv: which devices are on one bus of a VM */
    RANK_VDISK,       /* hv: a guest's disk: its requests */
    RANK_SWITCH,      /* hv: a network switch's addresses, or one port's queue */
    RANK_SCHED,       /* hv: run queues */
    RANK_TIMER,       /* hv: one CPU's timer list */
    RANK_PAGER,       /* mm: the pager's own state; always by trylock */
    RANK_TMEM,        /* mm: one shard of a VM's tmem; held while its space is read or written */
    RANK_SPACE,       /* mm: one address space: tables, generation lists, counters */
    RANK_PAGE_IO,     /* mm: pool of page I/O requests and their waiters */
    RANK_STORE,       /* mm: slot map */
    RANK_FRAME_CACHE, /* mm: one CPU's cache of single frames */
    RANK_BUDDY,       /* mm: buddy free lists */
    RANK_BLOCK,       /* drivers: one block queue */
    RANK_NIC,         /* drivers: what one NIC sends */
    RANK_CONSOLE,     /* hv: console multiplexer */
    RANK_LOG,         /* hv: log ring */
    RANK_UART,        /* drivers: one UART */
};

struct spinlock {
    _Atomic uint32_t next;  /* ticket the next taker gets */
    _Atomic uint32_t owner; /* ticket that holds the lock */
    uint32_t rank;          /* enum lock_rank */
    const char *name;
};

#define SPINLOCK_INIT(lock_rank, lock_name)                                                        \
    {                                                                                              \
        0, 0, (lock_rank), (lock_name)                                                             \
    }

static inline void spin_init(struct spinlock *l, enum lock_rank rank, const char *name)
{
    atomic_init(&l->next, 0);
    atomic_init(&l->owner, 0);
    l->rank = rank;
    l->name = name;
}

/* This CPU, below 64; supplied by the environment (hv/machine/mm_env.c, tests/unit/support.c). */
unsigned lock_cpu_id(void);

#ifdef NDEBUG
static inline void lock_note_wait(const struct spinlock *l)
{
    (void)l;
}
static inline void lock_note_held(const struct spinlock *l)
{
    (void)l;
}
static inline void lock_note_release(const struct spinlock *l)
{
    (void)l;
}
#else
/* Rank checker, base/lock_debug.c: keeps the locks held by this CPU and panics when one is waited
 * for out of order. */
void lock_note_wait(const struct spinlock *l);
void lock_note_held(const struct spinlock *l);
void lock_note_release(const struct spinlock *l);
#endif

static inline void spin_lock(struct spinlock *l)
{
    lock_note_wait(l);
    uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
    /* Acquire: pairs with the release in spin_unlock of the previous holder. */
    while (atomic_load_explicit(&l->owner, memory_order_acquire) != ticket) {
        __builtin_ia32_pause();
    }
    lock_note_held(l);
}

static inline bool spin_trylock(struct spinlock *l)
{
    uint32_t owner = atomic_load_explicit(&l->owner, memory_order_acquire);
    uint32_t expected = owner;

    if (!atomic_compare_exchange_strong_explicit(&l->next, &expected, owner + 1,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return false;
    }
    lock_note_held(l);
    return true;
}

static inline void spin_unlock(struct spinlock *l)
{
    lock_note_release(l);
    uint32_t owner = atomic_load_explicit(&l->owner, memory_order_relaxed);
    atomic_store_explicit(&l->owner, owner + 1, memory_order_release);
}

#endif
