/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8254: counts and outputs of every mode against a counter that is clocked step by step,
 * through random programming; then the rising edges that IRQ 0 gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/timer.h"
#include "hv/vdev/legacy/vpit.h"
#include "tests/unit/xorshift.h"

#define HZ 1193182ull

static uint64_t clocks, now_ns;
static struct vpit pit;

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

static void set_clock(uint64_t to)
{
    clocks = to;
    now_ns = (uint64_t)(((__uint128_t)to * 1000000000 + HZ - 1) / HZ);
}

/* ---- a counter, clock by clock ---- */

struct counter {
    unsigned mode, reload, next, value, half, counts;
    bool gate, loaded, counting, out;
};

static struct counter counter[VPIT_CHANNELS];

static void begin(struct counter *c)
{
    c->reload = c->next != 0 ? c->next : c->reload;
    c->next = 0;
    c->value = c->mode == 3 ? c->reload & ~1u : c->reload;
    c->half = (c->reload + 1) / 2;
    c->counting = true;
    c->out = c->mode >= 2 && !(c->mode == 2 && c->value == 1);
}

static void tick_square(struct counter *c)
{
    if (--c->half != 0) {
        c->value -= 2;
    } else if (c->out && c->reload > 1) {
        c->out = false;
        c->half = c->reload / 2;
        c->value = c->reload & ~1u;
    } else {
        begin(c);
    }
}

static void tick(struct counter *c)
{
    if (!c->counting || (!c->gate && c->mode != 1 && c->mode != 5)) {
        return;
    }
    if (c->mode == 3) {
        tick_square(c);
    } else if (c->mode == 2) {
        if (--c->value == 0) {
            begin(c);
        }
        c->out = c->value != 1;
    } else {
        c->value = (c->value + c->counts - 1) % c->counts;
        if (c->mode < 2) {
            c->out |= c->value == 0;
        } else {
            c->out = c->half == 0 || c->value != 0; /* one strobe: half says that it was not yet */
            c->half = c->value == 0 ? 0 : c->half;
        }
    }
}

static bool out_of(const struct counter *c)
{
    if (!c->counting) {
        return c->mode != 0;
    }
    return (!c->gate && (c->mode == 2 || c->mode == 3)) || c->out;
}

static unsigned value_of(const struct counter *c)
{
    return c->value % c->counts;
}

static void write_count(struct counter *c, unsigned count)
{
    count = count != 0 ? count : c->counts;
    if (c->counting &&
        (c->mode == 1 || c->mode == 5 || (c->gate && (c->mode == 2 || c->mode == 3)))) {
        c->next = count;
        return;
    }
    c->reload = count;
    c->next = 0;
    c->loaded = true;
    if (c->mode != 1 && c->mode != 5) {
        begin(c);
    }
}

static void set_gate(struct counter *c, bool level)
{
    bool rises = level && !c->gate;

    c->gate = level;
    if (rises && c->loaded && c->mode != 0 && c->mode != 4) {
        begin(c);
    }
}

/* ---- both sides ---- */

static unsigned to_bcd(unsigned value)
{
    return value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

static void program(unsigned i, unsigned mode, bool bcd, unsigned count)
{
    struct counter *c = &counter[i];
    bool gate = c->gate;

    vpit_command(&pit, (uint8_t)(i << 6 | 3 << 4 | mode << 1 | bcd));
    *c = (struct counter){.mode = mode, .gate = gate, .counts = bcd ? 10000 : 0x10000};
    count %= c->counts;
    vpit_write(&pit, i, (uint8_t)(bcd ? to_bcd(count) : count));
    vpit_write(&pit, i, (uint8_t)((bcd ? to_bcd(count) : count) >> 8));
    write_count(c, count);
}

static void rewrite(unsigned i, unsigned count)
{
    struct counter *c = &counter[i];
    bool bcd = c->counts == 10000;

    count %= c->counts;
    vpit_write(&pit, i, (uint8_t)(bcd ? to_bcd(count) : count));
    if (c->mode == 0) {
        c->counting = false;
    }
    vpit_write(&pit, i, (uint8_t)((bcd ? to_bcd(count) : count) >> 8));
    write_count(c, count);
}

static void compare(unsigned i)
{
    const struct counter *c = &counter[i];
    unsigned expected = c->counts == 10000 ? to_bcd(value_of(c)) : value_of(c);
    unsigned got;

    assert_int_equal(vpit_output(&pit, i), out_of(c));
    vpit_command(&pit, (uint8_t)(0xc0 | 2u << i)); /* read back status and count */
    got = vpit_read(&pit, i);
    assert_int_equal(got & 0x3f, 0x30 | c->mode << 1 | (c->counts == 10000));
    assert_int_equal(got >> 7, out_of(c));
    assert_int_equal(got >> 6 & 1, c->next != 0);
    got = vpit_read(&pit, i);
    got |= (unsigned)vpit_read(&pit, i) << 8;
    if (c->counting) {
        assert_int_equal(got, expected);
    }
}

static void random_programs(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 0x8254;

    (void)state;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    set_clock(1000);
    vpit_reset(&pit);
    for (unsigned i = 0; i < VPIT_CHANNELS; i++) {
        counter[i].gate = i != VPIT_SPEAKER;
        program(i, 0, false, 1000);
    }
    for (unsigned step = 0; step < 60000; step++) {
        uint64_t chance = xorshift64(&seed);
        unsigned i = chance >> 8 & 1 ? VPIT_SPEAKER : 0;
        unsigned count = (unsigned)(chance >> 32 & (chance >> 10 & 1 ? 0xffff : 0x3f));
        unsigned steps = (unsigned)(chance >> 50 & (chance >> 9 & 1 ? 0x3ff : 0x7));

        count = count == 1 ? 2 : count; /* periods of one are not allowed */
        switch (chance % 8) {
        case 0:
            program(i, (unsigned)(chance >> 16) % 6, chance >> 24 & 1, count);
            break;
        case 1:
            rewrite(i, count);
            break;
        case 2:
            vpit_gate(&pit, VPIT_SPEAKER, chance >> 16 & 1);
            set_gate(&counter[VPIT_SPEAKER], chance >> 16 & 1);
            break;
        default:
            for (unsigned n = 0; n < steps; n++) {
                tick(&counter[0]);
                tick(&counter[VPIT_SPEAKER]);
            }
            set_clock(clocks + steps);
            break;
        }
        compare(0);
        compare(VPIT_SPEAKER);
    }
}

/* Low byte only, high byte only, and what a latch keeps. */
static void byte_accesses(void **state)
{
    (void)state;
    set_clock(1);
    vpit_reset(&pit);
    vpit_command(&pit, 0x54); /* channel 1, low byte, mode 2: the refresh of old */
    vpit_write(&pit, 1, 18);
    set_clock(clocks + 20);
    assert_int_equal(vpit_read(&pit, 1), 16);
    vpit_command(&pit, 0x24); /* channel 0, high byte, mode 2 */
    vpit_write(&pit, 0, 0x10);
    set_clock(clocks + 0x101);
    vpit_command(&pit, 0x00); /* latch */
    set_clock(clocks + 0x500);
    assert_int_equal(vpit_read(&pit, 0), 0x0e);
    assert_int_equal(vpit_read(&pit, 0), 0x09);
    vpit_command(&pit, 0xde); /* read back: counts of all */
    vpit_command(&pit, 0xde); /* again: the first stays */
    set_clock(clocks + 0x300);
    assert_int_equal(vpit_read(&pit, 0), 0x09);
    assert_int_equal(vpit_read(&pit, 0), 0x06);
}

/* ---- rising edges ---- */

static unsigned edges_until(uint64_t ns)
{
    unsigned edges = 0;

    while (pit.edge_ns <= ns) {
        now_ns = pit.edge_ns;
        edges += vpit_elapse(&pit);
    }
    now_ns = ns;
    return edges;
}

static void program0(unsigned mode, unsigned count)
{
    vpit_command(&pit, (uint8_t)(0x30 | mode << 1));
    vpit_write(&pit, 0, (uint8_t)count);
    vpit_write(&pit, 0, (uint8_t)(count >> 8));
}

static void edges_in_time(void **state)
{
    (void)state;
    now_ns = 1000000000;
    vpit_reset(&pit);
    assert_int_equal(edges_until(now_ns + 1000000000), 18);
    program0(2, 4773); /* 250 Hz */
    assert_in_range(edges_until(now_ns + 10000000000ull), 2499, 2500);
    program0(3, 11932);
    assert_in_range(edges_until(now_ns + 10000000000ull), 999, 1000);
    for (unsigned mode = 0; mode <= 4; mode += 4) { /* one each */
        program0(mode, 1193);
        assert_int_equal(edges_until(now_ns + 990000), 0);
        assert_int_equal(edges_until(now_ns + 20000), 1);
        assert_int_equal(pit.edge_ns, TIMER_NEVER);
    }
    program0(2, 4773);
    now_ns += 42000000; /* all that were missed are told at once */
    assert_in_range(vpit_elapse(&pit), 10, 11);
    assert_int_equal(vpit_elapse(&pit), 0);
    now_ns += 60000000000ull;
    assert_int_equal(vpit_elapse(&pit), 1000);
    program0(0, 100);
    vpit_write(&pit, 0, 50); /* the first byte stops it */
    assert_int_equal(edges_until(now_ns + 10000000), 0);
    program0(1, 100); /* its gate never rises */
    assert_int_equal(edges_until(now_ns + 10000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
        cmocka_unit_test(byte_accesses),
        cmocka_unit_test(edges_in_time),

    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
