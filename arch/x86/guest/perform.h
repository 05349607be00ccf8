/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs what guest/action.h describes.  All of them end in GUEST_OK with everything done but
 * RIP, or with nothing done. */
#ifndef SPILLWAY_ARCH_X86_GUEST_PERFORM_H
#define SPILLWAY_ARCH_X86_GUEST_PERFORM_H

#include "arch/x86/guest/action.h"
#include "arch/x86/guest/guest.h"

/* `span`: the memory operand, prepared. */
enum guest_result guest_perform(struct guest_context *g, const struct instruction *in,
                                const struct action *a, const struct guest_span *span);

/* guest/perform_system.c */
enum guest_result perform_segment_load(struct guest_context *g, unsigned segment,
                                       uint16_t selector);
enum guest_result perform_system_load(struct guest_context *g, const struct action *a,
                                      uint16_t selector);
enum guest_result perform_far(struct guest_context *g, const struct instruction *in,
                              const struct action *a, const struct guest_span *span);

/* guest/stack.c: pushes a selector and an offset of that size, as CALL far does. */
enum guest_result guest_push_pair(struct guest_context *g, unsigned size, uint64_t rip,
                                  uint16_t selector);
/* Does it use the stack, or RIP?  `operand` is NULL if it has none in memory; then,
 * and otherwise too, GUEST_RETRY: nothing of it is on a device. */
bool guest_is_stack_action(const struct action *a);
enum guest_result guest_perform_stack(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, const struct guest_span *operand);

#endif
