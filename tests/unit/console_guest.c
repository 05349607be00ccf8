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
    driver_find(&console_driver, VM_SLOT_CONSOLE << 3);
    driver_negotiate(&console_driver, UINT64_MAX);
    driver_enable(&console_driver, RECEIVE, 1, VIRTIO_NO_VECTOR);
    driver_enable(&console_driver, TRANSMIT, SIZE, VIRTIO_NO_VECTOR);
    DRIVER_WRITE(&console_driver, status,
                 DRIVER_READ(&console_driver, status) | VIRTIO_STATUS_DRIVER_OK);
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

void console_choose_ring(unsigned queue)
{
    console_driver.size = queue == RECEIVE ? 1 : SIZE;
}

bool console_was_given(unsigned queue, uint32_t *bytes)
{
    uint32_t head;

    console_choose_ring(queue);
    return driver_used(&console_driver, queue, &head, bytes);
}

void console_print(uint16_t head, uint64_t at, uint32_t bytes)
{
    const struct driver_segment segment = {at, bytes, false};

    console_choose_ring(TRANSMIT);
    driver_add(&console_driver, TRANSMIT, head, &segment, 1);
}

void console_offer(uint32_t bytes)
{
    const struct driver_segment segment = {KEYS, bytes, true};

    console_choose_ring(RECEIVE);
    driver_add(&console_driver, RECEIVE, 0, &segment, 1);
}

void console_type(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(vm_devices_type(&vfake.vm, *text));
    }
}

void console_expect_keys(const char *text)
{
    uint32_t bytes;

    assert_true(console_was_given(RECEIVE, &bytes));
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(vfake.memory + KEYS, text, bytes);
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
