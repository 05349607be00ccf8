/* SPDX-License-Identifier: BSD-2-Clause */
/* The HPET's counter and comparators, against one that is asked of each value of the counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/timer.h"
#include "hv/vdev/legacy/vhpet.h"
#include "tests/unit/xorshift.h"

#define CLOCK_NS 10u

static uint64_t now_ns;
static struct vhpet hpet;

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

static void out(unsigned offset, unsigned size, uint64_t value)
{
    vhpet_write(&hpet, offset, size, value);
}

static uint64_t in(unsigned offset, unsigned size)
{
    return vhpet_read(&hpet, offset, size);
}

static void registers(void **state)
{
    (void)state;
    now_ns = 12345;
    vhpet_reset(&hpet);
    assert_int_equal(in(0, 8), 10000000ull << 32 | VHPET_ID);
    assert_int_equal(in(4, 4), 10000000);
    assert_int_equal(in(1, 1), VHPET_ID >> 8 & 0xff);
    assert_int_equal(in(0xf0, 8), 0);
    now_ns += 1000;
    assert_int_equal(in(0xf0, 8), 0); /* it stands */
    out(0xf4, 4, 1);
    out(0xf0, 4, 5);
    out(0x10, 8, UINT64_MAX);
    assert_int_equal(in(0x10, 8), 3);
    now_ns += 990;
    assert_int_equal(in(0xf0, 8), (1ull << 32) + 5 + 99);
    out(0x10, 4, 0);
    now_ns += 990;
    assert_int_equal(in(0xf4, 4), 1);
    assert_int_equal(in(0xf0, 4), 104);
    out(0x100, 4, UINT32_MAX);
    assert_int_equal(in(0x100, 4), 0x217e & ~(31u << 9)); /* no route 31; no messages */
    out(0x108, 2, 1);
    out(0x10a, 4, 1);
    assert_int_equal(in(0x108, 4), UINT32_MAX); /* neither is an access */
    assert_int_equal(in(0x3f8, 8), 0);
}

/* ---- a comparator, clock by clock ---- */

struct comparator {
    bool on, wide, periodic, interrupts;
    uint64_t at, period;
};

static uint64_t count;
static bool counts;
static struct comparator model[VHPET_TIMERS];

static unsigned model_clock(struct comparator *c)
{
    uint64_t mask = c->wide ? UINT64_MAX : UINT32_MAX;

    if (((count ^ c->at) & mask) != 0) {
        return 0;
    }
    if (c->periodic && c->period != 0) {
        c->at = (c->at + c->period) & mask;
    }
    return c->interrupts;
}

static void program(unsigned i, uint64_t chance)
{
    struct comparator *c = &model[i];
    bool level = chance >> 3 & 1;
    uint64_t ahead = 1 + (chance >> 40 & 0x3ff);

    c->wide = chance & 1;
    c->periodic = chance >> 1 & 1;
    c->interrupts = chance >> 2 & 1;
    out(0x100 + 0x20 * i, 4,
        (level ? 2u : 0) | (c->interrupts ? 4u : 0) | (c->periodic ? 0x48u : 0) |
            (c->wide ? 0 : 0x100u));
    c->at = (count + ahead) & (c->wide ? UINT64_MAX : UINT32_MAX);
    if (c->wide && (chance >> 4 & 1)) {
        out(0x108 + 0x20 * i, 8, c->at);
    } else {
        out(0x108 + 0x20 * i, 4, (uint32_t)c->at);
        if (c->wide) {
            out(0x100 + 0x20 * i, 4, (uint32_t)in(0x100 + 0x20 * i, 4) | (c->periodic ? 0x40 : 0));
            out(0x10c + 0x20 * i, 4, c->at >> 32);
        }
    }
    if (c->periodic) {
        c->period = 1 + (chance >> 50 & 0xff);
        out(0x108 + 0x20 * i, c->wide ? 8 : 4, c->period);
    }
}

static void set_enabled(bool on)
{
    counts = on;
    out(0x10, 4, on);
}

static void random_programs(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 0x4870e7;
    unsigned matched = 0;

    (void)state;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    now_ns = 1000;
    vhpet_reset(&hpet);
    count = UINT32_MAX - 5000ull; /* the narrow ones wrap */
    out(0xf0, 8, count);
    for (unsigned i = 0; i < VHPET_TIMERS; i++) {
        program(i, 5);
    }
    set_enabled(true);
    for (unsigned step = 0; step < 200000; step++) {
        uint64_t chance = xorshift64(&seed);
        unsigned steps = (unsigned)(chance >> 56), expected[VHPET_TIMERS] = {0};

        if (chance % 16 == 0) {
            program((unsigned)(chance >> 8) % VHPET_TIMERS, chance >> 10);
        } else if (chance % 64 == 1) {
            set_enabled(chance >> 8 & 1);
        }
        for (unsigned n = 0; n < steps && counts; n++) {
            count++;
            for (unsigned i = 0; i < VHPET_TIMERS; i++) {
                expected[i] += model_clock(&model[i]);
            }
        }
        now_ns += steps * CLOCK_NS;
        assert_int_equal(in(0xf0, 8), count);
        for (unsigned i = 0; i < VHPET_TIMERS; i++) {
            assert_int_equal(vhpet_elapse(&hpet, i), expected[i]);
            assert_true(vhpet_next_ns(&hpet, i) > now_ns);
            matched += expected[i];
        }
    }
    assert_true(matched > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers),
        cmocka_unit_test(random_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
