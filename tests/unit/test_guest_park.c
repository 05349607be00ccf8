/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c
 * tests/unit/guest/native.c */
/*
 * Instructions that do not get through at once: they park at each access, in guest memory, on a
 * device, in a string of a port; they fault in the middle, are refused, or touch what is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/step.h"
#include "tests/unit/guest/guest_fake.h"
#include "tests/unit/guest/native.h"

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

    return cmocka_run_group_tests_name("guest_park", tests, native_setup, NULL);
}
