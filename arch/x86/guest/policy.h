/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU that our guests have: host features, cut down to what works on both backends.
 *
 * Computed once, at the first use, from the host's CPUID, but for what a CPU shows only when its
 * components are enabled (guest_policy_judge_compact_form()); the same for every guest.  Pure
 * functions afterwards, any context.
 */
#ifndef SPILLWAY_ARCH_X86_GUEST_POLICY_H
#define SPILLWAY_ARCH_X86_GUEST_POLICY_H

#include "arch/x86/cpu.h"
#include "base/types.h"

#define POLICY_BASIC_LEAVES    0xe  /* 0 .. 0xd */
#define POLICY_BASIC_LAST      0x16 /* Intel; those behind the table are made by vCPU */
#define POLICY_EXTENDED_LEAVES 9    /* 0x80000000 .. 0x80000008 */
#define POLICY_XSAVE_LEAVES    19   /* 0xd: 0, 1, then one per state component up to 18 */
#define POLICY_CACHE_LEAVES    5    /* 4: caches, the last one empty */

/* CPUID of a guest, without what differs between vCPUs. */
struct guest_policy {
    struct cpuid_result basic[POLICY_BASIC_LEAVES]; /* subleaf 0 */
    struct cpuid_result extended[POLICY_EXTENDED_LEAVES];
    struct cpuid_result xsave[POLICY_XSAVE_LEAVES];
    struct cpuid_result cache[POLICY_CACHE_LEAVES];
    uint64_t cr4_allowed, efer_allowed, xcr0_allowed;
    unsigned physical_bits;
    bool amd; /* AMD or Hygon: decides which vendor MSRs exist */
    bool has_tsc_aux;
};

/* The same for every guest; made by whichever CPU asks first. */
const struct guest_policy *guest_policy(void);

/* Size of the XSAVE area for the components of `mask`; standard or compact form (SDM volume 1, 13.4
 * "XSAVE Area"). */
uint32_t guest_policy_xsave_bytes(uint64_t mask, bool compact);
/*
 * `bytes`: what the CPU says is the size of the compact form of all that guests may enable.  If it
 * is not what the manual's rules give, its XSAVEC is not to be relied upon, and guests do not get
 * it: that of Bochs 2.7 writes AVX state over the header.  Before any guest runs.
 */
void guest_policy_judge_compact_form(uint32_t bytes);

/* Width of a guest-physical address. */
static inline unsigned guest_physical_bits(void)
{
    return guest_policy()->physical_bits;
}

#endif
