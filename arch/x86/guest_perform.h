/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs what guest_action.h describes.  All of them end in GUEST_OK with everything done but
 * RIP, or with nothing done. */
#ifndef SPILLWAY_ARCH_X86_GUEST_PERFORM_H
#define SPILLWAY_ARCH_X86_GUEST_PERFORM_H

#include "arch/x86/guest.h"
#include "arch/x86/guest_action.h"

/* `span`: the memory operand, prepared. */
enum guest_result guest_perform(struct guest_context *g, const struct instruction *in,
                                const struct action *a, const struct guest_span *span);

/* guest_perform_system.c */
enum guest_result perform_segment_load(struct guest_context *g, unsigned segment,
                                       uint16_t selector);
enum guest_result perform_system_load(struct guest_context *g, const struct action *a,
                                      uint16_t selector);
/* PUSH, CALL, JMP */
enum guest_result perform_branch(struct guest_context *g, const struct instruction *in,
                                 const struct action *a, const struct guest_span *span);
enum guest_result perform_pop(struct guest_context *g, const struct action *a,
                              const struct guest_span *span);

#endif
