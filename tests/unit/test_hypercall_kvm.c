/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c hv/run/hypercall_kvm.c */
/* Hypercalls of KVM's interface: who is meant by which arguments, and whose arguments are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "hv/run/hypercall_kvm.h"
#include "hv/run/sched.h"
#include "tests/unit/vlapic_access.h"
#include "tests/unit/xorshift.h"

#define KICK     5
#define SEND_IPI 10
#define YIELD    11

#define ICR_NMI 0x400u

static struct vcpu *preferred; /* the last one */
static bool waits;             /* for a CPU */

bool sched_prefer(struct vcpu *vcpu)
{
    preferred = vcpu;
    return waits;
}

/* As vCPU 0; EXIT_RESUME unless `then` says otherwise. */
static enum exit_result call(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    uint64_t *gpr = vfake.vcpu[0].regs.gpr;

    gpr[GPR_RAX] = number;
    gpr[GPR_RBX] = a0;
    gpr[GPR_RCX] = a1;
    gpr[GPR_RDX] = a2;
    gpr[GPR_RSI] = a3;
    return hypercall_kvm(&vfake.vcpu[0]);
}

static int64_t answer(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    assert_int_equal(call(number, a0, a1, a2, a3), EXIT_RESUME);
    return (int64_t)vfake.vcpu[0].regs.gpr[GPR_RAX];
}

/* Which vCPUs have that vector pending; it is taken. */
static unsigned got(unsigned vector)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < vfake.vm.run.vcpu_count; i++) {
        int taken = take(i);

        assert_true(taken < 0 || (unsigned)taken == vector);
        mask |= taken >= 0 ? 1u << i : 0;
    }
    return mask;
}

static void sets_of_apics(void **state)
{
    (void)state;
    vfake_start(8);
    assert_int_equal(answer(SEND_IPI, 0xb5, 0, 0, 0x61), 5);
    assert_int_equal(got(0x61), 0xb5);
    assert_int_equal(answer(SEND_IPI, 1, 0, 7, 0x61), 1);
    assert_int_equal(got(0x61), 0x80);
    assert_int_equal(answer(SEND_IPI, UINT64_MAX, UINT64_MAX, 0, 0xf0), 8);
    assert_int_equal(got(0xf0), 0xff);
    assert_int_equal(answer(SEND_IPI, UINT64_MAX, UINT64_MAX, 5, 0xf0), 3);
    assert_int_equal(got(0xf0), 0xe0);
    assert_int_equal(answer(SEND_IPI, 0, 0, 0, 0x61), 0);
    assert_int_equal(answer(SEND_IPI, 0, UINT64_MAX, 0, 0x61), 0); /* from 64 on */
    assert_int_equal(got(0x61), 0);
    vfake_stop();
}

static void nobody_is_there(void **state)
{
    static const uint64_t first[] = {8, 9, 64, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};

    (void)state;
    vfake_start(8);
    for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
        assert_int_equal(answer(SEND_IPI, UINT64_MAX, UINT64_MAX, first[i], 0x61), 0);
    }
    assert_int_equal(got(0x61), 0);
    /* An APIC id has 32 bits. */
    assert_int_equal(answer(SEND_IPI, 1, 0, 0x100000002, 0x61), 1);
    assert_int_equal(got(0x61), 4);
    vfake.vm.run.vcpu[3] = NULL; /* not made yet, or gone */
    assert_int_equal(answer(SEND_IPI, 0x18, 0, 0, 0x61), 1);
    assert_int_equal(answer(KICK, 0, 3, 0, 0), 0);
    vfake.vm.run.vcpu[3] = &vfake.vcpu[3];
    assert_int_equal(got(0x61), 0x10);
    vfake_stop();
}

/* What an APIC does not take is not counted. */
static void only_those_that_take_it_count(void **state)
{
    (void)state;
    vfake_start(4);
    reg_write(1, 0xf0, 0xff); /* disabled by software */
    assert_true(vlapic_msr_write(&vfake.vcpu[2], MSR_IA32_APIC_BASE, APIC_BASE_DEFAULT));
    assert_int_equal(answer(SEND_IPI, 0xf, 0, 0, 0x61), 2);
    assert_int_equal(got(0x61), 9);
    assert_int_equal(answer(SEND_IPI, 0xf, 0, 0, ICR_NMI), 3); /* not by the one that is off */
    assert_int_equal(vfake.requested[2], 0);
    assert_int_equal(vfake.requested[1], VCPU_REQUEST_NMI);
    assert_int_equal(answer(SEND_IPI, 9, 0, 0, 5), 0); /* no vector */
    assert_int_equal(got(5), 0);
    vfake_stop();
}

static void kinds_of_interrupts(void **state)
{
    (void)state;
    vfake_start(3);
    assert_int_equal(answer(SEND_IPI, 6, 0, 0, 0x162), 2); /* lowest priority: as fixed */
    assert_int_equal(got(0x62), 6);
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x8000 | 0x62), 1); /* edge whatever it says */
    assert_int_equal(reg_read(1, 0x180 + 0x10 * (0x62 / 32)), 0);
    assert_int_equal(got(0x62), 2);
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x8500), 0); /* INIT, de-asserted */
    assert_int_equal(vfake.requested[1], 0);
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x4500), 1);
    assert_int_equal(answer(SEND_IPI, 4, 0, 0, 0x612), 1);
    assert_int_equal(vfake.requested[1], VCPU_REQUEST_INIT);
    assert_int_equal(vfake.requested[2], VCPU_REQUEST_SIPI);
    assert_int_equal(vfake.vcpu[2].sipi_vector, 0x12);
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x861), -22); /* logical */
    for (uint64_t shorthand = 1; shorthand < 4; shorthand++) {
        assert_int_equal(answer(SEND_IPI, 2, 0, 0, shorthand << 18 | 0x61), -22);
    }
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x261), 0); /* SMI */
    assert_int_equal(answer(SEND_IPI, 2, 0, 0, 0x761), 0); /* ExtINT */
    assert_int_equal(got(0x61), 0);
    vfake_stop();
}

/* Outside 64-bit code upper halves do not count, in the result neither. */
static void narrow_code(void **state)
{
    const uint64_t junk = 0xdead0000ull << 32;

    (void)state;
    vfake_start(8);
    vfake.narrow = true;
    assert_int_equal(answer(junk | SEND_IPI, junk | 0x81, junk, junk, junk | 0x61), 2);
    assert_int_equal(got(0x61), 0x81);
    /* The second register's set begins behind the first one's 32. */
    assert_int_equal(answer(SEND_IPI, UINT64_MAX, UINT64_MAX, 0, 0x61), 8);
    assert_int_equal(got(0x61), 0xff);
    assert_int_equal(answer(SEND_IPI, 0, 1, 0xfffffff0, 0x61), 0);
    assert_int_equal(answer(junk | 4711, 0, 0, 0, 0), 0xfffffc18); /* -1000 */
    vfake.ring = 3;
    assert_int_equal(answer(SEND_IPI, 1, 0, 0, 0x61), 0xffffffff);
    vfake_stop();
}

static void only_kernels_call(void **state)
{
    static const uint64_t number[] = {KICK, SEND_IPI, YIELD, 4711};

    (void)state;
    vfake_start(2);
    waits = true;
    preferred = NULL;
    for (vfake.ring = 1; vfake.ring < 4; vfake.ring++) {
        for (unsigned i = 0; i < ARRAY_SIZE(number); i++) {
            assert_int_equal(answer(number[i], 1, 1, 1, 0x61), -1);
        }
    }
    assert_int_equal(vfake.requested[1], 0);
    assert_null(preferred);
    assert_int_equal(got(0x61), 0);
    vfake.ring = 0;
    for (uint64_t unknown = 0; unknown < 40; unknown++) {
        if (unknown != KICK && unknown != SEND_IPI && unknown != YIELD) {
            assert_int_equal(answer(unknown, 1, 1, 1, 0x61), -1000);
        }
    }
    assert_int_equal(answer(1ull << 32 | KICK, 0, 1, 0, 0), -1000);
    vfake_stop();
}

static void kicks(void **state)
{
    (void)state;
    vfake_start(4);
    assert_int_equal(answer(KICK, 0, 2, 0, 0), 0);
    assert_int_equal(vfake.requested[2], VCPU_REQUEST_KICK);
    assert_int_equal(vfake.requested[0] | vfake.requested[1] | vfake.requested[3], 0);
    assert_int_equal(answer(KICK, 0, 4, 0, 0), 0);
    assert_int_equal(answer(KICK, 0, UINT64_MAX, 0, 0), 0);
    assert_int_equal(answer(KICK, 0, 1ull << 32, 0, 0), 0);
    vfake_stop();
}

static void yields(void **state)
{
    static const uint64_t nobody[] = {0 /* itself */, 4, 64, 1ull << 32, UINT64_MAX};

    (void)state;
    vfake_start(4);
    waits = true;
    preferred = NULL;
    assert_int_equal(call(YIELD, 3, 0, 0, 0), EXIT_YIELD);
    assert_ptr_equal(preferred, &vfake.vcpu[3]);
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RAX], 0);
    waits = false; /* it runs, or sleeps */
    assert_int_equal(answer(YIELD, 2, 0, 0, 0), 0);
    waits = true;
    preferred = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++) {
        assert_int_equal(answer(YIELD, nobody[i], 0, 0, 0), 0);
    }
    assert_null(preferred);
    vfake_stop();
}

/* Any registers: nothing is touched that is not there, and as many get it as the answer says. */
static void hostile(void **state)
{
    uint64_t seed = 4711;

    (void)state;
    vfake_start(8);
    for (unsigned round = 0; round < 200000; round++) {
        uint64_t a0 = xorshift64(&seed), a1 = xorshift64(&seed), a2 = xorshift64(&seed);
        unsigned count = 0;

        vfake.narrow = xorshift64(&seed) >> 63;
        a2 = xorshift64(&seed) >> 63 ? a2 : a2 >> 60;
        memset(vfake.requested, 0, sizeof(vfake.requested));
        (void)call((xorshift64(&seed) >> 32) % 12, a0, a1, a2, xorshift64(&seed));
        for (unsigned i = 0; i < 8; i++) {
            while (take(i) >= 0) {
            }
        }
        waits = xorshift64(&seed) >> 63;
        (void)call(SEND_IPI, a0, a1, a2, 0x61);
        for (unsigned i = 0; i < 8; i++) {
            bool taken = take(i) == 0x61;
            uint64_t bit = i - (a2 & UINT32_MAX), width = vfake.narrow ? 32 : 64;

            assert_int_equal(taken, bit < width       ? a0 >> bit & 1
                                    : bit < 2 * width ? a1 >> (bit - width) & 1
                                                      : 0);
            count += taken;
        }
        assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RAX], count);
    }
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_apics),
        cmocka_unit_test(nobody_is_there),
        cmocka_unit_test(only_those_that_take_it_count),
        cmocka_unit_test(kinds_of_interrupts),
        cmocka_unit_test(narrow_code),
        cmocka_unit_test(only_kernels_call),
        cmocka_unit_test(kicks),
        cmocka_unit_test(yields),
        cmocka_unit_test(hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
