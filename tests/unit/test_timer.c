/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/timer.c */
/* Timers that are set, cancelled and moved between CPUs, against an array of when each is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/timer.h"
#include "tests/unit/support.h"

#define TIMERS 1000u
#define CPUS   3u

static struct {
    struct timer timer;
    uint64_t deadline_ns; /* as it should be */
    unsigned cpu;
} all[TIMERS];

static uint64_t now_ns, last_due_ns;
static unsigned this_cpu, fired;

unsigned arch_cpu_id(void)
{
    return this_cpu;
}

unsigned arch_cpu_count(void)
{
    return CPUS;
}

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

static uint64_t first_deadline(void)
{
    uint64_t first = TIMER_NEVER;

    for (unsigned i = 0; i < TIMERS; i++) {
        if (all[i].cpu == this_cpu && all[i].deadline_ns < first) {
            first = all[i].deadline_ns;
        }
    }
    return first;
}

static void set(unsigned i, uint64_t deadline_ns)
{
    timer_set(&all[i].timer, deadline_ns);
    all[i].deadline_ns = deadline_ns;
    all[i].cpu = this_cpu;
}

/* Each on the CPU that has set it last, when it is due and not before, in the order of deadlines.
 */
static void fire(struct timer *timer)
{
    unsigned i = (unsigned)(((char *)timer - (char *)all) / (long)sizeof(all[0]));

    assert_int_equal(all[i].cpu, this_cpu);
    assert_in_range(all[i].deadline_ns, last_due_ns, now_ns);
    last_due_ns = all[i].deadline_ns;
    all[i].deadline_ns = TIMER_NEVER;
    fired++;
    if (i % 3 == 0) {
        set(i, now_ns + 1 + support_random_below(5000)); /* again, from inside */
    }
}

static void as_an_array_has_it(void **state)
{
    (void)state;
    support_seed(3);
    timer_init_cpus();
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_init(&all[i].timer, fire);
        all[i].deadline_ns = TIMER_NEVER;
    }
    for (unsigned step = 0; step < 100000; step++) {
        unsigned i = (unsigned)support_random_below(TIMERS);

        this_cpu = (unsigned)support_random_below(CPUS);
        switch (support_random_below(8)) {
        case 0:
            timer_cancel(&all[i].timer);
            all[i].deadline_ns = TIMER_NEVER;
            break;
        case 1:
            timer_cancel_sync(&all[i].timer);
            all[i].deadline_ns = TIMER_NEVER;
            break;
        case 2:
            now_ns += support_random_below(3000);
            last_due_ns = 0;
            timer_run();
            break;
        case 3:
            set(i, TIMER_NEVER);
            break;
        default: /* many at the same time, some in the past */
            set(i, now_ns + support_random_below(4000) / 100 * 100 -
                       support_random_below(2) * now_ns / 2);
            break;
        }
        assert_int_equal(timer_next(), first_deadline());
    }
    assert_true(fired > 10000);
}

/* Those with the same deadline come in the order in which they were set. */
static unsigned expected_next;

static void fire_in_turn(struct timer *timer)
{
    assert_ptr_equal(timer, &all[expected_next++].timer);
}

static void first_set_first_fired(void **state)
{
    (void)state;
    timer_init_cpus();
    this_cpu = 1;
    now_ns = 5000;
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_init(&all[i].timer, fire_in_turn);
        timer_set(&all[i].timer, 6000);
    }
    timer_run();
    assert_int_equal(expected_next, 0);
    now_ns = 6000;
    timer_run();
    assert_int_equal(expected_next, TIMERS);
    assert_int_equal(timer_next(), TIMER_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_an_array_has_it),
        cmocka_unit_test(first_set_first_fired),
    };

    support_memory_init(64);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
