/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Distinct types for distinct addresses.
 *
 * A guest-physical address, a host-physical address, a frame number and a
 * pointer are all 64 bits wide and none may be used for another.  Each is a
 * one-member struct: same machine code, but the compiler refuses a mix-up.
 */
#ifndef SPILLWAY_BASE_TYPES_H
#define SPILLWAY_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define NS_PER_S 1000000000ull

typedef struct {
    uint64_t v;
} hpa_t; /* host-physical byte address */

typedef struct {
    uint64_t v;
} gpa_t; /* guest-physical byte address */

typedef struct {
    uint64_t v;
} gva_t; /* guest-virtual (linear) byte address */

typedef struct {
    uint64_t v;
} pfn_t; /* host-physical 4 KiB frame number */

typedef struct {
    uint64_t v;
} gfn_t; /* guest-physical 4 KiB frame number */

static inline hpa_t hpa(uint64_t v)
{
    return (hpa_t){v};
}

static inline gpa_t gpa(uint64_t v)
{
    return (gpa_t){v};
}

static inline gva_t gva(uint64_t v)
{
    return (gva_t){v};
}

static inline pfn_t pfn(uint64_t v)
{
    return (pfn_t){v};
}

static inline gfn_t gfn(uint64_t v)
{
    return (gfn_t){v};
}

static inline pfn_t hpa_to_pfn(hpa_t a)
{
    return (pfn_t){a.v >> PAGE_SHIFT};
}

static inline hpa_t pfn_to_hpa(pfn_t p)
{
    return (hpa_t){p.v << PAGE_SHIFT};
}

static inline gfn_t gpa_to_gfn(gpa_t a)
{
    return (gfn_t){a.v >> PAGE_SHIFT};
}

static inline gpa_t gfn_to_gpa(gfn_t g)
{
    return (gpa_t){g.v << PAGE_SHIFT};
}

/* How a guest's memory is accessed; the bits are those of the exit qualification for EPT violations
 * (SDM Vol. 3C table 27-7). */
#define ACCESS_READ  1u
#define ACCESS_WRITE 2u
#define ACCESS_EXEC  4u

#endif
