/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/console_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vconsole.h"
#include "tests/unit/vdev_fake.h"

struct virtio_driver console_driver;
unsigned console_wakes;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    console_wakes++;
}

struct vconsole *console_device(void)
{
    return vfake.vm.run.devices->console;
}

void console_start_driver(void)
{
    driver_start(&console_driver, VM_SLOT_CONSOLE << 3, UINT64_MAX, VIRTIO_CONSOLE_QUEUES, SIZE);
}

static void start_machine(void)
{
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
}

int console_begin(void **state)
{
    (void)state;
    start_machine();
    console_start_driver();
    console_wakes = 0;
    return 0;
}

int console_end(void **state)
{
    (void)state;
    assert_true(vm_devices_stop(&vfake.vm));
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    return 0;
}

bool console_is_broken(void)
{
    return DRIVER_READ(&console_driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

char console_letter(uint64_t n)
{
    return (char)('!' + n % 89);
}

void console_put_text(uint64_t at, uint64_t n, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        vfake.memory[at + i] = (uint8_t)console_letter(n + i);
    }
}

unsigned console_take_shown(uint64_t n)
{
    unsigned bytes = vfake.output_bytes;

    assert_true(bytes < sizeof(vfake.output));
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(vfake.output[i], console_letter(n + i));
    }
    vfake.output_bytes = 0;
    return bytes;
}

bool console_was_given(unsigned queue, uint32_t *bytes)
{
    uint32_t head;

    return driver_used(&console_driver, queue, &head, bytes);
}

void console_print(uint16_t head, uint64_t at, uint32_t bytes)
{
    const struct driver_segment segment = {at, bytes, false};

    driver_add(&console_driver, TRANSMIT, head, &segment, 1);
}

void console_offer(uint16_t head, uint32_t bytes)
{
    const struct driver_segment segment = {KEYS + head * 0x1000u, bytes, true};

    driver_add(&console_driver, RECEIVE, head, &segment, 1);
}

void console_type(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(vm_devices_type(&vfake.vm, *text));
    }
}

void console_expect_keys(uint16_t head, const char *text)
{
    uint32_t got, bytes;

    assert_true(driver_used(&console_driver, RECEIVE, &got, &bytes));
    assert_int_equal(got, head);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(vfake.memory + KEYS + head * 0x1000u, text, bytes);
}

void console_use(void)
{
    uint32_t bytes;

    console_put_text(TEXT, 0, 1);
    console_print(0, TEXT, 1);
    assert_int_equal(driver_notify(&console_driver, TRANSMIT), BUS_DONE);
    assert_true(console_was_given(TRANSMIT, &bytes));
    vfake.output_bytes = 0;
}
