/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock of a PC: dates against the C library's, the alarm against one that tries every second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/timer.h"
#include "hv/vdev/legacy/calendar.h"
#include "hv/vdev/legacy/vcmos.h"
#include "tests/unit/xorshift.h"

#define NS_PER_MS 1000000ull
#define EPOCH     1709164800ull /* 2024-02-29 00:00:00, a Thursday */
#define A_RUN     0x26
#define A_RESET   0x76
#define B_SET     0x80
#define B_BINARY  0x04
#define B_24H     0x02
#define PF        0x40
#define AF        0x20
#define UF        0x10

static uint64_t now_ns;
static struct vcmos cmos;

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

uint64_t arch_boot_epoch_ns(void)
{
    return EPOCH * NS_PER_S;
}

static uint8_t get(uint8_t index)
{
    vcmos_select(&cmos, index);
    return vcmos_read(&cmos);
}

static void put(uint8_t index, uint8_t value)
{
    vcmos_select(&cmos, index);
    vcmos_write(&cmos, value);
}

static void start(void)
{
    memset(&cmos, 0, sizeof(cmos));
    now_ns = 300 * NS_PER_MS;
    vcmos_reset(&cmos);
}

static uint8_t flags(void)
{
    (void)vcmos_elapse(&cmos);
    return get(0x0c);
}

/* ---- dates ---- */

static void days_of_the_library(void **state)
{
    uint64_t seed = 0xca1e;

    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        int64_t seconds =
            (int64_t)(xorshift64(&seed) % (253402300800ull + 62135596800ull)) - 62135596800ll;
        time_t given = (time_t)seconds;
        struct calendar c;
        struct tm tm;

        gmtime_r(&given, &tm);
        calendar_from_seconds(seconds, &c);
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.weekday, tm.tm_wday);
        assert_int_equal(c.hour * 3600 + c.minute * 60 + c.second,
                         tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
        assert_true(calendar_to_seconds(&c) == seconds);
    }
    for (unsigned i = 0; i < 200000; i++) { /* whatever a guest leaves in the registers */
        uint64_t chance = xorshift64(&seed);
        struct calendar c = {.year = chance % 16600,
                             .month = chance >> 16 & 255,
                             .day = chance >> 24 & 255,
                             .hour = chance >> 32 & 255,
                             .minute = chance >> 40 & 255,
                             .second = chance >> 48 & 255};

        (void)calendar_to_seconds(&c);
    }
}

static unsigned coded(unsigned value, uint8_t b)
{
    return b & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static unsigned coded_hour(unsigned hour, uint8_t b)
{
    return b & B_24H ? coded(hour, b) : coded((hour + 11) % 12 + 1, b) | (hour >= 12 ? 0x80u : 0);
}

static void expect_time(time_t at, uint8_t b)
{
    struct tm tm;

    gmtime_r(&at, &tm);
    assert_int_equal(get(0), coded((unsigned)tm.tm_sec, b));
    assert_int_equal(get(2), coded((unsigned)tm.tm_min, b));
    assert_int_equal(get(4), coded_hour((unsigned)tm.tm_hour, b));
    assert_int_equal(get(6), coded((unsigned)tm.tm_wday + 1, b));
    assert_int_equal(get(7), coded((unsigned)tm.tm_mday, b));
    assert_int_equal(get(8), coded((unsigned)tm.tm_mon + 1, b));
    assert_int_equal(get(9), coded((unsigned)tm.tm_year % 100, b));
    assert_int_equal(get(0x32), coded((unsigned)(tm.tm_year + 1900) / 100, b));
}

static void write_time(time_t at, uint8_t b)
{
    struct tm tm;

    gmtime_r(&at, &tm);
    put(0, (uint8_t)coded((unsigned)tm.tm_sec, b));
    put(2, (uint8_t)coded((unsigned)tm.tm_min, b));
    put(4, (uint8_t)coded_hour((unsigned)tm.tm_hour, b));
    put(6, (uint8_t)coded((unsigned)tm.tm_wday + 1, b));
    put(7, (uint8_t)coded((unsigned)tm.tm_mday, b));
    put(8, (uint8_t)coded((unsigned)tm.tm_mon + 1, b));
    put(9, (uint8_t)coded((unsigned)tm.tm_year % 100, b));
    put(0x32, (uint8_t)coded((unsigned)(tm.tm_year + 1900) / 100, b));
}

/* As Linux sets it: SET and the divider held; then it goes on, over resets, in each coding. */
static void set_and_kept(void **state)
{
    uint64_t seed = 0x5e7;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t chance = xorshift64(&seed);
        time_t at = (time_t)(chance % 250000000000ull);
        uint8_t b = (uint8_t)(chance >> 40 & (B_BINARY | B_24H));
        uint64_t later = chance >> 44 & 0xfffff;

        if (i % 16 == 0) {
            start();
        }
        put(0x0b, B_SET | b);
        put(0x0a, A_RESET);
        write_time(at, b);
        now_ns += 3 * NS_PER_MS;
        put(0x0b, b);
        expect_time(at, b);
        now_ns += 3 * NS_PER_MS;
        put(0x0a, A_RUN);
        now_ns += 499 * NS_PER_MS;
        expect_time(at, b);
        now_ns += 2 * NS_PER_MS;
        expect_time(at + 1, b);
        now_ns += later * NS_PER_S;
        if (chance >> 63) {
            vcmos_reset(&cmos);
        }
        expect_time(at + 1 + (time_t)later, b);
        now_ns = now_ns % NS_PER_S + NS_PER_S;
    }
}

/* Without SET a register counts on from what is written; SET shows one second until it is cleared.
 */
static void set_bit(void **state)
{
    (void)state;
    start();
    expect_time((time_t)EPOCH, B_24H);
    put(4, 0x13);
    put(6, 2); /* the guest's week has another Monday */
    now_ns += 2 * NS_PER_S;
    assert_int_equal(get(0), 0x02);
    assert_int_equal(get(4), 0x13);
    assert_int_equal(get(6), 2);
    put(0x0b, B_SET | B_24H | UF);
    assert_int_equal(get(0x0b), B_SET | B_24H); /* SET clears UIE */
    now_ns += 5 * NS_PER_S;
    assert_int_equal(get(0), 0x02);
    assert_int_equal(flags() & ~PF, UF); /* of before SET */
    now_ns += 5 * NS_PER_S;
    assert_int_equal(flags() & ~PF, 0);
    put(0x0b, B_24H);
    assert_int_equal(get(0), 0x02);
    now_ns += 700 * NS_PER_MS;
    assert_int_equal(get(0), 0x03); /* the divider has gone on */
    put(0x0b, B_SET | B_24H);
    put(0, 0x55);
    vcmos_reset(&cmos); /* never cleared: not set */
    assert_int_equal(get(0x0b), B_24H);
    assert_int_equal(get(0), 0x03);
    put(0x40, 0xa5);
    put(0x0d, 0);
    vcmos_reset(&cmos);
    assert_int_equal(get(0x40), 0xa5);
    assert_int_equal(get(0x0d), 0x80);
}

/* ---- flags ---- */

static void update_and_its_warning(void **state)
{
    (void)state;
    start();
    assert_int_equal(flags(), 0);
    assert_int_equal(vcmos_next_ns(&cmos), TIMER_NEVER);
    put(0x0b, B_24H | UF);
    assert_int_equal(vcmos_next_ns(&cmos), NS_PER_S);
    now_ns = NS_PER_S - 245000;
    assert_int_equal(get(0x0a), A_RUN);
    now_ns = NS_PER_S - 244000;
    assert_int_equal(get(0x0a), A_RUN | 0x80);
    assert_int_equal(get(0), 0);
    now_ns = NS_PER_S;
    assert_int_equal(get(0x0a), A_RUN);
    assert_false(vcmos_elapse(&cmos));
    assert_true(vcmos_line(&cmos));
    assert_int_equal(vcmos_next_ns(&cmos), TIMER_NEVER); /* until it is read */
    assert_int_equal(get(0x0c), 0x80 | PF | UF);
    assert_false(vcmos_line(&cmos));
    assert_int_equal(get(0x0c), 0);
    assert_int_equal(vcmos_next_ns(&cmos), 2 * NS_PER_S);
    put(0x0c, 0xff); /* read-only */
    assert_int_equal(get(0x0c), 0);
}

static void periodic(void **state)
{
    (void)state;
    for (unsigned rate = 0; rate < 16; rate++) {
        static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                        256, 128, 64,  32,   16,   8,    4,    2};
        unsigned seen = 0;

        start();
        put(0x0a, (uint8_t)(0x20 | rate));
        put(0x0b, B_24H | PF);
        while (vcmos_next_ns(&cmos) < 2300 * NS_PER_MS) {
            assert_true(vcmos_next_ns(&cmos) > now_ns);
            now_ns = vcmos_next_ns(&cmos);
            (void)vcmos_elapse(&cmos);
            assert_true(vcmos_line(&cmos));
            assert_true(get(0x0c) & PF);
            seen++;
        }
        assert_in_range(seen, hz[rate] * 2 - (hz[rate] > 0), hz[rate] * 2 + 1);
    }
}

static bool matches(uint8_t alarm, uint8_t value)
{
    return alarm >= 0xc0 || alarm == value;
}

static void alarm_in_time(void **state)
{
    uint64_t seed = 0xa1a;
    unsigned rang = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t chance = xorshift64(&seed);
        uint8_t b = (uint8_t)(chance >> 3 & (B_BINARY | B_24H));
        uint8_t alarm[3];
        uint64_t expected = TIMER_NEVER;

        start();
        now_ns += (chance >> 8) % 86400 * NS_PER_S;
        put(0x0b, b | AF);
        for (unsigned n = 0; n < 3; n++) { /* seconds, minutes, hours; some cannot be */
            unsigned value = (unsigned)(chance >> (30 + 8 * n)) % (n == 2 ? 25 : 61);

            alarm[n] = (uint8_t)(n == 2 ? coded_hour(value, b) : coded(value, b));
            alarm[n] = chance >> (25 + n) & 1 ? 0xc0 | alarm[n] : alarm[n];
            put((uint8_t)(2 * n + 1), alarm[n]);
        }
        for (uint64_t s = now_ns / NS_PER_S + 1; s <= now_ns / NS_PER_S + 86400; s++) {
            unsigned day = (unsigned)(s % 86400);

            if (matches(alarm[0], (uint8_t)coded(day % 60, b)) &&
                matches(alarm[1], (uint8_t)coded(day / 60 % 60, b)) &&
                matches(alarm[2], (uint8_t)coded_hour(day / 3600, b))) {
                expected = s * NS_PER_S;
                break;
            }
        }
        assert_int_equal(vcmos_next_ns(&cmos), expected);
        if (expected != TIMER_NEVER) {
            now_ns = expected - 1;
            assert_false(vcmos_elapse(&cmos));
            now_ns = expected;
            assert_true(vcmos_elapse(&cmos));
            assert_false(vcmos_elapse(&cmos));
            assert_true(get(0x0c) & AF);
            rang++;
        }
    }
    assert_true(rang > 200);
    start();
    put(1, 0x02); /* not enabled: a flag, but nobody is told */
    put(3, 0xff);
    put(5, 0xff);
    now_ns = 2500 * NS_PER_MS;
    assert_false(vcmos_elapse(&cmos));
    assert_int_equal(get(0x0c) & ~PF, AF | UF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_of_the_library),
        cmocka_unit_test(set_and_kept),
        cmocka_unit_test(set_bit),
        cmocka_unit_test(update_and_its_warning),
        cmocka_unit_test(periodic),
        cmocka_unit_test(alarm_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
