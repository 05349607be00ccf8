/* SPDX-License-Identifier: BSD-2-Clause */
/* struct guest_state <-> the state save area of the VMCB. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/svm/vcpu.h"

/* The VMCB's attributes lack the gap at bits 11:8 that descriptors and the VMCS have. */
#define ATTRIBUTES_LOW  BITS(7, 0)
#define ATTRIBUTES_HIGH BITS(11, 8)
#define ACCESS_HIGH     BITS(15, 12)

static struct vmcb_segment *segment_of(struct vmcb_save *save, unsigned index)
{
    static const uint16_t at[SEG_COUNT] = {
        [SEG_ES] = offsetof(struct vmcb_save, es),     [SEG_CS] = offsetof(struct vmcb_save, cs),
        [SEG_SS] = offsetof(struct vmcb_save, ss),     [SEG_DS] = offsetof(struct vmcb_save, ds),
        [SEG_FS] = offsetof(struct vmcb_save, fs),     [SEG_GS] = offsetof(struct vmcb_save, gs),
        [SEG_LDTR] = offsetof(struct vmcb_save, ldtr), [SEG_TR] = offsetof(struct vmcb_save, tr),
    };

    return (struct vmcb_segment *)((char *)save + at[index]);
}

static void get_segment(struct guest_segment *to, const struct vmcb_segment *from)
{
    uint32_t attributes = from->attributes;

    to->selector = from->selector;
    to->base = from->base;
    to->limit = from->limit;
    to->access = (uint32_t)((attributes & ATTRIBUTES_LOW) |
                            FIELD_PREP(ACCESS_HIGH, FIELD_GET(ATTRIBUTES_HIGH, attributes)));
    if (!(attributes & SEGMENT_PRESENT)) {
        to->access |= (uint32_t)SEGMENT_UNUSABLE; /* the VMCB has no bit for it */
    }
}

static void set_segment(struct vmcb_segment *to, const struct guest_segment *from)
{
    uint32_t access = from->access;

    if (access & SEGMENT_UNUSABLE) {
        access &= ~(uint32_t)SEGMENT_PRESENT;
    }
    to->selector = from->selector;
    to->base = from->base;
    to->limit = from->limit;
    to->attributes = (uint16_t)((access & ATTRIBUTES_LOW) |
                                FIELD_PREP(ATTRIBUTES_HIGH, FIELD_GET(ACCESS_HIGH, access)));
}

/* LMA is LME and PG: APM 14.6.1 "Activating Long Mode".  Bochs (2.7) has already cleared it when it
 * exits for the MOV to CR0 that would end long mode. */
static uint64_t efer_of(const struct vmcb_save *save)
{
    uint64_t efer = save->efer & ~(uint64_t)(EFER_SVME | EFER_LMA);

    return efer | ((efer & EFER_LME) && (save->cr0 & CR0_PG) ? EFER_LMA : 0);
}

void svm_get_state(struct vcpu *vcpu, struct guest_state *state)
{
    const struct svm_vcpu *svm = svm_of(vcpu);
    struct vmcb_save *save = &svm->vmcb->save;

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        get_segment(&state->segment[i], segment_of(save, i));
    }
    /* SYSRET to compatibility mode and the like leave another DPL in SS than the CPL. */
    state->segment[SEG_SS].access &= ~(uint32_t)SEGMENT_DPL;
    state->segment[SEG_SS].access |= (uint32_t)FIELD_PREP(SEGMENT_DPL, save->cpl);
    state->gdtr = (struct guest_table_register){save->gdtr.base, save->gdtr.limit};
    state->idtr = (struct guest_table_register){save->idtr.base, save->idtr.limit};
    state->cr0 = save->cr0 | svm->cr0_hidden;
    state->cr3 = save->cr3;
    state->cr4 = save->cr4;
    state->efer = efer_of(save);
    state->dr7 = save->dr7;
    state->pat = save->pat;
}

/*
 * CD and NW, which are set after RESET, would make everything that the guest does uncached: APM
 * 15.25.8 "Combining Nested and Guest Memory Types".  The guest does not get them, and as long as
 * it believes to have them, reads of CR0 exit.
 */
static void set_cr0(struct svm_vcpu *svm, uint64_t value)
{
    svm->cr0_hidden = value & (CR0_CD | CR0_NW);
    svm->vmcb->save.cr0 = value & ~svm->cr0_hidden;
    if (svm->cr0_hidden != 0) {
        svm->vmcb->control.intercept_cr_read |= INTERCEPT_CR0;
    } else {
        svm->vmcb->control.intercept_cr_read &= (uint16_t)~INTERCEPT_CR0;
    }
}

void svm_set_state(struct vcpu *vcpu, const struct guest_state *state)
{
    struct svm_vcpu *svm = svm_of(vcpu);
    struct vmcb_save *save = &svm->vmcb->save;

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        set_segment(segment_of(save, i), &state->segment[i]);
    }
    /* TR goes back as it was saved: the QEMU emulator saves a TSS that LTR loaded as "available"
     * and refuses ring 3 its ports if it finds "busy" there. */
    save->cpl = guest_privilege_level(state, vcpu->regs.rflags);
    save->gdtr.base = state->gdtr.base;
    save->gdtr.limit = state->gdtr.limit;
    save->idtr.base = state->idtr.base;
    save->idtr.limit = state->idtr.limit;
    set_cr0(svm, state->cr0);
    save->cr3 = state->cr3;
    save->cr4 = state->cr4;
    save->efer = state->efer | EFER_SVME; /* VMRUN insists on it */
    save->dr7 = state->dr7;
    save->pat = state->pat;
    svm->clean = 0;
}
