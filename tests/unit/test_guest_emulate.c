/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c
 * tests/unit/guest/native.c */
/*
 * Instruction emulation against this CPU: every instruction that arch/x86/guest/mmio.c knows is run
 * natively on a buffer and emulated on a device with the same contents; registers, flags and
 * bytes must agree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guest/native.h"

static void check(const uint8_t *bytes, unsigned length, bool small, unsigned count)
{
    native_check(
        &(struct native_trial){.bytes = bytes, .length = length, .small = small, .count = count});
}

/* One opcode with every prefix that makes sense and every register (or group member). */
struct encoding {
    uint8_t opcode[2]; /* 0f first, or 0 */
    uint8_t groups;    /* bit mask of ModRM.reg values for group opcodes; 0: registers */
    uint8_t immediate; /* 1: byte; 4: by operand size */
    bool byte;         /* 8-bit register operand */
    bool lock;
    bool bit_string; /* the register moves the address */
};

static const struct encoding encodings[] = {
    {.opcode = {0, 0x00}, .byte = true, .lock = true},
    {.opcode = {0, 0x01}, .lock = true},
    {.opcode = {0, 0x02}, .byte = true},
    {.opcode = {0, 0x03}},
    {.opcode = {0, 0x08}, .byte = true, .lock = true},
    {.opcode = {0, 0x09}, .lock = true},
    {.opcode = {0, 0x0b}},
    {.opcode = {0, 0x10}, .byte = true, .lock = true},
    {.opcode = {0, 0x11}, .lock = true},
    {.opcode = {0, 0x13}},
    {.opcode = {0, 0x18}, .byte = true, .lock = true},
    {.opcode = {0, 0x19}, .lock = true},
    {.opcode = {0, 0x1b}},
    {.opcode = {0, 0x20}, .byte = true, .lock = true},
    {.opcode = {0, 0x21}, .lock = true},
    {.opcode = {0, 0x23}},
    {.opcode = {0, 0x28}, .byte = true, .lock = true},
    {.opcode = {0, 0x29}, .lock = true},
    {.opcode = {0, 0x2b}},
    {.opcode = {0, 0x30}, .byte = true, .lock = true},
    {.opcode = {0, 0x31}, .lock = true},
    {.opcode = {0, 0x33}},
    {.opcode = {0, 0x38}, .byte = true},
    {.opcode = {0, 0x39}},
    {.opcode = {0, 0x3b}},
    {.opcode = {0, 0x63}},
    {.opcode = {0, 0x80}, .groups = 0xff, .immediate = 1},
    {.opcode = {0, 0x81}, .groups = 0xff, .immediate = 4},
    {.opcode = {0, 0x83}, .groups = 0xff, .immediate = 1},
    {.opcode = {0, 0x84}, .byte = true},
    {.opcode = {0, 0x85}},
    {.opcode = {0, 0x86}, .byte = true, .lock = true},
    {.opcode = {0, 0x87}, .lock = true},
    {.opcode = {0, 0x88}, .byte = true},
    {.opcode = {0, 0x89}},
    {.opcode = {0, 0x8a}, .byte = true},
    {.opcode = {0, 0x8b}},
    {.opcode = {0, 0xc6}, .groups = 0x01, .immediate = 1},
    {.opcode = {0, 0xc7}, .groups = 0x01, .immediate = 4},
    {.opcode = {0, 0xf6}, .groups = 0x01, .immediate = 1},
    {.opcode = {0, 0xf7}, .groups = 0x01, .immediate = 4},
    {.opcode = {0, 0xf6}, .groups = 0x0c, .lock = true},
    {.opcode = {0, 0xf7}, .groups = 0x0c, .lock = true},
    {.opcode = {0, 0xfe}, .groups = 0x03, .lock = true},
    {.opcode = {0, 0xff}, .groups = 0x03, .lock = true},
    {.opcode = {0x0f, 0xa3}, .bit_string = true},
    {.opcode = {0x0f, 0xab}, .bit_string = true, .lock = true},
    {.opcode = {0x0f, 0xb3}, .bit_string = true, .lock = true},
    {.opcode = {0x0f, 0xbb}, .bit_string = true, .lock = true},
    {.opcode = {0x0f, 0xba}, .groups = 0x10, .immediate = 1},
    {.opcode = {0x0f, 0xba}, .groups = 0xe0, .immediate = 1, .lock = true},
    {.opcode = {0x0f, 0xb0}, .byte = true, .lock = true},
    {.opcode = {0x0f, 0xb1}, .lock = true},
    {.opcode = {0x0f, 0xb6}},
    {.opcode = {0x0f, 0xb7}},
    {.opcode = {0x0f, 0xbe}},
    {.opcode = {0x0f, 0xbf}},
    {.opcode = {0x0f, 0xc0}, .byte = true, .lock = true},
    {.opcode = {0x0f, 0xc1}, .lock = true},
    {.opcode = {0x0f, 0xc3}},
    {.opcode = {0x0f, 0xae}, .groups = 0x80}, /* CLFLUSH */
};

static unsigned build(uint8_t *out, const struct encoding *e, unsigned reg, uint8_t prefix,
                      uint8_t rex, bool lock)
{
    unsigned n = 0, immediate = e->immediate;

    if (lock) {
        out[n++] = 0xf0;
    }
    if (prefix) {
        out[n++] = prefix;
    }
    if (rex) {
        out[n++] = rex;
    }
    if (e->opcode[0]) {
        out[n++] = e->opcode[0];
    }
    out[n++] = e->opcode[1];
    out[n++] = (uint8_t)(0x47 | (reg << 3)); /* disp8(%rdi) */
    out[n++] = 0x10;
    if (immediate == 4 && prefix == 0x66 && !(rex & 8)) {
        immediate = 2;
    }
    for (; immediate; immediate--) {
        out[n++] = (uint8_t)native_random();
    }
    return n;
}

static void test_against_cpu(void **state)
{
    static const uint8_t prefixes[] = {0, 0x66};
    static const uint8_t rexes[] = {0, 0x40, 0x48, 0x44, 0x4c};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(encodings) * 8 * 2 * 5 * 2; i++) {
        const struct encoding *e = &encodings[i / 160];
        unsigned reg = i / 20 % 8;
        uint8_t prefix = prefixes[i / 10 % 2], rex = rexes[i / 2 % 5];
        bool lock = i % 2, is_rsp = reg == 4 && !(rex & 4);
        uint8_t bytes[16];

        if ((lock && !e->lock) || (e->bit_string && reg == 7 && !(rex & 4)) ||
            (e->groups && !(e->groups & (1u << reg))) ||
            (!e->groups && is_rsp && !(e->byte && rex == 0)) || (e->opcode[1] == 0xc3 && prefix) ||
            (e->opcode[1] == 0xae && prefix)) {
            continue;
        }
        unsigned length = build(bytes, e, reg, prefix, rex, lock);
        check(bytes, length, e->bit_string, 0);
    }
}

static void test_strings_against_cpu(void **state)
{
    static const uint8_t ops[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad};
    static const uint8_t lead[][3] = {{0},       {1, 0x66},       {1, 0x48},
                                      {1, 0xf3}, {2, 0xf3, 0x66}, {2, 0xf3, 0x48}};

    (void)state;
    for (unsigned i = 0; i < sizeof(ops); i++) {
        for (unsigned l = 0; l < ARRAY_SIZE(lead); l++) {
            uint8_t bytes[4];
            unsigned n = lead[l][0];

            memcpy(bytes, lead[l] + 1, n);
            bytes[n] = ops[i];
            check(bytes, n + 1, false, 1 + (unsigned)(native_random() % 100));
        }
    }
}

static void test_moffs(void **state)
{
    uint8_t bytes[] = {0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0};

    (void)state;
    for (uint8_t op = 0xa0; op <= 0xa3; op++) {
        uint64_t address = (uint64_t)native_page() + 24;

        bytes[1] = op;
        memcpy(bytes + 2, &address, 8);
        check(bytes, sizeof(bytes), false, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_cpu),
        cmocka_unit_test(test_strings_against_cpu),
        cmocka_unit_test(test_moffs),
    };

    return cmocka_run_group_tests_name("guest_emulate", tests, native_setup, NULL);
}
