/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c */
/* The walk of a guest's page tables, and the length of its instructions, also across pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "tests/unit/guest/guest_fake.h"

#define LINEAR 0x7f0000003000ull
#define FRAME  0x30000ull

/* ---- walk ---- */

static enum guest_result translate(uint64_t linear, unsigned access, uint8_t cpl, gpa_t *out)
{
    struct guest_context g;

    fake.vcpu.event.valid = false;
    fake.vcpu.regs.cr2 = 0;
    fake.state.segment[SEG_SS].access = 0xc093 | (uint32_t)cpl << 5;
    guest_context_init(&g, &fake.vcpu);
    return guest_translate(&g, gva(linear), access, out);
}

static void expect_ok(uint64_t linear, unsigned access, uint8_t cpl, uint64_t physical)
{
    gpa_t out = {0};

    assert_int_equal(translate(linear, access, cpl, &out), GUEST_OK);
    assert_true(out.v == physical);
}

static void expect_fault(uint64_t linear, unsigned access, uint8_t cpl, uint32_t error)
{
    gpa_t out;

    assert_int_equal(translate(linear, access, cpl, &out), GUEST_FAULT);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_PF);
    assert_int_equal(fake.vcpu.event.error_code, error);
    assert_true(fake.vcpu.regs.cr2 == linear);
}

static void start(uint64_t rights, uint64_t leaf)
{
    fake_reset();
    fake_paging_on();
    fake_map(LINEAR, FRAME, rights, leaf);
}

static void test_rights(void **state)
{
    (void)state;
    start(0, 0); /* supervisor, read-only */
    expect_ok(LINEAR + 5, ACCESS_READ, 0, FRAME + 5);
    expect_ok(LINEAR, ACCESS_EXEC, 0, FRAME);
    expect_fault(LINEAR + 7, ACCESS_WRITE, 0, PF_PRESENT | PF_WRITE);
    expect_fault(LINEAR, ACCESS_READ, 3, PF_PRESENT | PF_USER);
    fake.state.cr0 &= ~CR0_WP;
    expect_ok(LINEAR, ACCESS_WRITE, 0, FRAME);
    expect_fault(LINEAR, ACCESS_WRITE, 3, PF_PRESENT | PF_USER | PF_WRITE);

    start(PTE_W | PTE_U, PTE_NX);
    expect_ok(LINEAR, ACCESS_WRITE, 3, FRAME);
    expect_fault(LINEAR, ACCESS_EXEC, 3, PF_PRESENT | PF_USER | PF_FETCH);
    expect_fault(LINEAR + PAGE_SIZE, ACCESS_READ, 3, PF_USER);
    expect_fault(LINEAR + PAGE_SIZE, ACCESS_EXEC, 0, PF_FETCH);
    fake.state.efer &= ~(uint64_t)EFER_NXE; /* NX is a reserved bit then */
    expect_fault(LINEAR, ACCESS_READ, 3, PF_PRESENT | PF_USER | PF_RESERVED);
}

static void test_smep_smap(void **state)
{
    (void)state;
    start(PTE_W | PTE_U, 0);
    expect_ok(LINEAR, ACCESS_EXEC, 0, FRAME);
    expect_ok(LINEAR, ACCESS_WRITE, 0, FRAME);
    fake.state.cr4 |= CR4_SMEP | CR4_SMAP;
    expect_fault(LINEAR, ACCESS_EXEC, 0, PF_PRESENT | PF_FETCH);
    expect_fault(LINEAR, ACCESS_WRITE, 0, PF_PRESENT | PF_WRITE);
    expect_ok(LINEAR, ACCESS_EXEC, 3, FRAME);
    fake.vcpu.regs.rflags |= RFLAGS_AC;
    expect_ok(LINEAR, ACCESS_WRITE, 0, FRAME);
}

static void test_accessed_dirty(void **state)
{
    (void)state;
    start(PTE_W, 0);
    expect_ok(LINEAR, ACCESS_READ, 0, FRAME);
    assert_true((*fake_leaf(LINEAR) & (PTE_A | PTE_D)) == PTE_A);
    expect_ok(LINEAR, ACCESS_WRITE, 0, FRAME);
    assert_true((*fake_leaf(LINEAR) & (PTE_A | PTE_D)) == (PTE_A | PTE_D));
    /* The root's entry has A, not D: 0x2000 is the root, index 254. */
    uint64_t *top = (uint64_t *)(void *)(fake.ram + 0x2000 + 8 * ((LINEAR >> 39) & 511));
    assert_true((*top & (PTE_A | PTE_D)) == PTE_A);
}

static void test_large_pages_and_reserved(void **state)
{
    uint64_t *pdpte, *pde;

    (void)state;
    start(PTE_W, 0);
    pdpte = (uint64_t *)(void *)(fake.ram + 0x3000 + 8 * ((LINEAR >> 30) & 511));
    pde = (uint64_t *)(void *)(fake.ram + 0x4000 + 8 * ((LINEAR >> 21) & 511));
    *pde = 0x600000 | PTE_P | PTE_W | PTE_PS;
    expect_ok(LINEAR + 0x123456 - 0x3000, ACCESS_WRITE, 0, 0x600000 + 0x123456);
    assert_true(*pde & PTE_D);
    *pde = 0x602000 | PTE_P | PTE_PS; /* bit 13 is reserved */
    expect_fault(LINEAR, ACCESS_READ, 0, PF_PRESENT | PF_RESERVED);
    *pdpte = 0x40000000 | PTE_P | PTE_PS;
    expect_ok(LINEAR, ACCESS_READ, 0, 0x40003000);
    *pdpte = BIT(51) | PTE_P; /* beyond the physical width */
    expect_fault(LINEAR, ACCESS_READ, 0, PF_PRESENT | PF_RESERVED);
    *pdpte = 0x10000000 | PTE_P; /* a table where no memory is: reads as all ones */
    expect_fault(LINEAR, ACCESS_READ, 0, PF_PRESENT | PF_RESERVED);
}

static void test_32bit_modes(void **state)
{
    uint32_t *small;
    uint64_t *big;

    (void)state;
    fake_reset();
    fake.state.segment[SEG_CS].access = 0xc09b;
    fake.state.efer = 0;
    fake.state.cr0 |= CR0_PG | CR0_WP;
    fake.state.cr3 = 0x2000;
    fake.state.cr4 = CR4_PSE;
    small = (uint32_t *)(void *)(fake.ram + 0x2000);
    small[0x123] = 0x3000 | 7;
    ((uint32_t *)(void *)(fake.ram + 0x3000))[0x45] = 0x30000 | 7;
    expect_ok(0x123u << 22 | 0x45 << 12 | 0x678, ACCESS_WRITE, 3, 0x30678);
    small[1] = 0x00c00000 | 0x83 | 2 << 13; /* PSE-36: physical bits 39:32 */
    expect_ok(0x00412345, ACCESS_READ, 0, 0x200c12345);
    /* PAE */
    memset(fake.ram, 0, sizeof(fake.ram));
    fake.state.cr4 = CR4_PAE;
    fake.state.cr3 = 0x2020;
    big = (uint64_t *)(void *)(fake.ram + 0x2020);
    big[2] = 0x3000 | 1;
    ((uint64_t *)(void *)(fake.ram + 0x3000))[5] = 0x4000 | 3;
    ((uint64_t *)(void *)(fake.ram + 0x4000))[6] = 0x31000 | 3;
    expect_ok(0x80000000u | 5 << 21 | 6 << 12 | 9, ACCESS_WRITE, 0, 0x31009);
    assert_true(big[2] == (0x3000 | 1)); /* a PDPTE has no A bit */
    expect_fault(0xc0000000u, ACCESS_READ, 0, 0);
}

/* ---- instruction length ---- */

static void test_length_across_pages(void **state)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_CPUID};
    unsigned length;

    (void)state;
    fake_reset();
    fake_paging_on();
    fake_map(LINEAR, FRAME, 0, 0);
    fake_map(LINEAR + PAGE_SIZE, FRAME + 0x5000, 0, 0);
    fake.vcpu.regs.rip = LINEAR + PAGE_SIZE - 1;
    fake.ram[FRAME + PAGE_SIZE - 1] = 0x0f;
    fake.ram[FRAME + 0x5000] = 0xa2;
    assert_int_equal(arch_guest_instruction_length(&fake.vcpu, &exit, &length), EXIT_RESUME);
    assert_int_equal(length, 2);
    *fake_leaf(LINEAR + PAGE_SIZE) = 0;
    assert_int_equal(arch_guest_instruction_length(&fake.vcpu, &exit, &length), EXIT_RESUME);
    assert_int_equal(length, 0);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_PF);
    assert_true(fake.vcpu.regs.cr2 == LINEAR + PAGE_SIZE);
    /* One byte is enough here: the next page is not touched. */
    fake.vcpu.event.valid = false;
    fake.ram[FRAME + PAGE_SIZE - 1] = 0xf4;
    assert_int_equal(arch_guest_instruction_length(&fake.vcpu, &exit, &length), EXIT_RESUME);
    assert_int_equal(length, 1);
    fake.calls = 0;
    fake.wait_at = 3;
    assert_int_equal(arch_guest_instruction_length(&fake.vcpu, &exit, &length), EXIT_PARK);
}

static void test_advance(void **state)
{
    (void)state;
    fake_reset();
    fake.vcpu.regs.rflags |= RFLAGS_RF | RFLAGS_TF;
    arch_guest_advance(&fake.vcpu, 3);
    assert_int_equal(fake.vcpu.regs.rip, 0x1003);
    assert_false(fake.vcpu.regs.rflags & RFLAGS_RF);
    /* The backend makes the single step trap, once RIP and RFLAGS are behind the instruction. */
    assert_int_equal(fake.shadow_cleared_at, 0x1003);
    assert_true(fake.shadow_cleared_flags & RFLAGS_TF);
    assert_false(fake.shadow_cleared_flags & RFLAGS_RF);
    fake_reset();
    fake.state.segment[SEG_CS].access = 0xc09b;
    fake.vcpu.regs.rip = 0xfffffffe;
    arch_guest_advance(&fake.vcpu, 2);
    assert_int_equal(fake.vcpu.regs.rip, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights),         cmocka_unit_test(test_smep_smap),
        cmocka_unit_test(test_accessed_dirty), cmocka_unit_test(test_large_pages_and_reserved),
        cmocka_unit_test(test_32bit_modes),    cmocka_unit_test(test_length_across_pages),
        cmocka_unit_test(test_advance),
    };

    return cmocka_run_group_tests_name("guest_walk", tests, NULL, NULL);
}
