/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions whose memory operand is a device: the instruction is decoded, described as an
 * `action`, checked and translated, and only then performed.  What is not in the tables here
 * fails the VM with the instruction's bytes.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest.h"
#include "arch/x86/guest_alu.h"
#include "arch/x86/guest_step.h"
#include "arch/x86/guest_string.h"
#include "hv/vdev/bus.h"

enum action_kind {
    ACTION_NONE, /* not emulated */
    ACTION_ALU,  /* destination = destination op source, with flags */
    ACTION_LOAD, /* register = memory, extended */
    ACTION_EXCHANGE,
    ACTION_EXCHANGE_ADD,
    ACTION_COMPARE_EXCHANGE,
    ACTION_STRING, /* MOVS, STOS, LODS */
    ACTION_TOUCH,  /* CLFLUSH, prefetches: nothing to do */
};

enum action_source {
    SOURCE_REGISTER, /* ModRM.reg */
    SOURCE_IMMEDIATE,
    SOURCE_MEMORY,
};

struct action {
    enum action_kind kind;
    enum alu_op op;
    enum action_source source;
    uint8_t size;      /* of the memory operand */
    uint8_t to_size;   /* ACTION_LOAD: of the register */
    uint8_t number;    /* the register operand */
    bool sign;         /* ACTION_LOAD: sign-extend */
    bool bit_offset;   /* BT r/m, r: the register also moves the address */
    bool lockable;     /* LOCK is allowed */
    uint64_t constant; /* SOURCE_IMMEDIATE */
};

static uint8_t width(const struct instruction *in)
{
    return (in->opcode & 1) ? in->operand_size : 1;
}

static struct action alu_action(const struct instruction *in, enum alu_op op, uint8_t size,
                                enum action_source source)
{
    return (struct action){
        .kind = ACTION_ALU,
        .op = op,
        .source = source,
        .size = size,
        .number = in->reg,
        .constant = in->immediate,
        .lockable = source != SOURCE_MEMORY && alu_writes(op) && op != ALU_MOV,
    };
}

/* The immediate of an ALU operation with a memory destination. */
static struct action group3(const struct instruction *in)
{
    switch ((in->modrm >> 3) & 7) {
    case 0:
    case 1:
        return alu_action(in, ALU_TEST, width(in), SOURCE_IMMEDIATE);
    case 2:
        return alu_action(in, ALU_NOT, width(in), SOURCE_IMMEDIATE);
    case 3:
        return alu_action(in, ALU_NEG, width(in), SOURCE_IMMEDIATE);
    default:
        return (struct action){.kind = ACTION_NONE};
    }
}

static struct action group45(const struct instruction *in)
{
    switch ((in->modrm >> 3) & 7) {
    case 0:
        return alu_action(in, ALU_INC, width(in), SOURCE_IMMEDIATE);
    case 1:
        return alu_action(in, ALU_DEC, width(in), SOURCE_IMMEDIATE);
    default:
        return (struct action){.kind = ACTION_NONE};
    }
}

static struct action load_action(const struct instruction *in, uint8_t size, bool sign)
{
    return (struct action){
        .kind = ACTION_LOAD,
        .source = SOURCE_MEMORY,
        .size = size,
        .to_size = in->operand_size,
        .number = in->reg,
        .sign = sign,
    };
}

static struct action other_action(const struct instruction *in, enum action_kind kind)
{
    return (struct action){
        .kind = kind, .size = width(in), .number = in->reg, .lockable = kind != ACTION_TOUCH};
}

/* MOV between the accumulator and an absolute offset. */
static struct action moffs_action(const struct instruction *in)
{
    struct action a =
        alu_action(in, ALU_MOV, width(in), in->opcode >= 0xa2 ? SOURCE_REGISTER : SOURCE_MEMORY);

    a.number = GPR_RAX;
    return a;
}

static struct action primary_action(const struct instruction *in)
{
    uint8_t opcode = in->opcode;

    if (opcode < 0x40 && (opcode & 7) < 4) {
        return alu_action(in, (enum alu_op)(opcode >> 3), width(in),
                          (opcode & 2) ? SOURCE_MEMORY : SOURCE_REGISTER);
    }
    switch (opcode) {
    case 0x63: /* MOVSXD; ARPL outside 64-bit mode */
        return in->mode == DECODE_64 ? load_action(in, 4, true)
                                     : (struct action){.kind = ACTION_NONE};
    case 0x80 ... 0x83:
        return alu_action(in, (enum alu_op)((in->modrm >> 3) & 7), width(in), SOURCE_IMMEDIATE);
    case 0x84 ... 0x85:
        return alu_action(in, ALU_TEST, width(in), SOURCE_REGISTER);
    case 0x86 ... 0x87:
        return other_action(in, ACTION_EXCHANGE);
    case 0x88 ... 0x89:
        return alu_action(in, ALU_MOV, width(in), SOURCE_REGISTER);
    case 0x8a ... 0x8b:
        return alu_action(in, ALU_MOV, width(in), SOURCE_MEMORY);
    case 0xa0 ... 0xa3:
        return moffs_action(in);
    case 0xa4 ... 0xa5:
    case 0xaa ... 0xad:
        return (struct action){.kind = ACTION_STRING, .size = width(in)};
    case 0xc6 ... 0xc7:
        if (in->modrm & 0x38) {
            break;
        }
        return alu_action(in, ALU_MOV, width(in), SOURCE_IMMEDIATE);
    case 0xf6 ... 0xf7:
        return group3(in);
    case 0xfe ... 0xff:
        return group45(in);
    default:
        break;
    }
    return (struct action){.kind = ACTION_NONE};
}

static struct action bit_action(const struct instruction *in, unsigned which, bool immediate)
{
    static const enum alu_op ops[4] = {ALU_BT, ALU_BTS, ALU_BTR, ALU_BTC};
    struct action a = alu_action(in, ops[which & 3], in->operand_size,
                                 immediate ? SOURCE_IMMEDIATE : SOURCE_REGISTER);

    a.bit_offset = !immediate;
    return a;
}

static struct action secondary_action(const struct instruction *in)
{
    switch (in->opcode) {
    case 0x0d: /* PREFETCHW */
    case 0x18: /* PREFETCH, hint NOPs */
    case 0x1f:
        return (struct action){.kind = ACTION_TOUCH};
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        return bit_action(in, in->opcode >> 3, false);
    case 0xba:
        if (!(in->modrm & 0x20)) {
            break;
        }
        return bit_action(in, in->modrm >> 3, true);
    case 0xae: /* CLFLUSH, CLFLUSHOPT; 66 /6 CLWB */
        if (in->rep == 0 &&
            ((in->modrm & 0x38) == 0x38 || (in->opsize && (in->modrm & 0x38) == 0x30))) {
            return (struct action){.kind = ACTION_TOUCH};
        }
        break;
    case 0xb0 ... 0xb1:
        return other_action(in, ACTION_COMPARE_EXCHANGE);
    case 0xb6 ... 0xb7:
        return load_action(in, (in->opcode & 1) ? 2 : 1, false);
    case 0xbe ... 0xbf:
        return load_action(in, (in->opcode & 1) ? 2 : 1, true);
    case 0xc0 ... 0xc1:
        return other_action(in, ACTION_EXCHANGE_ADD);
    case 0xc3: /* MOVNTI */
        return alu_action(in, ALU_MOV, in->operand_size, SOURCE_REGISTER);
    default:
        break;
    }
    return (struct action){.kind = ACTION_NONE};
}

static struct action action_of(const struct instruction *in)
{
    if (in->encoding == DECODE_LEGACY && in->map == DECODE_MAP_PRIMARY) {
        return primary_action(in);
    }
    if (in->encoding == DECODE_LEGACY && in->map == DECODE_MAP_0F) {
        return secondary_action(in);
    }
    return (struct action){.kind = ACTION_NONE};
}

/* BTx m, r: the register's upper bits, signed, choose the word. */
static int64_t bit_displacement(const struct guest_context *g, const struct action *a)
{
    unsigned shift = 64 - 8 * a->size;
    int64_t bit = (int64_t)(g->vcpu->regs.gpr[a->number] << shift) >> shift;

    return (bit >> (a->size == 8 ? 6 : (a->size == 4 ? 5 : 4))) * a->size;
}

static unsigned action_access(const struct action *a)
{
    if (a->kind == ACTION_LOAD || (a->kind == ACTION_ALU && !alu_writes(a->op)) ||
        a->source == SOURCE_MEMORY) {
        return ACCESS_READ;
    }
    if (a->kind == ACTION_ALU && a->op == ALU_MOV) {
        return ACCESS_WRITE;
    }
    return ACCESS_READ | ACCESS_WRITE;
}

static enum guest_result operand_span(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, struct guest_span *span)
{
    uint64_t offset = guest_operand_offset(g->vcpu, in);
    unsigned access = action_access(a);
    enum guest_result result;
    gva_t linear;

    if (a->bit_offset) {
        offset += (uint64_t)bit_displacement(g, a);
        offset &= guest_size_mask(in->address_size);
    }
    result = guest_linear(g, in->segment, offset, a->size, access, &linear);
    if (result != GUEST_OK) {
        return result;
    }
    return guest_span_prepare(g, linear, a->size, access, span);
}

static uint64_t extend(uint64_t value, unsigned size, bool sign)
{
    unsigned shift = 64 - 8 * size;

    return sign ? (uint64_t)((int64_t)(value << shift) >> shift) : value;
}

/* register = register op memory */
static enum guest_result perform_to_register(struct guest_context *g, const struct instruction *in,
                                             const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t value, old;
    enum guest_result result = guest_span_read(g, span, &value);

    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind == ACTION_LOAD) {
        guest_register_write(vcpu, in, a->number, a->to_size, extend(value, a->size, a->sign));
        return GUEST_OK;
    }
    old = guest_register_read(vcpu, in, a->number, a->size);
    value = alu_compute(a->op, a->size, old, value, &vcpu->regs.rflags);
    if (alu_writes(a->op)) {
        guest_register_write(vcpu, in, a->number, a->size, value);
    }
    return GUEST_OK;
}

/* memory = memory op (register or immediate) */
static enum guest_result perform_to_memory(struct guest_context *g, const struct instruction *in,
                                           const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rflags = vcpu->regs.rflags;
    uint64_t value = 0, source = a->constant;
    enum guest_result result = GUEST_OK;

    if (a->source == SOURCE_REGISTER) {
        source = guest_register_read(vcpu, in, a->number, a->size);
    }
    if (a->op != ALU_MOV) {
        result = guest_span_read(g, span, &value);
    }
    if (result != GUEST_OK) {
        return result;
    }
    value = alu_compute(a->op, a->size, value, source, &rflags);
    if (alu_writes(a->op)) {
        result = guest_span_write(g, span, value);
    }
    if (result == GUEST_OK) {
        vcpu->regs.rflags = rflags;
    }
    return result;
}

/* XCHG, XADD, CMPXCHG. */
static enum guest_result perform_exchange(struct guest_context *g, const struct instruction *in,
                                          const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rflags = vcpu->regs.rflags;
    uint64_t source = guest_register_read(vcpu, in, a->number, a->size);
    uint64_t old, value = source;
    uint8_t receiver = a->number;
    bool receives = true;
    enum guest_result result = guest_span_read(g, span, &old);

    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind == ACTION_EXCHANGE_ADD) {
        value = alu_compute(ALU_ADD, a->size, old, source, &rflags);
    } else if (a->kind == ACTION_COMPARE_EXCHANGE) {
        uint64_t accumulator = guest_register_read(vcpu, in, GPR_RAX, a->size);

        alu_compute(ALU_CMP, a->size, accumulator, old, &rflags);
        receiver = GPR_RAX;
        receives = accumulator != old;
        value = receives ? old : source; /* the old value is written back, as on hardware */
    }
    result = guest_span_write(g, span, value);
    if (result != GUEST_OK) {
        return result;
    }
    vcpu->regs.rflags = rflags;
    if (receives) {
        guest_register_write(vcpu, in, receiver, a->size, old);
    }
    return GUEST_OK;
}

static enum guest_result perform(struct guest_context *g, const struct instruction *in,
                                 const struct action *a, const struct guest_span *span)
{
    switch (a->kind) {
    case ACTION_ALU:
        if (a->source != SOURCE_MEMORY) {
            return perform_to_memory(g, in, a, span);
        }
        return perform_to_register(g, in, a, span);
    case ACTION_LOAD:
        return perform_to_register(g, in, a, span);
    default:
        return perform_exchange(g, in, a, span);
    }
}

/* The CPU can do it if nothing is there; a device it cannot reach. */
static enum exit_result let_cpu(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum guest_result result = guest_step_over(vcpu, exit->memory.address);

    if (result == GUEST_FAIL) {
        if (!atomic_exchange(&vcpu->vm->mmio_refused, true)) {
            vm_log(vcpu->vm, LOG_WARN,
                   "vm %s: vCPU %u: instruction at RIP 0x%lx accesses a device at guest-physical "
                   "0x%lx in a way that is not emulated: #UD, also of others like it",
                   vcpu->vm->name, vcpu->index, (unsigned long)vcpu->regs.rip,
                   (unsigned long)exit->memory.address.v);
        }
        result = guest_raise_ud(vcpu);
    }
    return guest_exit_result(result);
}

static enum exit_result emulate(struct guest_context *g, const struct instruction *in,
                                const struct vcpu_exit *exit)
{
    struct vcpu *vcpu = g->vcpu;
    struct action a = action_of(in);
    struct guest_span span;
    enum guest_result result;

    if (a.kind == ACTION_NONE || (!in->memory && a.kind != ACTION_STRING)) {
        return let_cpu(vcpu, exit);
    }
    if (in->lock && !a.lockable) {
        return guest_exit_result(guest_raise_ud(vcpu));
    }
    if (a.kind == ACTION_STRING) {
        return guest_string_memory(g, in);
    }
    if (a.kind != ACTION_TOUCH) {
        result = operand_span(g, in, &a, &span);
        if (result != GUEST_OK) {
            return guest_exit_result(result);
        }
        if (!guest_span_device(&span)) {
            return EXIT_RESUME; /* the guest has changed its tables meanwhile: try again */
        }
        result = perform(g, in, &a, &span);
        if (result != GUEST_OK) {
            return guest_exit_result(result);
        }
    }
    arch_guest_advance(vcpu, in->length);
    return EXIT_RESUME;
}

enum exit_result arch_guest_mmio(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct guest_context g;
    struct instruction in;
    enum guest_result result;

    if (vcpu->event.valid) {
        /* Not the instruction at RIP but the delivery of an event touched it: a stack, IDT or GDT
         * outside memory.  On hardware this ends in a triple fault sooner or later. */
        arch_guest_dump(vcpu, exit);
        vm_log(vcpu->vm, LOG_WARN,
               "vm %s: vCPU %u: delivery of vector %u uses guest-physical 0x%lx, where there is no "
               "memory",
               vcpu->vm->name, vcpu->index, vcpu->event.vector,
               (unsigned long)exit->memory.address.v);
        vm_triple_fault(vcpu->vm, vcpu->index, vcpu->regs.rip);
        return EXIT_STOP;
    }
    if (exit->memory.access & ACCESS_EXEC) {
        return let_cpu(vcpu, exit);
    }
    guest_context_init(&g, vcpu);
    result = guest_fetch(&g, &in);
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    return emulate(&g, &in, exit);
}
