/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data of each CPU's own.  GS points at it whenever hypervisor code runs (a backend restores it at
 * every exit), and so does FS: library code compiled for Linux reads the stack protector's canary
 * at %fs:0x28.
 *
 * Life cycle: the boot CPU's is static; the others' are in frames that arch/x86/smp.c allocates and
 * never frees.  Only the CPU itself writes to it, except for the fields marked otherwise.
 */
#ifndef SPILLWAY_ARCH_X86_PERCPU_H
#define SPILLWAY_ARCH_X86_PERCPU_H

#include <stdatomic.h>

#include "arch/x86/descriptors.h"
#include "arch/x86/idt.h"
#include "base/types.h"
#include "hv/arch.h"

#define IST_STACK_BYTES 8192

struct percpu {
    struct percpu *self; /* %gs:0 */
    uint32_t id;         /* %gs:8 */
    uint32_t apic_id;
    uint64_t stack_bottom;   /* of the main stack: what a backtrace may touch */
    uint64_t stack_top;      /* highest address + 1 */
    uint64_t reserved_20;    /* offset 0x20 */
    uint64_t canary;         /* offset 0x28, see above */
    uint64_t timer_deadline; /* clock time the APIC timer is armed for; UINT64_MAX: not armed */
    struct interrupt_frame *fault; /* the exception being reported, or NULL */
    _Atomic bool up;               /* set by the CPU, read by the boot CPU */
    _Atomic bool stopped;          /* halted by panic; `stop_frame` is valid */
    uint64_t start_tsc;            /* TSC when it came up */
    uint64_t nmis;                 /* NMIs that nobody asked for */
    uint64_t spurious;             /* interrupts without a handler */
    struct interrupt_frame stop_frame;
    struct cpu_tables tables;
    uint8_t ist_stack[IST_COUNT][IST_STACK_BYTES] __attribute__((aligned(16)));
};
_Static_assert(offsetof(struct percpu, self) == 0, "percpu_self() reads %gs:0");
_Static_assert(offsetof(struct percpu, id) == 8, "arch_cpu_id() reads %gs:8");
_Static_assert(offsetof(struct percpu, canary) == 0x28,
               "the psABI's stack protector reads %fs:0x28");

static inline struct percpu *percpu_self(void)
{
    struct percpu *p;

    __asm__ volatile("movq %%gs:0, %0" : "=r"(p));
    return p;
}

/* That CPU's, or NULL if it never came up. */
struct percpu *percpu_of(unsigned cpu);
/* Makes `p` known as CPU `id` and fills in what is constant.  Boot CPU. */
void percpu_init(struct percpu *p, unsigned id, uint32_t apic_id, uint64_t stack_bottom,
                 uint64_t stack_top);
/* Points GS and FS of this CPU at it. */
void percpu_load(struct percpu *p);
/* CPU `id` is up: arch_cpu_count() covers it. */
void percpu_count_up(void);

#endif
