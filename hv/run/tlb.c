/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/tlb.h"

#include <stdatomic.h>

#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "mm/env.h"
#include "mm/space/space.h"

/* The space and generation with which each CPU's hardware may be translating right now. */
static struct {
    _Atomic(struct space *) space; /* NULL: not in a guest */
    _Atomic uint64_t gen;          /* flushed for this generation */
} __attribute__((aligned(64))) guest_on[MAX_CPUS];

bool tlb_enter(struct vcpu *vcpu)
{
    unsigned cpu = arch_cpu_id();

    atomic_store_explicit(&guest_on[cpu].gen, 0, memory_order_relaxed);
    /* Sequentially consistent: the space is published before the generation is read.  Pairs with
     * the shootdown, which raises the generation before it looks who is in a guest. */
    atomic_store(&guest_on[cpu].space, vcpu->space);
    uint64_t gen = atomic_load(space_flush_gen(vcpu->space));
    bool flush = gen != vcpu->tlb_gen || cpu != vcpu->tlb_cpu;

    vcpu->tlb_gen = gen;
    vcpu->tlb_cpu = cpu;
    /* Release: whoever reads this generation may rely on the flush that the caller is about to do,
     * since nothing of the guest runs before it. */
    atomic_store_explicit(&guest_on[cpu].gen, gen, memory_order_release);
    return flush;
}

void tlb_leave(void)
{
    atomic_store_explicit(&guest_on[arch_cpu_id()].space, NULL, memory_order_release);
}

static bool may_use_older(unsigned cpu, struct space *space, uint64_t gen)
{
    return atomic_load(&guest_on[cpu].space) == space && atomic_load(&guest_on[cpu].gen) < gen;
}

void mm_tlb_shootdown(struct space *space)
{
    uint64_t gen = atomic_fetch_add(space_flush_gen(space), 1) + 1;
    unsigned self = arch_cpu_id();

    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        if (cpu != self && may_use_older(cpu, space, gen)) {
            arch_cpu_kick(cpu);
        }
    }
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        while (cpu != self && may_use_older(cpu, space, gen)) {
            __builtin_ia32_pause();
        }
    }
}
