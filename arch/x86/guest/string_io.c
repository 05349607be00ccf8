/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INS, OUTS, and MOVS, STOS, LODS on devices, element by element.  After each element the
 * registers are as hardware would leave them at an interrupt between two iterations, so parking, a
 * fault, and the bound on elements per exit need no other state: RIP stays until the count is 0.
 *
 * A device is read before its value can be written to memory.  The memory was made writable just
 * before; should it be reclaimed in that instant, the instruction runs again and reads the device
 * twice.
 */
#include "arch/x86/guest/string.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guest/alu.h"
#include "hv/vdev/access.h"

/* Bounds the time in one exit: other vCPUs and interrupts wait meanwhile. */
#define ELEMENTS_PER_EXIT 64

/* One string instruction in progress. */
struct string_run {
    struct guest_context *g;
    const struct instruction *in;
    unsigned size;
    int64_t step; /* +size or -size by DF */
    bool rep;
    bool ended; /* CMPS, SCAS: this element was the last one */
    uint16_t port;
};

typedef enum guest_result (*string_element)(struct string_run *run);

static enum guest_result source_span(struct string_run *run, struct guest_span *span)
{
    uint64_t offset = run->g->vcpu->regs.gpr[GPR_RSI] & guest_size_mask(run->in->address_size);
    gva_t linear;
    enum guest_result result =
        guest_linear(run->g, run->in->segment, offset, run->size, ACCESS_READ, &linear);

    if (result != GUEST_OK) {
        return result;
    }
    return guest_span_prepare(run->g, linear, run->size, ACCESS_READ, span);
}

/* ES:rDI, without override. */
static enum guest_result destination_span_for(struct string_run *run, unsigned access,
                                              struct guest_span *span)
{
    uint64_t offset = run->g->vcpu->regs.gpr[GPR_RDI] & guest_size_mask(run->in->address_size);
    gva_t linear;
    enum guest_result result = guest_linear(run->g, SEG_ES, offset, run->size, access, &linear);

    if (result != GUEST_OK) {
        return result;
    }
    return guest_span_prepare(run->g, linear, run->size, access, span);
}

static enum guest_result destination_span(struct string_run *run, struct guest_span *span)
{
    return destination_span_for(run, ACCESS_WRITE, span);
}

static void step_register(struct string_run *run, unsigned number)
{
    guest_register_add(run->g->vcpu, number, run->in->address_size, run->step);
}

static enum guest_result element_movs(struct string_run *run)
{
    struct guest_span from, to;
    uint64_t value;
    enum guest_result result = source_span(run, &from);

    if (result == GUEST_OK) {
        result = destination_span(run, &to);
    }
    if (result == GUEST_OK && !guest_span_device(&from) && !guest_span_device(&to)) {
        return GUEST_RETRY; /* memory at both ends: the hardware goes on by itself */
    }
    if (result == GUEST_OK) {
        result = guest_span_read(run->g, &from, &value);
    }
    if (result == GUEST_OK) {
        result = guest_span_write(run->g, &to, value);
    }
    if (result == GUEST_OK) {
        step_register(run, GPR_RSI);
        step_register(run, GPR_RDI);
    }
    return result;
}

static enum guest_result element_stos(struct string_run *run)
{
    struct guest_span to;
    enum guest_result result = destination_span(run, &to);

    if (result == GUEST_OK && !guest_span_device(&to)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_span_write(run->g, &to, run->g->vcpu->regs.gpr[GPR_RAX]);
    }
    if (result == GUEST_OK) {
        step_register(run, GPR_RDI);
    }
    return result;
}

static enum guest_result element_lods(struct string_run *run)
{
    struct guest_span from;
    uint64_t value;
    enum guest_result result = source_span(run, &from);

    if (result == GUEST_OK && !guest_span_device(&from)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_span_read(run->g, &from, &value);
    }
    if (result == GUEST_OK) {
        guest_register_write(run->g->vcpu, run->in, GPR_RAX, run->size, value);
        step_register(run, GPR_RSI);
    }
    return result;
}

/* Compares, and says whether REPE or REPNE ends here. */
static void compare(struct string_run *run, uint64_t left, uint64_t right)
{
    struct guest_registers *regs = &run->g->vcpu->regs;

    alu_compute(ALU_CMP, run->size, left, right, &regs->rflags);
    run->ended = ((regs->rflags & RFLAGS_ZF) != 0) != (run->in->rep == 0xf3);
}

static enum guest_result element_cmps(struct string_run *run)
{
    struct guest_span left, right;
    uint64_t values[2];
    enum guest_result result = source_span(run, &left);

    if (result == GUEST_OK) {
        result = destination_span_for(run, ACCESS_READ, &right);
    }
    if (result == GUEST_OK && !guest_span_device(&left) && !guest_span_device(&right)) {
        return GUEST_RETRY;
    }
    /* Memory first: it may park. */
    if (result == GUEST_OK && guest_span_device(&left)) {
        result = guest_span_read(run->g, &right, &values[1]);
    }
    if (result == GUEST_OK) {
        result = guest_span_read(run->g, &left, &values[0]);
    }
    if (result == GUEST_OK && !guest_span_device(&left)) {
        result = guest_span_read(run->g, &right, &values[1]);
    }
    if (result == GUEST_OK) {
        compare(run, values[0], values[1]);
        step_register(run, GPR_RSI);
        step_register(run, GPR_RDI);
    }
    return result;
}

static enum guest_result element_scas(struct string_run *run)
{
    struct guest_span at;
    uint64_t value;
    enum guest_result result = destination_span_for(run, ACCESS_READ, &at);

    if (result == GUEST_OK && !guest_span_device(&at)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_span_read(run->g, &at, &value);
    }
    if (result == GUEST_OK) {
        compare(run, run->g->vcpu->regs.gpr[GPR_RAX], value);
        step_register(run, GPR_RDI);
    }
    return result;
}

static enum guest_result element_outs(struct string_run *run)
{
    struct guest_span from;
    uint64_t value;
    enum guest_result result = source_span(run, &from);

    if (result == GUEST_OK) {
        result = guest_span_read(run->g, &from, &value);
    }
    if (result == GUEST_OK) {
        result =
            guest_bus_result(vdev_port_out(run->g->vcpu, run->port, run->size, (uint32_t)value));
    }
    if (result == GUEST_OK) {
        step_register(run, GPR_RSI);
    }
    return result;
}

static enum guest_result element_ins(struct string_run *run)
{
    struct guest_span to;
    uint32_t value;
    enum guest_result result = destination_span(run, &to);

    if (result == GUEST_OK) {
        result = guest_bus_result(vdev_port_in(run->g->vcpu, run->port, run->size, &value));
    }
    if (result == GUEST_OK) {
        result = guest_span_write(run->g, &to, value);
    }
    if (result == GUEST_OK) {
        step_register(run, GPR_RDI);
    }
    return result;
}

static uint64_t rep_count(const struct string_run *run)
{
    return run->g->vcpu->regs.gpr[GPR_RCX] & guest_size_mask(run->in->address_size);
}

static enum exit_result run_string(struct string_run *run, string_element element)
{
    struct vcpu *vcpu = run->g->vcpu;

    for (unsigned i = 0; i < ELEMENTS_PER_EXIT; i++) {
        enum guest_result result;

        if (run->rep && rep_count(run) == 0) {
            arch_guest_advance(vcpu, run->in->length);
            return EXIT_RESUME;
        }
        result = element(run);
        if (result != GUEST_OK) {
            return guest_exit_result(result);
        }
        if (!run->rep) {
            arch_guest_advance(vcpu, run->in->length);
            return EXIT_RESUME;
        }
        guest_register_add(vcpu, GPR_RCX, run->in->address_size, -1);
        if (run->ended) {
            arch_guest_advance(vcpu, run->in->length);
            return EXIT_RESUME;
        }
    }
    if (rep_count(run) == 0) {
        arch_guest_advance(vcpu, run->in->length);
    }
    return EXIT_RESUME;
}

static struct string_run string_run_of(struct guest_context *g, const struct instruction *in,
                                       unsigned size)
{
    bool down = (g->vcpu->regs.rflags & RFLAGS_DF) != 0;

    return (struct string_run){
        .g = g,
        .in = in,
        .size = size,
        .step = down ? -(int64_t)size : (int64_t)size,
        .rep = in->rep != 0,
    };
}

enum exit_result guest_string_memory(struct guest_context *g, const struct instruction *in)
{
    struct string_run run = string_run_of(g, in, (in->opcode & 1) ? in->operand_size : 1);

    switch (in->opcode & 0xfe) {
    case 0xa4:
        return run_string(&run, element_movs);
    case 0xa6:
        return run_string(&run, element_cmps);
    case 0xaa:
        return run_string(&run, element_stos);
    case 0xae:
        return run_string(&run, element_scas);
    default:
        return run_string(&run, element_lods);
    }
}

enum exit_result arch_guest_string_io(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct guest_context g;
    struct instruction in;
    struct string_run run;
    enum guest_result result;
    bool is_string, is_in;

    guest_context_init(&g, vcpu);
    result = guest_fetch(&g, &in);
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    is_string =
        in.encoding == DECODE_LEGACY && in.map == DECODE_MAP_PRIMARY && (in.opcode & 0xfc) == 0x6c;
    is_in = (in.opcode & 2) == 0;
    if (!is_string || is_in != exit->io.in || in.lock) {
        /* Another vCPU has rewritten the code since the exit: let it run what is there now. */
        return is_string && in.lock ? guest_exit_result(guest_raise_ud(vcpu)) : EXIT_RESUME;
    }
    run = string_run_of(&g, &in, (in.opcode & 1) ? MIN(in.operand_size, 4u) : 1);
    run.port = exit->io.port;
    return run_string(&run, is_in ? element_ins : element_outs);
}
