/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* The IOAPIC through its memory window: edges, levels, masks, remote IRR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/vdev_fake.h"

static uint32_t window_read(unsigned index)
{
    vfake_mmio_write(gpa(VIOAPIC_BASE), 1, index);
    return (uint32_t)vfake_mmio_read(gpa(VIOAPIC_BASE + 0x10), 4);
}

static void window_write(unsigned index, uint32_t value)
{
    vfake_mmio_write(gpa(VIOAPIC_BASE), 4, index);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x10), 4, value);
}

static void set_pin(unsigned pin, bool level)
{
    vioapic_set_pin(&vfake.vm.run.lines->ioapic, pin, level);
}

static uint32_t redirection(unsigned pin)
{
    return window_read(0x10 + 2 * pin);
}

static void route(unsigned pin, uint32_t low, uint32_t destination)
{
    window_write(0x11 + 2 * pin, destination << 24);
    window_write(0x10 + 2 * pin, low);
}

/* Takes and ends what the vCPU has pending. */
static int take(unsigned cpu)
{
    struct vlapic *vlapic = vfake.vcpu[cpu].vlapic;
    int vector = vlapic_highest_pending(vlapic);

    if (vector >= 0) {
        vlapic_accept(vlapic, (unsigned)vector);
        vlapic_mmio_write(&vfake.vcpu[cpu], 0xb0, 4, 0);
    }
    return vector;
}

static void registers(void **state)
{
    (void)state;
    vfake_start(1);
    assert_int_equal(window_read(1), 0x170020);
    window_write(0, 0xffffffff);
    assert_int_equal(window_read(0), 0x0f000000);
    for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++) {
        assert_int_equal(redirection(pin), RTE_MASKED);
        window_write(0x10 + 2 * pin, 0xffffffff);
        assert_int_equal(redirection(pin), 0x1afff); /* without the read-only bits */
        window_write(0x11 + 2 * pin, 0xffffffff);
        assert_int_equal(window_read(0x11 + 2 * pin), 0xff000000);
    }
    for (unsigned index = 0; index < 0x200; index++) {
        window_write(index, 0x5a5a5a5a);
        (void)window_read(index);
    }
    for (unsigned offset = 0; offset < 0x1000; offset++) {
        (void)vfake_mmio_read(gpa(VIOAPIC_BASE + offset), 1);
    }
    assert_int_equal(vfake.vm.run.unowned_mmio, 0);
    assert_int_equal(vfake_mmio_read(gpa(0xd0000000), 8), UINT64_MAX);
    assert_int_equal(vfake_mmio_read(gpa(0xd0000000), 2), 0xffff);
    vfake_mmio_write(gpa(0xd0000000), 4, 1);
    assert_int_equal(vfake.vm.run.unowned_mmio, 3);
    vfake_stop();
}

static void edge(void **state)
{
    (void)state;
    vfake_start(2);
    route(4, 0x34, 1);
    set_pin(4, true);
    set_pin(4, true);
    assert_int_equal(take(0), -1);
    assert_int_equal(take(1), 0x34);
    assert_int_equal(take(1), -1);
    set_pin(4, false);
    assert_int_equal(take(1), -1);
    set_pin(4, true);
    assert_int_equal(take(1), 0x34);
    vfake_stop();
}

static void masked_edge_waits(void **state)
{
    (void)state;
    vfake_start(1);
    route(5, RTE_MASKED | 0x35, 0);
    set_pin(5, true);
    assert_int_equal(take(0), -1);
    route(5, 0x35, 0);
    assert_int_equal(take(0), 0x35);
    route(5, RTE_MASKED | 0x35, 0);
    set_pin(5, false);
    set_pin(5, true);
    set_pin(5, false); /* gone before it was unmasked */
    route(5, 0x35, 0);
    assert_int_equal(take(0), -1);
    vfake_stop();
}

static void level(void **state)
{
    (void)state;
    vfake_start(1);
    route(9, RTE_LEVEL | 0x39, 0);
    set_pin(9, true);
    assert_int_equal(redirection(9), RTE_LEVEL | RTE_REMOTE_IRR | 0x39);
    vlapic_accept(vfake.vcpu[0].vlapic, 0x39);
    assert_int_equal(vlapic_highest_pending(vfake.vcpu[0].vlapic), -1);
    set_pin(9, false);
    vlapic_mmio_write(&vfake.vcpu[0], 0xb0, 4, 0);
    assert_int_equal(redirection(9), RTE_LEVEL | 0x39);
    assert_int_equal(take(0), -1);
    /* Asserted while masked: arrives with the unmasking. */
    route(9, RTE_MASKED | RTE_LEVEL | 0x39, 0);
    set_pin(9, true);
    assert_int_equal(take(0), -1);
    route(9, RTE_LEVEL | 0x39, 0);
    set_pin(9, false);
    assert_int_equal(take(0), 0x39);
    assert_int_equal(take(0), -1);
    vfake_stop();
}

static void eoi_register(void **state)
{
    (void)state;
    vfake_start(1);
    route(9, RTE_LEVEL | 0x39, 0);
    set_pin(9, true);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x40), 4, 0x38); /* another vector */
    assert_true(redirection(9) & RTE_REMOTE_IRR);
    set_pin(9, false);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x40), 4, 0x39);
    assert_false(redirection(9) & RTE_REMOTE_IRR);
    set_pin(9, true);
    route(9, 0x39, 0); /* switching to edge clears remote IRR */
    assert_int_equal(redirection(9), 0x39);
    vfake_stop();
}

static void bad_messages(void **state)
{
    (void)state;
    vfake_start(1);
    for (unsigned delivery = 0; delivery < 8; delivery++) {
        route(3, delivery << 8 | 0x05, 0); /* vector below 16 */
        set_pin(3, true);
        set_pin(3, false);
    }
    assert_int_equal(take(0), -1);
    assert_int_equal(vfake.requested[0], VCPU_REQUEST_NMI | VCPU_REQUEST_INIT);
    route(3, 0x33, 7); /* nobody there */
    set_pin(3, true);
    assert_int_equal(take(0), -1);
    vfake_stop();
}

static void uart_interrupt(void **state)
{
    (void)state;
    vfake_start(1);
    route(VUART_IRQ, 0x44, 0);
    vfake_port_out(0x3f9, 1, 1);
    assert_true(vm_devices_type(&vfake.vm, 'x'));
    assert_int_equal(take(0), 0x44);
    assert_int_equal(vfake_port_in(0x3f8, 1), 'x');
    assert_true(vm_devices_type(&vfake.vm, 'y'));
    assert_int_equal(take(0), 0x44);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers),         cmocka_unit_test(edge),
        cmocka_unit_test(masked_edge_waits), cmocka_unit_test(level),
        cmocka_unit_test(eoi_register),      cmocka_unit_test(bad_messages),
        cmocka_unit_test(uart_interrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
