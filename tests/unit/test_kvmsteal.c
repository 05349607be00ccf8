/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* Steal time, and translations that a sibling asks to be flushed. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/kvmsteal.h"
#include "tests/unit/vdev_fake.h"

#define AT     0x3040u
#define ENABLE 1u

static struct vcpu *up(void)
{
    vfake_start(1);
    vfake_memory(0x10000);
    vfake.vcpu[0].tlb_cpu = 0;
    return &vfake.vcpu[0];
}

static uint64_t told_ns(void)
{
    uint64_t ns;

    memcpy(&ns, vfake.memory + AT, sizeof(ns));
    return ns;
}

static uint32_t version(void)
{
    uint32_t number;

    memcpy(&number, vfake.memory + AT + 8, sizeof(number));
    return number;
}

static uint8_t *preempted(void)
{
    return vfake.memory + AT + 16;
}

static void test_what_a_guest_may_write(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    for (unsigned bit = 1; bit < 6; bit++) {
        assert_int_equal(kvmsteal_set(vcpu, AT | ENABLE | BIT(bit), NULL), MM_NO_MEMSLOT);
        assert_int_equal(kvmsteal_set(vcpu, AT | BIT(bit), NULL), MM_NO_MEMSLOT);
    }
    assert_int_equal(kvmsteal_set(vcpu, 0x10000 | ENABLE, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmsteal_set(vcpu, BIT(52) | ENABLE, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmsteal_set(vcpu, UINT64_MAX & ~0x3eull, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vcpu->msr_kvm_steal_time, 0);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(kvmsteal_set(vcpu, BIT(51), NULL), MM_OK); /* disabled: any address */
    assert_int_equal(vcpu->msr_kvm_steal_time, BIT(51));
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
}

static void test_time(void **state)
{
    struct vcpu *vcpu = up();
    uint32_t before;

    (void)state;
    vcpu->wait_ns = 500; /* stolen before anybody asked */
    assert_int_equal(kvmsteal_set(vcpu, AT | ENABLE, NULL), MM_OK);
    assert_int_equal(vcpu->msr_kvm_steal_time, AT | ENABLE);
    assert_int_equal(told_ns(), 0);
    before = version();
    vcpu->wait_ns += 1000;
    kvmsteal_end_run(vcpu);
    assert_int_equal(told_ns(), 0);
    kvmsteal_begin_run(vcpu);
    assert_int_equal(told_ns(), 1000);
    assert_int_equal(version() % 2, 0);
    assert_true(version() != before);
    before = version();
    kvmsteal_begin_run(vcpu);
    assert_int_equal(version(), before); /* nothing new */
    atomic_store(&vcpu->stall, 7000);    /* it waited for memory */
    kvmsteal_begin_run(vcpu);
    assert_int_equal(told_ns(), 8000);
    kvmsteal_release(vcpu);
    vfake_stop();
}

static void test_flush(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    assert_int_equal(kvmsteal_set(vcpu, AT | ENABLE, NULL), MM_OK);
    assert_int_equal(*preempted(), 0);
    kvmsteal_end_run(vcpu);
    assert_int_equal(*preempted(), 1);
    kvmsteal_begin_run(vcpu);
    assert_int_equal(*preempted(), 0);
    assert_int_equal(vcpu->tlb_cpu, 0); /* nobody asked */
    kvmsteal_end_run(vcpu);
    *preempted() |= 2;
    kvmsteal_begin_run(vcpu);
    assert_int_equal(*preempted(), 0);
    assert_int_equal(vcpu->tlb_cpu, UINT32_MAX);
    kvmsteal_release(vcpu);
    kvmsteal_end_run(vcpu);
    assert_int_equal(*preempted(), 0); /* the page is the guest's own again */
    vfake_stop();
}

/* One pin at a time, and none that is left behind; a page that is out changes nothing. */
static void test_pins(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    assert_int_equal(kvmsteal_set(vcpu, AT | ENABLE, NULL), MM_OK);
    assert_int_equal(vfake.pins, 1);
    assert_int_equal(kvmsteal_set(vcpu, AT | ENABLE, NULL), MM_OK);
    assert_int_equal(vfake.pins, 1);
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(kvmsteal_set(vcpu, 0x5000 | ENABLE, NULL), MM_WAIT);
    assert_int_equal(vcpu->msr_kvm_steal_time, AT | ENABLE);
    assert_int_equal(kvmsteal_set(vcpu, 0xf0000 | ENABLE, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vcpu->msr_kvm_steal_time, AT | ENABLE);
    assert_int_equal(vfake.pins, 1);
    assert_int_equal(kvmsteal_set(vcpu, 0x5000 | ENABLE, NULL), MM_OK);
    assert_int_equal(vfake.pins, 1);
    assert_int_equal(kvmsteal_set(vcpu, 0x5000, NULL), MM_OK);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(kvmsteal_set(vcpu, 0x5000 | ENABLE, NULL), MM_OK);
    kvmsteal_release(vcpu);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(vcpu->msr_kvm_steal_time, 0);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_guest_may_write),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_pins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
