/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access rights of segments, as VMCS and VMCB have them: SDM Vol. 3C table 24-2 "Format of Access
 * Rights"; the bits of a descriptor, SDM Vol. 3A 3.4.5 "Segment Descriptors", from its byte 5 on.
 */
#ifndef SPILLWAY_ARCH_X86_HW_SEGMENT_H
#define SPILLWAY_ARCH_X86_HW_SEGMENT_H

#include "base/bits.h"

enum segment_index {
    /* instruction encoding order */
    SEG_ES,
    SEG_CS,
    SEG_SS,
    SEG_DS,
    SEG_FS,
    SEG_GS,
    SEG_LDTR,
    SEG_TR,
    SEG_COUNT,
};

#define SEGMENT_TYPE     BITS(3, 0)
#define SEGMENT_ACCESSED BIT(0)
#define SEGMENT_RW       BIT(1) /* data: writable; code: readable */
#define SEGMENT_DOWN     BIT(2) /* data: expands down; code: conforming */
#define SEGMENT_CODE     BIT(3)
#define SEGMENT_S        BIT(4) /* code or data */
#define SEGMENT_DPL      BITS(6, 5)
#define SEGMENT_PRESENT  BIT(7)
#define SEGMENT_LONG     BIT(13) /* L: 64-bit code */
#define SEGMENT_BIG      BIT(14) /* D/B: 32 bits */
#define SEGMENT_GRANULE  BIT(15) /* G: the limit counts pages */
#define SEGMENT_UNUSABLE BIT(16) /* not in a descriptor */
#define SEGMENT_VALID    (BITS(7, 0) | BITS(16, 12))

/* Present, accessed and writable or readable, ring 0, 16 bits. */
#define SEGMENT_DATA16 (SEGMENT_PRESENT | SEGMENT_S | SEGMENT_RW | SEGMENT_ACCESSED)
#define SEGMENT_CODE16 (SEGMENT_DATA16 | SEGMENT_CODE)
/* The same, flat. */
#define SEGMENT_DATA32 (SEGMENT_DATA16 | SEGMENT_BIG | SEGMENT_GRANULE)
#define SEGMENT_CODE32 (SEGMENT_CODE16 | SEGMENT_BIG | SEGMENT_GRANULE)
#define SEGMENT_CODE64 (SEGMENT_CODE16 | SEGMENT_LONG | SEGMENT_GRANULE)

/* Types of system segments: SDM Vol. 3A table 3-2 "System-Segment and Gate-Descriptor Types". */
#define TYPE_LDT    2u
#define TYPE_TSS_16 1u
#define TYPE_TSS_32 9u
#define TYPE_BUSY   2u /* with either TSS */

/* Descriptors of flat segments, ring 0, accessed. */
#define DESCRIPTOR_CODE32 0x00cf9b000000ffffull
#define DESCRIPTOR_CODE64 0x00af9b000000ffffull
#define DESCRIPTOR_DATA   0x00cf93000000ffffull

#define SEGMENT_TSS_BUSY (SEGMENT_PRESENT | TYPE_TSS_32 | TYPE_BUSY)

#endif
