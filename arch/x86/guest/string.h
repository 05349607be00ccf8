/* SPDX-License-Identifier: BSD-2-Clause */
/* String instructions with a device at one end (guest/string_io.c). */
#ifndef SPILLWAY_ARCH_X86_GUEST_STRING_H
#define SPILLWAY_ARCH_X86_GUEST_STRING_H

#include "arch/x86/guest/guest.h"

/*
 * MOVS, CMPS, STOS, LODS, SCAS with or without REP.  Registers are kept current after every
 * element, so it may stop anywhere: a bounded number per exit, or at an element that parks or
 * faults.
 */
enum exit_result guest_string_memory(struct guest_context *g, const struct instruction *in);

#endif
