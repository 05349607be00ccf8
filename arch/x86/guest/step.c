/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that touch addresses where nothing is, in whatever way: a page of ones is lent to
 * the guest there, its CPU executes the one instruction, and what it wrote is forgotten.  So there
 * is no list of what is supported, and page tables, descriptors, stacks and code that lie there
 * read as ones, too.
 *
 *     exit: nothing is at that page --> lend a page, enter for one instruction
 *              ^                                |
 *              |   nothing is at another page   v
 *              +------------------------------ exit --> any other: take all pages back
 *
 * The frame behind is one for the VM.  One vCPU at a time has it; another one that wants it tries
 * again.  Other vCPUs that touch the same page just then do so without an exit.
 */
#include "arch/x86/guest/step.h"
#include "arch/x86/guest/guest.h"
#include "hv/vdev/access.h"

static bool is_absent(struct vcpu *vcpu, gpa_t at)
{
    return !space_owns(vcpu->space, gpa_to_gfn(at)) && !vdev_mmio_owned(vcpu, at);
}

void arch_guest_step_end(struct vcpu *vcpu)
{
    space_take_ones(vcpu->space, vcpu->lent, vcpu->lent_pages);
    vcpu->lent_pages = 0;
    atomic_store(&vcpu->vm->run.lent_to, NULL);
}

void arch_guest_step_exit(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    if (exit->kind != EXIT_KIND_MEMORY || !is_absent(vcpu, exit->memory.address)) {
        arch_guest_step_end(vcpu);
    }
}

static bool take_turn(struct vcpu *vcpu)
{
    struct vcpu *holder = NULL;

    return atomic_compare_exchange_strong(&vcpu->vm->run.lent_to, &holder, vcpu) || holder == vcpu;
}

static bool is_lent(const struct vcpu *vcpu, gfn_t page)
{
    for (unsigned i = 0; i < vcpu->lent_pages; i++) {
        if (vcpu->lent[i].v == page.v) {
            return true;
        }
    }
    return false;
}

/* One page more.  GUEST_FAIL: not that one. */
static enum guest_result lend(struct vcpu *vcpu, gfn_t page)
{
    if (is_lent(vcpu, page)) {
        return GUEST_OK;
    }
    if (vcpu->lent_pages == VCPU_LENT_PAGES) {
        return GUEST_FAIL;
    }
    switch (space_lend_ones(vcpu->space, page, &vcpu->waiter)) {
    case MM_OK:
        vcpu->lent[vcpu->lent_pages++] = page;
        return GUEST_OK;
    case MM_WAIT:
        return GUEST_PARK;
    default:
        return GUEST_FAIL;
    }
}

enum guest_result guest_step_over(struct vcpu *vcpu, gpa_t at)
{
    enum guest_result result;

    if (!is_absent(vcpu, at)) {
        return GUEST_FAIL;
    }
    if (!take_turn(vcpu)) {
        return GUEST_RETRY;
    }
    result = lend(vcpu, gpa_to_gfn(at));
    if (result == GUEST_OK && arch_backend()->request_step(vcpu)) {
        return GUEST_OK;
    }
    arch_guest_step_end(vcpu);
    return result == GUEST_OK ? GUEST_RETRY : result;
}
