/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* The local APIC's timer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "tests/unit/vlapic_access.h"

#define LVT_PERIODIC 0x20000
#define LVT_DEADLINE 0x40000

static void timer_one_shot(void **state)
{
    (void)state;
    vfake_start(1);
    reg_write(0, 0x320, 0x40);
    reg_write(0, 0x3e0, 0x3); /* divide by 16 */
    reg_write(0, 0x380, 1000);
    assert_int_equal(reg_read(0, 0x390), 1000);
    vfake_advance(8000);
    assert_int_equal(reg_read(0, 0x390), 500);
    assert_int_equal(pending(0), -1);
    vfake_advance(8000);
    assert_int_equal(take(0), 0x40);
    assert_int_equal(reg_read(0, 0x390), 0);
    vfake_advance(1000000);
    assert_int_equal(take(0), -1);
    reg_write(0, 0x320, 0x10040); /* masked */
    reg_write(0, 0x380, 10);
    vfake_advance(1000);
    assert_int_equal(take(0), -1);
    reg_write(0, 0x320, 0x40);
    reg_write(0, 0x380, 1000);
    reg_write(0, 0x380, 0); /* stopped */
    vfake_advance(1000000);
    assert_int_equal(take(0), -1);
    vfake_stop();
}

static void timer_periodic(void **state)
{
    (void)state;
    vfake_start(1);
    reg_write(0, 0x320, LVT_PERIODIC | 0x41);
    reg_write(0, 0x3e0, 0xb); /* divide by 1 */
    reg_write(0, 0x380, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        vfake_advance(999999);
        assert_int_equal(take(0), -1);
        vfake_advance(1);
        assert_int_equal(take(0), 0x41);
    }
    vfake_advance(10000000); /* missed ones are one */
    assert_int_equal(take(0), 0x41);
    assert_int_equal(take(0), -1);
    reg_write(0, 0x380, 1); /* an absurd period does not hang the main loop */
    vfake_advance(1000000000);
    assert_int_equal(take(0), 0x41);
    vfake_stop();
}

/* A guest that does not take its interrupts, or cannot, costs the host nothing. */
static void timer_serves_only_who_can_take_it(void **state)
{
    struct vlapic *vlapic;

    (void)state;
    vfake_start(1);
    vlapic = vfake.vcpu[0].vlapic;
    reg_write(0, 0x320, LVT_PERIODIC | 0x41);
    reg_write(0, 0x3e0, 0xb); /* divide by 1 */
    reg_write(0, 0x380, 1);
    for (unsigned i = 0; i < 1000; i++) {
        vfake_advance(100000);
    }
    assert_int_equal(vfake.served[0], 1); /* that one has not been taken */
    assert_int_equal(take(0), 0x41);
    for (unsigned i = 0; i < 1000; i++) {
        vfake_advance(100000);
        take(0);
    }
    assert_in_range(vfake.served[0], 400, 501);  /* at most every 200 us */
    reg_write(0, 0x320, LVT_PERIODIC | 0x10041); /* masked */
    vfake.served[0] = 0;
    vfake_advance(100000000);
    assert_int_equal(vfake.served[0], 0);
    reg_write(0, 0x320, LVT_PERIODIC | 0x41);
    vfake_advance(200000);
    assert_int_equal(vfake.served[0], 1);
    assert_int_equal(take(0), 0x41);

    vlapic_end_run(vlapic); /* it waits for a CPU, or for memory */
    vfake_advance(1000000000);
    assert_int_equal(vfake.served[0], 1);
    assert_int_equal(pending(0), -1);
    vlapic_begin_run(vlapic);
    assert_int_equal(take(0), 0x41); /* all that it has missed is one */
    assert_int_equal(take(0), -1);
    vfake_advance(200000);
    assert_int_equal(take(0), 0x41);
    vfake_stop();
}

/* What came due while it waited for a CPU is there when it runs, in each mode. */
static void timer_comes_due_while_it_does_not_run(void **state)
{
    struct vlapic *vlapic;
    struct vcpu *vcpu;

    (void)state;
    vfake_start(1);
    vcpu = &vfake.vcpu[0];
    vlapic = vcpu->vlapic;
    reg_write(0, 0x320, 0x40);
    reg_write(0, 0x3e0, 0xb);
    reg_write(0, 0x380, 1000);
    vlapic_end_run(vlapic);
    vfake_advance(5000);
    vlapic_begin_run(vlapic);
    assert_int_equal(take(0), 0x40);
    vfake_advance(1000000);
    assert_int_equal(take(0), -1);

    reg_write(0, 0x320, LVT_DEADLINE | 0x42);
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, (vfake.clock_ns + 1000) * 2);
    vlapic_end_run(vlapic);
    vfake_advance(5000);
    assert_int_equal(take(0), -1);
    vlapic_begin_run(vlapic);
    assert_int_equal(vlapic_tsc_deadline(vlapic), 0);
    assert_int_equal(take(0), 0x42);
    vfake_stop();
}

/* While it is masked its count goes on, and what came due then does not come later. */
static void timer_masked(void **state)
{
    (void)state;
    vfake_start(1);
    reg_write(0, 0x320, LVT_PERIODIC | 0x10041);
    reg_write(0, 0x3e0, 0xb);
    reg_write(0, 0x380, 1000000);
    vfake_advance(10250000);
    assert_int_equal(reg_read(0, 0x390), 750000);
    reg_write(0, 0x320, LVT_PERIODIC | 0x41);
    assert_int_equal(take(0), -1);
    vfake_advance(749999);
    assert_int_equal(take(0), -1);
    vfake_advance(1);
    assert_int_equal(take(0), 0x41);
    reg_write(0, 0x380, 0);

    reg_write(0, 0x320, 0x10040);
    reg_write(0, 0x380, 1000);
    vfake_advance(2000);
    reg_write(0, 0x320, 0x40);
    vfake_advance(1000000);
    assert_int_equal(take(0), -1);

    /* It came due under the old vector before the new one was written. */
    reg_write(0, 0x380, 1000);
    vfake.clock_ns += 2000;
    reg_write(0, 0x320, 0x43);
    assert_int_equal(take(0), 0x40);
    assert_int_equal(take(0), -1);
    vfake_stop();
}

static void timer_deadline(void **state)
{
    struct vcpu *vcpu;
    uint64_t value;

    (void)state;
    vfake_start(1);
    vcpu = &vfake.vcpu[0];
    vcpu->msr_tsc_offset = (uint64_t)-5000;
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, 1)); /* ignored in one-shot mode */
    assert_true(vlapic_msr_read(vcpu, MSR_IA32_TSC_DEADLINE, &value));
    assert_int_equal(value, 0);
    reg_write(0, 0x320, LVT_DEADLINE | 0x42);
    value = vfake.clock_ns * 2 - 5000;
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, value + 2001);
    vfake_advance(1000);
    assert_int_equal(take(0), -1);
    assert_int_equal(vlapic_tsc_deadline(vcpu->vlapic), value + 2001);
    vfake_advance(1);
    assert_int_equal(take(0), 0x42);
    assert_int_equal(vlapic_tsc_deadline(vcpu->vlapic), 0);
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, 1); /* in the past: at once */
    assert_int_equal(take(0), 0x42);
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, UINT64_MAX); /* never, and without overflow */
    vfake_advance(1ull << 45);
    assert_int_equal(take(0), -1);
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, vfake.clock_ns * 2);
    reg_write(0, 0x320, 0x42); /* leaving the mode disarms */
    vfake_advance(1000000);
    assert_int_equal(take(0), -1);
    reg_write(0, 0x320, LVT_DEADLINE | 0x42);
    vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, vfake.clock_ns * 2 + 1000000 - 5000);
    vcpu->msr_tsc_offset = 1000000 - 5000; /* the guest sets its TSC forward */
    vlapic_tsc_changed(vcpu);
    assert_int_equal(take(0), 0x42);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_one_shot),
        cmocka_unit_test(timer_periodic),
        cmocka_unit_test(timer_serves_only_who_can_take_it),
        cmocka_unit_test(timer_comes_due_while_it_does_not_run),
        cmocka_unit_test(timer_masked),
        cmocka_unit_test(timer_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
