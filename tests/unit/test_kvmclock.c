/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/*
 * kvmclock: a guest's clock read as its kernel does, at any frequency of the TSC, and after a
 * pause.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/kvmclock.h"
#include "tests/unit/vdev_fake.h"

struct pvclock {
    uint32_t version, pad;
    uint64_t tsc_timestamp, system_time;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad2[2];
};

static uint64_t guest_clock(uint64_t address, uint64_t guest_tsc)
{
    struct pvclock t;
    uint64_t delta;

    memcpy(&t, vfake.memory + address, sizeof(t));
    assert_int_equal(t.version % 2, 0);
    assert_int_equal(t.flags, 1);
    delta = guest_tsc - t.tsc_timestamp;
    delta = t.shift < 0 ? delta >> -t.shift : delta << t.shift;
    return t.system_time + (uint64_t)((__uint128_t)delta * t.mul >> 32);
}

static void scales(void **state)
{
    const uint64_t khz[] = {1, 33000, 999999, 1000000, 1000001, 2000000, 2400000, 3504000, 9000000};

    (void)state;
    for (unsigned i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        uint64_t ticks = khz[i] * 1000 * 100; /* 100 s */
        uint64_t ns;
        uint32_t mul;
        int8_t shift;

        kvmclock_scale(khz[i], &mul, &shift);
        ticks = shift < 0 ? ticks >> -shift : ticks << shift;
        ns = (uint64_t)((__uint128_t)ticks * mul >> 32);
        assert_in_range(ns, 100000000000ull - 100, 100000000000ull + 100);
    }
}

static void kvmclock(void **state)
{
    struct vcpu *vcpu;
    uint32_t wall[3];

    (void)state;
    vfake_start(1);
    vfake_memory(0x10000);
    vcpu = &vfake.vcpu[0];
    vcpu->msr_tsc_offset = 12345;
    vfake.epoch = 1700000000;
    for (unsigned n = 1; n <= 4; n++) { /* each call once has to wait */
        vfake.wait_at = vfake.calls + n;
        assert_int_equal(kvmclock_set_system_time(vcpu, 0x1fe0 | 1, NULL), MM_WAIT);
        assert_int_equal(vcpu->msr_kvm_system_time, 0);
    }
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x1fe0 | 1, NULL), MM_OK);
    assert_int_equal(vcpu->msr_kvm_system_time, 0x1fe1);
    vfake.clock_ns += 5000000000;
    assert_in_range(guest_clock(0x1fe0, vfake.clock_ns * 2 + 12345), 4999999990, 5000000010);
    vfake.wait_at = vfake.calls + 3;
    assert_int_equal(kvmclock_update(vcpu, 999, NULL), MM_WAIT);
    assert_int_equal(kvmclock_update(vcpu, 999, NULL), MM_OK);
    assert_in_range(guest_clock(0x1fe0, vfake.clock_ns * 2 + 999), 4999999990, 5000000010);
    assert_int_equal(kvmclock_set_wall_clock(vcpu, 0x3000, NULL), MM_OK);
    memcpy(wall, vfake.memory + 0x3000, sizeof(wall));
    assert_int_equal(wall[0], 2);
    assert_int_equal(wall[1], 1700000001); /* the VM started at one second */
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x10001, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_system_time(vcpu, UINT64_MAX, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_wall_clock(vcpu, 0x3002, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_system_time(vcpu, 0, NULL), MM_OK);
    assert_int_equal(kvmclock_update(vcpu, 0, NULL), MM_OK);
    vcpu->msr_kvm_system_time = 0x1fe1;
    vfake.wait_at = vfake.calls + 2;
    kvmclock_refresh(vcpu);
    assert_int_equal(vfake.cancels, 1);
    assert_int_equal(vcpu->requests, VCPU_REQUEST_CLOCK);
    vfake_stop();
}

/* After a pause the page says so until the guest has seen it, in whatever waits that comes about.
 */
static void kvmclock_after_a_pause(void **state)
{
    struct vcpu *vcpu;

    (void)state;
    vfake_start(1);
    vfake_memory(0x10000);
    vcpu = &vfake.vcpu[0];
    vfake.memory[0x1000 + 29] = 2; /* what lay there before */
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x1001, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 1);
    kvmclock_paused(vcpu);
    assert_int_equal(vfake.requested[0], VCPU_REQUEST_CLOCK);
    for (unsigned n = 1; n <= 5; n++) {
        vfake.wait_at = vfake.calls + n;
        assert_int_equal(kvmclock_update(vcpu, 0, NULL), MM_WAIT);
        assert_true(vcpu->was_paused);
    }
    vfake.wait_at = 0;
    kvmclock_refresh(vcpu);
    assert_int_equal(vfake.memory[0x1000 + 29], 3);
    assert_false(vcpu->was_paused);
    assert_int_equal(kvmclock_update(vcpu, 5, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 3); /* it has not looked yet */
    vfake.memory[0x1000 + 29] = 1;
    assert_int_equal(kvmclock_update(vcpu, 7, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 1);
    assert_int_equal(kvmclock_set_system_time(vcpu, 0, NULL), MM_OK);
    kvmclock_paused(vcpu);
    kvmclock_refresh(vcpu); /* it has no page */
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales),
        cmocka_unit_test(kvmclock),
        cmocka_unit_test(kvmclock_after_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
