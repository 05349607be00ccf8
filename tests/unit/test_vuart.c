/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* 16550: found by Linux's driver, what goes out and comes in, breaks, loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/vdev_fake.h"

static uint8_t in8(uint16_t port)
{
    return (uint8_t)vfake_port_in(port, 1);
}

static void out8(uint16_t port, uint8_t value)
{
    vfake_port_out(port, 1, value);
}

static bool irq(void)
{
    return vfake.vm.run.devices->uart.irq_level;
}

/* The steps by which Linux's 8250 driver tells a 16550A from its relatives. */
static void linux_autoconfig(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3f9, 0);
    assert_int_equal(in8(0x3f9) & 0x0f, 0);
    out8(0x3f9, 0x0f);
    assert_int_equal(in8(0x3f9) & 0x0f, 0x0f);
    out8(0x3f9, 0);
    out8(0x3fc, 0x1a); /* loopback, RTS and OUT2 */
    assert_int_equal(in8(0x3fe) & 0xf0, 0x90);
    out8(0x3fc, 0);
    out8(0x3fb, 0xbf);
    out8(0x3fa, 0);
    out8(0x3fb, 0);
    out8(0x3fa, 1);
    assert_int_equal(in8(0x3fa) >> 6, 3);
    out8(0x3fa, 0xe1); /* no 64-byte FIFO */
    assert_int_equal(in8(0x3fa) >> 5, 6);
    out8(0x3f9, 0x40); /* no XScale unit enable */
    assert_int_equal(in8(0x3f9), 0);
    for (unsigned i = 0; i < 2; i++) { /* the THRE and TXEN bug tests */
        out8(0x3f9, 2);
        assert_int_equal(in8(0x3fd), 0x60);
        assert_int_equal(in8(0x3fa), 0xc2);
        assert_int_equal(in8(0x3fa), 0xc1);
        out8(0x3f9, 0);
    }
    out8(0x3ff, 0x5a);
    assert_int_equal(in8(0x3ff), 0x5a);
    assert_int_equal(in8(0x3fe) & 0xf0, 0xb0); /* DCD, DSR, CTS */
    vfake_stop();
}

static void divisor(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3fb, 0x83);
    out8(0x3f8, 0x34);
    out8(0x3f9, 0x12);
    assert_int_equal(in8(0x3f8), 0x34);
    assert_int_equal(in8(0x3f9), 0x12);
    out8(0x3fb, 0x03);
    assert_int_equal(in8(0x3f9), 0);
    assert_int_equal(vfake.output_bytes, 0);
    vfake_stop();
}

static void output(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3f9, 2);
    assert_true(irq());
    assert_int_equal(in8(0x3fa) & 0x0f, 2); /* acknowledges */
    assert_false(irq());
    out8(0x3f8, 'h');
    assert_true(irq());
    out8(0x3f8, 'i');
    assert_true(irq());
    assert_int_equal(vfake.output_bytes, 2);
    assert_memory_equal(vfake.output, "hi", 2);
    vfake_port_out(0x3f8, 2, 0x0021); /* a word: data and IER */
    assert_int_equal(vfake.output[2], '!');
    assert_false(irq());
    vfake_stop();
}

/* An operator's line is slower than a guest: its port says so, and when to go on. */
static void output_waits(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3f9, 2);
    (void)in8(0x3fa);
    vfake.busy = true;
    out8(0x3f8, 'x');
    assert_int_equal(vfake.output_bytes, 1);
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0);
    out8(0x3f9, 0);
    out8(0x3f9, 2); /* would raise it, were it empty */
    assert_false(irq());
    vfake.busy = false;
    assert_false(irq());
    vm_devices_output_ready(&vfake.vm);
    assert_true(irq());
    assert_int_equal(in8(0x3fd), 0x60);
    assert_int_equal(in8(0x3fa) & 0x0f, 2);
    vm_devices_output_ready(&vfake.vm); /* it has not waited */
    assert_false(irq());
    /* The guest sees it before it is told: the interrupt comes all the same. */
    vfake.busy = true;
    out8(0x3f8, 'x');
    assert_false(irq());
    vfake.busy = false;
    assert_int_equal(in8(0x3fd), 0x60);
    assert_true(irq());
    assert_int_equal(in8(0x3fa) & 0x0f, 2);
    assert_false(irq());
    vfake.busy = true;
    assert_int_equal(in8(0x3fd), 0);
    vm_devices_reset(&vfake.vm);
    vfake.busy = false;
    vm_devices_output_ready(&vfake.vm);
    assert_false(irq());
    vfake_stop();
}

static void input(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3fa, 1);
    out8(0x3f9, 1);
    for (unsigned i = 0; i < VUART_QUEUE_SIZE; i++) {
        assert_true(vm_devices_type(&vfake.vm, (char)i));
    }
    assert_false(vm_devices_type(&vfake.vm, 'x'));
    assert_true(irq());
    assert_int_equal(in8(0x3fa), 0xc4);
    assert_int_equal(in8(0x3fd), 0x61); /* no overrun: the sender waits */
    assert_int_equal(vfake.room_calls, 0);
    for (unsigned i = 0; i < VUART_QUEUE_SIZE; i++) {
        assert_int_equal(in8(0x3f8), i & 0xff);
        assert_int_equal(vfake.room_calls, 1); /* told once */
    }
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0x60);
    assert_int_equal(in8(0x3f8), 0);
    assert_true(vm_devices_type(&vfake.vm, 'y'));
    out8(0x3fa, 3); /* clears the receiver */
    assert_int_equal(in8(0x3fd), 0x60);
    for (unsigned i = 0; vm_devices_type(&vfake.vm, 'z'); i++) {
        assert_true(i < VUART_QUEUE_SIZE);
    }
    out8(0x3fa, 3);
    assert_int_equal(vfake.room_calls, 2);
    while (vm_devices_type(&vfake.vm, 'z')) {
    }
    vm_devices_reset(&vfake.vm);
    assert_int_equal(vfake.room_calls, 3);
    vfake_stop();
}

/* LSR tells of a BREAK when it is the next one to be read, once, whatever waits around it. */
static void breaks(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3fa, 1);
    out8(0x3f9, 4); /* line status only */
    assert_true(vm_devices_type(&vfake.vm, 'a'));
    assert_true(vm_devices_break(&vfake.vm));
    assert_true(vm_devices_type(&vfake.vm, 'h'));
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0xe1); /* behind 'a' */
    assert_int_equal(in8(0x3f8), 'a');
    assert_true(irq());
    assert_int_equal(in8(0x3fa) & 0x0f, 6);
    assert_int_equal(in8(0x3fd), 0xf1);
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0x61); /* once */
    assert_int_equal(in8(0x3f8), 0);
    assert_int_equal(in8(0x3fd), 0x61);
    assert_int_equal(in8(0x3f8), 'h');
    assert_int_equal(in8(0x3fd), 0x60);
    /* Read without a look at LSR, cleared with the FIFO, gone with a reset. */
    assert_true(vm_devices_break(&vfake.vm));
    assert_int_equal(in8(0x3f8), 0);
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0x60);
    assert_true(vm_devices_break(&vfake.vm));
    out8(0x3fa, 3);
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0x60);
    assert_true(vm_devices_break(&vfake.vm));
    vm_devices_reset(&vfake.vm);
    assert_false(irq());
    assert_int_equal(in8(0x3fd), 0x60);
    /* Without FIFOs there is no bit 7; a full queue and a loop take none. */
    assert_true(vm_devices_break(&vfake.vm));
    assert_int_equal(in8(0x3fd), 0x71);
    while (vm_devices_break(&vfake.vm)) {
    }
    assert_int_equal(vfake.room_calls, 0);
    assert_int_equal(in8(0x3f8), 0);
    assert_int_equal(vfake.room_calls, 1);
    out8(0x3fc, 0x10);
    assert_false(vm_devices_break(&vfake.vm));
    vfake_stop();
}

static void loopback(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x3fc, 0x10);
    out8(0x3f8, 0xae);
    assert_int_equal(vfake.output_bytes, 0);
    assert_false(vm_devices_type(&vfake.vm, 'x'));
    assert_int_equal(in8(0x3f8), 0xae);
    (void)in8(0x3fe);
    out8(0x3fc, 0x1f);
    assert_int_equal(in8(0x3fe), 0xfb); /* all lines; RI has no leading-edge delta */
    out8(0x3fc, 0x10);
    assert_int_equal(in8(0x3fe), 0x0f);
    assert_int_equal(vfake.room_calls, 0);
    out8(0x3fc, 0);
    assert_int_equal(vfake.room_calls, 1); /* 'x' was refused because of the loop */
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_autoconfig), cmocka_unit_test(divisor), cmocka_unit_test(output),
        cmocka_unit_test(output_waits),     cmocka_unit_test(input),   cmocka_unit_test(breaks),
        cmocka_unit_test(loopback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
