/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/operator/log.c hv/vm/log.c */
/* The log between sources that say much and those that say little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/guest/vm.h"
#include "hv/log.h"
#include "hv/operator/console.h"
#include "tests/unit/support.h"

static struct vm noisy = {.name = "noisy", .index = 0};
static struct vm quiet = {.name = "quiet", .index = 31};
static uint64_t now_ns = 1000000000;

/* What was shown, since it was last looked at. */
static char console[1 << 20], replayed[1 << 20];

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

void console_write_line(const char *line)
{
    strcat(strcat(console, line), "\n");
}

static void collect(const char *line)
{
    strcat(strcat(replayed, line), "\n");
}

static const char *replay(unsigned count)
{
    replayed[0] = '\0';
    log_replay(count, collect);
    return replayed;
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;

    for (text = strstr(text, word); text != NULL; text = strstr(text + 1, word)) {
        count++;
    }
    return count;
}

static int begin(void **state)
{
    (void)state;
    now_ns += 1000000000000; /* everybody has made up for what was said */
    console[0] = '\0';
    log_set_level(LOG_INFO);
    return 0;
}

static void in_order(void **state)
{
    const char *text;

    (void)state;
    log_line(LOG_INFO, "first %d", 1);
    vm_log(&noisy, LOG_INFO, "vm noisy: second");
    log_line(LOG_INFO, "third");
    text = replay(2);
    assert_null(strstr(text, "first"));
    assert_non_null(strstr(text, "hv: vm noisy: second\n["));
    assert_true(strstr(text, "second") < strstr(text, "third"));
    assert_true(strstr(replay(LOG_LINES), "first") < strstr(replayed, "second"));
    assert_string_equal(replay(0), "");
}

/* Debug lines are kept only when they are wanted. */
static void levels(void **state)
{
    (void)state;
    log_line(LOG_DEBUG, "unwanted");
    log_set_level(LOG_ERROR);
    log_line(LOG_WARN, "kept, not shown");
    log_set_level(LOG_DEBUG);
    log_line(LOG_DEBUG, "wanted");
    assert_null(strstr(replay(LOG_LINES), "unwanted"));
    assert_non_null(strstr(replayed, "kept, not shown"));
    assert_non_null(strstr(console, "wanted"));
    assert_null(strstr(console, "kept, not shown"));
}

static void shares(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR); /* nothing of it to the console */
    for (unsigned i = 0; i < 100; i++) {
        log_line(LOG_INFO, "host line %u", i);
    }
    vm_log(&quiet, LOG_INFO, "vm quiet: started");
    for (unsigned i = 0; i < 100000; i++) {
        vm_log(&noisy, LOG_INFO, "vm noisy: again %u", i);
    }
    replay(LOG_LINES);
    assert_int_equal(count_of(replayed, "host line"), 100);
    assert_int_equal(count_of(replayed, "vm quiet: started"), 1);
    assert_non_null(strstr(replayed, "vm noisy: again 99999\n"));
    for (unsigned i = 0; i < 100000; i++) {
        log_line(LOG_INFO, "host again %u", i);
    }
    replay(LOG_LINES);
    assert_int_equal(count_of(replayed, "\n"), LOG_LINES);
    assert_in_range(count_of(replayed, "vm noisy"), LOG_LINES / 2 - 3, LOG_LINES / 2);
    assert_int_equal(count_of(replayed, "vm quiet: started"), 1);
}

static void repeats(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1234; i++) {
        now_ns += 1000000;
        log_line(LOG_INFO, "the same");
        vm_log(&quiet, LOG_INFO, "vm quiet: between"); /* another source's */
    }
    replay(LOG_LINES);
    assert_int_equal(count_of(replayed, "the same"), 1);
    assert_non_null(strstr(replayed, "the same (1234 times)\n"));
    assert_int_equal(count_of(console, "the same"), 4);
    assert_non_null(strstr(console, "the same (1000 times)\n"));
    log_line(LOG_INFO, "another");
    log_line(LOG_INFO, "the same");
    assert_int_equal(count_of(replay(LOG_LINES), "the same"), 2);
}

/* What a guest can cause comes at a bounded rate, and what is missing is counted. */
static void rate(void **state)
{
    (void)state;
    log_set_level(LOG_DEBUG);
    for (unsigned i = 0; i < 10000; i++) {
        vm_log(&noisy, LOG_DEBUG, "noisy: msr %u", i);
    }
    assert_in_range(count_of(console, "noisy: msr"), 60, 70);
    vm_log(&noisy, LOG_INFO, "vm noisy: ended well");
    assert_non_null(strstr(console, "lines left out)\n"));
    assert_non_null(strstr(console, "vm noisy: ended well\n"));
    console[0] = '\0';
    for (unsigned i = 0; i < 10000; i++) { /* ten seconds */
        now_ns += 1000000;
        vm_log(&noisy, LOG_WARN, "noisy: more %u", i);
        if (i % 1000 == 0) {
            vm_log(&quiet, LOG_WARN, "quiet: %u", i / 1000);
        }
    }
    assert_in_range(count_of(console, "noisy: more"), 18, 22);
    assert_int_equal(count_of(console, "quiet: "), 10);
}

static void held(void **state)
{
    (void)state;
    log_line(LOG_INFO, "before");
    log_hold(true);
    log_line(LOG_INFO, "meanwhile");
    log_line(LOG_INFO, "meanwhile");
    assert_null(strstr(console, "meanwhile"));
    log_hold(false);
    assert_int_equal(count_of(console, "before"), 1);
    assert_int_equal(count_of(console, "meanwhile (2 times)"), 1);
    log_line(LOG_INFO, "after");
    assert_int_equal(count_of(console, "after"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(in_order, begin), cmocka_unit_test_setup(levels, begin),
        cmocka_unit_test_setup(shares, begin),   cmocka_unit_test_setup(repeats, begin),
        cmocka_unit_test_setup(rate, begin),     cmocka_unit_test_setup(held, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
