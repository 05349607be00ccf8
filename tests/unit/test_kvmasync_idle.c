/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/async_guest.c tests/unit/vdev_fake.c hv/timer.c */
/* Asynchronous page faults of a guest that has nothing else to do: they park, more and more of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/async_guest.h"

/* How many faults park until the guest is told of one again. */
static unsigned parked(uint32_t *token)
{
    unsigned count = 0;

    while ((*token = fault_taken()) == 0) {
        assert_true(++count < 100);
    }
    return count;
}

/* The page that was waited for last, which has this token. */
static void page_comes(uint32_t token)
{
    read_ends(last_taken);
    kvmasync_tell(async);
    vfake.vcpu[0].activity = ACTIVITY_ACTIVE;
    kvmasync_tell(async); /* judged once */
    assert_int_equal(hear(), token);
    acknowledge();
}

/* In its idle loop it gets nothing out of it, and is told less and less often; until it once runs
 * another task. */
static void a_guest_that_is_idle(void **state)
{
    static const unsigned parks[] = {0, 0, 0, 0, 1, 3, 7, 15, 31, 31};
    uint32_t token;

    (void)state;
    up(ON);
    begin();
    for (unsigned i = 0; i < sizeof(parks) / sizeof(parks[0]); i++) {
        assert_int_equal(parked(&token), parks[i]);
        vfake.ring = 0;
        page_comes(token);
        vfake.ring = 3;
    }
    assert_int_equal(parked(&token), 31);
    page_comes(token);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(parked(&token), 0);
    }
    down();
}

/* Whoever wants its faults in ring 0, too, has nothing to do only when it halts. */
static void a_guest_that_works_in_ring_0(void **state)
{
    uint32_t token;

    (void)state;
    up(ON | ALWAYS);
    begin();
    vfake.ring = 0;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(parked(&token), 0);
        page_comes(token);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(parked(&token), 0);
        vfake.vcpu[0].activity = ACTIVITY_HALTED;
        page_comes(token);
    }
    assert_int_equal(parked(&token), 1);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_that_is_idle),
        cmocka_unit_test(a_guest_that_works_in_ring_0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
