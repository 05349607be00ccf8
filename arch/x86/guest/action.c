/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/action.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "hv/guest/vcpu.h"

static bool guest_has_bmi(void)
{
    return (guest_policy()->basic[7].ebx & CPUID_7_EBX_BMI1) != 0;
}

static bool guest_has_lzcnt(void)
{
    return (guest_policy()->extended[1].ecx & CPUID_81_ECX_ABM) != 0;
}

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

/* The action works on what memory holds. */
static struct action load_kind(const struct instruction *in, enum action_kind kind, uint8_t size,
                               bool sign)
{
    return (struct action){
        .kind = kind, .source = SOURCE_MEMORY, .size = size, .number = in->reg, .sign = sign};
}

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
    case 4:
    case 5:
        return load_kind(in, ACTION_MULTIPLY, width(in), (in->modrm >> 3) & 1);
    default:
        return load_kind(in, ACTION_DIVIDE, width(in), (in->modrm >> 3) & 1);
    }
}

/* PUSH, POP and near branches have 64 bits in 64-bit mode, or 16. */
static uint8_t stack_width(const struct instruction *in)
{
    return in->mode == DECODE_64 && in->operand_size == 4 ? 8 : in->operand_size;
}

static uint8_t branch_width(const struct instruction *in)
{
    return in->mode == DECODE_64 ? 8 : in->operand_size;
}

/* With a register the stack alone may be on a device. */
static struct action group5_stack(const struct instruction *in, enum action_kind kind, uint8_t size)
{
    struct action a = load_kind(in, kind, size, false);

    if (!in->memory) {
        a.source = SOURCE_REGISTER;
        a.number = in->rm;
    }
    return a;
}

static struct action group45(const struct instruction *in)
{
    unsigned which = (in->modrm >> 3) & 7;

    if (which == 0 || which == 1) {
        return alu_action(in, which == 0 ? ALU_INC : ALU_DEC, width(in), SOURCE_IMMEDIATE);
    }
    if (in->opcode == 0xff && which == 2) {
        return group5_stack(in, ACTION_CALL, branch_width(in));
    }
    if (in->opcode == 0xff && which == 4) {
        return group5_stack(in, ACTION_JUMP, branch_width(in));
    }
    if (in->opcode == 0xff && (which == 3 || which == 5)) {
        struct action a = load_kind(in, ACTION_FAR, in->operand_size + 2, false);

        a.which = which == 3;
        return a;
    }
    if (in->opcode == 0xff && which == 6) {
        return group5_stack(in, ACTION_PUSH, stack_width(in));
    }
    return (struct action){.kind = ACTION_NONE};
}

/* The count of a shift: an immediate, 1, or CL. */
static struct action shift_action(const struct instruction *in, enum action_kind kind, uint8_t size,
                                  uint8_t which, bool by_register)
{
    return (struct action){
        .kind = kind,
        .source = by_register ? SOURCE_REGISTER : SOURCE_IMMEDIATE,
        .size = size,
        .number = in->reg,
        .which = which,
        .constant = in->immediate_bytes != 0 ? in->immediate & 0xff : 1,
    };
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

static struct action other_action(const struct instruction *in, enum action_kind kind, uint8_t size)
{
    return (struct action){.kind = kind, .size = size, .number = in->reg};
}

static struct action exchange_action(const struct instruction *in, enum action_kind kind)
{
    struct action a = other_action(in, kind, width(in));

    a.lockable = true;
    return a;
}

/* rm by register, or rm by immediate to a register. */
static struct action imul_action(const struct instruction *in, bool immediate)
{
    struct action a = load_kind(in, ACTION_IMUL, in->operand_size, true);

    a.constant = in->immediate;
    a.which = immediate;
    return a;
}

/* REX.R does not count for segment registers. */
static uint8_t segment_of(const struct instruction *in)
{
    return (in->modrm >> 3) & 7;
}

/* MOV m, Sreg: 16 bits whatever the operand size. */
static struct action segment_store(const struct instruction *in)
{
    struct action a = other_action(in, ACTION_SYSTEM_STORE, 2);

    a.which = segment_of(in);
    return a.which <= SEG_GS ? a : (struct action){.kind = ACTION_NONE};
}

static struct action segment_load(const struct instruction *in)
{
    struct action a = load_kind(in, ACTION_SEGMENT, 2, false);

    a.which = segment_of(in);
    return a.which <= SEG_GS && a.which != SEG_CS ? a : (struct action){.kind = ACTION_NONE};
}

/* MOV between the accumulator and an absolute offset. */
static struct action moffs_action(const struct instruction *in)
{
    struct action a =
        alu_action(in, ALU_MOV, width(in), in->opcode >= 0xa2 ? SOURCE_REGISTER : SOURCE_MEMORY);

    a.number = GPR_RAX;
    return a;
}

static struct action push_immediate(const struct instruction *in, uint64_t value)
{
    return (struct action){.kind = ACTION_PUSH,
                           .source = SOURCE_IMMEDIATE,
                           .size = stack_width(in),
                           .constant = value};
}

/* PUSH r, POP r: the register is in the opcode. */
static struct action stack_register(const struct instruction *in)
{
    struct action a =
        other_action(in, in->opcode < 0x58 ? ACTION_PUSH : ACTION_POP, stack_width(in));

    a.source = SOURCE_REGISTER;
    a.number = (in->opcode & 7) | ((in->rex & DECODE_REX_B) ? 8 : 0);
    return a;
}

/* CALL, RET, ENTER and LEAVE, whose operand is the stack alone. */
static struct action frame_action(const struct instruction *in)
{
    struct action a = {.source = SOURCE_IMMEDIATE, .constant = in->immediate & 0xffff};

    switch (in->opcode) {
    case 0xe8:
        a.kind = ACTION_CALL;
        a.constant = in->immediate;
        break;
    case 0xc8:
        a.kind = (in->immediate2 & 0x1f) == 0 ? ACTION_ENTER : ACTION_NONE;
        break;
    case 0xc9:
        a.kind = ACTION_LEAVE;
        a.number = GPR_RBP;
        break;
    default:
        a.kind = ACTION_RETURN;
        break;
    }
    a.size = a.kind == ACTION_CALL || a.kind == ACTION_RETURN ? branch_width(in) : stack_width(in);
    return a;
}

/* 80-85, 88-8B, C6, C7: with an immediate, TEST, MOV. */
static struct action alu_or_move(const struct instruction *in)
{
    switch (in->opcode) {
    case 0x80 ... 0x83:
        return alu_action(in, (enum alu_op)((in->modrm >> 3) & 7), width(in), SOURCE_IMMEDIATE);
    case 0x84 ... 0x85:
        return alu_action(in, ALU_TEST, width(in), SOURCE_REGISTER);
    case 0x88 ... 0x89:
        return alu_action(in, ALU_MOV, width(in), SOURCE_REGISTER);
    case 0x8a ... 0x8b:
        return alu_action(in, ALU_MOV, width(in), SOURCE_MEMORY);
    default: /* C6, C7 */
        return in->modrm & 0x38 ? (struct action){.kind = ACTION_NONE}
                                : alu_action(in, ALU_MOV, width(in), SOURCE_IMMEDIATE);
    }
}

static struct action primary_action(const struct instruction *in)
{
    uint8_t opcode = in->opcode;

    if (opcode < 0x40 && (opcode & 7) < 4) {
        return alu_action(in, (enum alu_op)(opcode >> 3), width(in),
                          (opcode & 2) ? SOURCE_MEMORY : SOURCE_REGISTER);
    }
    switch (opcode) {
    case 0x50 ... 0x5f:
        return stack_register(in);
    case 0x68:
    case 0x6a:
        return push_immediate(in, in->immediate);
    case 0xc2 ... 0xc3:
    case 0xc8 ... 0xc9:
    case 0xe8:
        return frame_action(in);
    case 0x63: /* MOVSXD; ARPL outside 64-bit mode */
        return in->mode == DECODE_64 ? load_action(in, 4, true)
                                     : (struct action){.kind = ACTION_NONE};
    case 0x69: /* IMUL */
    case 0x6b:
        return imul_action(in, true);
    case 0x80 ... 0x85:
    case 0x88 ... 0x8b:
    case 0xc6 ... 0xc7:
        return alu_or_move(in);
    case 0x86 ... 0x87:
        return exchange_action(in, ACTION_EXCHANGE);
    case 0x8c:
        return segment_store(in);
    case 0x8e:
        return segment_load(in);
    case 0x8f:
        return in->modrm & 0x38 ? (struct action){.kind = ACTION_NONE}
                                : other_action(in, ACTION_POP, stack_width(in));
    case 0xa0 ... 0xa3:
        return moffs_action(in);
    case 0xa4 ... 0xa7:
    case 0xaa ... 0xaf:
        return (struct action){.kind = ACTION_STRING, .size = width(in)};
    case 0xc0 ... 0xc1:
    case 0xd0 ... 0xd3:
        return shift_action(in, ACTION_SHIFT, width(in), (in->modrm >> 3) & 7,
                            (opcode & 0xfe) == 0xd2);
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

/* SLDT, STR, LLDT, LTR and SMSW, LMSW: groups 6 and 7. */
static struct action system_action(const struct instruction *in)
{
    unsigned which = ((in->modrm >> 3) & 7) + (in->opcode == 1 ? 8 : 0);
    struct action a = other_action(in, ACTION_SYSTEM_STORE, 2);

    switch (which) {
    case 0:
        a.which = SEG_LDTR;
        return a;
    case 1:
        a.which = SEG_TR;
        return a;
    case 2:
        return load_kind(in, ACTION_LLDT, 2, false);
    case 3:
        return load_kind(in, ACTION_LTR, 2, false);
    case 8 + 4:
        a.which = SYSTEM_MSW;
        return a;
    case 8 + 6:
        return load_kind(in, ACTION_LMSW, 2, false);
    default:
        return (struct action){.kind = ACTION_NONE};
    }
}

static struct action scan_action(const struct instruction *in)
{
    struct action a = load_kind(in, ACTION_SCAN, in->operand_size, false);

    if (in->opcode == 0xb8) {
        a.which = ALU_POPCNT;
        a.kind = in->rep == 0xf3 ? ACTION_SCAN : ACTION_NONE;
    } else if (in->opcode == 0xbc) {
        a.which = in->rep == 0xf3 && guest_has_bmi() ? ALU_TZCNT : ALU_BSF;
    } else {
        a.which = in->rep == 0xf3 && guest_has_lzcnt() ? ALU_LZCNT : ALU_BSR;
    }
    return a;
}

static struct action pair_action(const struct instruction *in)
{
    struct action a =
        other_action(in, ACTION_COMPARE_EXCHANGE_PAIR, in->operand_size == 8 ? 16 : 8);

    a.lockable = true;
    return (in->modrm & 0x38) == 0x08 ? a : (struct action){.kind = ACTION_NONE};
}

static struct action condition_action(const struct instruction *in, enum action_kind kind)
{
    struct action a = kind == ACTION_SET ? other_action(in, kind, 1)
                                         : load_kind(in, kind, in->operand_size, false);

    a.which = in->opcode & 0xf;
    return a;
}

static struct action bits_action(const struct instruction *in)
{
    switch (in->opcode) {
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        return bit_action(in, in->opcode >> 3, false);
    case 0xba:
        if (in->modrm & 0x20) {
            return bit_action(in, in->modrm >> 3, true);
        }
        break;
    case 0xa4 ... 0xa5:
    case 0xac ... 0xad:
        return shift_action(in, ACTION_DOUBLE_SHIFT, in->operand_size, (in->opcode >> 3) & 1,
                            in->opcode & 1);
    case 0xb8:
    case 0xbc ... 0xbd:
        return scan_action(in);
    default:
        break;
    }
    return (struct action){.kind = ACTION_NONE};
}

static struct action secondary_action(const struct instruction *in)
{
    switch (in->opcode) {
    case 0x00 ... 0x01:
        return system_action(in);
    case 0x0d: /* PREFETCHW */
    case 0x18: /* PREFETCH, hint NOPs */
    case 0x1f:
        return (struct action){.kind = ACTION_TOUCH};
    case 0x40 ... 0x4f:
        return condition_action(in, ACTION_CONDITION_LOAD);
    case 0x90 ... 0x9f:
        return condition_action(in, ACTION_SET);
    case 0xae: /* CLFLUSH, CLFLUSHOPT; 66 /6 CLWB */
        if (in->rep == 0 &&
            ((in->modrm & 0x38) == 0x38 || (in->opsize && (in->modrm & 0x38) == 0x30))) {
            return (struct action){.kind = ACTION_TOUCH};
        }
        break;
    case 0xaf:
        return imul_action(in, false);
    case 0xb0 ... 0xb1:
        return exchange_action(in, ACTION_COMPARE_EXCHANGE);
    case 0xb6 ... 0xb7:
        return load_action(in, (in->opcode & 1) ? 2 : 1, false);
    case 0xbe ... 0xbf:
        return load_action(in, (in->opcode & 1) ? 2 : 1, true);
    case 0xc0 ... 0xc1:
        return exchange_action(in, ACTION_EXCHANGE_ADD);
    case 0xc3: /* MOVNTI */
        return alu_action(in, ALU_MOV, in->operand_size, SOURCE_REGISTER);
    case 0xc7:
        return pair_action(in);
    default:
        return bits_action(in);
    }
    return (struct action){.kind = ACTION_NONE};
}

/* MOVBE; with F2 it is CRC32. */
static struct action movbe_action(const struct instruction *in)
{
    struct action a = alu_action(in, ALU_MOV, in->operand_size,
                                 (in->opcode & 1) ? SOURCE_REGISTER : SOURCE_MEMORY);

    a.swap = true;
    return in->rep == 0 && (in->opcode & 0xfe) == 0xf0 ? a : (struct action){.kind = ACTION_NONE};
}

struct action guest_action_of(const struct instruction *in)
{
    struct vector_move vector = vector_move_of(in);

    if (vector.bytes != 0) {
        return (struct action){
            .kind = vector.store ? ACTION_VECTOR_STORE : ACTION_VECTOR_LOAD,
            .source = vector.store ? SOURCE_REGISTER : SOURCE_MEMORY,
            .size = vector.bytes,
            .vector = vector,
        };
    }
    if (in->encoding != DECODE_LEGACY) {
        return (struct action){.kind = ACTION_NONE};
    }
    switch (in->map) {
    case DECODE_MAP_PRIMARY:
        return primary_action(in);
    case DECODE_MAP_0F:
        return secondary_action(in);
    case DECODE_MAP_0F38:
        return movbe_action(in);
    default:
        return (struct action){.kind = ACTION_NONE};
    }
}
