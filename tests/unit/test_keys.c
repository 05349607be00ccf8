/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/console_guest.c
 *          hv/timer.c */
/* Which of a guest's two consoles gets what is typed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/keys.h"
#include "tests/unit/console_guest.h"
#include "tests/unit/vdev_fake.h"

#define UART 0x3f8u

static bool uart_has_key(char c)
{
    return (vfake_port_in(UART + 5, 1) & 1) && vfake_port_in(UART, 1) == (uint8_t)c;
}

/* It is there, or has been; it is not used: the serial port is. */
static void test_keys_without_console(void **state)
{
    (void)state;
    console_type("a");
    assert_true(uart_has_key('a'));
    console_use();
    console_type("b");
    assert_false(uart_has_key('b'));
    DRIVER_WRITE(&console_driver, status, 0); /* as for suspend to idle */
    console_type("c");
    assert_true(uart_has_key('c'));
    console_start_driver();
    console_type("d");
    assert_false(uart_has_key('d'));
    vm_devices_reset(&vfake.vm);
    console_start_driver();
    console_type("e");
    assert_true(uart_has_key('e'));
}

static void uart_print(const char *text)
{
    for (; *text != '\0'; text++) {
        vfake_port_out(UART, 1, (uint8_t)*text);
    }
}

static void hvc0_print(const char *text)
{
    uint32_t bytes = (uint32_t)strlen(text);

    memcpy(vfake.memory + TEXT, text, bytes);
    console_print(0, TEXT, bytes);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
}

static bool goes_to_hvc0(char c)
{
    console_type((const char[]){c, '\0'});
    return !uart_has_key(c);
}

static void test_keys_prompt(void **state)
{
    (void)state;
    uart_print("Loading, please wait..."); /* for ever */
    vfake_advance(KEYS_PROMPT_NS);
    hvc0_print("a line\n");
    assert_true(goes_to_hvc0('a'));
    uart_print("[ 1.0] half a line of the ker");
    assert_true(goes_to_hvc0('b'));
    uart_print("nel\r\n");
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_hvc0('c'));
    uart_print("login: ");
    vfake_advance(KEYS_PROMPT_NS - 1);
    assert_true(goes_to_hvc0('d'));
    vfake_advance(1);
    assert_false(goes_to_hvc0('e'));
    uart_print("root\r\n"); /* and types ahead */
    assert_false(goes_to_hvc0('f'));
    hvc0_print("login: ");
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_hvc0('g'));
    uart_print("# "); /* both: it stays */
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_hvc0('h'));
    hvc0_print("root\n"); /* and types ahead, beside an old prompt */
    assert_true(goes_to_hvc0('i'));
}

/* Two login prompts, before anything was typed. */
static void test_keys_first(void **state)
{
    (void)state;
    hvc0_print("login: ");
    uart_print("login: ");
    vfake_advance(KEYS_PROMPT_NS);
    assert_false(goes_to_hvc0('a'));
    uart_print("root\r\n"); /* and types ahead, beside an old prompt */
    assert_false(goes_to_hvc0('b'));
    vm_devices_reset(&vfake.vm);
    console_start_driver();
    hvc0_print("a line\n");
    assert_true(goes_to_hvc0('c'));
    uart_print("login: ");
    hvc0_print("login: ");
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_hvc0('d'));
}

/* What the operator says goes, until the guest has a new prompt elsewhere. */
static void test_keys_chosen(void **state)
{
    (void)state;
    vm_devices_send_keys_to(&vfake.vm, KEYS_HVC0); /* nothing was printed there */
    assert_true(goes_to_hvc0('a'));
    uart_print("login: ");
    hvc0_print("login: ");
    vfake_advance(KEYS_PROMPT_NS);
    vm_devices_send_keys_to(&vfake.vm, KEYS_TTYS0);
    assert_false(goes_to_hvc0('b'));
    uart_print("root\r\n");
    assert_false(goes_to_hvc0('c'));
    vm_devices_send_keys_to(&vfake.vm, KEYS_HVC0);
    assert_true(goes_to_hvc0('d'));
    DRIVER_WRITE(&console_driver, status, 0);
    assert_false(goes_to_hvc0('e'));
}

/* The key behind a BREAK is a SysRq key, of the serial port. */
static void test_keys_after_break(void **state)
{
    (void)state;
    console_use();
    assert_true(vm_devices_break(&vfake.vm));
    (void)vfake_port_in(UART + 5, 1);
    (void)vfake_port_in(UART, 1);
    assert_false(goes_to_hvc0('h'));
    assert_true(goes_to_hvc0('i'));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, console_begin, console_end)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_keys_without_console), CASE(test_keys_prompt),
                                       CASE(test_keys_first), CASE(test_keys_chosen),
                                       CASE(test_keys_after_break)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
