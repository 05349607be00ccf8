/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c
 * tests/unit/guest/native.c */
/*
 * More instructions with a device as their operand: against this CPU where they can be run here
 * (shifts, products, quotients, bit counts, conditions, vector moves); step by step where they use
 * the stack, load segments or system registers.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "tests/unit/guest/guest_fake.h"
#include "tests/unit/guest/native.h"

#define MUL_UNDEFINED  (RFLAGS_SF | RFLAGS_ZF | RFLAGS_AF | RFLAGS_PF)
#define SCAN_UNDEFINED (RFLAGS_SF | RFLAGS_OF | RFLAGS_AF | RFLAGS_PF)

static unsigned operand_bits; /* of the trial, for the hooks below */
static bool count_is_cl;
static unsigned fixed_count;

static uint64_t operand(const uint8_t *page)
{
    uint64_t value;

    memcpy(&value, page + NATIVE_OPERAND, sizeof(value));
    return operand_bits == 64 ? value : value & (BIT(operand_bits) - 1);
}

static void set_operand(uint8_t *page, uint64_t value)
{
    memcpy(page + NATIVE_OPERAND, &value, operand_bits / 8);
}

static unsigned make_count(struct native *n)
{
    if (count_is_cl) {
        n->gpr[GPR_RCX] = native_random();
        return (unsigned)n->gpr[GPR_RCX] & (operand_bits == 64 ? 63 : 31);
    }
    return fixed_count & (operand_bits == 64 ? 63 : 31);
}

static uint64_t adjust_shift(struct native *n, uint8_t *page)
{
    unsigned count = make_count(n);

    (void)page;
    if (count == 0) {
        return 0;
    }
    /* Longer than the operand: CF too. */
    return RFLAGS_AF | (count == 1 ? 0 : RFLAGS_OF) | (count >= operand_bits ? RFLAGS_CF : 0);
}

static uint64_t adjust_rotate(struct native *n, uint8_t *page)
{
    (void)page;
    return make_count(n) == 1 ? 0 : RFLAGS_OF;
}

static uint64_t adjust_double_shift(struct native *n, uint8_t *page)
{
    unsigned count = make_count(n);

    (void)page;
    return count > operand_bits ? ~0ull : count == 0 ? 0 : RFLAGS_AF | (count == 1 ? 0 : RFLAGS_OF);
}

static uint64_t adjust_scan(struct native *n, uint8_t *page)
{
    (void)n;
    if (native_random() & 1) {
        set_operand(page, 1ull << (native_random() % operand_bits));
    }
    return operand(page) == 0 ? ~0ull : RFLAGS_CF; /* of 0 the register is undefined */
}

static uint64_t adjust_count(struct native *n, uint8_t *page)
{
    (void)n;
    if (native_random() % 3 == 0) {
        set_operand(page, native_random() & 1 ? 0 : 1ull << (native_random() % operand_bits));
    }
    return 0;
}

/* A quotient that fits. */
static uint64_t adjust_unsigned(struct native *n, uint8_t *page)
{
    uint64_t divisor = operand(page) | 1;
    uint64_t high = native_random() % divisor;

    set_operand(page, divisor);
    if (operand_bits == 8) {
        n->gpr[GPR_RAX] = (n->gpr[GPR_RAX] & ~0xff00ull) | high << 8;
    } else {
        n->gpr[GPR_RDX] = high;
    }
    return NATIVE_FLAGS;
}

static uint64_t adjust_signed(struct native *n, uint8_t *page)
{
    unsigned unused = 64 - operand_bits;
    int64_t divisor = (int64_t)(operand(page) << unused) >> unused;
    __int128 dividend;

    if (divisor == 0 || divisor == -1) {
        divisor = 3;
        set_operand(page, 3);
    }
    dividend = (__int128)divisor * ((int64_t)(native_random() << unused) >> unused >> 1);
    if (operand_bits == 8) {
        n->gpr[GPR_RAX] = (n->gpr[GPR_RAX] & ~0xffffull) | ((uint64_t)dividend & 0xffff);
    } else {
        n->gpr[GPR_RAX] = (uint64_t)dividend;
        n->gpr[GPR_RDX] = (uint64_t)(dividend >> operand_bits);
    }
    return NATIVE_FLAGS;
}

/* prefix, REX, opcode and a ModRM with reg and 0x10(%rdi). */
static unsigned put(uint8_t *out, const char *lead, uint8_t rex, const char *opcode, unsigned reg)
{
    unsigned n = 0;

    while (*lead != '\0') {
        out[n++] = (uint8_t)*lead++;
    }
    if (rex) {
        out[n++] = rex;
    }
    if (*opcode == '\x0f') {
        out[n++] = (uint8_t)*opcode++;
    }
    out[n++] = (uint8_t)*opcode;
    out[n++] = (uint8_t)(0x47 | reg << 3);
    out[n++] = 0x10;
    return n;
}

/* The four operand sizes: opcode without bit 0 for bytes; 66; nothing; REX.W. */
static void each_size(char opcode, unsigned reg, const struct native_trial *how, int immediate)
{
    static const struct {
        const char *prefix;
        uint8_t rex;
        unsigned bits;
    } sizes[] = {{"", 0, 8}, {"\x66", 0, 16}, {"", 0, 32}, {"", 0x48, 64}, {"", 0x4c, 64}};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        char code[3] = {opcode, 0, 0};
        uint8_t bytes[16];
        struct native_trial trial = *how;

        if (i > 0) {
            code[0] = (char)(opcode | 1);
        }
        operand_bits = sizes[i].bits;
        trial.bytes = bytes;
        trial.length = put(bytes, sizes[i].prefix, sizes[i].rex, code, reg);
        if (immediate >= 0) {
            bytes[trial.length++] = (uint8_t)immediate;
        }
        native_check(&trial);
    }
}

static void test_shifts(void **state)
{
    (void)state;
    for (unsigned op = 0; op < 8; op++) {
        struct native_trial trial = {.adjust = op < 4 ? adjust_rotate : adjust_shift,
                                     .rounds = 200};

        count_is_cl = true;
        each_size('\xd2', op, &trial, -1);
        count_is_cl = false;
        fixed_count = 1;
        each_size('\xd0', op, &trial, -1);
        for (fixed_count = 0; fixed_count < 256; fixed_count += 7) {
            trial.rounds = 4;
            each_size('\xc0', op, &trial, (int)fixed_count);
        }
    }
}

static void test_products(void **state)
{
    (void)state;
    each_size('\xf6', 4, &(struct native_trial){.undefined = MUL_UNDEFINED, .rounds = 100}, -1);
    each_size('\xf6', 5, &(struct native_trial){.undefined = MUL_UNDEFINED, .rounds = 100}, -1);
    each_size('\xf6', 6, &(struct native_trial){.adjust = adjust_unsigned, .rounds = 400}, -1);
    each_size('\xf6', 7, &(struct native_trial){.adjust = adjust_signed, .rounds = 400}, -1);
}

struct wide {
    const char *lead;
    const char *opcode;
    uint64_t undefined;
    uint64_t (*adjust)(struct native *n, uint8_t *page);
    int immediate; /* bytes of it; -1: as the operand */
};

/* Two-byte opcodes and IMUL with immediates: 16, 32 and 64 bits, registers RAX, RDX, R10. */
static void test_registers(void **state)
{
    static const struct wide wide[] = {
        {"", "\x0f\xaf", MUL_UNDEFINED, NULL, 0},
        {"", "\x6b", MUL_UNDEFINED, NULL, 1},
        {"", "\x69", MUL_UNDEFINED, NULL, -1},
        {"", "\x0f\xbc", SCAN_UNDEFINED, adjust_scan, 0},
        {"", "\x0f\xbd", SCAN_UNDEFINED, adjust_scan, 0},
        {"\xf3", "\x0f\xbc", SCAN_UNDEFINED, adjust_count, 0},
        {"\xf3", "\x0f\xbd", SCAN_UNDEFINED, adjust_count, 0},
        {"\xf3", "\x0f\xb8", 0, adjust_count, 0},
        {"", "\x0f\xa5", 0, adjust_double_shift, 0},
        {"", "\x0f\xad", 0, adjust_double_shift, 0},
        {"", "\x0f\xa4", 0, adjust_double_shift, 1},
        {"", "\x0f\xac", 0, adjust_double_shift, 1},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(wide) * 9; i++) {
        static const uint8_t regs[] = {0, 2, 10};
        const struct wide *w = &wide[i / 9];
        unsigned size = i % 3, reg = regs[i / 3 % 3];
        char lead[3] = "";
        uint8_t bytes[16];
        uint8_t rex = (uint8_t)((size == 2 ? 0x48 : 0) | (reg > 7 ? 0x44 : 0));
        struct native_trial trial = {
            .bytes = bytes, .undefined = w->undefined, .adjust = w->adjust, .rounds = 100};
        unsigned immediate = w->immediate < 0 ? (size == 0 ? 2 : 4) : (unsigned)w->immediate;

        strcat(lead, size == 0 ? "\x66" : "");
        strcat(lead, w->lead);
        operand_bits = 16u << size;
        trial.length = put(bytes, lead, rex, w->opcode, reg & 7);
        count_is_cl = immediate == 0;
        fixed_count = (unsigned)native_random() & 0xff;
        for (unsigned n = 0; n < immediate; n++) {
            bytes[trial.length++] =
                n == 0 && immediate == 1 ? (uint8_t)fixed_count : (uint8_t)native_random();
        }
        native_check(&trial);
    }
}

static void test_conditions(void **state)
{
    (void)state;
    for (unsigned condition = 0; condition < 16; condition++) {
        const char set[] = {'\x0f', (char)(0x90 + condition), 0};
        const char move[] = {'\x0f', (char)(0x40 + condition), 0};
        uint8_t bytes[16];

        native_check(&(struct native_trial){
            .bytes = bytes, .length = put(bytes, "", 0, set, 3), .rounds = 64});
        native_check(&(struct native_trial){
            .bytes = bytes, .length = put(bytes, "", 0, move, 2), .rounds = 64});
        native_check(&(struct native_trial){
            .bytes = bytes, .length = put(bytes, "\x66", 0, move, 0), .rounds = 64});
        native_check(&(struct native_trial){
            .bytes = bytes, .length = put(bytes, "", 0x4c, move, 3), .rounds = 64});
    }
}

static uint64_t adjust_pair(struct native *n, uint8_t *page)
{
    if (native_random() & 1) { /* equal */
        memcpy(page + NATIVE_OPERAND, &n->gpr[GPR_RAX], operand_bits / 2 / 8);
        memcpy(page + NATIVE_OPERAND + operand_bits / 2 / 8, &n->gpr[GPR_RDX],
               operand_bits / 2 / 8);
    }
    return 0;
}

static void test_pairs_and_movbe(void **state)
{
    uint8_t bytes[16];

    (void)state;
    for (unsigned lock = 0; lock < 2; lock++) {
        struct native_trial trial = {.bytes = bytes, .adjust = adjust_pair, .rounds = 64};

        operand_bits = 64;
        trial.length = put(bytes, lock ? "\xf0" : "", 0, "\x0f\xc7", 1);
        native_check(&trial);
        operand_bits = 128;
        trial.length = put(bytes, lock ? "\xf0" : "", 0x48, "\x0f\xc7", 1);
        native_check(&trial);
    }
    for (unsigned i = 0; i < 6; i++) {
        static const char *const forms[] = {
            "\x0f\x38\xf0\x57\x10",     "\x0f\x38\xf1\x57\x10",     "\x66\x0f\x38\xf0\x57\x10",
            "\x66\x0f\x38\xf1\x57\x10", "\x4c\x0f\x38\xf0\x57\x10", "\x4c\x0f\x38\xf1\x57\x10",
        };

        native_check(&(struct native_trial){
            .bytes = (const uint8_t *)forms[i], .length = i < 2 ? 5 : 6, .rounds = 16});
    }
}

static void test_strings(void **state)
{
    static const uint8_t ops[] = {0xa6, 0xa7, 0xae, 0xaf};
    static const uint8_t lead[][3] = {{0},       {1, 0x66},       {1, 0x48},      {1, 0xf3},
                                      {1, 0xf2}, {2, 0xf3, 0x66}, {2, 0xf2, 0x48}};

    (void)state;
    for (unsigned i = 0; i < sizeof(ops) * ARRAY_SIZE(lead); i++) {
        const uint8_t *l = lead[i % ARRAY_SIZE(lead)];
        uint8_t bytes[4];

        memcpy(bytes, l + 1, l[0]);
        bytes[l[0]] = ops[i / ARRAY_SIZE(lead)];
        native_check(&(struct native_trial){.bytes = bytes,
                                            .length = l[0] + 1u,
                                            .count = 1 + (unsigned)(native_random() % 60),
                                            .rounds = 40});
    }
}

/* Every vector move, by its bytes before ModRM. */
static const struct {
    unsigned length;
    const char *bytes;
} moves[] = {
    {2, "\x0f\x10"},         {2, "\x0f\x11"},         {3, "\x66\x0f\x10"},
    {3, "\x66\x0f\x11"},     {3, "\xf3\x0f\x10"},     {3, "\xf3\x0f\x11"},
    {3, "\xf2\x0f\x10"},     {3, "\xf2\x0f\x11"},     {2, "\x0f\x12"},
    {2, "\x0f\x13"},         {3, "\x66\x0f\x12"},     {3, "\x66\x0f\x13"},
    {2, "\x0f\x16"},         {2, "\x0f\x17"},         {3, "\x66\x0f\x16"},
    {3, "\x66\x0f\x17"},     {2, "\x0f\x28"},         {2, "\x0f\x29"},
    {3, "\x66\x0f\x28"},     {3, "\x66\x0f\x29"},     {2, "\x0f\x2b"},
    {3, "\x66\x0f\x2b"},     {2, "\x0f\x6e"},         {3, "\x66\x0f\x6e"},
    {3, "\x48\x0f\x6e"},     {4, "\x66\x48\x0f\x6e"}, {2, "\x0f\x7e"},
    {3, "\x66\x0f\x7e"},     {3, "\x48\x0f\x7e"},     {4, "\x66\x48\x0f\x7e"},
    {3, "\xf3\x0f\x7e"},     {2, "\x0f\x6f"},         {3, "\x66\x0f\x6f"},
    {3, "\xf3\x0f\x6f"},     {2, "\x0f\x7f"},         {3, "\x66\x0f\x7f"},
    {3, "\xf3\x0f\x7f"},     {3, "\x66\x0f\xd6"},     {2, "\x0f\xe7"},
    {3, "\x66\x0f\xe7"},     {3, "\xf2\x0f\xf0"},     {4, "\x66\x0f\x38\x2a"},
    {3, "\x44\x0f\x10"},     {3, "\x44\x0f\x11"},     {4, "\x66\x44\x0f\x6f"},
    {4, "\xf3\x44\x0f\x7f"}, {3, "\xc5\xf8\x10"},     {3, "\xc5\xfc\x10"},
    {3, "\xc5\xf8\x11"},     {3, "\xc5\xfc\x11"},     {3, "\xc5\xfa\x10"},
    {3, "\xc5\xfb\x10"},     {3, "\xc5\xfa\x11"},     {3, "\xc5\xfb\x11"},
    {3, "\xc5\xf8\x13"},     {3, "\xc5\xf8\x17"},     {3, "\xc5\xfc\x28"},
    {3, "\xc5\xfd\x29"},     {3, "\xc5\xfc\x2b"},     {3, "\xc5\xf9\x6e"},
    {3, "\xc5\xf9\x7e"},     {4, "\xc4\xe1\xf9\x6e"}, {4, "\xc4\xe1\xf9\x7e"},
    {3, "\xc5\xfa\x7e"},     {3, "\xc5\xfd\x6f"},     {3, "\xc5\xfe\x6f"},
    {3, "\xc5\xfd\x7f"},     {3, "\xc5\xfe\x7f"},     {3, "\xc5\xf9\xd6"},
    {3, "\xc5\xfd\xe7"},     {3, "\xc5\xff\xf0"},     {4, "\xc4\xe2\x7d\x2a"},
    {3, "\xc5\x7e\x6f"},     {3, "\xc5\x7e\x7f"},
};

static bool has_avx2(void)
{
    unsigned a, b = 0, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & CPUID_7_EBX_AVX2);
}

static void test_vector_moves(void **state)
{
    (void)state;
    if (!has_avx2()) {
        skip();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(moves); i++) {
        for (unsigned reg = 0; reg < 8; reg += 3) {
            uint8_t bytes[16];
            unsigned n = moves[i].length;

            memcpy(bytes, moves[i].bytes, n);
            bytes[n] = (uint8_t)(0x87 | reg << 3); /* 0x40(%rdi) */
            memcpy(bytes + n + 1, "\x40\0\0\0", 4);
            native_check(&(struct native_trial){
                .bytes = bytes, .length = n + 5, .vector = true, .rounds = 4});
        }
    }
}

/* ---- not against this CPU ---- */

static void device_code(const char *bytes, unsigned length)
{
    fake_reset();
    fake.state.cr4 |= CR4_OSFXSR;
    fake.vcpu.regs.gpr[GPR_RDI] = fake.device_base;
    fake_code(bytes, length);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        fake.device[i] = (uint8_t)(0x11 * (i & 7) + 1);
    }
    fake.vcpu.regs.gpr[GPR_RSP] = 0x8000;
}

static void expect_fault(unsigned vector)
{
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.event.vector, vector);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
    assert_int_equal(fake.failures, 0);
}

static uint64_t ram64(uint64_t at)
{
    uint64_t value;

    memcpy(&value, fake.ram + at, sizeof(value));
    return value;
}

static void stack_on_device(const char *bytes, unsigned length)
{
    device_code(bytes, length);
    fake.vcpu.regs.gpr[GPR_RSP] = fake.device_base + 0x800;
}

static void test_stack(void **state)
{
    (void)state;
    device_code("\xff\x37", 2); /* push (%rdi) */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x7ff8);
    assert_true(ram64(0x7ff8) == 0x7867564534231201);
    assert_int_equal(fake.vcpu.regs.rip, 0x1002);
    device_code("\x66\xff\x37", 3);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x7ffe);

    device_code("\x8f\x07", 2); /* pop (%rdi) */
    memcpy(fake.ram + 0x8000, "spillway", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x8008);
    assert_memory_equal(fake.device, "spillway", 8);
    device_code("\x8f\x44\x24\xf8", 4); /* pop -8(%rsp), with RSP behind it */
    fake.device_base = 0x50000;
    fake.vcpu.regs.gpr[GPR_RSP] = 0x40000 - 8;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.device_access, 0); /* it was memory at both ends: the guest tries again */

    device_code("\xff\x17", 2); /* call *(%rdi) */
    memcpy(fake.device, "\x00\x20\0\0\0\0\0\0", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x2000);
    assert_true(ram64(0x7ff8) == 0x1002);
    device_code("\xff\x27", 2); /* jmp *(%rdi) */
    memcpy(fake.device, "\x00\x20\0\0\0\0\0\0", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x2000);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x8000);
    device_code("\xff\x27", 2);
    fake.device[7] = 0x12; /* not canonical */
    expect_fault(VECTOR_GP);

    /* The stack alone is on a device. */
    stack_on_device("\x6a\xf9", 2);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], fake.device_base + 0x7f8);
    assert_memory_equal(fake.device + 0x7f8, "\xf9\xff\xff\xff\xff\xff\xff\xff", 8);
    stack_on_device("\x41\x50", 2); /* push %r8 */
    fake.vcpu.regs.gpr[GPR_R8] = 0x1234;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_memory_equal(fake.device + 0x7f8, "\x34\x12\0\0\0\0\0\0", 8);
    stack_on_device("\xff\x37", 2); /* push (%rdi), which is memory */
    fake.vcpu.regs.gpr[GPR_RDI] = 0x6000;
    memcpy(fake.ram + 0x6000, "spillway", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_memory_equal(fake.device + 0x7f8, "spillway", 8);
    stack_on_device("\x5c", 1); /* pop %rsp */
    memcpy(fake.device + 0x800, "\x21\x43\0\0\0\0\0\0", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x4321);
    stack_on_device("\xc2\x10\x00", 3); /* ret $16 */
    memcpy(fake.device + 0x800, "\x21\x43\0\0\0\0\0\0", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x4321);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], fake.device_base + 0x818);
    stack_on_device("\xe8\x00\x01\x00\x00", 5); /* call */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x1105);
    assert_memory_equal(fake.device + 0x7f8, "\x05\x10\0\0\0\0\0\0", 8);
    stack_on_device("\xc9", 1); /* leave */
    fake.vcpu.regs.gpr[GPR_RBP] = fake.device_base + 0x100;
    memcpy(fake.device + 0x100, "\x21\x43\0\0\0\0\0\0", 8);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], fake.device_base + 0x108);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RBP], 0x4321);
    stack_on_device("\xc8\x34\x02\x00", 4); /* enter $0x234, $0 */
    fake.vcpu.regs.gpr[GPR_RBP] = 0x4321;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RBP], fake.device_base + 0x7f8);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], fake.device_base + 0x7f8 - 0x234);
    assert_memory_equal(fake.device + 0x7f8, "\x21\x43\0\0\0\0\0\0", 8);

    /* The stack waits for memory: the device has not been read. */
    device_code("\xff\x37", 2);
    fake.wait_at = 2;
    assert_int_equal(native_emulate(), EXIT_PARK);
    assert_int_equal(fake.device_access, 0);
}

static void test_faults(void **state)
{
    (void)state;
    device_code("\xf7\x37", 2); /* div */
    memset(fake.device, 0, 8);
    expect_fault(VECTOR_DE);
    device_code("\xf7\x3f", 2); /* idiv: the quotient is 80000000H */
    memset(fake.device, 0xff, 4);
    fake.vcpu.regs.gpr[GPR_RAX] = 0x80000000;
    fake.vcpu.regs.gpr[GPR_RDX] = 0xffffffff;
    expect_fault(VECTOR_DE);
    device_code("\x0f\x28\x47\x08", 4); /* movaps, misaligned */
    expect_fault(VECTOR_GP);
    device_code("\x48\x0f\xc7\x4f\x08", 5); /* cmpxchg16b, misaligned */
    expect_fault(VECTOR_GP);
    device_code("\x0f\x10\x07", 3);
    fake.state.cr0 |= CR0_TS;
    expect_fault(VECTOR_NM);
    device_code("\x0f\x10\x07", 3);
    fake.state.cr4 &= ~(uint64_t)CR4_OSFXSR;
    expect_fault(VECTOR_UD);
    device_code("\xc5\xf8\x10\x07", 4); /* vmovups without OSXSAVE */
    expect_fault(VECTOR_UD);
    device_code("\xc5\xf0\x10\x07", 4); /* vvvv is not 1111 */
    expect_fault(VECTOR_UD);
}

/* A GDT at 0x4000 in protected mode of 32 bits. */
static void system_code(const char *bytes, unsigned length, uint16_t selector)
{
    static const uint64_t gdt[] = {0,
                                   0x00cf9a000000ffff,  /* 08: code */
                                   0x00cf92123456ffff,  /* 10: data, not accessed */
                                   0x0000820000501fff,  /* 18: LDT */
                                   0x0000890070000067,  /* 20: TSS */
                                   0x00008b0070000067,  /* 28: busy */
                                   0x00cf12000000ffff}; /* 30: not present */

    device_code(bytes, length);
    fake.state.efer = 0;
    fake.state.segment[SEG_CS].access = 0xc09b;
    fake.state.gdtr = (struct guest_table_register){0x4000, sizeof(gdt) - 1};
    memcpy(fake.ram + 0x4000, gdt, sizeof(gdt));
    memcpy(fake.device, &selector, sizeof(selector));
}

static void test_system(void **state)
{
    (void)state;
    system_code("\x8e\x1f", 2, 0x10); /* mov (%edi), %ds */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.state.segment[SEG_DS].selector, 0x10);
    assert_int_equal(fake.state.segment[SEG_DS].base, 0x123456);
    assert_int_equal(fake.ram[0x4015], 0x93);
    system_code("\x8e\x27", 2, 0);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_true(fake.state.segment[SEG_FS].access & SEGMENT_UNUSABLE);
    system_code("\x8e\x17", 2, 0); /* SS */
    expect_fault(VECTOR_GP);
    system_code("\x8e\x1f", 2, 0x30);
    expect_fault(VECTOR_NP);
    system_code("\x8e\x0f", 2, 0x10); /* CS: not an instruction */
    expect_fault(VECTOR_UD);
    system_code("\x8e\x1f", 2, 0x1234);
    fake.state.cr0 &= ~(uint64_t)CR0_PE;
    fake.state.segment[SEG_DS].base = 0;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.state.segment[SEG_DS].base, 0x12340);

    system_code("\x0f\x00\x17", 3, 0x18); /* lldt */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.state.segment[SEG_LDTR].base, 0x50);
    system_code("\x0f\x00\x17", 3, 0x20);
    expect_fault(VECTOR_GP);
    assert_int_equal(fake.vcpu.event.error_code, 0x20);
    system_code("\x0f\x00\x1f", 3, 0x20); /* ltr */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.state.segment[SEG_TR].base, 0x7000);
    assert_int_equal(fake.ram[0x4025], 0x8b);
    system_code("\x0f\x00\x1f", 3, 0x28);
    expect_fault(VECTOR_GP);
    system_code("\x0f\x00\x1f", 3, 0x20);
    fake.state.segment[SEG_SS].access |= 0x60; /* CPL 3 */
    expect_fault(VECTOR_GP);

    system_code("\xff\x2f", 2, 0); /* ljmp *(%edi) */
    memcpy(fake.device, "\x00\x20\x00\x00\x08\x00", 6);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x2000);
    assert_int_equal(fake.state.segment[SEG_CS].selector, 8);
    assert_int_equal(fake.ram[0x400d], 0x9b);
    system_code("\xff\x1f", 2, 0); /* lcall */
    memcpy(fake.device, "\x00\x20\x00\x00\x08\x00", 6);
    fake.state.segment[SEG_CS].selector = 0x99;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], 0x7ff8);
    assert_true(ram64(0x7ff8) == 0x0000009900001002);
    system_code("\xff\x2f", 2, 0); /* to data */
    memcpy(fake.device, "\x00\x20\x00\x00\x10\x00", 6);
    expect_fault(VECTOR_GP);

    system_code("\x0f\x01\x27", 3, 0); /* smsw */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.device[0], fake.state.cr0 & 0xff);
    system_code("\x0f\x01\x37", 3, 8); /* lmsw: TS; PE stays */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.state.cr0 & 0xf, CR0_PE | CR0_TS);
    system_code("\x0f\x00\x07", 3, 0); /* sldt */
    fake.state.segment[SEG_LDTR].selector = 0x4321;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.device[0], 0x21);
    system_code("\x0f\x00\x07", 3, 0);
    fake.state.segment[SEG_SS].access |= 0x60;
    fake.state.cr4 |= CR4_UMIP;
    expect_fault(VECTOR_GP);
    system_code("\x8c\x1f", 2, 0); /* mov %ds, (%edi) */
    fake.state.segment[SEG_DS].selector = 0x77;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.device[0], 0x77);
    assert_int_equal(fake.device[2], 0x23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shifts),          cmocka_unit_test(test_products),
        cmocka_unit_test(test_registers),       cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_pairs_and_movbe), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_vector_moves),    cmocka_unit_test(test_stack),
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_system),
    };

    return cmocka_run_group_tests_name("guest_instructions", tests, native_setup, NULL);
}
