/* SPDX-License-Identifier: BSD-2-Clause */
/* Task switches: the new task. */
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/task.h"

#define DR7_LOCALS (BIT(0) | BIT(2) | BIT(4) | BIT(6) | BIT(8))

/* ---- read: the registers of the new task ---- */

static void take_registers(struct task_switch *t, uint16_t selector[SEGMENTS], uint16_t *ldt)
{
    struct guest_registers *regs = &t->regs;
    const struct tss_16 *narrow = &t->tss.narrow;
    const struct tss_32 *wide = &t->tss.wide;

    *regs = t->g->vcpu->regs;
    regs->rip = t->wide_new ? wide->eip : narrow->ip;
    regs->rflags = t->wide_new ? wide->eflags : narrow->flags;
    for (unsigned i = 0; i < 8; i++) {
        regs->gpr[i] = t->wide_new ? wide->gpr[i] : narrow->gpr[i];
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        selector[i] = t->wide_new ? wide->segment[i].selector : i < 4 ? narrow->segment[i] : 0;
    }
    *ldt = t->wide_new ? wide->ldt.selector : narrow->ldt;
    regs->rflags = (regs->rflags & ~RFLAGS_RESERVED) | RFLAGS_FIXED;
    if (task_nests(t)) {
        regs->rflags |= RFLAGS_NT;
    }
}

/* PAE paging keeps four entries in the CPU: SDM volume 3, "PDPTE Registers". */
static enum guest_result load_pdptes(struct task_switch *t)
{
    struct guest_state *state = &t->now.state;
    struct vcpu *vcpu = t->g->vcpu;
    gpa_t at = gpa(state->cr3 & BITS(31, 5));
    enum mm_result read;

    if (!(state->cr4 & CR4_PAE)) {
        return GUEST_OK;
    }
    read = space_read(vcpu->space, at, state->pdpte, sizeof(state->pdpte), &vcpu->waiter);
    if (read == MM_NO_MEMSLOT) {
        memset(state->pdpte, 0, sizeof(state->pdpte));
        return GUEST_OK;
    }
    return guest_memory_result(vcpu, read, at, "page-directory-pointer table");
}

static enum guest_result switch_paging(struct task_switch *t)
{
    struct guest_state *state = &t->now.state;

    state->cr0 |= CR0_TS;
    state->dr7 &= ~DR7_LOCALS;
    if (!t->wide_new || !(state->cr0 & CR0_PG)) {
        return GUEST_OK;
    }
    state->cr3 = t->tss.wide.cr3;
    t->now.cached = 0;
    return load_pdptes(t);
}

/* ---- read: segments, in the new task's memory ---- */

static void keep_fault(struct task_switch *t, uint8_t vector, uint16_t error_code)
{
    if (!t->fault.valid) {
        t->fault = (struct guest_event){
            .valid = true,
            .vector = vector,
            .type = EVENT_EXCEPTION,
            .has_error_code = true,
            .error_code = error_code | task_external(&t->g->vcpu->event),
        };
    }
}

/* A #PF that a walk of the new task's tables has queued belongs to the new task. */
static enum guest_result keep_page_fault(struct task_switch *t, const struct guest_event *event,
                                         uint64_t cr2, enum guest_result result)
{
    struct vcpu *vcpu = t->g->vcpu;

    if (result != GUEST_FAULT) {
        return result;
    }
    if (!t->fault.valid) {
        t->fault = vcpu->event;
        t->regs.cr2 = vcpu->regs.cr2;
    }
    vcpu->event = *event;
    vcpu->regs.cr2 = cr2;
    return GUEST_OK;
}

static enum guest_result load_ldt(struct task_switch *t, uint16_t selector)
{
    struct guest_segment *ldt = &t->now.state.segment[SEG_LDTR];
    struct guest_segment found;
    enum guest_result result;
    uint64_t at;

    *ldt = (struct guest_segment){.selector = selector, .access = (uint32_t)SEGMENT_UNUSABLE};
    if ((selector & ~SELECTOR_RPL) == 0) {
        return GUEST_OK;
    }
    if (selector & SELECTOR_TI) {
        keep_fault(t, VECTOR_TS, selector & ~SELECTOR_RPL);
        return GUEST_OK;
    }
    result = guest_descriptor_read(&t->now, selector, &found, &at);
    if (result != GUEST_OK) {
        return result;
    }
    if (at == 0 || (found.access & (SEGMENT_S | SEGMENT_TYPE)) != TYPE_LDT ||
        !(found.access & SEGMENT_PRESENT)) {
        keep_fault(t, VECTOR_TS, selector & ~SELECTOR_RPL);
    } else {
        *ldt = found;
    }
    return GUEST_OK;
}

/* Virtual-8086 mode: SDM volume 3C, "Checks on Guest Segment Registers". */
static void load_v86(struct task_switch *t, const uint16_t selector[SEGMENTS])
{
    for (unsigned i = 0; i < SEGMENTS; i++) {
        t->now.state.segment[i] = (struct guest_segment){
            .selector = selector[i], .base = selector[i] << 4, .limit = 0xffff, .access = 0xf3};
    }
    t->now.cpl = 3;
}

/* After a fault the others have their selectors only. */
static enum guest_result load_segments(struct task_switch *t, const uint16_t selector[SEGMENTS])
{
    static const uint8_t order[SEGMENTS] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    uint8_t cpl = selector[SEG_CS] & SELECTOR_RPL;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        unsigned n = order[i];
        struct guest_segment *segment = &t->now.state.segment[n];
        struct segment_fault fault = {0};

        *segment =
            (struct guest_segment){.selector = selector[n], .access = (uint32_t)SEGMENT_UNUSABLE};
        if (!t->fault.valid) {
            enum guest_result result = guest_segment_load(&t->now, n, selector[n], cpl, VECTOR_TS,
                                                          segment, &fault, &t->accessed[n]);

            if (result != GUEST_OK) {
                return result;
            }
        }
        if (fault.vector != 0) {
            keep_fault(t, fault.vector, fault.error_code);
        }
    }
    t->now.cpl = cpl;
    return GUEST_OK;
}

/* VM entry wants a code and a stack segment that go together, whatever the fault was. */
static void mend_segments(struct task_switch *t)
{
    struct guest_segment *cs = &t->now.state.segment[SEG_CS];
    struct guest_segment *ss = &t->now.state.segment[SEG_SS];
    uint32_t dpl = (uint32_t)FIELD_PREP(SEGMENT_DPL, t->now.cpl);

    if (cs->access & SEGMENT_UNUSABLE) {
        cs->limit = 0;
        cs->access = 0x9b | dpl | (uint32_t)SEGMENT_BIG;
    }
    if (ss->access & SEGMENT_UNUSABLE) {
        ss->access |= dpl;
    }
}

/* ---- read: the error code's place ---- */

static enum guest_result place_error_code(struct task_switch *t)
{
    const struct guest_segment *ss = &t->now.state.segment[SEG_SS];
    uint64_t mask = (ss->access & SEGMENT_BIG) ? 0xffffffff : 0xffff;
    unsigned bytes = t->wide_new ? 4 : 2;
    uint64_t rsp = (t->regs.gpr[GPR_RSP] - bytes) & mask;
    struct guest_registers *regs = &t->g->vcpu->regs;
    uint64_t old_rflags = regs->rflags;
    enum guest_result result;
    gva_t linear;

    if (!t->g->vcpu->event.has_error_code || t->fault.valid) {
        return GUEST_OK;
    }
    regs->rflags = t->regs.rflags; /* whether it is virtual-8086 mode */
    result = guest_linear(&t->now, SEG_SS, rsp, bytes, ACCESS_WRITE, &linear);
    if (result == GUEST_OK) {
        result = guest_system_may_write(&t->now, linear.v, bytes);
    }
    regs->rflags = old_rflags;
    if (result == GUEST_OK) {
        t->push_at = linear.v;
        t->push_bytes = bytes;
        t->regs.gpr[GPR_RSP] = (t->regs.gpr[GPR_RSP] & ~mask) | rsp;
    }
    return result;
}

/* All that belongs to the new task. */
enum guest_result task_read_new(struct task_switch *t)
{
    struct vcpu *vcpu = t->g->vcpu;
    struct guest_event event = vcpu->event;
    uint64_t cr2 = vcpu->regs.cr2;
    uint16_t selector[SEGMENTS], ldt;
    enum guest_result result;

    take_registers(t, selector, &ldt);
    result = switch_paging(t);
    if (result == GUEST_OK) {
        result = keep_page_fault(t, &event, cr2, load_ldt(t, ldt));
    }
    if (result != GUEST_OK) {
        return result;
    }
    if (t->regs.rflags & RFLAGS_VM) {
        load_v86(t, selector);
    } else {
        result = keep_page_fault(t, &event, cr2, load_segments(t, selector));
        t->now.cpl = selector[SEG_CS] & SELECTOR_RPL;
        mend_segments(t);
    }
    if (result == GUEST_OK) {
        result = keep_page_fault(t, &event, cr2, place_error_code(t));
    }
    return result;
}
