/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task switches, which VMX leaves to us: SDM volume 3, "Task Switching", and volume 3C, "Treatment
 * of Task Switches".
 *
 *     read     new TSS, LDT and segment descriptors, where the error code goes: all that may have
 *              to wait for memory, or fault in the old task.  Faults of the new task are kept
 *     write    link, old TSS, accessed bits, error code, busy bits.  Each of them may wait, and is
 *              then written again with the same bytes.  The new task's busy bit comes last: with
 *              it set, the switch could not be made again
 *     commit   registers; the event has been delivered, a kept fault is pending
 */
#include "arch/x86/guest/task.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guest/event.h"
#include "arch/x86/guest/paging.h"

/* ---- faults of the old task ---- */

static bool contributes(uint8_t vector)
{
    return (BIT(VECTOR_DE) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP)) >>
               vector &
           1;
}

/* The event that the switch was to deliver cannot be: SDM volume 3, "Interrupt 8 - Double Fault".
 */
static bool doubles(const struct guest_event *first, uint8_t second)
{
    if (!first->valid || first->type != EVENT_EXCEPTION) {
        return false;
    }
    return (contributes(first->vector) && contributes(second)) ||
           (first->vector == VECTOR_PF && (contributes(second) || second == VECTOR_PF));
}

static enum guest_result raise(struct task_switch *t, uint8_t vector, uint16_t selector)
{
    struct vcpu *vcpu = t->g->vcpu;
    uint32_t error = (selector & ~SELECTOR_RPL) | task_external(&vcpu->event);

    if (doubles(&vcpu->event, vector)) {
        vector = VECTOR_DF;
        error = 0;
    }
    vcpu_inject_fault(vcpu, vector, error);
    return GUEST_FAULT;
}

/* A walk has raised #PF over the event. */
static enum guest_result settle(struct task_switch *t, const struct guest_event *event,
                                enum guest_result result)
{
    if (result == GUEST_FAULT && doubles(event, VECTOR_PF)) {
        vcpu_inject_fault(t->g->vcpu, VECTOR_DF, 0);
    }
    return result;
}

/* ---- read: the task states ---- */

static enum guest_result find_old(struct task_switch *t)
{
    const struct guest_segment *tr = &t->g->state.segment[SEG_TR];
    uint64_t offset = tr->selector & SELECTOR_INDEX;

    t->wide_old = (tr->access & SEGMENT_TYPE & ~(uint64_t)TYPE_BUSY) == TYPE_TSS_32;
    t->old_base = tr->base;
    t->old_descriptor = t->g->state.gdtr.base + offset;
    t->old_access = (uint8_t)(tr->access & ~(uint32_t)TYPE_BUSY);
    return guest_system_may_write(t->g, t->old_base,
                                  t->wide_old ? sizeof(struct tss_32) : sizeof(struct tss_16));
}

/* An IRET goes back to a task that is busy, everything else to one that is not. */
static enum guest_result find_new(struct task_switch *t)
{
    struct guest_segment *tr = &t->now.state.segment[SEG_TR];
    uint16_t selector = t->exit->task.selector;
    bool back = t->exit->task.reason == TASK_IRET;
    uint8_t vector = back ? VECTOR_TS : VECTOR_GP;
    enum guest_result result;
    unsigned type;

    if (selector & SELECTOR_TI) {
        return raise(t, vector, selector);
    }
    result = guest_descriptor_read(t->g, selector, tr, &t->new_descriptor);
    if (result != GUEST_OK) {
        return result;
    }
    if ((selector & SELECTOR_INDEX) == 0 || t->new_descriptor == 0) {
        return raise(t, vector, selector);
    }
    type = tr->access & SEGMENT_TYPE;
    if ((tr->access & SEGMENT_S) || (type & ~TYPE_BUSY & ~8u) != TYPE_TSS_16 ||
        ((type & TYPE_BUSY) != 0) != back) {
        return raise(t, vector, selector);
    }
    if (!(tr->access & SEGMENT_PRESENT)) {
        return raise(t, VECTOR_NP, selector);
    }
    t->wide_new = (type & 8) != 0;
    if (tr->limit < (t->wide_new ? sizeof(struct tss_32) : sizeof(struct tss_16)) - 1) {
        return raise(t, VECTOR_TS, selector);
    }
    tr->access |= TYPE_BUSY;
    t->new_access = (uint8_t)tr->access;
    t->new_base = tr->base;
    result = guest_system_read(t->g, t->new_base, &t->tss,
                               t->wide_new ? sizeof(struct tss_32) : sizeof(struct tss_16));
    if (result == GUEST_OK && task_nests(t)) {
        result = guest_system_may_write(t->g, t->new_base, sizeof(t->link));
    }
    return result;
}

/* ---- write ---- */

static uint64_t return_address(const struct task_switch *t)
{
    const struct guest_event *event = &t->g->vcpu->event;
    unsigned length = t->exit->length;

    if (t->exit->task.reason == TASK_GATE) {
        length = event->valid && event->type >= EVENT_SOFTWARE_INTERRUPT ? event->length : 0;
    }
    return (t->g->vcpu->regs.rip + length) & 0xffffffff;
}

static uint64_t saved_flags(const struct task_switch *t)
{
    const struct guest_event *event = &t->g->vcpu->event;
    uint64_t rflags = t->g->vcpu->regs.rflags;

    if (t->exit->task.reason == TASK_IRET) {
        rflags &= ~RFLAGS_NT;
    }
    if (event->valid && event->type == EVENT_EXCEPTION && (VECTORS_FAULTS >> event->vector & 1)) {
        rflags |= RFLAGS_RF;
    }
    return rflags;
}

static enum guest_result save_wide(struct task_switch *t)
{
    const struct guest_registers *regs = &t->g->vcpu->regs;
    struct tss_32 tss = {.eip = (uint32_t)return_address(t), .eflags = (uint32_t)saved_flags(t)};
    unsigned from = offsetof(struct tss_32, eip);

    for (unsigned i = 0; i < 8; i++) {
        tss.gpr[i] = (uint32_t)regs->gpr[i];
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        tss.segment[i].selector = t->g->state.segment[i].selector;
    }
    return guest_system_write(t->g, t->old_base + from, (const uint8_t *)&tss + from,
                              offsetof(struct tss_32, ldt) - from);
}

static enum guest_result save_narrow(struct task_switch *t)
{
    const struct guest_registers *regs = &t->g->vcpu->regs;
    struct tss_16 tss = {.ip = (uint16_t)return_address(t), .flags = (uint16_t)saved_flags(t)};
    unsigned from = offsetof(struct tss_16, ip);

    for (unsigned i = 0; i < 8; i++) {
        tss.gpr[i] = (uint16_t)regs->gpr[i];
    }
    for (unsigned i = 0; i < ARRAY_SIZE(tss.segment); i++) {
        tss.segment[i] = t->g->state.segment[i].selector;
    }
    return guest_system_write(t->g, t->old_base + from, (const uint8_t *)&tss + from,
                              offsetof(struct tss_16, ldt) - from);
}

static enum guest_result set_accessed(struct task_switch *t)
{
    enum guest_result result = GUEST_OK;

    for (unsigned i = 0; i < SEGMENTS && result == GUEST_OK; i++) {
        uint64_t at = t->accessed[i] + DESCRIPTOR_ACCESS_BYTE;
        uint8_t byte = (uint8_t)t->now.state.segment[i].access;

        if (t->accessed[i] != 0) {
            result = guest_system_write(&t->now, at, &byte, sizeof(byte));
        }
    }
    return result;
}

static enum guest_result set_busy(struct task_switch *t)
{
    enum guest_result result = GUEST_OK;

    if (!task_nests(t)) {
        result = guest_system_write(t->g, t->old_descriptor + DESCRIPTOR_ACCESS_BYTE,
                                    &t->old_access, sizeof(t->old_access));
    }
    if (result == GUEST_OK && t->exit->task.reason != TASK_IRET) {
        result = guest_system_write(t->g, t->new_descriptor + DESCRIPTOR_ACCESS_BYTE,
                                    &t->new_access, sizeof(t->new_access));
    }
    return result;
}

static enum guest_result write_all(struct task_switch *t)
{
    uint16_t link = t->g->state.segment[SEG_TR].selector;
    enum guest_result result = GUEST_OK;

    if (task_nests(t)) {
        result = guest_system_write(t->g, t->new_base, &link, sizeof(link));
    }
    if (result == GUEST_OK) {
        result = t->wide_old ? save_wide(t) : save_narrow(t);
    }
    if (result == GUEST_OK) {
        result = set_accessed(t);
    }
    if (result == GUEST_OK && t->push_bytes != 0) {
        result =
            guest_system_write(&t->now, t->push_at, &t->g->vcpu->event.error_code, t->push_bytes);
    }
    return result == GUEST_OK ? set_busy(t) : result;
}

/* ---- commit ---- */

static void commit(struct task_switch *t)
{
    struct vcpu *vcpu = t->g->vcpu;
    bool nmi = vcpu->event.valid && vcpu->event.type == EVENT_NMI;

    if (t->now.state.cr3 != t->g->state.cr3) {
        guest_flush_translations(vcpu);
    }
    vcpu->event.valid = false;
    vcpu->regs.rflags &= ~RFLAGS_TF; /* no step ends here */
    arch_backend()->clear_shadow(vcpu);
    if (nmi || t->exit->task.reason == TASK_IRET) {
        arch_backend()->set_nmi_masked(vcpu, nmi);
    }
    vcpu->regs = t->regs;
    arch_backend()->set_state(vcpu, &t->now.state);
    vcpu->event = t->fault;
    if (!t->fault.valid && t->wide_new && (t->tss.wide.trap & 1)) {
        guest_debug_cause(DR6_TASK);
        vcpu_inject_exception(vcpu, VECTOR_DB);
    }
}

enum exit_result arch_guest_task_switch(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct guest_context g;
    struct task_switch t = {.exit = exit, .g = &g};
    struct guest_event event = vcpu->event;
    enum guest_result result;

    guest_context_init(&g, vcpu);
    t.now = g;
    result = find_old(&t);
    if (result == GUEST_OK) {
        result = find_new(&t);
    }
    if (result == GUEST_OK) {
        result = task_read_new(&t);
    }
    if (result == GUEST_OK) {
        result = write_all(&t);
    }
    if (result == GUEST_OK) {
        commit(&t);
    }
    return guest_exit_result(settle(&t, &event, result));
}
