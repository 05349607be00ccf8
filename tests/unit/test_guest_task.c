/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/cr.c
 * arch/x86/guest/fetch.c arch/x86/guest/operand.c arch/x86/guest/policy.c arch/x86/guest/segment.c
 * arch/x86/guest/task.c arch/x86/guest/task_new.c arch/x86/guest/walk.c
 * tests/unit/guest/guest_fake.c */
/*
 * Task switches: what is saved, loaded and linked, every fault on the way, and waiting for memory
 * at each step, after which the outcome must be that of the switch without a wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "tests/unit/guest/guest_fake.h"

/* Guest memory.  The table of descriptors and both task states lie across the ends of pages. */
#define GDT     0x4fd0u
#define OLD_TSS 0x5fc0u
#define NEW_TSS 0x7fc0u
#define LDT     0x9000u
#define STACK   0xa002u /* the error code too */

enum {
    CODE = 0x08,
    DATA = 0x10,
    OLD = 0x18,
    NEW = 0x20,
    CODE_3 = 0x28,
    ABSENT_DATA = 0x30,
    TABLE = 0x38,
    READ_ONLY = 0x40,
};

static void put(uint64_t at, uint64_t value, unsigned bytes)
{
    memcpy(fake.ram + at, &value, bytes);
}

static uint64_t get(uint64_t at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, fake.ram + at, bytes);
    return value;
}

static void descriptor(unsigned selector, uint32_t base, uint32_t limit, uint32_t access)
{
    put(GDT + selector,
        (uint64_t)(base >> 24) << 56 | (uint64_t)(access >> 8) << 52 |
            (uint64_t)(limit >> 16) << 48 | (uint64_t)(access & 0xff) << 40 |
            (uint64_t)(base & 0xffffff) << 16 | (limit & 0xffff),
        8);
}

static uint8_t type_of(unsigned selector)
{
    return fake.ram[GDT + selector + 5];
}

static void wide_tss(uint64_t at)
{
    static const uint16_t segments[] = {DATA, CODE, DATA, DATA, 0, DATA, 0};

    put(at + 28, 0x3000, 4);
    put(at + 32, 0x12345, 4);
    put(at + 36, 0x202, 4);
    for (unsigned i = 0; i < 8; i++) {
        put(at + 40 + 4 * i, 0x10101010 * (i + 1), 4);
    }
    put(at + 56, STACK, 4);
    for (unsigned i = 0; i < 7; i++) {
        put(at + 72 + 4 * i, segments[i], 4);
    }
}

static void narrow_tss(uint64_t at)
{
    static const uint16_t segments[] = {DATA, CODE, DATA, DATA, 0};

    put(at + 14, 0x2345, 2);
    put(at + 16, 0x202, 2);
    for (unsigned i = 0; i < 8; i++) {
        put(at + 18 + 2 * i, 0x1010 * (i + 1), 2);
    }
    put(at + 26, STACK, 2);
    for (unsigned i = 0; i < 5; i++) {
        put(at + 34 + 2 * i, segments[i], 2);
    }
}

/* 32-bit protected mode without paging, in the old task. */
static void build(bool wide_old, bool wide_new)
{
    fake_reset();
    fake.state.efer = 0;
    fake.state.cr4 = 0;
    fake.state.dr7 = 0x455;
    fake.state.gdtr = (struct guest_table_register){GDT, 0x47};
    fake.state.segment[SEG_TR] = (struct guest_segment){
        .base = OLD_TSS, .limit = 0x67, .access = wide_old ? 0x8b : 0x83, .selector = OLD};
    fake.state.segment[SEG_LDTR].access = (uint32_t)SEGMENT_UNUSABLE;
    for (unsigned i = 0; i <= SEG_GS; i++) {
        fake.state.segment[i].selector = (uint16_t)(0x100 + i);
    }
    descriptor(CODE, 0, 0xfffff, 0xc9a);
    descriptor(DATA, 0, 0xfffff, 0xc92);
    descriptor(OLD, OLD_TSS, wide_old ? 0x67 : 0x2b, wide_old ? 0x8b : 0x83);
    descriptor(NEW, NEW_TSS, wide_new ? 0x67 : 0x2b, wide_new ? 0x89 : 0x81);
    descriptor(CODE_3, 0, 0xfffff, 0xcfa);
    descriptor(ABSENT_DATA, 0, 0xfffff, 0xc12);
    descriptor(TABLE, LDT, 0xff, 0x82);
    descriptor(READ_ONLY, 0, 0xfffff, 0xc90);
    if (wide_new) {
        wide_tss(NEW_TSS);
    } else {
        narrow_tss(NEW_TSS);
    }
    for (unsigned i = 0; i < 8; i++) {
        fake.vcpu.regs.gpr[i] = 0x01020304 * (i + 1);
    }
    fake.vcpu.regs.rflags = RFLAGS_FIXED | RFLAGS_CF | RFLAGS_NT;
}

static enum exit_result go(unsigned reason)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_TASK_SWITCH, .length = 7};

    exit.task.selector = NEW;
    exit.task.reason = (uint8_t)reason;
    return arch_guest_task_switch(&fake.vcpu, &exit);
}

static void assert_no_switch(unsigned vector, unsigned error)
{
    assert_int_equal(fake.state.segment[SEG_TR].selector, OLD);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.event.vector, vector);
    assert_int_equal(fake.vcpu.event.error_code, error);
    assert_int_equal(type_of(OLD) & 2, 2);
}

static void test_call(void **state)
{
    (void)state;
    build(true, true);
    assert_int_equal(go(TASK_CALL), EXIT_RESUME);
    assert_false(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.regs.rip, 0x12345);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RDI], 0x80808080);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], STACK);
    assert_int_equal(fake.vcpu.regs.rflags, 0x4202);
    assert_int_equal(fake.state.segment[SEG_TR].selector, NEW);
    assert_int_equal(fake.state.segment[SEG_TR].base, NEW_TSS);
    assert_int_equal(fake.state.segment[SEG_TR].access, 0x8b);
    assert_int_equal(fake.state.segment[SEG_CS].access, 0xc09b);
    assert_int_equal(fake.state.segment[SEG_FS].access, SEGMENT_UNUSABLE);
    assert_int_equal(fake.state.cr0 & CR0_TS, CR0_TS);
    assert_int_equal(fake.state.dr7, 0x400);
    /* Linked, both busy, segments accessed. */
    assert_int_equal(get(NEW_TSS, 2), OLD);
    assert_int_equal(type_of(OLD), 0x8b);
    assert_int_equal(type_of(NEW), 0x8b);
    assert_int_equal(type_of(CODE), 0x9b);
    assert_int_equal(type_of(DATA), 0x93);
    /* Saved. */
    assert_int_equal(get(OLD_TSS + 32, 4), 0x1007);
    assert_int_equal(get(OLD_TSS + 36, 4), RFLAGS_FIXED | RFLAGS_CF | RFLAGS_NT);
    assert_int_equal(get(OLD_TSS + 68, 4), 0x01020304 * 8);
    assert_int_equal(get(OLD_TSS + 92, 4), 0x105);
    assert_int_equal(get(OLD_TSS + 28, 4), 0);
    assert_int_equal(get(OLD_TSS + 96, 4), 0);
}

static void test_iret_and_jmp(void **state)
{
    (void)state;
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x67, 0x8b);
    fake.nmi_masked = true;
    assert_int_equal(go(TASK_IRET), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x12345);
    assert_int_equal(fake.vcpu.regs.rflags, 0x202);
    assert_int_equal(get(OLD_TSS + 36, 4), RFLAGS_FIXED | RFLAGS_CF);
    assert_int_equal(get(NEW_TSS, 2), 0);
    assert_int_equal(type_of(OLD), 0x89);
    assert_int_equal(type_of(NEW), 0x8b);
    assert_false(fake.nmi_masked);

    build(true, true);
    assert_int_equal(go(TASK_JMP), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rflags, 0x202);
    assert_int_equal(get(NEW_TSS, 2), 0);
    assert_int_equal(type_of(OLD), 0x89);
    assert_int_equal(type_of(NEW), 0x8b);
}

static void test_sixteen_bits(void **state)
{
    (void)state;
    build(false, false);
    fake.state.cr3 = 0x7000;
    assert_int_equal(go(TASK_CALL), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x2345);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RDI], 0x8080);
    assert_int_equal(fake.state.segment[SEG_TR].access, 0x83);
    assert_int_equal(fake.state.segment[SEG_GS].access, SEGMENT_UNUSABLE);
    assert_int_equal(fake.state.cr3, 0x7000);
    assert_int_equal(get(OLD_TSS + 14, 2), 0x1007);
    assert_int_equal(get(OLD_TSS + 32, 2), 0x1820);
    assert_int_equal(get(OLD_TSS + 40, 2), 0x103);
    assert_int_equal(get(OLD_TSS + 42, 2), 0);
    assert_int_equal(get(NEW_TSS, 2), OLD);
    build(true, false);
    assert_int_equal(go(TASK_JMP), EXIT_RESUME);
    assert_int_equal(get(OLD_TSS + 32, 4), 0x1007);
    build(false, true);
    assert_int_equal(go(TASK_JMP), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x12345);
}

static void test_gate(void **state)
{
    (void)state;
    build(true, true);
    vcpu_inject_fault(&fake.vcpu, VECTOR_GP, 0x1234);
    assert_int_equal(go(TASK_GATE), EXIT_RESUME);
    assert_false(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], STACK - 4);
    assert_int_equal(get(STACK - 4, 4), 0x1234);
    assert_int_equal(get(OLD_TSS + 32, 4), 0x1000);
    assert_int_equal(get(OLD_TSS + 36, 4) & RFLAGS_RF, RFLAGS_RF);

    build(true, true);
    fake.vcpu.event = (struct guest_event){
        .valid = true, .vector = 0x80, .type = EVENT_SOFTWARE_INTERRUPT, .length = 2};
    assert_int_equal(go(TASK_GATE), EXIT_RESUME);
    assert_int_equal(get(OLD_TSS + 32, 4), 0x1002);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RSP], STACK);

    build(true, true);
    fake.vcpu.event = (struct guest_event){.valid = true, .vector = 2, .type = EVENT_NMI};
    assert_int_equal(go(TASK_GATE), EXIT_RESUME);
    assert_true(fake.nmi_masked);
    assert_int_equal(get(OLD_TSS + 32, 4), 0x1000);
}

static void test_refused(void **state)
{
    (void)state;
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x67, 0x8b); /* busy */
    go(TASK_CALL);
    assert_no_switch(VECTOR_GP, NEW);
    build(true, true);
    go(TASK_IRET); /* not busy */
    assert_no_switch(VECTOR_TS, NEW);
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x67, 0x09);
    go(TASK_JMP);
    assert_no_switch(VECTOR_NP, NEW);
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x66, 0x89);
    go(TASK_CALL);
    assert_no_switch(VECTOR_TS, NEW);
    build(true, true);
    fake.state.gdtr.limit = NEW + 6;
    go(TASK_CALL);
    assert_no_switch(VECTOR_GP, NEW);
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x67, 0x92); /* data */
    go(TASK_CALL);
    assert_no_switch(VECTOR_GP, NEW);

    /* While an event is delivered. */
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x66, 0x89);
    vcpu_inject_fault(&fake.vcpu, VECTOR_GP, 0);
    go(TASK_GATE);
    assert_no_switch(VECTOR_DF, 0);
    build(true, true);
    descriptor(NEW, NEW_TSS, 0x66, 0x89);
    fake.vcpu.event = (struct guest_event){.valid = true, .vector = 0x40};
    go(TASK_GATE);
    assert_no_switch(VECTOR_TS, NEW | 1);
}

/* What the new task finds wrong is its own fault. */
static void test_faults_in_the_new_task(void **state)
{
    static const struct {
        unsigned offset, selector, vector;
    } cases[] = {
        {76, CODE_3, VECTOR_TS},      {76, 0, VECTOR_TS},         {76, DATA, VECTOR_TS},
        {80, 0, VECTOR_TS},           {80, READ_ONLY, VECTOR_TS}, {80, ABSENT_DATA, VECTOR_SS},
        {84, ABSENT_DATA, VECTOR_NP}, {72, OLD, VECTOR_TS},       {92, 0x1000, VECTOR_TS},
        {88, DATA | 4, VECTOR_TS},    {96, DATA, VECTOR_TS},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        build(true, true);
        put(NEW_TSS + cases[i].offset, cases[i].selector, 2);
        assert_int_equal(go(TASK_CALL), EXIT_RESUME);
        assert_int_equal(fake.state.segment[SEG_TR].selector, NEW);
        assert_int_equal(fake.vcpu.regs.rip, 0x12345);
        assert_true(fake.vcpu.event.valid);
        assert_int_equal(fake.vcpu.event.vector, cases[i].vector);
        assert_int_equal(fake.vcpu.event.error_code, cases[i].selector);
        assert_int_equal(type_of(NEW), 0x8b);
        /* What VM entry insists on. */
        assert_int_equal(fake.state.segment[SEG_CS].access & 0x98, 0x98);
    }
    build(true, true); /* no room for the error code */
    put(NEW_TSS + 56, 2, 4);
    descriptor(DATA, 0, 0x1000, 0x492);
    vcpu_inject_fault(&fake.vcpu, VECTOR_PF, 2);
    go(TASK_GATE);
    assert_int_equal(fake.state.segment[SEG_TR].selector, NEW);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_SS);
}

static void test_v86_ldt_and_trap(void **state)
{
    (void)state;
    build(true, true);
    put(NEW_TSS + 36, 0x20202, 4);
    put(NEW_TSS + 76, 0x1234, 2);
    assert_int_equal(go(TASK_JMP), EXIT_RESUME);
    assert_false(fake.vcpu.event.valid);
    assert_int_equal(fake.state.segment[SEG_CS].base, 0x12340);
    assert_int_equal(fake.state.segment[SEG_CS].access, 0xf3);

    build(true, true);
    put(NEW_TSS + 96, TABLE, 2);
    put(NEW_TSS + 84, 8 | 4, 2);
    put(LDT + 8, 0x00cf920012345678 & ~0xffffull, 8);
    put(NEW_TSS + 100, 1, 2);
    assert_int_equal(go(TASK_JMP), EXIT_RESUME);
    assert_int_equal(fake.state.segment[SEG_LDTR].base, LDT);
    assert_int_equal(fake.state.segment[SEG_DS].base, 0x001234);
    assert_int_equal(fake.ram[LDT + 13], 0x93);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_DB);
    assert_int_equal(fake.dr6, BIT(15));
}

static void sweep(bool wide_old, bool wide_new, unsigned reason, bool event)
{
    static struct fake_machine wanted;

    for (unsigned at = 0;; at++) {
        struct guest_registers before;
        enum exit_result result;

        build(wide_old, wide_new);
        if (event) {
            vcpu_inject_fault(&fake.vcpu, VECTOR_GP, 0x4321);
        }
        if (reason == TASK_IRET) {
            descriptor(NEW, NEW_TSS, 0x67, wide_new ? 0x8b : 0x83);
        }
        before = fake.vcpu.regs;
        fake.wait_at = at;
        result = go(reason);
        if (at == 0) {
            assert_int_equal(result, EXIT_RESUME);
            wanted = fake;
            continue;
        }
        if (result == EXIT_RESUME) {
            assert_in_range(at, 10, 60);
            return;
        }
        assert_int_equal(result, EXIT_PARK);
        assert_memory_equal(&before, &fake.vcpu.regs, sizeof(before));
        assert_int_equal(fake.state.segment[SEG_TR].selector, OLD);
        assert_int_equal(fake.vcpu.event.valid, event);
        assert_int_equal(go(reason), EXIT_RESUME);
        assert_memory_equal(wanted.ram, fake.ram, sizeof(fake.ram));
        assert_memory_equal(&wanted.state, &fake.state, sizeof(fake.state));
        assert_memory_equal(&wanted.vcpu.regs, &fake.vcpu.regs, sizeof(before));
        assert_memory_equal(&wanted.vcpu.event, &fake.vcpu.event, sizeof(fake.vcpu.event));
    }
}

static void test_park_everywhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        sweep(i & 1, i & 2, TASK_CALL, false);
        sweep(i & 1, i & 2, TASK_IRET, false);
        sweep(i & 1, i & 2, TASK_JMP, false);
        sweep(i & 1, i & 2, TASK_GATE, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_iret_and_jmp),
        cmocka_unit_test(test_sixteen_bits),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_faults_in_the_new_task),
        cmocka_unit_test(test_v86_ldt_and_trap),
        cmocka_unit_test(test_park_everywhere),
    };

    return cmocka_run_group_tests_name("guest_task", tests, NULL, NULL);
}
