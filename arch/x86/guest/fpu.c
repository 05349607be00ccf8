/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/fpu.h"

#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "hv/guest/vcpu.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define FCW_RESET 0x0040u
#define FTW_RESET 0x00ffu /* abridged: every register is valid, as 5555H of the full word */

/*
 * SDM Vol. 1 13.4 "XSAVE Area".  FXSAVE and XSAVE leave bytes 464..511 to software.
 */
struct guest_xstate {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved_05;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16]; /* in the order of the stack */
    uint8_t xmm[16][16];
    uint8_t reserved_1a0[48];
    uint64_t frame; /* software: where this is */
    uint64_t software[5];
    uint64_t xstate_bv, xcomp_bv;
    uint64_t reserved_210[6];
    /* extended components follow, as CPUID leaf 0DH says */
};
_Static_assert(offsetof(struct guest_xstate, mxcsr) == 24, "SDM 13.4.1 Legacy Region");
_Static_assert(offsetof(struct guest_xstate, frame) == 464, "SDM 13.4.1 Legacy Region");
_Static_assert(offsetof(struct guest_xstate, xstate_bv) == XSAVE_LEGACY_BYTES,
               "SDM 13.4.2 XSAVE Header");
_Static_assert(sizeof(struct guest_xstate) == XSAVE_HEADER_END, "SDM 13.4.2 XSAVE Header");

static void xsave(struct guest_xstate *area, uint64_t mask)
{
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
                     : "memory");
}

static void xrstor(const struct guest_xstate *area, uint64_t mask)
{
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
                     : "memory");
}

static void fxsave(struct guest_xstate *area)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static void fxrstor(const struct guest_xstate *area)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* Everything that any guest may use; 0: this CPU has no XSAVE. */
static uint64_t components(void)
{
    return guest_policy()->xcr0_allowed;
}

void fpu_cpu_enable(void)
{
    uint64_t cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;

    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP);
    if (components() == 0) {
        write_cr4(cr4);
        return;
    }
    write_cr4(cr4 | CR4_OSXSAVE);
    xsetbv(0, components());
    guest_policy_judge_compact_form(cpuid(0xd, 1).ebx);
}

static unsigned area_order(void)
{
    return frame_order(components() == 0 ? XSAVE_LEGACY_BYTES : guest_policy()->xsave[0].ecx);
}

bool fpu_create(struct vcpu *vcpu)
{
    struct guest_xstate *area;
    pfn_t frame;

    if (!frame_alloc_zeroed(area_order(), ALLOC_META, 0, &frame)) {
        return false;
    }
    area = mm_frame_ptr(frame);
    area->fcw = FCW_RESET;
    area->ftw = FTW_RESET;
    area->mxcsr = MXCSR_RESET;
    area->frame = frame.v;
    area->xstate_bv = components() & (XCR0_X87 | XCR0_SSE);
    vcpu->fpu = area;
    vcpu->xcr0 = XCR0_X87;
    return true;
}

void fpu_destroy(struct vcpu *vcpu)
{
    if (vcpu->fpu != NULL) {
        frame_free(pfn(vcpu->fpu->frame));
        vcpu->fpu = NULL;
    }
}

void fpu_load(struct vcpu *vcpu)
{
    if (components() == 0) {
        fxrstor(vcpu->fpu);
        return;
    }
    /* With every component enabled, so that none keeps the state of another guest. */
    xsetbv(0, components());
    xrstor(vcpu->fpu, components());
    xsetbv(0, vcpu->xcr0);
}

void fpu_put(struct vcpu *vcpu)
{
    if (components() == 0) {
        fxsave(vcpu->fpu);
        return;
    }
    guest_store_xcr0(vcpu);
    /* A guest keeps what it has in a component that it has disabled. */
    xsetbv(0, components());
    xsave(vcpu->fpu, components());
}

/* ---- single registers ---- */

#define FSW_TOP     BITS(13, 11)
#define STACK_SIZE  8u
#define ST_EXPONENT 8 /* where it is in a register */

static uint8_t *upper_half(struct vcpu *vcpu, unsigned number)
{
    if (!(components() & XCR0_AVX)) {
        return NULL;
    }
    return (uint8_t *)vcpu->fpu + guest_policy()->xsave[2].ebx + 16 * number;
}

void fpu_get_register(struct vcpu *vcpu, bool mmx, unsigned number, uint8_t bytes[32])
{
    struct guest_xstate *area = vcpu->fpu;
    unsigned top;

    fpu_put(vcpu);
    memset(bytes, 0, 32);
    top = (unsigned)FIELD_GET(FSW_TOP, area->fsw);
    if (mmx) {
        memcpy(bytes, area->st[(number - top) % STACK_SIZE], 8);
    } else {
        memcpy(bytes, area->xmm[number], 16);
        if (upper_half(vcpu, number) != NULL) {
            memcpy(bytes + 16, upper_half(vcpu, number), 16);
        }
    }
    fpu_load(vcpu);
}

/* TOP becomes 0 and all tags valid: SDM volume 1, "The MMX State and MMX Register Aliasing". */
static void enter_mmx(struct guest_xstate *area)
{
    uint8_t old[8][16];
    unsigned top = (unsigned)FIELD_GET(FSW_TOP, area->fsw);

    memcpy(old, area->st, sizeof(old));
    for (unsigned i = 0; i < STACK_SIZE; i++) {
        memcpy(area->st[i], old[(i - top) % STACK_SIZE], sizeof(old[0]));
    }
    area->fsw &= (uint16_t)~FSW_TOP;
    area->ftw = 0xff;
}

void fpu_set_register(struct vcpu *vcpu, bool mmx, unsigned number, const uint8_t bytes[32])
{
    struct guest_xstate *area = vcpu->fpu;

    fpu_put(vcpu);
    if (mmx) {
        enter_mmx(area);
        memcpy(area->st[number], bytes, 8);
        memset(area->st[number] + ST_EXPONENT, 0xff, 2);
        area->xstate_bv |= components() & XCR0_X87;
    } else {
        memcpy(area->xmm[number], bytes, 16);
        area->xstate_bv |= components() & (XCR0_SSE | XCR0_AVX);
        if (upper_half(vcpu, number) != NULL) {
            memcpy(upper_half(vcpu, number), bytes + 16, 16);
        }
    }
    fpu_load(vcpu);
}

void fpu_clear_above(struct vcpu *vcpu, unsigned number)
{
    if (components() & XCR0_ZMM_HI256) {
        fpu_put(vcpu);
        memset((uint8_t *)vcpu->fpu + guest_policy()->xsave[6].ebx + 32 * number, 0, 32);
        fpu_load(vcpu);
    }
}

uint64_t fpu_xcr0(struct vcpu *vcpu)
{
    if (components() == 0) {
        return 0;
    }
    guest_store_xcr0(vcpu);
    return vcpu->xcr0;
}
