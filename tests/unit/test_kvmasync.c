/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/async_guest.c tests/unit/vdev_fake.c hv/timer.c */
/* Asynchronous page faults: when a guest is told that a page is not there, and that each page that
 * it was told of comes, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/vector.h"
#include "tests/unit/async_guest.h"
#include "tests/unit/xorshift.h"

/* ---- tests ---- */

static void what_a_guest_may_write(void **state)
{
    static const uint64_t refused[] = {ON | 0x10,    ON | 0x20,   ON | 4,     AT | 0x10,
                                       BIT(52) | ON, 0x10000 | 9, UINT64_MAX, BIT(63) | 9};
    uint64_t value;

    (void)state;
    up(ON);
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, refused[i]), MM_NO_MEMSLOT);
    }
    for (unsigned bit = 8; bit < 64; bit++) {
        assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_INT, VECTOR | BIT(bit)), MM_NO_MEMSLOT);
    }
    assert_true(kvmasync_msr_read(async, MSR_KVM_ASYNC_PF_EN, &value) && value == ON);
    assert_true(kvmasync_msr_read(async, MSR_KVM_ASYNC_PF_INT, &value) && value == VECTOR);
    assert_true(kvmasync_msr_read(async, MSR_KVM_ASYNC_PF_ACK, &value) && value == 0);
    assert_false(kvmasync_msr_read(async, MSR_KVM_STEAL_TIME, &value));
    assert_int_equal(vfake.pins, 1);
    begin();
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, 0x5fc0 | 9), MM_WAIT);
    assert_int_not_equal(fault_taken(), 0); /* as before */
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, 0x5fc0 | 9), MM_OK);
    assert_int_equal(vfake.pins, 1);
    down();
}

/* Both bits have to be set: without the vector there is no way to tell that a page has come. */
static void off(void **state)
{
    static const uint64_t values[] = {0, AT, AT | 1, AT | 8, AT | 1 | ALWAYS, 0xfffffffffff40 | 8};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        up(values[i]);
        assert_int_equal(vfake.pins, 0);
        assert_int_equal(hear(), 0);
        assert_int_equal(fault(), 0);
        assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_ACK, 1), MM_OK);
        down();
    }
}

static void only_when_the_guest_can(void **state)
{
    (void)state;
    up(ON);
    begin();
    vfake.ring = 0;
    assert_int_equal(fault(), 0);
    vfake.ring = 3;
    vfake.deaf = true;
    assert_int_equal(fault(), 0);
    vfake.deaf = false;
    *shared(0) = 1; /* it has not looked at the last one */
    assert_int_equal(fault(), 0);
    *shared(0) = 0;
    vfake.vcpu[0].event = event_exception(VECTOR_DB); /* was being delivered */
    assert_int_equal(fault(), 0);
    vfake.vcpu[0].event.valid = false;
    vfake.vcpu[0].lent_pages = 1;
    assert_int_equal(fault(), 0);
    vfake.vcpu[0].lent_pages = 0;
    waits_for_frame = true;
    assert_int_equal(fault(), 0);
    waits_for_frame = false;
    vacant = 31;
    assert_int_equal(fault(), 0);
    vacant = 32;
    assert_int_not_equal(fault_taken(), 0);
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, ON | ALWAYS), MM_OK);
    vfake.ring = 0;
    assert_int_not_equal(fault_taken(), 0);
    down();
}

static void a_page_comes(void **state)
{
    uint32_t first, second;
    struct mm_waiter *of_first;

    (void)state;
    up(ON);
    begin();
    first = fault_taken();
    of_first = last_taken;
    second = fault_taken();
    assert_int_not_equal(first, second);
    kvmasync_tell(async);
    assert_int_equal(hear(), 0);
    read_ends(last_taken);
    assert_int_equal(vfake.requested[0], VCPU_REQUEST_ASYNC);
    read_ends(of_first);
    kvmasync_tell(async);
    kvmasync_tell(async); /* the guest has not cleared it: one after the other */
    assert_int_equal(hear(), first);
    kvmasync_tell(async);
    assert_int_equal(hear(), second);
    acknowledge();
    assert_int_equal(hear(), 0);
    down();
}

static void the_apic_is_off_for_a_while(void **state)
{
    uint32_t token;

    (void)state;
    up(ON);
    begin();
    token = fault_taken();
    reg_write(0, 0xf0, 0xff);
    read_ends(last_taken);
    kvmasync_tell(async);
    assert_int_equal(*shared(1), 0);
    reg_write(0, 0xf0, 0x1ff);
    kvmasync_tell(async);
    assert_int_equal(hear(), token);
    down();
}

static void at_most_so_many(void **state)
{
    struct mm_waiter *waiter[TOKENS];
    uint32_t token[TOKENS];

    (void)state;
    up(ON);
    begin();
    for (unsigned i = 0; i < TOKENS; i++) {
        token[i] = fault_taken();
        waiter[i] = last_taken;
        assert_int_not_equal(token[i], 0);
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(token[i], token[j]);
            assert_ptr_not_equal(waiter[i], waiter[j]);
        }
    }
    assert_int_equal(fault(), 0);
    read_ends(waiter[5]);
    assert_int_equal(fault(), 0); /* it has to be told first */
    kvmasync_tell(async);
    assert_int_equal(hear(), token[5]);
    assert_int_not_equal(fault_taken(), 0);
    assert_int_equal(fault(), 0);
    down();
}

/* Names come round: one that is outstanding still is not given again, nor 0, nor ALL. */
static void names(void **state)
{
    uint32_t old;
    struct mm_waiter *of_old;

    (void)state;
    up(ON);
    begin();
    old = fault_taken();
    of_old = last_taken;
    for (unsigned i = 0; i < 0x100100; i++) {
        uint32_t token = fault_taken();

        assert_true(token != 0 && token != ALL && token != old);
        read_ends(last_taken);
        kvmasync_tell(async);
        assert_int_equal(hear(), token);
    }
    read_ends(of_old);
    kvmasync_tell(async);
    assert_int_equal(hear(), old);
    down();
}

/* Nothing of before is told, and nothing waits any more. */
static void expect_cancelled(struct mm_waiter *const *waiter, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(waiter[i]->queue, MM_WAITS_NOT);
    }
    kvmasync_tell(async);
}

static void ended_or_begun_anew(void **state)
{
    struct mm_waiter *waiter[8];

    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        up(ON);
        begin();
        for (unsigned i = 0; i < ARRAY_SIZE(waiter); i++) {
            assert_int_not_equal(fault_taken(), 0);
            waiter[i] = last_taken;
        }
        read_ends(waiter[3]); /* and the guest is not told */
        if (how == 0) {
            kvmasync_release(async);
            assert_int_equal(vfake.pins, 0);
        } else if (how == 1) {
            assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, 0), MM_OK);
            assert_int_equal(vfake.pins, 0);
        } else {
            assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, ON), MM_OK);
            assert_int_equal(vfake.pins, 1);
        }
        expect_cancelled(waiter, ARRAY_SIZE(waiter));
        assert_int_equal(hear(), how == 2 ? ALL : 0);
        acknowledge();
        assert_int_equal(hear(), 0);
        assert_int_equal(fault_taken() != 0, how == 2);
        down();
    }
}

/* The vCPU ends with tokens outstanding. */
static void the_end(void **state)
{
    (void)state;
    up(ON);
    begin();
    assert_int_not_equal(fault_taken(), 0);
    assert_int_not_equal(fault_taken(), 0);
    read_ends(last_taken);
    vfake.cancels = 0;
    kvmasync_destroy(async);
    assert_int_equal(vfake.cancels, 2);
    async = NULL;
    down();
}

/* In any order of everything: each token is told once, after its read has ended. */
static void each_is_told_once(void **state)
{
    struct {
        struct mm_waiter *waiter;
        uint32_t token;
        bool ended;
    } out[TOKENS + 1]; /* the guest has yet to look at one that it was told */
    unsigned count = 0, told = 0;
    uint64_t seed = 11;

    (void)state;
    up(ON);
    begin();
    for (unsigned round = 0; round < 300000 || count > 0; round++) {
        unsigned what = (unsigned)(xorshift64(&seed) >> 61), i;
        uint32_t token;

        i = count > 0 ? (unsigned)(xorshift64(&seed) >> 32) % count : 0;
        vfake.ring = xorshift64(&seed) >> 62;
        vfake.deaf = xorshift64(&seed) >> 62 == 0;
        waits_for_frame = xorshift64(&seed) >> 62 == 0;
        if (what < 4 && round < 300000) {
            token = fault_taken();
            assert_true(token == 0 || count <= TOKENS);
            if (token != 0) {
                out[count].waiter = last_taken;
                out[count].ended = false;
                out[count++].token = token;
            }
        } else if (what < 6 && count > 0 && !out[i].ended) {
            out[i].ended = true;
            read_ends(out[i].waiter);
            kvmasync_tell(async);
        } else if (what == 6) {
            acknowledge();
        } else if ((token = hear()) != 0) {
            for (i = 0; i < count && out[i].token != token; i++) {
            }
            assert_true(i < count && out[i].ended);
            out[i] = out[--count];
            told++;
            acknowledge();
        }
    }
    assert_int_equal(hear(), 0);
    assert_true(told > 30000);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_guest_may_write),
        cmocka_unit_test(off),
        cmocka_unit_test(only_when_the_guest_can),
        cmocka_unit_test(a_page_comes),
        cmocka_unit_test(the_apic_is_off_for_a_while),
        cmocka_unit_test(at_most_so_many),
        cmocka_unit_test(names),
        cmocka_unit_test(ended_or_begun_anew),
        cmocka_unit_test(the_end),
        cmocka_unit_test(each_is_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
