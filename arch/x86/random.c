/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers for keys and canaries. */
#include "arch/x86/random.h"

#include <stdatomic.h>

#include "arch/x86/cpu.h"
#include "hv/arch.h"

#define TRIES                                                                                      \
    10 /* SDM Vol. 1 7.3.17.1 "RDRAND": a failure more than ten times in a row is a defect */

static _Atomic uint64_t state;

static bool rdseed(uint64_t *v)
{
    bool good;

    __asm__ volatile("rdseed %0" : "=r"(*v), "=@ccc"(good));
    return good;
}

static bool rdrand(uint64_t *v)
{
    bool good;

    __asm__ volatile("rdrand %0" : "=r"(*v), "=@ccc"(good));
    return good;
}

/* Finaliser of SplitMix64: every input bit reaches every output bit. */
__attribute__((no_stack_protector)) static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

__attribute__((no_stack_protector)) static uint64_t hardware_random(void)
{
    uint64_t v = 0;

    if (cpuid_checked(7, 0).ebx & CPUID_7_EBX_RDSEED) {
        for (unsigned i = 0; i < TRIES; i++) {
            if (rdseed(&v)) {
                return v;
            }
            cpu_pause();
        }
    }
    if (cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND) {
        for (unsigned i = 0; i < TRIES; i++) {
            if (rdrand(&v)) {
                return v;
            }
        }
    }
    return 0;
}

__attribute__((no_stack_protector)) uint64_t random_early(void)
{
    return mix(hardware_random() ^ mix(rdtsc()));
}

bool arch_has_random(void)
{
    return (cpuid_checked(7, 0).ebx & CPUID_7_EBX_RDSEED) || (cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND);
}

uint64_t arch_random(void)
{
    /* The state makes calls differ even without an instruction for it; odd constant: 2^64 / phi. */
    uint64_t before = atomic_fetch_add(&state, 0x9e3779b97f4a7c15ull + (rdtsc() << 1));

    return mix(before + mix(rdtsc())) ^ hardware_random();
}
