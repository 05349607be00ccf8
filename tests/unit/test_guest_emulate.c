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
 * bytes must agree.  Then: parking at every step, page boundaries, string I/O, refusals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/step.h"
#include "tests/unit/guest/guest_fake.h"
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

/* ---- parking ---- */

/* Code, data and device behind page tables without A bits: many steps that can wait. */
static void build_paged(const uint8_t *bytes, unsigned count)
{
    fake_reset();
    fake_paging_on();
    fake_map(0x1000, 0x1000, PTE_W, 0);
    fake_map(0x7f0000000000, 0x30000, PTE_W, 0);
    fake_map(0x7f0000001000, 0xfee00000, PTE_W, 0);
    fake_code(bytes, count);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        fake.device[i] = (uint8_t)(i * 7);
        fake.ram[0x30000 + i] = (uint8_t)(i * 11);
    }
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        fake.vcpu.regs.gpr[i] = 0x1111111111111111ull * i;
    }
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000001000;
    fake.vcpu.regs.gpr[GPR_RSI] = 0x7f0000000100;
}

/* Makes each call of the space in turn wait once: nothing may have happened then, and the outcome
 * after the retry must be that of the run without a wait.  Only an operand that lies half in memory
 * may read its device half again. */
static unsigned park_sweep(const uint8_t *bytes, unsigned count, uint64_t rdi, bool crossing)
{
    static struct fake_machine wanted;
    unsigned steps = 0;

    build_paged(bytes, count);
    fake.vcpu.regs.gpr[GPR_RDI] = rdi;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_false(fake.vcpu.event.valid);
    wanted = fake;
    for (unsigned at = 1;; at++, steps++) {
        enum exit_result result;
        struct guest_registers before;

        build_paged(bytes, count);
        fake.vcpu.regs.gpr[GPR_RDI] = rdi;
        before = fake.vcpu.regs;
        fake.wait_at = at;
        result = native_emulate();
        if (result == EXIT_RESUME) {
            break;
        }
        assert_int_equal(result, EXIT_PARK);
        assert_memory_equal(&before, &fake.vcpu.regs, sizeof(before));
        if (!crossing) {
            assert_int_equal(fake.device_access, 0);
        }
        for (unsigned i = 0; i < PAGE_SIZE; i++) {
            assert_int_equal(fake.device[i], (uint8_t)(i * 7));
        }
        assert_int_equal(native_emulate(), EXIT_RESUME);
        assert_memory_equal(&wanted.vcpu.regs, &fake.vcpu.regs, sizeof(before));
        assert_memory_equal(wanted.device, fake.device, sizeof(fake.device));
        assert_memory_equal(wanted.ram, fake.ram, sizeof(fake.ram));
        if (!crossing) {
            assert_int_equal(wanted.device_access, fake.device_access);
        }
    }
    assert_int_equal(fake.failures, 0);
    return steps;
}

static void test_park_everywhere(void **state)
{
    (void)state;
    /* mov %eax, (%rdi) */
    assert_in_range(park_sweep((const uint8_t *)"\x89\x07", 2, 0x7f0000001000, false), 10, 40);
    /* lock add %eax, (%rdi), half in memory, half in the device */
    assert_in_range(park_sweep((const uint8_t *)"\xf0\x01\x07", 3, 0x7f0000000ffe, true), 12, 60);
    /* xchg %rax, (%rdi) with 3 bytes in memory */
    park_sweep((const uint8_t *)"\x48\x87\x07", 3, 0x7f0000000ffd, true);
    /* movsq from memory to the device */
    park_sweep((const uint8_t *)"\x48\xa5", 2, 0x7f0000001010, false);
}

/* Each access to the device parks once: nothing has happened to it then, nor to the registers. */
static unsigned device_park_sweep(const uint8_t *bytes, unsigned count)
{
    static struct fake_machine wanted;

    build_paged(bytes, count);
    assert_int_equal(native_emulate(), EXIT_RESUME);
    wanted = fake;
    for (unsigned at = 1;; at++) {
        struct guest_registers before;

        build_paged(bytes, count);
        before = fake.vcpu.regs;
        fake.device_parks_at = at;
        if (native_emulate() == EXIT_RESUME) {
            return at - 1;
        }
        assert_memory_equal(&before, &fake.vcpu.regs, sizeof(before));
        for (unsigned i = 0; i < PAGE_SIZE; i++) {
            assert_int_equal(fake.device[i], (uint8_t)(i * 7));
        }
        assert_int_equal(native_emulate(), EXIT_RESUME);
        assert_memory_equal(&wanted.vcpu.regs, &fake.vcpu.regs, sizeof(before));
        assert_memory_equal(wanted.device, fake.device, sizeof(fake.device));
        assert_memory_equal(wanted.ram, fake.ram, sizeof(fake.ram));
    }
}

static void test_device_parks(void **state)
{
    (void)state;
    /* mov %eax, (%rdi); mov (%rdi), %eax; lock add %eax, (%rdi); movsq to it */
    assert_int_equal(device_park_sweep((const uint8_t *)"\x89\x07", 2), 1);
    assert_int_equal(device_park_sweep((const uint8_t *)"\x8b\x07", 2), 1);
    assert_int_equal(device_park_sweep((const uint8_t *)"\xf0\x01\x07", 3), 2);
    assert_int_equal(device_park_sweep((const uint8_t *)"\x48\xa5", 2), 1);
    assert_int_equal(device_park_sweep((const uint8_t *)"\x0f\xb1\x07", 3), 2); /* cmpxchg */
    assert_int_equal(device_park_sweep((const uint8_t *)"\x0f\xa5\x07", 3), 2); /* shld */
    assert_int_equal(device_park_sweep((const uint8_t *)"\xf7\x27", 2), 1);     /* mul */
    assert_int_equal(device_park_sweep((const uint8_t *)"\x48\xae", 2), 1);     /* scasb */
}

static void test_movs_device_to_memory(void **state)
{
    (void)state;
    build_paged((const uint8_t *)"\xf3\xa4", 2);
    fake.vcpu.regs.gpr[GPR_RSI] = 0x7f0000001000;
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000800;
    fake.vcpu.regs.gpr[GPR_RCX] = 200;
    /* Bounded: 64 elements at a time, and registers say where it stands. */
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 136);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(native_emulate(), EXIT_RESUME);
    }
    assert_int_equal(fake.vcpu.regs.rip, 0x1002);
    assert_memory_equal(fake.ram + 0x30800, fake.device, 200);
    assert_int_equal(fake.device_access, 200);
    assert_true(*fake_leaf(0x7f0000000000) & PTE_D);
    assert_false(*fake_leaf(0x7f0000001000) & PTE_D);
}

static void test_string_ends_in_fault(void **state)
{
    (void)state;
    /* rep stosq runs from the device page into one that is not mapped. */
    build_paged((const uint8_t *)"\xf3\x48\xab", 3);
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000001ff0;
    fake.vcpu.regs.gpr[GPR_RCX] = 10;
    assert_int_equal(native_emulate(), EXIT_RESUME);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_PF);
    assert_int_equal(fake.vcpu.event.error_code, PF_WRITE);
    assert_true(fake.vcpu.regs.cr2 == 0x7f0000002000);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 8);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
}

/* ---- port strings ---- */

static enum exit_result string_io(uint16_t port, uint8_t size, bool in)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_IO};

    exit.io.port = port;
    exit.io.size = size;
    exit.io.in = in;
    exit.io.string = true;
    return arch_guest_string_io(&fake.vcpu, &exit);
}

static void test_outs_ins(void **state)
{
    (void)state;
    build_paged((const uint8_t *)"\xf3\x6e", 2); /* rep outsb */
    fake.vcpu.regs.gpr[GPR_RCX] = 100;
    fake.wait_at = 20;
    for (unsigned i = 0; i < 8 && fake.vcpu.regs.rip == 0x1000; i++) {
        string_io(0x3f8, 1, false);
    }
    assert_int_equal(fake.port_bytes, 100);
    assert_memory_equal(fake.port_log, fake.ram + 0x30100, 100);
    assert_int_equal(fake.vcpu.regs.rip, 0x1002);

    build_paged((const uint8_t *)"\x66\x6d", 2); /* insw */
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000fff - 1;
    assert_int_equal(string_io(0x1234, 2, true), EXIT_RESUME);
    assert_int_equal(fake.ram[0x30ffe], 0x34);
    assert_int_equal(fake.vcpu.regs.rip, 0x1002);
    assert_true(fake.vcpu.regs.gpr[GPR_RDI] == 0x7f0000001000);
}

/* One element of a string parks: those before it are done and are not done again. */
static void port_string_parks(const char *code, bool in, unsigned at)
{
    unsigned parks = 0;

    build_paged((const uint8_t *)code, 2);
    fake.vcpu.regs.gpr[GPR_RCX] = 100;
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000800;
    fake.device_parks_at = at;
    for (unsigned i = 0; i < 8 && fake.vcpu.regs.rip == 0x1000; i++) {
        enum exit_result result = string_io(0x3f8, 1, in);

        if (result == EXIT_PARK) {
            parks++;
            assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 100 - (at - 1));
            assert_int_equal(fake.port_bytes, at - 1);
        }
    }
    assert_int_equal(parks, 1);
    assert_int_equal(fake.vcpu.regs.rip, 0x1002);
    assert_int_equal(fake.port_bytes, 100);
    for (unsigned i = 0; i < 100 && in; i++) {
        assert_int_equal(fake.ram[0x30800 + i], (uint8_t)(0xf8 + i));
    }
    if (!in) {
        assert_memory_equal(fake.port_log, fake.ram + 0x30100, 100);
    }
}

static void test_port_strings_park(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 100; at++) {
        port_string_parks("\xf3\x6e", false, at); /* rep outsb */
        port_string_parks("\xf3\x6c", true, at);  /* rep insb */
    }
}

/* ---- what is refused ---- */

static void test_refusals(void **state)
{
    static const struct {
        const char *bytes;
        unsigned length;
        bool said; /* an instruction that is not emulated, which is #UD too */
    } cases[] = {
        {"\xd9\x07", 2, true},      /* fld (%rdi) */
        {"\x0f\xae\x07", 3, true},  /* fxsave (%rdi) */
        {"\x9d", 1, true},          /* popf with a stack in a device */
        {"\xf0\x89\x07", 3, false}, /* lock mov */
        {"\xf0\x39\x07", 3, false}, /* lock cmp */
        {"\x06", 1, false},         /* push %es in 64-bit mode */
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        build_paged((const uint8_t *)cases[i].bytes, cases[i].length);
        for (unsigned n = 0; n < 3; n++) { /* said once */
            fake.vcpu.event.valid = false;
            assert_int_equal(native_emulate(), EXIT_RESUME);
            assert_int_equal(fake.messages, cases[i].said);
            assert_true(fake.vcpu.event.valid);
            assert_int_equal(fake.vcpu.event.vector, VECTOR_UD);
            assert_int_equal(fake.device_access, 0);
            assert_int_equal(fake.vcpu.regs.rip, 0x1000);
        }
        assert_int_equal(fake.failures + fake.steps, 0);
    }
    build_paged((const uint8_t *)"\x89\x07", 2);
    vcpu_inject_exception(&fake.vcpu, VECTOR_GP); /* delivery was cut short */
    assert_int_equal(native_emulate(), EXIT_FAIL);
    assert_int_equal(fake.triple_faults, 1);
}

/* ---- where nothing is ---- */

static enum exit_result touch(uint64_t at, unsigned access)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_MEMORY};

    exit.memory.address = gpa(at);
    exit.memory.access = access;
    if (fake.vcpu.lent_pages != 0) {
        arch_guest_step_exit(&fake.vcpu, &exit);
    }
    return arch_guest_mmio(&fake.vcpu, &exit);
}

static void test_step(void **state)
{
    static const struct vcpu_exit done = {.kind = EXIT_KIND_RETRY};
    struct vcpu other = {.vm = &fake.vm};

    (void)state;
    build_paged((const uint8_t *)"\xd9\x07", 2);
    assert_int_equal(touch(0xd0000000, ACCESS_READ), EXIT_RESUME);
    assert_int_equal(touch(0xd0001000, ACCESS_READ), EXIT_RESUME); /* over the end of a page */
    assert_int_equal(touch(0xd0001000, ACCESS_READ), EXIT_RESUME);
    assert_int_equal(fake.lent, 2);
    assert_int_equal(fake.steps, 3);
    /* Another vCPU has to try again. */
    assert_int_equal(guest_step_over(&other, gpa(0xe0000000)), GUEST_RETRY);
    assert_int_equal(fake.lent, 2);
    arch_guest_step_exit(&fake.vcpu, &done);
    assert_int_equal(fake.lent, 0);
    assert_int_equal(guest_step_over(&other, gpa(0xe0000000)), GUEST_OK);
    arch_guest_step_end(&other);

    /* Something else on the way, and too many pages: never one that stays. */
    assert_int_equal(touch(0xd0000000, ACCESS_READ), EXIT_RESUME);
    assert_int_equal(touch(0xfee00000, ACCESS_READ), EXIT_RESUME);
    assert_int_equal(fake.lent, 0);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_UD);
    fake.vcpu.event.valid = false;
    for (unsigned i = 0; i < VCPU_LENT_PAGES; i++) {
        assert_int_equal(touch(0xd0000000 + i * PAGE_SIZE, ACCESS_WRITE), EXIT_RESUME);
        assert_int_equal(fake.lent, i + 1);
    }
    assert_int_equal(touch(0xc0000000, ACCESS_WRITE), EXIT_RESUME);
    assert_int_equal(fake.lent, 0);
    assert_true(fake.vcpu.event.valid);

    /* Memory is short; the backend has something to deliver first. */
    fake.vcpu.event.valid = false;
    assert_int_equal(touch(0xd0000000, ACCESS_EXEC), EXIT_RESUME);
    fake.wait_at = fake.calls + 1;
    assert_int_equal(touch(0xd0001000, ACCESS_EXEC), EXIT_PARK);
    assert_int_equal(fake.lent, 0);
    fake.step_refused = true;
    assert_int_equal(touch(0xd0001000, ACCESS_EXEC), EXIT_RESUME);
    assert_int_equal(fake.lent, 0);
    assert_false(fake.vcpu.event.valid);
    assert_null(fake.vm.run.lent_to);
}

/* Any bytes at all: never more than a failed VM, and never a device access with RIP unchanged but
 * by a string instruction. */
static void test_random_code(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t bytes[2] = {native_random(), native_random()};

        if (i % 64 == 0) {
            build_paged((const uint8_t *)bytes, 15);
        }
        fake.vcpu.regs.rip = 0x1000;
        fake.vcpu.event.valid = false;
        fake_code(bytes, 15);
        fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000001000;
        fake.wait_at = fake.calls + (unsigned)(native_random() % 32);
        enum exit_result result = native_emulate();
        assert_in_range(result, EXIT_RESUME, EXIT_FAIL);
        assert_int_equal(fake.failures, 0);
        assert_in_range(fake.vcpu.regs.rip, 0x1000, 0x100f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_cpu),
        cmocka_unit_test(test_strings_against_cpu),
        cmocka_unit_test(test_moffs),
        cmocka_unit_test(test_park_everywhere),
        cmocka_unit_test(test_device_parks),
        cmocka_unit_test(test_movs_device_to_memory),
        cmocka_unit_test(test_string_ends_in_fault),
        cmocka_unit_test(test_outs_ins),
        cmocka_unit_test(test_port_strings_park),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_random_code),
    };

    return cmocka_run_group_tests_name("guest_emulate", tests, native_setup, NULL);
}
