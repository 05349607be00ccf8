/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/console_guest.c
 *          hv/timer.c */
/*
 * virtio-console: each byte that the guest prints is shown once and in order, and each key arrives
 * so, whatever waits, is reset or is nonsense in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/virtio/vconsole.h"
#include "tests/unit/console_guest.h"
#include "tests/unit/vdev_fake.h"

#define SHOWN (VCONSOLE_PIECE * VCONSOLE_PIECES) /* in one exit */

/* ---- output ---- */

static void test_output(void **state)
{
    const struct driver_segment pieces[] = {
        {TEXT, 3, false}, {TEXT + 0x1000, 300, false}, {TEXT + 0x2ff0, 40, false}};
    uint32_t bytes = 1;

    (void)state;
    console_put_text(TEXT, 0, 3);
    console_put_text(TEXT + 0x1000, 3, 300);
    console_put_text(TEXT + 0x2ff0, 303, 40);
    driver_add(&console_driver, TRANSMIT, 0, pieces, 3);
    console_put_text(TEXT + 0x5000, 343, 1);
    console_print(3, TEXT + 0x5000, 1);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_int_equal(console_take_shown(0), 344);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(console_was_given(TRANSMIT, &bytes));
        assert_int_equal(bytes, 0);
    }
    assert_false(console_was_given(TRANSMIT, &bytes));
}

/* However long a chain is: an exit shows so much of it, and the next one goes on. */
static void test_output_is_bounded(void **state)
{
    uint64_t shown = 0, all = 1000000;
    uint32_t bytes;

    (void)state;
    console_put_text(TEXT, 0, (uint32_t)all);
    console_print(0, TEXT, (uint32_t)all);
    while (driver_notify(&console_driver, TRANSMIT) == BUS_PARK) {
        unsigned some = console_take_shown(shown);

        assert_int_equal(some, SHOWN);
        assert_false(console_was_given(TRANSMIT, &bytes));
        shown += some;
        assert_int_equal(console_wakes, shown / SHOWN);
    }
    assert_int_equal(shown + console_take_shown(shown), all);
    assert_true(console_was_given(TRANSMIT, &bytes));
}

/* Chains without anything to read end as well, and count. */
static void test_output_of_nothing(void **state)
{
    const struct driver_segment segment = {TEXT, 100, true};
    uint32_t bytes;
    unsigned given = 0;

    (void)state;
    for (unsigned i = 0; i < SIZE; i++) {
        driver_add(&console_driver, TRANSMIT, (uint16_t)i, &segment, 1);
    }
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    while (console_was_given(TRANSMIT, &bytes)) {
        given++;
    }
    assert_int_equal(given, SIZE);
    assert_int_equal(vfake.output_bytes, 0);
    assert_false(console_is_broken());
}

/* A console that is attached has no room for a while: the vCPU tries again, and nothing is lost. */
static void test_output_busy(void **state)
{
    const uint32_t all = SHOWN + 1000;
    uint32_t bytes;

    (void)state;
    console_put_text(TEXT, 0, all);
    console_print(0, TEXT, all);
    vfake.busy = true;
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
    assert_int_equal(console_wakes, 1);
    assert_int_equal(console_take_shown(0), 0);
    vfake.busy = false;
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
    assert_int_equal(console_take_shown(0), SHOWN);
    vfake.busy = true;
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
    assert_int_equal(console_take_shown(SHOWN), 0);
    assert_false(console_was_given(TRANSMIT, &bytes));
    vfake.busy = false;
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_int_equal(console_take_shown(SHOWN), 1000);
    assert_true(console_was_given(TRANSMIT, &bytes));
}

/* With nothing to print nobody waits for room. */
static void test_busy_for_nothing(void **state)
{
    (void)state;
    vfake.busy = true;
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_int_equal(console_wakes, 0);
}

static void test_output_waits(void **state)
{
    uint32_t bytes;

    (void)state;
    console_put_text(TEXT, 0, 600);
    console_print(0, TEXT, 600);
    for (unsigned i = 0; i < 3; i++) {
        vfake.wait_at = vfake.calls + (i == 0 ? 1 : 2); /* one piece more each time */
        assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
        assert_int_equal(console_take_shown(i == 0 ? 0 : (i - 1) * 256), i == 0 ? 0 : 256);
        assert_false(console_was_given(TRANSMIT, &bytes));
    }
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_int_equal(console_take_shown(512), 88);
    assert_int_equal(console_wakes, 0);
    assert_true(console_was_given(TRANSMIT, &bytes));
}

/* What was half shown is forgotten: the next driver's text is shown from its beginning. */
static void test_reset_in_the_middle(void **state)
{
    (void)state;
    console_put_text(TEXT, 0, 8000);
    console_print(0, TEXT, 8000);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_PARK);
    assert_int_equal(console_take_shown(0), SHOWN);
    DRIVER_WRITE(&console_driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    console_start_driver();
    console_print(0, TEXT, 100);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_int_equal(console_take_shown(0), 100);
}

static void test_emergency(void **state)
{
    const uint64_t at = offsetof(struct virtio_console_config, emergency);

    (void)state;
    DRIVER_WRITE(&console_driver, status, 0);
    vfake_mmio_write(gpa(console_driver.config + at), 4, 'e');
    vfake_mmio_write(gpa(console_driver.config + at), 1, 'm');
    vfake_mmio_write(gpa(console_driver.config), 4, 'x');
    assert_int_equal(vfake.output_bytes, 2);
    assert_memory_equal(vfake.output, "em", 2);
    assert_int_equal(vfake_mmio_read(gpa(console_driver.config + at), 4), 0);
}

/* ---- input ---- */

static void offer_and_notify(uint32_t bytes)
{
    console_offer(bytes);
    assert_int_equal(driver_notify(&console_driver, RECEIVE), BUS_DONE);
}

/* What was typed at once comes in one buffer, as far as it goes; the rest follows by itself. */
static void test_input(void **state)
{
    uint32_t bytes;

    (void)state;
    console_use();
    offer_and_notify(0x1000);
    console_type("who is it");
    assert_false(console_was_given(RECEIVE, &bytes));
    vm_devices_send_typed(&vfake.vm);
    console_expect_keys("who is it");
    offer_and_notify(4);
    console_type("abcdefghijklmnopqrstuvwxyz");
    vm_devices_send_typed(&vfake.vm);
    console_expect_keys("abcd");
    assert_false(console_was_given(RECEIVE, &bytes));
    offer_and_notify(0x1000);
    console_expect_keys("efghijklmnopqrs");
    offer_and_notify(0x1000);
    console_expect_keys("tuvwxyz");
    offer_and_notify(0x1000);
    assert_false(console_was_given(RECEIVE, &bytes));
}

/* Keys wait for buffers; when too many do, they are not taken until there is room. */
static void test_input_full(void **state)
{
    unsigned typed = 0;
    uint32_t bytes;

    (void)state;
    console_use();
    while (vm_devices_type(&vfake.vm, console_letter(typed))) {
        typed++;
        vm_devices_send_typed(&vfake.vm);
    }
    assert_int_equal(typed, VCONSOLE_TYPED_MAX);
    vfake.room_calls = 0;
    offer_and_notify(100);
    assert_int_equal(vfake.room_calls, 1);
    assert_true(console_was_given(RECEIVE, &bytes));
    assert_int_equal(bytes, VCONSOLE_KEYS);
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(vfake.memory[KEYS + i], console_letter(i));
    }
    offer_and_notify(100);
    assert_int_equal(vfake.room_calls, 1); /* nobody has asked since */
    assert_true(vm_devices_type(&vfake.vm, 'y'));
}

/* The buffer's page is out when a key comes: the device waits for it, once, and order is kept. */
static void test_input_waits(void **state)
{
    uint32_t bytes;

    (void)state;
    console_use();
    console_offer(0x1000);
    assert_int_equal(driver_notify(&console_driver, RECEIVE), BUS_DONE);
    console_type("a");
    vfake.wait_at = vfake.calls + 1;
    vm_devices_send_typed(&vfake.vm);
    assert_false(console_was_given(RECEIVE, &bytes));
    console_type("b");
    vm_devices_send_typed(&vfake.vm); /* its waiter is taken */
    assert_false(console_was_given(RECEIVE, &bytes));
    vfake.wait_at = vfake.calls + 1;
    console_device()->device.waiter.wake(&console_device()->device.waiter);
    assert_false(console_was_given(RECEIVE, &bytes));
    console_device()->device.waiter.wake(&console_device()->device.waiter);
    console_expect_keys("ab");
    /* The guest's own notification, which waits itself. */
    console_type("c");
    vm_devices_send_typed(&vfake.vm);
    console_offer(0x1000);
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(driver_notify(&console_driver, RECEIVE), BUS_PARK);
    assert_false(console_was_given(RECEIVE, &bytes));
    assert_int_equal(driver_notify(&console_driver, RECEIVE), BUS_DONE);
    console_expect_keys("c");
}

/* A driver that goes takes with it what it has not read; who waits for room hears of it. */
static void test_input_reset(void **state)
{
    uint32_t bytes;

    (void)state;
    console_use();
    while (vm_devices_type(&vfake.vm, 'o')) {
    }
    vfake.room_calls = 0;
    DRIVER_WRITE(&console_driver, status, 0);
    assert_int_equal(vfake.room_calls, 1);
    assert_int_equal(vfake.pins, 0);
    assert_false(vconsole_type(console_device(), 'x'));
    console_start_driver();
    console_offer(0x1000);
    assert_int_equal(driver_notify(&console_driver, RECEIVE), BUS_DONE);
    assert_false(console_was_given(RECEIVE, &bytes));
    console_type("n");
    vm_devices_send_typed(&vfake.vm);
    console_expect_keys("n");
}

/* ---- nonsense ---- */

static void test_hostile(void **state)
{
    static const struct driver_segment receive[] = {
        {KEYS, 16, false}, {MEMORY - 8, 512, true}, {0xfee00000, 16, true}};
    static const struct driver_segment transmit[] = {
        {MEMORY - 8, 16, false}, {0xfee00000, 16, false}, {UINT64_MAX - 15, 16, false}};
    unsigned broken = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(receive); i++) {
        console_start_driver();
        console_use();
        console_type("0123456789abcdef");
        driver_add(&console_driver, RECEIVE, 0, &receive[i], 1);
        vm_devices_send_typed(&vfake.vm);
        assert_true(console_is_broken());
        assert_int_equal(vfake.logs, ++broken);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(transmit); i++) {
        console_start_driver();
        driver_add(&console_driver, TRANSMIT, 0, &transmit[i], 1);
        assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
        assert_true(console_is_broken());
        assert_int_equal(vfake.logs, ++broken);
        assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    }
    console_start_driver();
    console_use();
    assert_false(console_is_broken());
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, console_begin, console_end)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_output),
                                       CASE(test_output_is_bounded),
                                       CASE(test_output_of_nothing),
                                       CASE(test_output_busy),
                                       CASE(test_busy_for_nothing),
                                       CASE(test_output_waits),
                                       CASE(test_reset_in_the_middle),
                                       CASE(test_emergency),
                                       CASE(test_input),
                                       CASE(test_input_full),
                                       CASE(test_input_waits),
                                       CASE(test_input_reset),
                                       CASE(test_hostile)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
