/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* PV EOI: when a guest may end an interrupt by a bit in its memory, and that it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vlapic_access.h"
#include "tests/unit/xorshift.h"

#define AT     0x3044u
#define ENABLE 1u
#define OTHERS 0xabcdef00u /* bits of the word that are not ours */

static struct vcpu *up(void)
{
    vfake_start(2);
    vfake_memory(0x10000);
    assert_int_equal(vlapic_eoi_set(&vfake.vcpu[0], AT | ENABLE, NULL), MM_OK);
    return &vfake.vcpu[0];
}

static void down(void)
{
    vfake_stop();
    assert_int_equal(vfake.pins, 0);
}

static uint32_t word(void)
{
    uint32_t value;

    memcpy(&value, vfake.memory + AT, sizeof(value));
    return value;
}

static void put_word(uint32_t value)
{
    memcpy(vfake.memory + AT, &value, sizeof(value));
}

static bool in_service(unsigned vector)
{
    return reg_read(0, 0x100 + 0x10 * (vector / 32)) >> (vector % 32) & 1;
}

/* Delivers, and takes. */
static void begin(unsigned vector, bool level)
{
    vlapic_deliver(&vfake.vcpu[0], vector, level);
    assert_int_equal(pending(0), vector);
    vlapic_accept(vfake.vcpu[0].vlapic, vector);
}

/* A stay in the guest, which clears the bit, or not; is it set there? */
static bool stay(bool clear)
{
    struct vcpu *vcpu = &vfake.vcpu[0];
    bool set;

    (void)pending(0); /* as before each entry */
    assert_false(word() & 1);
    vlapic_eoi_offer(vcpu);
    set = word() & 1;
    assert_int_equal(set, vcpu->eoi_offered);
    if (clear) {
        put_word(word() & ~1u);
    }
    if (vcpu->eoi_offered) {
        vlapic_eoi_take(vcpu);
    }
    assert_false(word() & 1);
    return set;
}

static void what_a_guest_may_write(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    assert_int_equal(vfake.pins, 1);
    assert_int_equal(vlapic_eoi_set(vcpu, AT | ENABLE | 2, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vlapic_eoi_set(vcpu, AT | 2, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vlapic_eoi_set(vcpu, 0x10000 | ENABLE, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vlapic_eoi_set(vcpu, BIT(52) | ENABLE, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vlapic_eoi_set(vcpu, UINT64_MAX & ~2ull, NULL), MM_NO_MEMSLOT);
    assert_int_equal(vfake.pins, 1); /* a refused one changes nothing */
    assert_int_equal(vcpu->msr_kvm_eoi, AT | ENABLE);
    begin(0x31, false);
    assert_true(stay(true));
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(vlapic_eoi_set(vcpu, 0x5ffc | ENABLE, NULL), MM_WAIT);
    assert_int_equal(vcpu->msr_kvm_eoi, AT | ENABLE);
    assert_int_equal(vlapic_eoi_set(vcpu, 0x5ffc | ENABLE, NULL), MM_OK);
    assert_int_equal(vfake.pins, 1);
    assert_ptr_equal(vcpu->eoi_word, vfake.memory + 0x5ffc);
    assert_int_equal(vlapic_eoi_set(vcpu, BIT(51), NULL), MM_OK); /* disabled: any address */
    assert_int_equal(vcpu->msr_kvm_eoi, BIT(51));
    assert_null(vcpu->eoi_word);
    assert_int_equal(vfake.pins, 0);
    down();
}

static void the_guest_clears_it(void **state)
{
    (void)state;
    (void)up();
    put_word(OTHERS);
    assert_false(stay(false)); /* nothing in service */
    begin(0x31, false);
    assert_true(stay(false));
    assert_true(stay(false)); /* as often as it enters */
    assert_true(in_service(0x31));
    assert_true(stay(true));
    assert_false(in_service(0x31));
    assert_false(stay(true));
    assert_int_equal(word(), OTHERS);
    begin(0x31, false);
    assert_true(stay(true));
    begin(0x31, false); /* the same one comes again */
    reg_write(0, 0xb0, 0);
    assert_false(in_service(0x31));
    assert_false(stay(true));
    down();
}

static void not_for_a_level(void **state)
{
    (void)state;
    (void)up();
    begin(0x31, true);
    assert_false(stay(true));
    assert_true(in_service(0x31));
    reg_write(0, 0xb0, 0);
    begin(0x31, false);
    assert_true(stay(false));
    down();
}

static void not_while_others_wait_or_are_in_service(void **state)
{
    (void)state;
    (void)up();
    begin(0x31, false);
    vlapic_deliver(&vfake.vcpu[0], 0x32, false); /* same class: waits for the EOI */
    assert_false(stay(true));
    assert_true(in_service(0x31));
    begin(0x52, false); /* nested */
    assert_false(stay(true));
    reg_write(0, 0xb0, 0);
    assert_false(stay(true)); /* 0x32 is pending still */
    reg_write(0, 0xb0, 0);
    assert_int_equal(pending(0), 0x32);
    vlapic_accept(vfake.vcpu[0].vlapic, 0x32);
    begin(0x3f + 0x20, false); /* in another word of ISR */
    assert_false(stay(true));
    reg_write(0, 0xb0, 0);
    assert_true(stay(true));
    assert_false(in_service(0x32));
    down();
}

/* One comes while the guest may clear the bit: after the exit it is delivered, or waits for its
 * turn, as if the guest had written EOI, or not. */
static void one_comes_meanwhile(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    for (unsigned ended = 0; ended < 2; ended++) {
        begin(0x31, false);
        assert_int_equal(pending(0), -1);
        vlapic_eoi_offer(vcpu);
        assert_true(vcpu->eoi_offered);
        vlapic_deliver(vcpu, 0x32, false);
        assert_int_equal(vfake.notified[0], 2 * (ended + 1));
        if (ended) {
            put_word(0);
        }
        vlapic_eoi_take(vcpu);
        assert_int_equal(pending(0), ended ? 0x32 : -1);
        if (!ended) {
            reg_write(0, 0xb0, 0);
            assert_int_equal(take(0), 0x32);
        }
    }
    down();
}

static void init_and_the_end_give_the_page_back(void **state)
{
    struct vcpu *vcpu = up();

    (void)state;
    vlapic_reset(vcpu->vlapic, true);
    assert_int_equal(vfake.pins, 0);
    assert_null(vcpu->eoi_word);
    assert_int_equal(vcpu->msr_kvm_eoi, 0);
    assert_int_equal(vlapic_eoi_set(vcpu, AT | ENABLE, NULL), MM_OK);
    assert_int_equal(vlapic_eoi_set(&vfake.vcpu[1], 0x4000 | ENABLE, NULL), MM_OK);
    assert_int_equal(vfake.pins, 2);
    down(); /* vlapic_destroy */
}

/* Whatever comes and however the guest ends it: what is in service is what a stack of vectors says.
 */
static void random_interrupts(void **state)
{
    uint64_t seed = 20;
    struct vcpu *vcpu = up();
    unsigned stack[16], depth = 0, offers = 0;
    bool level[256] = {false};

    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        unsigned what = (unsigned)(xorshift64(&seed) >> 61);
        unsigned vector = 16 + (unsigned)(xorshift64(&seed) >> 32) % 240;

        if (what == 0) {
            level[vector] = xorshift64(&seed) >> 63;
            vlapic_deliver(vcpu, vector, level[vector]);
        } else if (what < 3 && pending(0) >= 0) {
            stack[depth] = (unsigned)pending(0);
            vlapic_accept(vcpu->vlapic, stack[depth++]);
        } else if (what < 6 && depth > 0) {
            reg_write(0, 0xb0, 0);
            depth--;
        } else {
            bool clear = xorshift64(&seed) >> 63, set;
            bool may = depth == 1 && !level[stack[0]];

            for (unsigned i = 0; i < 8; i++) {
                may = may && reg_read(0, 0x200 + 0x10 * i) == 0;
            }
            set = stay(clear);
            assert_int_equal(set, may);
            depth -= set && clear;
            offers += set;
        }
        for (unsigned i = 0, bits = 0; i < 8; i++) {
            bits += (unsigned)__builtin_popcount(reg_read(0, 0x100 + 0x10 * i));
            assert_true(i < 7 || bits == depth);
        }
    }
    assert_true(offers > 1000);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_guest_may_write),
        cmocka_unit_test(the_guest_clears_it),
        cmocka_unit_test(not_for_a_level),
        cmocka_unit_test(not_while_others_wait_or_are_in_service),
        cmocka_unit_test(one_comes_meanwhile),
        cmocka_unit_test(init_and_the_end_give_the_page_back),
        cmocka_unit_test(random_interrupts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
