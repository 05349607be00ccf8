/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c */
/* RDMSR and WRMSR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/policy.h"
#include "tests/unit/guest/guest_fake.h"

static const struct vcpu_exit msr_exit = {.kind = EXIT_KIND_WRMSR, .length = 2};

static bool write_msr(uint32_t msr, uint64_t value)
{
    uint64_t *gpr = fake.vcpu.regs.gpr;

    fake.vcpu.regs.rip = 0x1000;
    fake.vcpu.event.valid = false;
    gpr[GPR_RCX] = msr;
    gpr[GPR_RAX] = value | 0xdead00000000; /* the upper half does not count */
    gpr[GPR_RDX] = value >> 32 | 0xdead00000000;
    assert_int_equal(arch_guest_wrmsr(&fake.vcpu, &msr_exit), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, fake.vcpu.event.valid ? 0x1000 : 0x1002);
    return !fake.vcpu.event.valid;
}

static bool read_msr(uint32_t msr, uint64_t *value)
{
    uint64_t *gpr = fake.vcpu.regs.gpr;

    fake.vcpu.event.valid = false;
    gpr[GPR_RCX] = msr;
    assert_int_equal(arch_guest_rdmsr(&fake.vcpu, &msr_exit), EXIT_RESUME);
    *value = gpr[GPR_RDX] << 32 | gpr[GPR_RAX];
    return !fake.vcpu.event.valid;
}

static void expect_msr(uint32_t msr, uint64_t wanted)
{
    uint64_t value;

    assert_true(read_msr(msr, &value));
    assert_true(value == wanted);
}

static void test_msr_efer_pat(void **state)
{
    (void)state;
    fake_reset();
    expect_msr(MSR_EFER, EFER_LME | EFER_LMA);
    assert_true(write_msr(MSR_EFER, EFER_LME | EFER_SCE | EFER_NXE));
    expect_msr(MSR_EFER, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE);
    assert_int_equal(fake.vcpu.tlb_cpu, UINT32_MAX);
    assert_false(write_msr(MSR_EFER, EFER_LME | EFER_SVME));
    fake.state.cr0 |= CR0_PG;
    assert_false(write_msr(MSR_EFER, 0));
    assert_true(write_msr(MSR_IA32_PAT, 0x0007010600070106));
    assert_true(fake.state.pat == 0x0007010600070106);
    assert_false(write_msr(MSR_IA32_PAT, 0x0007010600070102));
    assert_false(write_msr(MSR_IA32_PAT, 0x8007010600070106));
}

static void test_msr_mtrr(void **state)
{
    (void)state;
    fake_reset();
    expect_msr(MSR_IA32_MTRR_DEF_TYPE, 0x806);
    assert_true(write_msr(MSR_IA32_MTRR_DEF_TYPE, 0xc06));
    expect_msr(MSR_IA32_MTRR_DEF_TYPE, 0xc06);
    assert_false(write_msr(MSR_IA32_MTRR_DEF_TYPE, 0xc02));
    assert_true(write_msr(MSR_IA32_MTRR_FIX4K_F8000, 0x0606060606060606));
    expect_msr(MSR_IA32_MTRR_FIX4K_F8000, 0x0606060606060606);
    assert_false(write_msr(MSR_IA32_MTRR_FIX4K_F8000, 3));
    assert_true(write_msr(MSR_IA32_MTRR_PHYSBASE0, 0xc0000000));
    assert_true(write_msr(MSR_IA32_MTRR_PHYSBASE0 + 1, 0xfc0000800));
    assert_false(write_msr(MSR_IA32_MTRR_PHYSBASE0 + 1, 1));
    assert_false(write_msr(MSR_IA32_MTRR_PHYSMASK7 + 1, 0));
}

static void test_msr_tsc(void **state)
{
    (void)state;
    fake_reset();
    fake.tsc = 1000000;
    fake.vcpu.msr_tsc_offset = (uint64_t)-1000000;
    expect_msr(MSR_IA32_TSC, 0);
    assert_true(write_msr(MSR_IA32_TSC, 5000));
    expect_msr(MSR_IA32_TSC, 5000);
    expect_msr(MSR_IA32_TSC_ADJUST, 5000);
    assert_true(write_msr(MSR_IA32_TSC_ADJUST, 0));
    expect_msr(MSR_IA32_TSC, 0);
    /* The clock page is away: nothing moves. */
    fake.calls = 0;
    fake.wait_at = 1;
    fake.vcpu.regs.gpr[GPR_RCX] = MSR_IA32_TSC;
    assert_int_equal(arch_guest_wrmsr(&fake.vcpu, &msr_exit), EXIT_PARK);
    expect_msr(MSR_IA32_TSC, 0);
}

static void test_msr_others(void **state)
{
    uint64_t value;

    (void)state;
    fake_reset();
    assert_false(read_msr(0x12345678, &value));
    assert_int_equal(fake.vcpu.event.vector, VECTOR_GP);
    assert_false(write_msr(0x40000000, 0));
    assert_false(write_msr(MSR_IA32_VMX_BASIC, 0));
    assert_int_equal(fake.vm.run.unowned_msr, 3);
    assert_true(write_msr(0x4b564d01, 0x5001));
    expect_msr(0x4b564d01, 0x5001);
    assert_false(write_msr(0x4b564d01, 1ull << 40));
    for (uint32_t msr = 0x4b564d02; msr < 0x4b564d08; msr++) {
        /* 5 is that of polling in HLT, which is not offered; hv/vdev/ says what the others take. */
        assert_int_equal(write_msr(msr, 0x6009), msr != 0x4b564d05);
    }
    assert_false(write_msr(0x4b564d02, 0)); /* the fake's refusal */
    assert_true(write_msr(MSR_IA32_X2APIC_BASE + 0x0b, 0));
    assert_false(write_msr(MSR_IA32_X2APIC_BASE + 0x0b, ~0ull));
    assert_true(write_msr(MSR_IA32_BIOS_SIGN_ID, 0));
    assert_true(read_msr(MSR_IA32_BIOS_SIGN_ID, &value));
    assert_true(write_msr(MSR_IA32_MISC_ENABLE, 0));
    assert_true(write_msr(MSR_IA32_DEBUGCTL, 0));
    assert_false(write_msr(MSR_IA32_DEBUGCTL, BIT(6)));
    assert_false(write_msr(MSR_IA32_APIC_BASE, BIT(guest_physical_bits()) | 0xfee00800));
    assert_true(write_msr(MSR_IA32_APIC_BASE, 0xfee00800));
    /* Those of every CPU, without a CPUID bit. */
    expect_msr(0x0, 0);
    expect_msr(0x1, 0);
    expect_msr(0x1db, 0);
    for (uint32_t msr = 0xc0010000; msr < 0xc0010008; msr++) {
        assert_int_equal(read_msr(msr, &value), guest_policy()->amd);
        assert_int_equal(write_msr(msr, 0), guest_policy()->amd);
        assert_false(write_msr(msr, 1));
    }
}

/* Any MSR, any value: never anything but done or #GP. */
static void test_msr_random(void **state)
{
    uint64_t value;

    (void)state;
    fake_reset();
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t msr = (uint32_t)random() & 0x1fff;

        msr |= (i % 3 == 1) ? 0xc0000000 : (i % 3 == 2 ? 0xc0010000 : 0);
        read_msr(msr, &value);
        write_msr(msr, (uint64_t)random() << (random() & 63));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msr_efer_pat), cmocka_unit_test(test_msr_mtrr),
        cmocka_unit_test(test_msr_tsc),      cmocka_unit_test(test_msr_others),
        cmocka_unit_test(test_msr_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
