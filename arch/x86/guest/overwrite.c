/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REP STOS and REP MOVS over a whole page that is on a disk: what the page held need not be read,
 * for nobody will see it.  Kernels clear and copy pages so.
 *
 * A string instruction may be interrupted between two elements, but need not be (SDM vol. 2,
 * "REP/REPE/REPZ/REPNE/REPNZ - Repeat String Operation Prefix").  So one page of it is done here
 * at once, as if no interrupt came, and registers then say how far it has got.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"

#define OPCODE_MOVS 0xa4 /* and 0xa5 */
#define OPCODE_STOS 0xaa /* and 0xab */
#define DR7_ENABLED 0xffull

static bool is_page_aligned(uint64_t address)
{
    return (address & ~PAGE_MASK) == 0;
}

/* May it be one, by what costs nothing to look at?  Data segments begin at 0 as a rule, so that RDI
 * tells the offset in the page. */
static bool may_overwrite(const struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    const struct guest_registers *regs = &vcpu->regs;

    return exit->memory.access & ACCESS_WRITE && is_page_aligned(exit->memory.address.v) &&
           is_page_aligned(regs->gpr[GPR_RDI]) &&
           regs->gpr[GPR_RCX] >= PAGE_SIZE / sizeof(uint64_t) &&
           !(regs->rflags & (RFLAGS_DF | RFLAGS_TF)) && !vcpu->event.valid;
}

static unsigned element_size(const struct instruction *in)
{
    return in->opcode & 1 ? in->operand_size : 1;
}

/* STOS or MOVS with as many elements to come as a page has. */
static bool covers_page(const struct vcpu *vcpu, const struct instruction *in)
{
    uint64_t count = vcpu->regs.gpr[GPR_RCX] & guest_size_mask(in->address_size);

    return in->encoding == DECODE_LEGACY && in->map == DECODE_MAP_PRIMARY && in->rep != 0 &&
           !in->lock &&
           ((in->opcode & 0xfe) == OPCODE_MOVS || (in->opcode & 0xfe) == OPCODE_STOS) &&
           count >= PAGE_SIZE / element_size(in);
}

/* The page that a whole page at that register is in; GUEST_RETRY: it begins within one. */
static enum guest_result find_page(struct guest_context *g, const struct instruction *in,
                                   unsigned segment, unsigned number, unsigned access, gfn_t *page)
{
    uint64_t offset = g->vcpu->regs.gpr[number] & guest_size_mask(in->address_size);
    enum guest_result result;
    gva_t linear;
    gpa_t at;

    result = guest_linear(g, segment, offset, PAGE_SIZE, access, &linear);
    if (result == GUEST_OK && !is_page_aligned(linear.v)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_translate(g, linear, access, &at);
    }
    if (result == GUEST_OK) {
        *page = gpa_to_gfn(at);
    }
    return result;
}

/* The element that STOS stores, so often that it fills 8 bytes. */
static uint64_t word_of(const struct vcpu *vcpu, unsigned size)
{
    uint64_t word = vcpu->regs.gpr[GPR_RAX] & guest_size_mask(size);

    for (unsigned bits = size * 8; bits < 64; bits *= 2) {
        word |= word << bits;
    }
    return word;
}

static void go_on(struct guest_context *g, const struct instruction *in)
{
    struct vcpu *vcpu = g->vcpu;

    guest_register_add(vcpu, GPR_RDI, in->address_size, PAGE_SIZE);
    if ((in->opcode & 0xfe) == OPCODE_MOVS) {
        guest_register_add(vcpu, GPR_RSI, in->address_size, PAGE_SIZE);
    }
    guest_register_add(vcpu, GPR_RCX, in->address_size, -(int64_t)(PAGE_SIZE / element_size(in)));
    if ((vcpu->regs.gpr[GPR_RCX] & guest_size_mask(in->address_size)) == 0) {
        arch_guest_advance(vcpu, in->length);
    }
}

/* The page at RDI is the one of the exit, not one of the guest's tables that is on the way there.
 */
static enum guest_result overwrite(struct guest_context *g, const struct instruction *in,
                                   gfn_t page, bool *done)
{
    struct vcpu *vcpu = g->vcpu;
    enum guest_result result;
    enum mm_result written;
    gfn_t from, to;

    result = find_page(g, in, SEG_ES, GPR_RDI, ACCESS_WRITE, &to);
    if (result != GUEST_OK || to.v != page.v) {
        return result;
    }
    if ((in->opcode & 0xfe) == OPCODE_STOS) {
        written = space_overwrite(vcpu->space, page, word_of(vcpu, element_size(in)), &vcpu->waiter,
                                  done);
        return guest_memory_result(vcpu, written, gfn_to_gpa(page), "string operand");
    }
    result = find_page(g, in, in->segment, GPR_RSI, ACCESS_READ, &from);
    if (result != GUEST_OK) {
        return result;
    }
    written = space_overwrite_copy(vcpu->space, page, from, &vcpu->waiter, done);
    return guest_memory_result(vcpu, written, gfn_to_gpa(page), "string operand");
}

bool arch_guest_overwrite(struct vcpu *vcpu, const struct vcpu_exit *exit, enum exit_result *result)
{
    gfn_t page = gpa_to_gfn(exit->memory.address);
    enum guest_result ended;
    struct guest_context g;
    struct instruction in;
    bool done = false;

    if (!may_overwrite(vcpu, exit) || !space_has_to_read(vcpu->space, page)) {
        return false;
    }
    guest_context_init(&g, vcpu);
    if (g.state.dr7 & DR7_ENABLED) {
        return false; /* an element may be one that is watched */
    }
    ended = guest_fetch(&g, &in);
    if (ended == GUEST_OK && covers_page(vcpu, &in)) {
        ended = overwrite(&g, &in, page, &done);
    }
    if (done) {
        go_on(&g, &in);
    }
    *result = guest_exit_result(ended);
    return done || (ended != GUEST_OK && ended != GUEST_RETRY);
}
