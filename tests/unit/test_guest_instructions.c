/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c
 * tests/unit/guest/native.c */
/*
 * More instructions with a device as their operand, against this CPU: shifts, products, quotients,
 * bit counts, conditions, vector moves.  tests/unit/test_guest_system.c has those that cannot be
 * run here.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shifts),          cmocka_unit_test(test_products),
        cmocka_unit_test(test_registers),       cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_pairs_and_movbe), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_vector_moves),
    };

    return cmocka_run_group_tests_name("guest_instructions", tests, native_setup, NULL);
}
