/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/perform.c arch/x86/guest/perform_system.c arch/x86/guest/policy.c
 * arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c arch/x86/guest/string_io.c
 * arch/x86/guest/vector.c arch/x86/guest/walk.c tests/unit/guest/guest_fake.c */
/* What a guest may have and know of its CPU: CPUID, control registers, XCR0; and a dump of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "tests/unit/guest/guest_fake.h"

/* ---- CPUID ---- */

static struct cpuid_result guest_cpuid(uint32_t leaf, uint32_t subleaf)
{
    uint64_t *gpr = fake.vcpu.regs.gpr;

    gpr[GPR_RAX] = leaf;
    gpr[GPR_RCX] = subleaf;
    arch_guest_cpuid(&fake.vcpu);
    return (struct cpuid_result){(uint32_t)gpr[GPR_RAX], (uint32_t)gpr[GPR_RBX],
                                 (uint32_t)gpr[GPR_RCX], (uint32_t)gpr[GPR_RDX]};
}

static void test_cpuid_features(void **state)
{
    struct cpuid_result c, host = cpuid(0, 0);

    (void)state;
    fake_reset();
    fake.vcpu.index = 2;
    c = guest_cpuid(0, 0);
    assert_true(c.ebx == host.ebx && c.ecx == host.ecx && c.edx == host.edx);
    c = guest_cpuid(1, 0);
    assert_int_equal(c.ebx >> 24, 2);
    assert_int_equal((c.ebx >> 16) & 0xff, 4);
    assert_true(c.edx & CPUID_1_EDX_HTT);
    assert_false(c.ecx & (CPUID_1_ECX_VMX | CPUID_1_ECX_MONITOR | CPUID_1_ECX_PDCM));
    assert_true(c.ecx & CPUID_1_ECX_X2APIC);
    assert_true(c.ecx & CPUID_1_ECX_TSC_DEADLINE);
    assert_true(c.ecx & CPUID_1_ECX_HYPERVISOR);
    assert_false(c.ecx & CPUID_1_ECX_OSXSAVE);
    fake.state.cr4 |= CR4_OSXSAVE;
    assert_true(guest_cpuid(1, 0).ecx & CPUID_1_ECX_OSXSAVE);
    fake.vcpu.msr_apic_base = 0xfee00000 | APIC_BASE_ENABLE;
    assert_true(guest_cpuid(1, 0).edx & CPUID_1_EDX_APIC);
    fake.vcpu.msr_apic_base = 0xfee00000;
    assert_false(guest_cpuid(1, 0).edx & CPUID_1_EDX_APIC);
    if (guest_policy()->amd) {
        assert_false(guest_cpuid(0x80000001, 0).edx & CPUID_1_EDX_APIC);
    }
    c = guest_cpuid(7, 0);
    assert_false(c.ecx & (CPUID_7_ECX_LA57 | CPUID_7_ECX_PKU | CPUID_7_ECX_CET_SS));
    assert_false(c.edx & (CPUID_7_EDX_CET_IBT | CPUID_7_EDX_SPEC_CTRL | CPUID_7_EDX_ARCH_CAP));
    assert_false(guest_cpuid(0x80000001, 0).ecx & CPUID_81_ECX_SVM);
    assert_true(guest_cpuid(0x80000007, 0).edx & CPUID_87_EDX_INVARIANT_TSC);
    c = guest_cpuid(0xa, 0);
    assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
    c = guest_cpuid(0x20, 0);
    assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
}

static void test_cpuid_topology(void **state)
{
    struct cpuid_result c;

    (void)state;
    fake_reset();
    fake.vcpu.index = 3;
    c = guest_cpuid(0xb, 0);
    assert_int_equal(c.ebx, 1);
    assert_int_equal(c.ecx, 0x100);
    assert_int_equal(c.edx, 3);
    c = guest_cpuid(0xb, 1);
    assert_int_equal(c.eax, 2);
    assert_int_equal(c.ebx, 4);
    assert_int_equal(c.ecx, 0x201);
    assert_int_equal(guest_cpuid(0xb, 2).ebx, 0);
    fake.vm.run.vcpu_count = 1;
    assert_false(guest_cpuid(1, 0).edx & CPUID_1_EDX_HTT);
    assert_int_equal(guest_cpuid(0xb, 1).eax, 0);
    fake.vm.run.vcpu_count = 5;
    assert_int_equal(guest_cpuid(0xb, 1).eax, 3);
}

static void test_cpuid_xsave(void **state)
{
    uint64_t mask = guest_policy()->xcr0_allowed;

    (void)state;
    fake_reset();
    if (mask == 0) { /* this computer has no XSAVE: the guest has none */
        assert_int_equal(guest_cpuid(0xd, 0).eax, 0);
        assert_int_equal(guest_cpuid(0xd, 0).ebx, 0);
        return;
    }
    assert_int_equal(guest_cpuid(0xd, 0).ebx, 576);
    assert_int_equal(guest_cpuid(0xd, 0).eax, mask);
    fake.vcpu.xcr0 = mask;
    assert_int_equal(guest_cpuid(0xd, 0).ebx, guest_cpuid(0xd, 0).ecx);
    if (xgetbv(0) == mask) {
        assert_int_equal(guest_cpuid(0xd, 0).ebx, cpuid(0xd, 0).ebx);
    }
    for (unsigned i = 2; i < 64; i++) {
        struct cpuid_result c = guest_cpuid(0xd, i), host = cpuid(0xd, i);

        assert_int_equal(c.eax, (mask & BIT(i)) ? host.eax : 0);
        assert_int_equal(c.ebx, (mask & BIT(i)) ? host.ebx : 0);
    }
    assert_false(guest_cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVES);
}

/* A CPU that has its own idea of the compact form: Bochs 2.7, whose size is that of the standard
 * one. */
static void test_cpuid_compact_form(void **state)
{
    uint64_t mask = guest_policy()->xcr0_allowed;
    uint32_t has = cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVEC;

    (void)state;
    fake_reset();
    if (mask == 0 || has == 0) {
        skip();
    }
    guest_policy_judge_compact_form(guest_policy_xsave_bytes(mask, true));
    assert_int_equal(guest_cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVEC, has);
    fake.vcpu.xcr0 = mask;
    assert_int_equal(guest_cpuid(0xd, 1).ebx, guest_policy_xsave_bytes(mask, true));
    guest_policy_judge_compact_form(guest_policy_xsave_bytes(mask, true) + 256);
    assert_int_equal(guest_cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVEC, 0);
    assert_int_equal(guest_cpuid(0xd, 1).ebx, 0);
}

static void test_cpuid_hypervisor(void **state)
{
    struct cpuid_result c;

    (void)state;
    fake_reset();
    c = guest_cpuid(0x40000000, 0);
    assert_memory_equal(&c.ebx, "KVMKVMKVM\0\0\0", 12);
    assert_true(c.eax >= 0x40000001);
    assert_int_equal(guest_cpuid(0x40000001, 0).eax, BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) |
                                                         BIT(7) | BIT(9) | BIT(11) | BIT(4) |
                                                         BIT(13) | BIT(14) | BIT(24));
    assert_int_equal(guest_cpuid(0x40000010, 0).eax, 1000000);
    c = guest_cpuid(0x40000100, 0);
    assert_memory_equal(&c.ebx, "Spillway\0\0\0\0", 12);
    assert_int_equal(guest_cpuid(c.eax, 0).eax, 1);
}

/* ---- control registers ---- */

static bool move_cr(uint8_t number, bool write, uint64_t value)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_CR, .length = 3};

    exit.cr.number = number;
    exit.cr.gpr = GPR_RBX;
    exit.cr.write = write;
    fake.vcpu.event.valid = false;
    if (write) {
        fake.vcpu.regs.gpr[GPR_RBX] = value;
    }
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    return !fake.vcpu.event.valid;
}

static void test_cr_checks(void **state)
{
    (void)state;
    fake_reset();
    fake.state.efer = EFER_LME; /* on the way into long mode */
    fake.state.segment[SEG_CS].access = 0xc09b;
    fake.state.cr4 = 0;
    assert_false(move_cr(0, true, CR0_PE | CR0_PG)); /* without PAE */
    assert_true(move_cr(4, true, CR4_PAE));
    assert_true(move_cr(0, true, CR0_PE | CR0_PG | CR0_WP));
    assert_true(fake.state.efer & EFER_LMA);
    assert_true(fake.state.cr0 == (CR0_PE | CR0_PG | CR0_WP | CR0_ET));
    assert_false(move_cr(4, true, 0)); /* PAE is needed now */
    assert_false(move_cr(0, true, CR0_PG));
    assert_false(move_cr(0, true, CR0_PE | CR0_PG | CR0_NW));
    fake.state.segment[SEG_CS].access = 0xa09b;
    assert_false(move_cr(0, true, CR0_PE)); /* not from 64-bit code */
    assert_false(move_cr(4, true, CR4_PAE | CR4_VMXE));
    assert_false(move_cr(4, true, CR4_PAE | CR4_LA57));
    assert_false(move_cr(4, true, CR4_PAE | CR4_PKE));
    assert_false(move_cr(0, true, BIT(32) | CR0_PE | CR0_PG));
    assert_false(move_cr(3, true, BIT(60)));
    assert_true(move_cr(3, true, 0x5000));
    assert_true(move_cr(3, false, 0));
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RBX], 0x5000);
    assert_true(move_cr(8, false, 0));
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RBX], 5);
    assert_false(move_cr(8, true, 16));
    assert_false(move_cr(5, false, 0));
}

static void test_cr_decoded(void **state)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_CR};

    (void)state;
    exit.cr.gpr = GPR_NONE;
    exit.cr.write = true;
    fake_reset();
    fake_code("\x0f\x22\xc3", 3); /* mov %rbx, %cr0 */
    fake.vcpu.regs.gpr[GPR_RBX] = CR0_PE | CR0_MP;
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_true(fake.state.cr0 == (CR0_PE | CR0_MP | CR0_ET));
    assert_int_equal(fake.vcpu.regs.rip, 0x1003);
    fake_code("\x0f\x01\xf0", 3); /* lmsw %ax: cannot clear PE */
    fake.vcpu.regs.gpr[GPR_RAX] = CR0_TS;
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_true(fake.state.cr0 == (CR0_PE | CR0_TS | CR0_ET));
    fake_code("\x0f\x06", 2); /* clts */
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_true(fake.state.cr0 == (CR0_PE | CR0_ET));
    assert_int_equal(fake.vcpu.regs.rip, 0x1008);
}

/* What waits for its operand or faults on it has changed nothing, and is done when it comes again.
 */
static void test_msw_in_memory(void **state)
{
    static const struct vcpu_exit exit = {.kind = EXIT_KIND_CR, .cr.gpr = GPR_NONE};

    (void)state;
    fake_reset();
    fake_code("\x0f\x01\x20", 3); /* smsw (%rax) */
    fake.vcpu.regs.gpr[GPR_RAX] = 0x5000;
    fake.wait_at = 2; /* not the code: the operand */
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_PARK);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
    assert_int_equal(fake.ram[0x5000], 0);
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.rip, 0x1003);
    assert_int_equal(fake.ram[0x5000], fake.state.cr0 & 0xff);

    fake_reset();
    fake_code("\x0f\x01\xe3", 3); /* smsw %ebx */
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RBX], fake.state.cr0);

    fake_reset();
    fake_code("\x0f\x01\x30", 3); /* lmsw (%rax) */
    fake.vcpu.regs.gpr[GPR_RAX] = 0x5000;
    fake.ram[0x5000] = CR0_TS;
    fake.wait_at = 2;
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_PARK);
    assert_false(fake.state.cr0 & CR0_TS);
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_true(fake.state.cr0 & CR0_TS);

    fake_reset();
    fake_code("\x0f\x01\x20", 3);
    fake.vcpu.regs.gpr[GPR_RAX] = 0x8000000000000000; /* not canonical */
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
}

/* 0F 01 /7 is INVLPG: not what can exit as an access to a control register. */
static void test_cr_undefined(void **state)
{
    static const struct vcpu_exit exit = {.kind = EXIT_KIND_CR, .cr.gpr = GPR_NONE};

    (void)state;
    fake_reset();
    fake_code("\x0f\x01\x38", 3);
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_UD);

    fake_reset();
    fake_code("\x0f\xa2", 2); /* the code has changed: the guest tries again */
    assert_int_equal(arch_guest_cr_access(&fake.vcpu, &exit), EXIT_RESUME);
    assert_false(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.regs.rip, 0x1000);
}

static bool set_xcr0(uint64_t value)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_XSETBV, .length = 3};

    fake.vcpu.event.valid = false;
    fake.vcpu.regs.gpr[GPR_RAX] = value & 0xffffffff;
    fake.vcpu.regs.gpr[GPR_RDX] = value >> 32;
    assert_int_equal(arch_guest_xsetbv(&fake.vcpu, &exit), EXIT_RESUME);
    return !fake.vcpu.event.valid;
}

static void test_xsetbv(void **state)
{
    (void)state;
    fake_reset();
    assert_false(set_xcr0(XCR0_X87)); /* CR4.OSXSAVE is clear */
    assert_int_equal(fake.vcpu.event.vector, VECTOR_UD);
    fake.state.cr4 |= CR4_OSXSAVE;
    if (guest_policy()->xcr0_allowed & XCR0_AVX) {
        assert_true(set_xcr0(XCR0_X87 | XCR0_SSE | XCR0_AVX));
        assert_true(fake.vcpu.xcr0 == (XCR0_X87 | XCR0_SSE | XCR0_AVX));
        assert_false(set_xcr0(XCR0_X87 | XCR0_AVX));
    }
    assert_false(set_xcr0(XCR0_SSE));
    assert_false(set_xcr0(XCR0_X87 | XCR0_PKRU));
    assert_false(set_xcr0(XCR0_X87 | XCR0_SSE | XCR0_OPMASK));
    fake.vcpu.regs.gpr[GPR_RCX] = 1;
    assert_false(set_xcr0(XCR0_X87));
}

/* ---- dump ---- */

static void test_dump_is_quiet(void **state)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_UNKNOWN};
    struct vcpu before;

    (void)state;
    fake_reset();
    fake_paging_on(); /* nothing is mapped: neither code nor stack can be read */
    before = fake.vcpu;
    arch_guest_dump(&fake.vcpu, &exit);
    assert_memory_equal(&before, &fake.vcpu, sizeof(before));
    fake_reset();
    arch_guest_dump(&fake.vcpu, NULL);
    assert_int_equal(fake.failures, 0);
}

/* Linux multiplies kHz of the crystal by the numerator in 32 bits; what comes out is the TSC's. */
static void test_cpuid_frequencies(void **state)
{
    static const uint64_t khz[] = {100006,  800000,  999999,  1000000, 1000001, 2599994, 2999900,
                                   3000100, 3504000, 3999999, 4200000, 5000000, 5123457, 9999999};

    (void)state;
    fake_reset();
    for (unsigned i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        struct cpuid_result c;
        uint64_t product, got;

        fake.vm.tsc_khz = khz[i];
        c = guest_cpuid(0x15, 0);
        if (guest_policy()->amd) {
            assert_int_equal(c.eax | c.ebx | c.ecx, 0);
            assert_int_equal(guest_cpuid(0, 0).eax, 0xd);
            continue;
        }
        assert_int_equal(guest_cpuid(0, 0).eax, 0x16);
        assert_int_equal(c.ecx, 1000000000);
        product = (uint64_t)(c.ecx / 1000) * c.ebx;
        assert_true(product <= UINT32_MAX);
        got = product / c.eax;
        assert_in_range(got, khz[i] - khz[i] * 60 / 1000000 - 1,
                        khz[i] + khz[i] * 60 / 1000000 + 1);
        assert_in_range(guest_cpuid(0x16, 0).eax, khz[i] / 1000, khz[i] / 1000 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpuid_features),
        cmocka_unit_test(test_cpuid_topology),
        cmocka_unit_test(test_cpuid_xsave),
        cmocka_unit_test(test_cpuid_compact_form),
        /* behind it: XSAVEC is gone then */ cmocka_unit_test(test_cpuid_hypervisor),
        cmocka_unit_test(test_cpuid_frequencies),
        cmocka_unit_test(test_cr_checks),
        cmocka_unit_test(test_cr_decoded),
        cmocka_unit_test(test_msw_in_memory),
        cmocka_unit_test(test_cr_undefined),
        cmocka_unit_test(test_xsetbv),
        cmocka_unit_test(test_dump_is_quiet),
    };

    return cmocka_run_group_tests_name("guest_policy", tests, NULL, NULL);
}
