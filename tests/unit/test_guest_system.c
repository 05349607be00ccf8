/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c
 * tests/unit/guest/native.c */
/*
 * Instructions with a device as their operand that cannot be compared with this CPU: they use the
 * stack, load segments or system registers, or fault.  Step by step instead.
 */
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
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_system),
    };

    return cmocka_run_group_tests_name("guest_system", tests, native_setup, NULL);
}
