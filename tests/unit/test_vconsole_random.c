/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/console_guest.c
 *          hv/timer.c */
/*
 * virtio-console: a guest that prints, reads, waits and resets its driver at random, and rings of
 * random bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vconsole.h"
#include "tests/unit/console_guest.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"

static struct {
    uint64_t printed, shown; /* letters */
    uint64_t typed, read;
    bool out[SIZE], in; /* chains that the device has */
} random_guest;

static uint64_t below(uint64_t n)
{
    return support_random_below(n);
}

static uint16_t free_chain(const bool *taken)
{
    for (uint16_t i = 0; i < SIZE / 2; i++) {
        if (!taken[i]) {
            return i;
        }
    }
    return SIZE;
}

/* Chains of two pieces, of descriptors 2n and 2n + 1. */
static void random_print(void)
{
    uint16_t n = free_chain(random_guest.out);
    uint32_t first = 1 + (uint32_t)below(700), second = 1 + (uint32_t)below(5000);
    const struct driver_segment pieces[] = {{TEXT + n * 0x4000u, first, false},
                                            {TEXT + n * 0x4000u + 0x1000, second, false}};

    if (n == SIZE) {
        return;
    }
    console_put_text(pieces[0].address, random_guest.printed, first);
    console_put_text(pieces[1].address, random_guest.printed + first, second);
    console_choose_ring(TRANSMIT);
    driver_add(&console_driver, TRANSMIT, (uint16_t)(n * 2), pieces, 2);
    random_guest.printed += first + second;
    random_guest.out[n] = true;
}

static void random_offer(void)
{
    if (!random_guest.in) {
        console_offer(1 + (uint32_t)below(30));
        random_guest.in = true;
    }
}

static void random_type(void)
{
    for (uint64_t n = below(300);
         n > 0 && vm_devices_type(&vfake.vm, console_letter(random_guest.typed)); n--) {
        random_guest.typed++;
    }
    vm_devices_send_typed(&vfake.vm);
}

static void random_look(void)
{
    uint32_t head, bytes;

    random_guest.shown += console_take_shown(random_guest.shown);
    console_choose_ring(TRANSMIT);
    while (driver_used(&console_driver, TRANSMIT, &head, &bytes)) {
        random_guest.out[head / 2] = false;
    }
    while (console_was_given(RECEIVE, &bytes)) {
        random_guest.in = false;
        for (uint32_t i = 0; i < bytes; i++) {
            assert_int_equal(vfake.memory[KEYS + i], console_letter(random_guest.read + i));
        }
        random_guest.read += bytes;
    }
}

/* What has not been shown or given is lost. */
static void random_reset(void)
{
    random_look();
    DRIVER_WRITE(&console_driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    memset(&random_guest, 0, sizeof(random_guest));
    vfake.wait_often = false;
    console_start_driver();
}

static void random_step(void)
{
    switch (below(7)) {
    case 0:
        random_print();
        break;
    case 1:
        (void)driver_notify(&console_driver, TRANSMIT);
        break;
    case 2:
        random_offer();
        break;
    case 3:
        (void)driver_notify(&console_driver, RECEIVE);
        break;
    case 4:
        random_type();
        break;
    case 5:
        vfake.busy = below(3) == 0;
        vfake.wait_often = below(2) == 0;
        break;
    default:
        if (console_device()->waiting) {
            console_device()->device.waiter.wake(&console_device()->device.waiter);
        }
        break;
    }
    random_look();
}

/* When nothing waits any more, all has come. */
static void random_settle(void)
{
    vfake.busy = false;
    vfake.wait_often = false;
    for (unsigned i = 0; i < 1000 && (random_guest.shown != random_guest.printed ||
                                      random_guest.read != random_guest.typed);
         i++) {
        (void)driver_notify(&console_driver, TRANSMIT);
        random_offer();
        (void)driver_notify(&console_driver, RECEIVE);
        random_look();
    }
    assert_int_equal(random_guest.shown, random_guest.printed);
    assert_int_equal(random_guest.read, random_guest.typed);
}

static void test_random(void **state)
{
    uint64_t shown = 0, read = 0;

    (void)state;
    support_seed(1);
    console_use();
    memset(&random_guest, 0, sizeof(random_guest));
    for (unsigned round = 0; round < 300; round++) {
        for (uint64_t n = below(400); n > 0; n--) {
            random_step();
        }
        if (below(3) != 0) {
            random_settle();
        }
        shown += random_guest.shown;
        read += random_guest.read;
        random_reset();
    }
    assert_true(shown > 1000000 && read > 20000);
    assert_false(console_is_broken());
}

/* Rings and descriptors of random bytes: each call ends, and nothing but memory is touched. */
static void test_random_bytes(void **state)
{
    (void)state;
    support_seed(2);
    for (unsigned round = 0; round < 300; round++) {
        console_start_driver();
        for (unsigned i = 0; i < 2 * DRIVER_RING; i++) {
            vfake.memory[DRIVER_RINGS + i] =
                (uint8_t)(below(4) == 0 ? below(256) : below(2) * below(20));
        }
        for (unsigned queue = 0; queue < VIRTIO_CONSOLE_QUEUES; queue++) {
            driver_store16(DRIVER_RINGS + queue * DRIVER_RING + DRIVER_AVAIL + 2,
                           (uint16_t)below(SIZE + 1));
            (void)vconsole_type(console_device(), 'x');
            vconsole_send_typed(console_device());
            for (unsigned i = 0; i < 20; i++) {
                (void)driver_notify(&console_driver, queue);
                vfake.output_bytes = 0;
            }
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, console_begin, console_end)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_random), CASE(test_random_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
