/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/fpu.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guest_paging.h"
#include "arch/x86/guest_policy.h"
#include "hv/vcpu.h"
#include "mm/env.h"
#include "mm/frame_alloc.h"

#define FCW_RESET   0x0040u
#define FTW_RESET   0x00ffu /* abridged: every register is valid, as 5555H of the full word */
#define MXCSR_RESET 0x1f80u

#define FXSAVE_BYTES 512u

/*
 * SDM Vol. 1 13.4 "XSAVE Area".  FXSAVE and XSAVE leave bytes 464..511 to software.
 */
struct guest_xstate {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved_05;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t registers[432];
    uint64_t frame; /* software: where this is */
    uint64_t software[5];
    uint64_t xstate_bv, xcomp_bv;
    uint64_t reserved_210[6];
    /* extended components follow, as CPUID leaf 0DH says */
};
_Static_assert(offsetof(struct guest_xstate, mxcsr) == 24, "SDM 13.4.1 Legacy Region");
_Static_assert(offsetof(struct guest_xstate, frame) == 464, "SDM 13.4.1 Legacy Region");
_Static_assert(offsetof(struct guest_xstate, xstate_bv) == 512, "SDM 13.4.2 XSAVE Header");
_Static_assert(sizeof(struct guest_xstate) == 576, "SDM 13.4.2 XSAVE Header");

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
}

static unsigned area_order(void)
{
    uint64_t bytes = components() == 0 ? FXSAVE_BYTES : guest_policy()->xsave[0].ecx;
    unsigned order = 0;

    while ((PAGE_SIZE << order) < bytes) {
        order++;
    }
    return order;
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
