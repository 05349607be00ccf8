/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment descriptors of a guest, and loading of segment registers with the checks of protected
 * mode. */
#ifndef SPILLWAY_ARCH_X86_GUEST_SEGMENT_H
#define SPILLWAY_ARCH_X86_GUEST_SEGMENT_H

#include "arch/x86/guest/guest.h"
#include "arch/x86/hw/segment.h"

#define SELECTOR_RPL   3u
#define SELECTOR_TI    4u
#define SELECTOR_INDEX 0xfff8u

/* Byte of a descriptor that has type, S, DPL and P. */
#define DESCRIPTOR_ACCESS_BYTE 5u

/* The exception with which a load ends; in no way queued yet. */
struct segment_fault {
    uint8_t vector;
    uint16_t error_code;
};

/*
 * Reads or writes at most 128 bytes as the CPU does for itself: at privilege level 0.  Where
 * nothing is, ones are read and writes are lost.  As guest_translate(); a write that has to wait
 * may have been done in part, and is done again.
 */
enum guest_result guest_system_read(struct guest_context *g, uint64_t linear, void *to,
                                    unsigned bytes);
enum guest_result guest_system_write(struct guest_context *g, uint64_t linear, const void *from,
                                     unsigned bytes);
/* Translates it for writing, so that #PF comes before anything is changed. */
enum guest_result guest_system_may_write(struct guest_context *g, uint64_t linear, unsigned bytes);

/* The descriptor's segment.  *at: its linear address, 0 if the selector is beyond its table (then
 * *out is not set). */
enum guest_result guest_descriptor_read(struct guest_context *g, uint16_t selector,
                                        struct guest_segment *out, uint64_t *at);

/*
 * Loads `selector` for segment register `segment` (ES..GS) at privilege level `cpl` into *out, in
 * protected mode: SDM volume 3, "Type Checking" and "Privilege Checking".  Faults other than #NP
 * and #SS have the vector `vector`: fault->vector is 0 if there is none.  *accessed is the linear
 * address of the descriptor if its accessed bit has to be set, else 0.
 */
enum guest_result guest_segment_load(struct guest_context *g, unsigned segment, uint16_t selector,
                                     uint8_t cpl, uint8_t vector, struct guest_segment *out,
                                     struct segment_fault *fault, uint64_t *accessed);

#endif
