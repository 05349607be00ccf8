/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access to the CPU's registers and its privileged instructions, inline.  No state.  Registers,
 * their bits and numbers stand in arch/x86/hw/, VMCS fields and VMCB offsets in the backends.
 */
#ifndef SPILLWAY_ARCH_X86_CPU_H
#define SPILLWAY_ARCH_X86_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86/hw/cpuid.h"
#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/paging.h"
#include "arch/x86/hw/registers.h"
#include "arch/x86/hw/vector.h"
#include "base/bits.h"

/* ---- access ---- */

static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint32_t cpuid_max_leaf(void)
{
    return cpuid(0, 0).eax;
}

static inline uint32_t cpuid_max_extended_leaf(void)
{
    uint32_t max = cpuid(0x80000000, 0).eax;

    return max >= 0x80000000 ? max : 0;
}

/* All zero for a leaf that the CPU does not have (Intel answers those with another leaf's data). */
static inline struct cpuid_result cpuid_checked(uint32_t leaf, uint32_t subleaf)
{
    uint32_t max = leaf >= 0x80000000 ? cpuid_max_extended_leaf() : cpuid_max_leaf();

    return leaf <= max ? cpuid(leaf, subleaf) : (struct cpuid_result){0, 0, 0, 0};
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

#define CPU_REGISTER_ACCESS(name)                                                                  \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory");                            \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##name(uint64_t v)                                                    \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");                                \
    }
CPU_REGISTER_ACCESS(cr0)
CPU_REGISTER_ACCESS(cr2)
CPU_REGISTER_ACCESS(cr3)
CPU_REGISTER_ACCESS(cr4)
CPU_REGISTER_ACCESS(cr8)
CPU_REGISTER_ACCESS(dr0)
CPU_REGISTER_ACCESS(dr1)
CPU_REGISTER_ACCESS(dr2)
CPU_REGISTER_ACCESS(dr3)
CPU_REGISTER_ACCESS(dr6)
CPU_REGISTER_ACCESS(dr7)
#undef CPU_REGISTER_ACCESS

static inline uint16_t read_cs(void)
{
    uint16_t v;
    __asm__ volatile("mov %%cs, %0" : "=r"(v));
    return v;
}

static inline uint16_t read_ss(void)
{
    uint16_t v;
    __asm__ volatile("mov %%ss, %0" : "=r"(v));
    return v;
}

static inline uint16_t read_tr(void)
{
    uint16_t v;
    __asm__ volatile("str %0" : "=r"(v));
    return v;
}

static inline uint64_t read_rflags(void)
{
    uint64_t v;
    __asm__ volatile("pushfq; popq %0" : "=r"(v) : : "memory");
    return v;
}

/* CR4.OSXSAVE must be set. */
static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv"
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Reads the TSC behind all earlier instructions: LFENCE waits for them. */
static inline uint64_t rdtsc_ordered(void)
{
    __asm__ volatile("lfence" : : : "memory");
    return rdtsc();
}

/* Operand of LGDT, LIDT, SGDT, SIDT. */
struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct descriptor_pointer) == 10, "SDM 2.4 Memory-Management Registers");

static inline void lgdt(const struct descriptor_pointer *p)
{
    __asm__ volatile("lgdt %0" : : "m"(*p) : "memory");
}

static inline void lidt(const struct descriptor_pointer *p)
{
    __asm__ volatile("lidt %0" : : "m"(*p) : "memory");
}

static inline struct descriptor_pointer sgdt(void)
{
    struct descriptor_pointer p;
    __asm__ volatile("sgdt %0" : "=m"(p));
    return p;
}

static inline struct descriptor_pointer sidt(void)
{
    struct descriptor_pointer p;
    __asm__ volatile("sidt %0" : "=m"(p));
    return p;
}

static inline void lldt(uint16_t selector)
{
    __asm__ volatile("lldt %0" : : "r"(selector) : "memory");
}

static inline void ltr(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void cpu_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void cpu_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void cpu_hlt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

static inline void cpu_pause(void)
{
    __builtin_ia32_pause();
}

/* For ever; an NMI does not end it. */
static inline _Noreturn void cpu_halt_forever(void)
{
    for (;;) {
        cpu_cli();
        cpu_hlt();
    }
}

#endif
