/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c tests/unit/nic_model.c tests/unit/nic_machine.c drivers/nic.c
 * drivers/virtio_net.c drivers/e1000.c drivers/virtio_ring.c */
/*
 * The machine's NICs under load: a flood, when the next poll is due, and several CPUs that poll and
 * send.  Each test runs with every driver.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/platform.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/nic_machine.h"
#include "tests/unit/nic_model.h"
#include "tests/unit/support.h"

/* ---- a flood ---- */

/* All that comes in a second, when there always is more: a quarter of the time at most, and no
 * interrupts while that is known.  When it ends, interrupts are on. */
static void flood(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    static const uint8_t frame[1514];
    uint64_t begin = platform_clock_ns(), inside = 0;
    bool was_masked = false;

    nic_machine.costs_ns = 10000;
    while (platform_clock_ns() - begin < SECOND) {
        uint64_t before;
        unsigned taken = nic_machine.taken;

        while (model_frame(number, frame, sizeof(frame))) {
        }
        before = platform_clock_ns();
        nic_poll();
        inside += platform_clock_ns() - before;
        assert_true(nic_machine.taken - taken <= NIC_TURN);
        was_masked |= !nic->polled && model_masked(number);
        disk_machine_advance(20000);
        assert_true(nic_deadline() <= platform_clock_ns() + NIC_LINK_NS);
    }
    assert_in_range(inside, SECOND / 8, SECOND / 4 + SECOND / 100);
    assert_int_equal(was_masked, !nic->polled);
    nic_machine_pass(SECOND / 10);
    assert_false(nic->masked);
    assert_true(nic->polled || number != MODEL_VIRTIO || !model_masked(number));
    nic_machine.costs_ns = 0;
    nic_machine_passes_frames(number);
    nic_machine_finish();
}

/* A frame that comes is due at once, one that is known to be there after the pause. */
static void deadline(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    static const uint8_t frame[60];

    nic_machine_pass(STEP);
    assert_true(nic_deadline() > platform_clock_ns());
    assert_true(nic_deadline() <= platform_clock_ns() + (nic->polled ? NIC_POLL_NS : NIC_LINK_NS));
    disk_machine_tick(2);
    assert_true(model_frame(number, frame, sizeof(frame)));
    assert_true(nic_deadline() <= platform_clock_ns());
    atomic_store(&nic->busy, true); /* another CPU is at it */
    nic_poll();
    assert_int_equal(nic_machine.taken, 0);
    assert_true(nic_deadline() > platform_clock_ns());
    atomic_store(&nic->busy, false);
    nic_poll();
    assert_int_equal(nic_machine.taken, 1);
    nic_machine_finish();
}

/* ---- CPUs ---- */

#define THREADS 2u
#define COUNT   500u

static struct {
    atomic_bool over, inside;
    atomic_uint next; /* the number of the frame that has to come */
} together;

static void take_in_turn(void *owner, const void *frame, uint32_t bytes)
{
    unsigned number;

    (void)owner;
    assert_int_equal(bytes, 60);
    assert_false(atomic_exchange(&together.inside, true));
    memcpy(&number, (const uint8_t *)frame + NIC_FRAME_MIN, sizeof(number));
    assert_int_equal(number, atomic_fetch_add(&together.next, 1));
    atomic_store(&together.inside, false);
}

static void *poll_and_send(void *owner)
{
    static const uint8_t frame[60];

    while (!atomic_load(&together.over)) {
        nic_poll();
        nic_machine_send(owner, frame, sizeof(frame));
        sched_yield();
    }
    return NULL;
}

/* Several CPUs poll and send: each frame comes once, in order, to one of them at a time. */
static void threads(unsigned number)
{
    uint8_t frame[60] = {0};
    pthread_t thread[THREADS];
    struct nic *nic;

    support_log_level(-1);
    memset(&together, 0, sizeof(together));
    model_start(0);
    nic = nic_at(number);
    nic_attach(nic, take_in_turn, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, poll_and_send, nic), 0);
    }
    for (unsigned i = 0; i < COUNT;) {
        memcpy(frame + NIC_FRAME_MIN, &i, sizeof(i));
        i += model_frame(number, frame, sizeof(frame));
        disk_machine_advance(5000);
    }
    while (atomic_load(&together.next) != COUNT) {
        disk_machine_advance(5000);
    }
    atomic_store(&together.over, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    disk_machine_advance(STEP);
    assert_int_equal(nic->stats.tx_frames, model_nic(number)->sent);
    assert_int_equal(nic->stats.resets + nic->stats.rx_errors, 0);
    model_stop();
    support_log_level(LOG_WARN);
}

/* ---- with every driver ---- */

FOR_ALL(flood)
FOR_ALL(deadline)
FOR_ALL(threads)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
