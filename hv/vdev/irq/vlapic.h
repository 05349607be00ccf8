/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC of one vCPU, in software: xAPIC registers at the page that
 * IA32_APIC_BASE names, x2APIC registers as MSRs, and the timer.
 *
 * What other CPUs touch is atomic: an interrupt is delivered by setting a bit
 * of IRR (and TMR), then VCPU_INTERRUPT_IRR, then vcpu_notify(); no lock of the
 * target is taken.  ISR and the registers are written by the vCPU's own CPU
 * only.  The timer's state is under the APIC's lock (RANK_VLAPIC), since its
 * fire() may run on another CPU.
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_VLAPIC_H
#define SPILLWAY_HV_VDEV_IRQ_VLAPIC_H

#include "arch/x86/hw/apic.h"
#include "base/bits.h"
#include "base/types.h"
#include "mm/space/space.h"

struct vlapic;
struct vcpu;
struct vm;

/* An interrupt message: from an ICR, an IOAPIC pin or an MSI. */
struct vlapic_message {
    uint32_t destination; /* 0xff in xAPIC and IOAPIC messages, 0xffffffff in x2APIC: everyone */
    uint8_t vector;
    uint8_t delivery; /* enum apic_delivery */
    bool logical;
    bool level;  /* trigger mode: EOI is broadcast to the IOAPIC */
    bool x2apic; /* destination is 32 bits wide */
};

/* In reset state; also sets vcpu->msr_apic_base.  NULL: out of memory. */
struct vlapic *vlapic_create(struct vcpu *vcpu);
/* The vCPU is stopped.  NULL is allowed. */
void vlapic_destroy(struct vlapic *vlapic);
/* RESET, or INIT (init: keeps IA32_APIC_BASE and the APIC id).  Own CPU, or vCPU stopped. */
void vlapic_reset(struct vlapic *vlapic, bool init);

/* The vCPU runs on this CPU from now on, and while it sleeps: its timer runs here. */
void vlapic_begin_run(struct vlapic *vlapic);
/* It waits for a CPU or for memory, or is stopped: no timer runs for it. */
void vlapic_end_run(struct vlapic *vlapic);

/* Highest vector that may be delivered now (above PPR), or -1.  Own CPU; takes no lock. */
int vlapic_highest_pending(struct vlapic *vlapic);
/* The CPU takes that vector, which vlapic_highest_pending returned: IRR -> ISR.  Own CPU. */
void vlapic_accept(struct vlapic *vlapic, unsigned vector);

/* LINT0, to which INTR of the 8259s is wired, changes.  Any context, locks below RANK_SCHED. */
void vlapic_set_intr(struct vcpu *vcpu, bool level);
/* A pulse at LINT1, to which a PC wires its NMI button and its chipset's errors: what its LVT says
 * is delivered.  Any context, locks below RANK_SCHED. */
void vlapic_pulse_lint1(struct vcpu *vcpu);
/* Shall the CPU take the interrupt that INTR asks for: LINT0 is ExtINT, or the APIC is off?  It is
 * above all vectors of the APIC.  Own CPU; takes no lock. */
bool vlapic_extint_pending(const struct vlapic *vlapic);
/* As a PC's firmware leaves the boot CPU: software-enabled, INTR and NMI go through its LINT pins
 * (MultiProcessor Specification, "Virtual Wire Mode").  vCPU stopped. */
void vlapic_virtual_wire(struct vlapic *vlapic);

/* Sets the vector pending and wakes or kicks the vCPU.  Any context, locks below RANK_SCHED.
 * False: it is no vector, or the APIC is disabled. */
bool vlapic_deliver(struct vcpu *vcpu, unsigned vector, bool level);
/* Delivers to all vCPUs of the VM that the message names.  Same context.  Number of targets. */
unsigned vlapic_send(struct vm *vm, const struct vlapic_message *message);
/* As if the low half of an ICR said `icr`, to the APICs `first` + i of each bit i in the set.  Same
 * context.  Number of those that took it. */
unsigned vlapic_send_set(struct vm *vm, uint64_t first, uint64_t set, uint32_t icr);

/* MSRs of the local APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE, 0x800-0x8ff. */
bool vlapic_owns_msr(uint32_t msr);
/* Own CPU, no locks held.  False: #GP. */
bool vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
bool vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

/*
 * PV EOI (Linux, Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_EOI_EN"): a bit in guest memory says
 * that the guest may clear it instead of writing EOI.  It is set in the guest only, while one
 * vector is in service, edge-triggered, and no other is pending: then nobody needs to hear of the
 * EOI before the next exit.  The word's page is pinned while it is in use.
 *
 * WRMSR to MSR_KVM_EOI_EN.  MM_NO_MEMSLOT: bad address, #GP.  MM_WAIT: nothing has changed.  Own
 * CPU, no locks held.
 */
enum mm_result vlapic_eoi_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter);
/* Before an entry, when vcpu->eoi_word is not NULL and all that can be delivered is prepared. */
void vlapic_eoi_offer(struct vcpu *vcpu);
/* Behind the exit, when vcpu->eoi_offered. */
void vlapic_eoi_take(struct vcpu *vcpu);

/* CR8: bits 7:4 of TPR.  Own CPU. */
void vlapic_set_tpr(struct vlapic *vlapic, uint64_t cr8);
uint64_t vlapic_get_tpr(struct vlapic *vlapic);
/* The guest's TSC has jumped (IA32_TSC or TSC_ADJUST written): arms a TSC deadline again. */
void vlapic_tsc_changed(struct vcpu *vcpu);
/* IA32_TSC_DEADLINE as the guest reads it: 0 when not armed. */
uint64_t vlapic_tsc_deadline(struct vlapic *vlapic);

/* Is this vCPU's xAPIC page at that address (and its APIC in xAPIC mode)? */
bool vlapic_owns_mmio(const struct vcpu *vcpu, gpa_t address);
/* offset into the page; size 1, 2, 4, 8.  Own CPU, no locks held. */
uint64_t vlapic_mmio_read(struct vcpu *vcpu, unsigned offset, unsigned size);
void vlapic_mmio_write(struct vcpu *vcpu, unsigned offset, unsigned size, uint64_t value);

#endif
