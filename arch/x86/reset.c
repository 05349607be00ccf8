/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/reset.h"

#include <string.h>

#include "arch/x86/cpu.h"

#define REAL_LIMIT 0xffffu

#define RESET_SELECTOR 0xf000u
#define RESET_BASE     0xffff0000u
#define RESET_RIP      0xfff0u

void reset_registers(struct guest_registers *regs, struct guest_state *state)
{
    memset(regs, 0, sizeof(*regs));
    regs->gpr[GPR_RDX] = cpuid(1, 0).eax; /* the CPU's signature */
    regs->rip = RESET_RIP;
    regs->rflags = RFLAGS_FIXED;
    regs->dr6 = DR6_FIXED;

    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        state->segment[i] = (struct guest_segment){.limit = REAL_LIMIT, .access = SEGMENT_DATA16};
    }
    state->segment[SEG_CS] = (struct guest_segment){.base = RESET_BASE,
                                                    .limit = REAL_LIMIT,
                                                    .access = SEGMENT_CODE16,
                                                    .selector = RESET_SELECTOR};
    state->segment[SEG_LDTR].access = SEGMENT_PRESENT | TYPE_LDT;
    state->segment[SEG_TR].access = SEGMENT_TSS_BUSY;
    state->gdtr.limit = REAL_LIMIT;
    state->idtr.limit = REAL_LIMIT;
    state->cr0 = CR0_CD | CR0_NW | CR0_ET;
    state->dr7 = DR7_FIXED;
    state->pat = PAT_RESET;
}
