/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries of page tables, and the error code of #PF: SDM Vol. 3A 4.5 "4-Level Paging and 5-Level
 * Paging". */
#ifndef SPILLWAY_ARCH_X86_HW_PAGING_H
#define SPILLWAY_ARCH_X86_HW_PAGING_H

#include "base/bits.h"

#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_U       BIT(2)
#define PTE_PWT     BIT(3)
#define PTE_PCD     BIT(4)
#define PTE_A       BIT(5)
#define PTE_D       BIT(6)
#define PTE_PS      BIT(7) /* PDE, PDPTE: a large page */
#define PTE_ADDRESS BITS(51, 12)
#define PTE_NX      BIT(63)

/* A memory type, as in EPT entries and EPTPs: SDM Vol. 3A 11.3 "Methods of Caching Available". */
#define MEMORY_TYPE_WB 6u

/* Error code of #PF, and of a nested page fault. */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)

#endif
