/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions run on this CPU and emulated on a device with the same contents: registers, flags
 * and bytes must agree.  The memory operand is based on RDI. */
#ifndef SPILLWAY_TESTS_UNIT_NATIVE_H
#define SPILLWAY_TESTS_UNIT_NATIVE_H

#include "arch/x86/cpu.h"
#include "hv/guest/vcpu.h"

#define NATIVE_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
/* Where the memory operand of 0x10(%rdi) is in the page. */
#define NATIVE_OPERAND 1040

struct native {
    uint64_t gpr[GPR_COUNT];
    uint64_t rflags;
    uint8_t ymm[16][32];
    uint64_t mm[8];
};

struct native_trial {
    const uint8_t *bytes;
    unsigned length;
    bool small;         /* registers have small values */
    unsigned count;     /* RCX; 0: whatever it is */
    uint64_t undefined; /* flags */
    bool vector;        /* vector registers are compared too */
    unsigned rounds;    /* 0: 12 */
    /* Changes what has been made up; `page` is the memory.  Returns more undefined flags, or ~0 to
     * leave this round out.  May be NULL. */
    uint64_t (*adjust)(struct native *n, uint8_t *page);
};

/* Group setup.  0: done. */
int native_setup(void **state);
/* Fails the test at a difference. */
void native_check(const struct native_trial *trial);
uint64_t native_random(void);
/* Where the page is. */
uint8_t *native_page(void);
/* arch_guest_mmio() at an access of the fake device. */
enum exit_result native_emulate(void);

#endif
