/* SPDX-License-Identifier: BSD-2-Clause */
/* struct guest_state <-> the guest-state area of the VMCS. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/vmx/vcpu.h"

#define TSS_BUSY_16 (SEGMENT_PRESENT | TYPE_TSS_16 | TYPE_BUSY)
#define TSS_IS_32   (TYPE_TSS_16 ^ TYPE_TSS_32)

#define LIMIT_LOW  BITS(11, 0)
#define LIMIT_HIGH BITS(31, 20)

/*
 * The guest owns PE, MP, EM, TS, WP, AM and PG: the CPU does for it what a change of them means,
 * EFER.LMA and PDPTEs included.  NE is fixed in VMX operation; CD and NW are not switched by exits
 * and would stay with the host.
 */
uint64_t vmx_cr0_mask(void)
{
    return CR0_NE | CR0_NW | CR0_CD;
}

/*
 * VMXE is fixed; what CPUID does not offer must raise #GP; MCE stays as the host has it, since a
 * machine check without it resets the machine.
 */
uint64_t vmx_cr4_mask(void)
{
    return ~guest_policy()->cr4_allowed | CR4_VMXE | CR4_MCE;
}

static void get_segment(struct guest_segment *to, uint32_t index)
{
    to->selector = (uint16_t)vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, index));
    to->base = vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, index));
    to->limit = (uint32_t)vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, index));
    to->access = (uint32_t)vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, index));
}

/* SDM Vol. 3C 26.3.1.2 "Checks on Guest Segment Registers": G says which limits there can be. */
static uint32_t checked_access(const struct guest_segment *segment, uint32_t index)
{
    uint32_t access = segment->access & (uint32_t)SEGMENT_VALID;

    if ((segment->limit & LIMIT_LOW) != LIMIT_LOW) {
        access &= ~(uint32_t)SEGMENT_GRANULE;
    } else if (segment->limit & LIMIT_HIGH) {
        access |= (uint32_t)SEGMENT_GRANULE;
    }
    if (index == SEG_TR) {
        /* Must be usable and, as after LTR, busy. */
        access = (access & (uint32_t)(SEGMENT_GRANULE | TSS_IS_32)) | (uint32_t)TSS_BUSY_16;
    } else if (!(access & SEGMENT_PRESENT)) {
        access |= (uint32_t)SEGMENT_UNUSABLE;
    }
    return access;
}

static void set_segment(const struct guest_segment *from, uint32_t index)
{
    vmcs_write_field(VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, index), from->selector);
    vmcs_write_field(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, index), from->base);
    vmcs_write_field(VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, index), from->limit);
    vmcs_write_field(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, index), checked_access(from, index));
}

/* Only PAE paging outside long mode uses them. */
static bool has_pdptes(const struct guest_state *state)
{
    return (state->cr0 & CR0_PG) && (state->cr4 & CR4_PAE) && !(state->efer & EFER_LMA);
}

void vmx_get_state(struct vcpu *vcpu, struct guest_state *state)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    bool borrowed = vmx_borrow(vmx);
    uint64_t cr0_mask = vmx_cr0_mask(), cr4_mask = vmx_cr4_mask();

    for (uint32_t i = 0; i < SEG_COUNT; i++) {
        get_segment(&state->segment[i], i);
    }
    state->gdtr.base = vmcs_read(VMCS_GUEST_GDTR_BASE);
    state->gdtr.limit = vmcs_read32(VMCS_GUEST_GDTR_LIMIT);
    state->idtr.base = vmcs_read(VMCS_GUEST_IDTR_BASE);
    state->idtr.limit = vmcs_read32(VMCS_GUEST_IDTR_LIMIT);
    state->cr0 = (vmcs_read(VMCS_GUEST_CR0) & ~cr0_mask) | (vmcs_read(VMCS_CR0_SHADOW) & cr0_mask);
    state->cr3 = vmcs_read(VMCS_GUEST_CR3);
    state->cr4 = (vmcs_read(VMCS_GUEST_CR4) & ~cr4_mask) | (vmcs_read(VMCS_CR4_SHADOW) & cr4_mask);
    state->efer = vmcs_read64(VMCS_GUEST_EFER);
    state->dr7 = vmcs_read(VMCS_GUEST_DR7);
    state->pat = vmcs_read64(VMCS_GUEST_PAT);
    for (uint32_t i = 0; has_pdptes(state) && i < ARRAY_SIZE(state->pdpte); i++) {
        state->pdpte[i] = vmcs_read_field(VMCS_GUEST_PDPTE0 + 2 * i);
    }
    vmx_return(vmx, borrowed);
}

static void set_control_registers(const struct guest_state *state)
{
    uint64_t host_cr4 = CR4_VMXE | (read_cr4() & CR4_MCE);
    uint32_t entry = vmcs_read32(VMCS_ENTRY_CONTROLS);

    vmcs_write(VMCS_CR0_SHADOW, state->cr0);
    vmcs_write(VMCS_GUEST_CR0, (state->cr0 & ~vmx_cr0_mask()) | CR0_NE | CR0_ET);
    vmcs_write(VMCS_GUEST_CR3, state->cr3);
    vmcs_write(VMCS_CR4_SHADOW, state->cr4);
    vmcs_write(VMCS_GUEST_CR4, (state->cr4 & ~vmx_cr4_mask()) | host_cr4);
    vmcs_write64(VMCS_GUEST_EFER, state->efer);
    entry &= ~(uint32_t)ENTRY_GUEST_64;
    entry |= (state->efer & EFER_LMA) ? (uint32_t)ENTRY_GUEST_64 : 0;
    vmcs_write32(VMCS_ENTRY_CONTROLS, entry);
}

void vmx_set_state(struct vcpu *vcpu, const struct guest_state *state)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    bool borrowed = vmx_borrow(vmx);

    for (uint32_t i = 0; i < SEG_COUNT; i++) {
        set_segment(&state->segment[i], i);
    }
    vmcs_write(VMCS_GUEST_GDTR_BASE, state->gdtr.base);
    vmcs_write32(VMCS_GUEST_GDTR_LIMIT, state->gdtr.limit);
    vmcs_write(VMCS_GUEST_IDTR_BASE, state->idtr.base);
    vmcs_write32(VMCS_GUEST_IDTR_LIMIT, state->idtr.limit);
    set_control_registers(state);
    vmcs_write(VMCS_GUEST_DR7, state->dr7);
    vmcs_write64(VMCS_GUEST_PAT, state->pat);
    for (uint32_t i = 0; has_pdptes(state) && i < ARRAY_SIZE(state->pdpte); i++) {
        vmcs_write_field(VMCS_GUEST_PDPTE0 + 2 * i, state->pdpte[i]);
    }
    vmx_return(vmx, borrowed);
}
