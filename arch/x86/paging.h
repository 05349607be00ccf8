/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor's own address space.
 *
 *   0xffff800000000000  direct map: all RAM and the first 4 GiB, from the loader, writable, NX
 *   0xffffff0000000000  window: device registers (uncached) and stacks with guard pages; below
 *   0xffffffff80000000  the image, W^X by segment, from the loader
 *
 * The lower half is empty once the CPUs are up.  Table pages for the window come from a small
 * static pool; nothing is ever unmapped from it.  Boot CPU, boot time, except for paging_lookup.
 */
#ifndef SPILLWAY_ARCH_X86_PAGING_H
#define SPILLWAY_ARCH_X86_PAGING_H

#include "base/types.h"
#include "boot/handover.h"
#include "hv/arch.h"

#define PAGING_WINDOW_BASE 0xffffff0000000000ull

enum paging_kind {
    PAGING_MEMORY, /* write-back */
    PAGING_DEVICE, /* uncached */
};

/* Notes where image and RAM are.  Before all else here. */
void paging_init(const struct handover *handover);
/*
 * Maps [address, address + bytes) in the window, writable, NX, with an unmapped page before it.
 * NULL when the pool of tables is used up or the range wraps.
 */
volatile void *paging_map(hpa_t address, uint64_t bytes, enum paging_kind kind);
/* What a hypervisor address is mapped to; false: nothing.  Reads tables only: any context. */
bool paging_lookup(uint64_t va, hpa_t *address);
/* Physical address of something in the image (code, data, .bss). */
hpa_t paging_image_address(const void *p);
/* Is the whole range RAM or below 4 GiB, that is, in the direct map? */
bool paging_direct_covers(hpa_t address, uint64_t bytes);
/* Takes away the lower half; every CPU flushes its TLB afterwards by paging_flush(). */
void paging_remove_identity(void);
void paging_flush(void);
/* Panics if any page of the upper half is both writable and executable. */
void paging_check_wx(void);
/* CR3 of every CPU. */
uint64_t paging_root(void);

#endif
