/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/percpu.h"

#include "arch/x86/cpu.h"

extern uintptr_t __stack_chk_guard;

static struct percpu *percpu_table[MAX_CPUS];
static _Atomic unsigned count;

struct percpu *percpu_of(unsigned cpu)
{
    return cpu < MAX_CPUS ? percpu_table[cpu] : NULL;
}

void percpu_init(struct percpu *p, unsigned id, uint32_t apic_id, uint64_t stack_bottom,
                 uint64_t stack_top)
{
    p->self = p;
    p->id = id;
    p->apic_id = apic_id;
    p->stack_bottom = stack_bottom;
    p->stack_top = stack_top;
    p->canary = __stack_chk_guard;
    p->timer_deadline = UINT64_MAX;
    percpu_table[id] = p;
}

void percpu_load(struct percpu *p)
{
    wrmsr(MSR_GS_BASE, (uintptr_t)p);
    wrmsr(MSR_FS_BASE, (uintptr_t)p);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
}

void percpu_count_up(void)
{
    atomic_fetch_add(&count, 1);
}

unsigned arch_cpu_id(void)
{
    uint32_t id;

    __asm__ volatile("movl %%gs:8, %0" : "=r"(id));
    return id;
}

unsigned arch_cpu_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}
