/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/*
 * Ports: any access to any of them, those that nobody owns, PCI configuration of an empty bus, the
 * CMOS clock, PIT channel 2, and what resets the guest or ends its VM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

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

/* Everything a guest can write, in any order, harms nothing. */
static void random_ports(void **state)
{
    uint32_t seed = 0x5eed;

    (void)state;
    vfake_start(1);
    for (unsigned i = 0; i < 200000; i++) {
        uint16_t port;

        seed = seed * 1664525 + 1013904223;
        port = (seed >> 8 & 3) == 0 ? 0x3f8 + (seed >> 12 & 7) : 0x40 + (seed >> 12 & 0x3f);
        if ((seed & 0x70) == 0) {
            (void)(seed & 0x80 ? vm_devices_break(&vfake.vm) : vm_devices_type(&vfake.vm, 'r'));
        }
        if (seed >> 31) {
            vfake_port_out(port, 1u << (seed >> 29 & 1), seed >> 16);
        } else {
            (void)vfake_port_in(port, 1u << (seed >> 29 & 1));
        }
        vfake.clock_ns += seed >> 20 & 0xff;
        assert_in_range(vfake.vm.run.devices->uart.breaks, 0,
                        vfake.vm.run.devices->uart.tail - vfake.vm.run.devices->uart.head);
    }
    vfake_stop();
}

static void unowned(void **state)
{
    (void)state;
    vfake_start(1);
    assert_int_equal(vfake_port_in(0x3f0, 4), 0xffffffff);
    assert_int_equal(vfake_port_in(0x2f8, 1), 0xff);
    assert_int_equal(vfake_port_in(0x2f8, 2), 0xffff);
    vfake_port_out(0x3f0, 4, 0x80000000);
    assert_int_equal(vfake.vm.run.unowned_io, 4);
    out8(0x80, 1);
    assert_int_equal(vfake.vm.run.unowned_io, 4);
    vfake_stop();
}

static uint32_t configuration(uint32_t address, uint16_t port, unsigned size)
{
    vfake_port_out(0xcf8, 4, address);
    return vfake_port_in(port, size);
}

/* Linux's pci_check_type1 and its sanity check; the reset register lies in between. */
static void empty_pci_bus(void **state)
{
    (void)state;
    vfake_no_random = true; /* nothing but the bridge */
    vfake_start(1);
    vfake_no_random = false;
    out8(0xcfb, 0x01);
    assert_int_equal(configuration(0x80000000, 0xcf8, 4), 0x80000000);
    assert_int_equal(configuration(0xffffffff, 0xcf8, 4), 0x80fffffc);
    assert_int_equal(configuration(0x80000008, 0xcfe, 2), 0x0600);
    assert_int_equal(configuration(0x80000000, 0xcfc, 2), 0x1b36);
    assert_int_equal(configuration(0x80000004, 0xcfc, 4), 0);
    assert_int_equal(configuration(0x00000008, 0xcfc, 4), 0xffffffff); /* not enabled */
    for (uint32_t function = 1; function < 0x10000; function += 7) {
        assert_int_equal(configuration(0x80000000 | function << 8, 0xcfc, 4), 0xffffffff);
    }
    assert_int_equal(configuration(0x80000000, 0xcff, 4), 0xffffff00); /* beyond its ports */
    vfake_port_out(0xcfc, 4, 0);
    assert_int_equal(configuration(0x80000000, 0xcfc, 4), 0x00081b36);
    out8(0xcf9, 0x02);
    assert_int_equal(in8(0xcf9), 0x02);
    assert_int_equal(vfake_port_in(0xcf8, 4), 0x80000000);
    assert_int_equal(vfake.resets, 0);
    out8(0xcf9, 0x06);
    assert_int_equal(vfake.resets, 1);
    vfake_stop();
}

static void endings(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x64, 0xfe);
    assert_int_equal(vfake.resets, 1);
    out8(0x64, 0xd1);
    out8(0x60, 0x02);
    assert_int_equal(vfake.resets, 2);
    out8(0x60, 0x02); /* not after a command */
    out8(0xcf9, 0x02);
    assert_int_equal(vfake.resets, 2);
    out8(0xcf9, 0x06);
    assert_int_equal(vfake.resets, 3);
    out8(0xf4, 0);
    assert_int_equal(vfake.outcome, VM_OUTCOME_OK);
    vfake_port_out(0xf4, 4, 0x12345678);
    assert_int_equal(vfake.outcome, VM_OUTCOME_FAILED);
    assert_int_equal(vfake.code, 0x12345678);
    vfake_port_out(0xf4, 2, 0xffff0100);
    assert_int_equal(vfake.code, 0x100);
    assert_int_equal(vfake.ends, 3);
    vfake_stop();
}

static uint8_t cmos(uint8_t index)
{
    out8(0x70, index);
    return in8(0x71);
}

static void clock_at(uint64_t epoch, const char *expected)
{
    char text[32];

    vfake.epoch = epoch - 1; /* the clock stands at one second */
    snprintf(text, sizeof(text), "%02x%02x-%02x-%02x %02x:%02x:%02x %x", cmos(0x32), cmos(9),
             cmos(8), cmos(7), cmos(4), cmos(2), cmos(0), cmos(6));
    assert_string_equal(text, expected);
}

static void vcmos_clock(void **state)
{
    (void)state;
    vfake_start(1);
    clock_at(1, "1970-01-01 00:00:01 5");
    clock_at(951782400 + 86399, "2000-02-29 23:59:59 3");
    clock_at(951868800, "2000-03-01 00:00:00 4");
    clock_at(1709164800, "2024-02-29 00:00:00 5");
    clock_at(1735689599, "2024-12-31 23:59:59 3");
    clock_at(4107542400, "2100-03-01 00:00:00 2");
    assert_int_equal(cmos(0x0a), 0x26);
    assert_int_equal(cmos(0x0d), 0x80);
    out8(0x70, 0x0b);
    out8(0x71, 0x04); /* binary, 12 hours */
    vfake.epoch = 1709164800 + 13 * 3600;
    assert_int_equal(cmos(4), 0x81);
    vfake.epoch = 1709164800;
    assert_int_equal(cmos(4), 12);
    out8(0x70, 0x50);
    out8(0x71, 0xa5);
    assert_int_equal(cmos(0x50), 0xa5);
    vfake_stop();
}

/* Linux's quick_pit_calibrate and pit_calibrate_tsc watch channel 2. */
static void pit_channel2(void **state)
{
    (void)state;
    vfake_start(1);
    out8(0x61, (in8(0x61) & ~0x02) | 0x01);
    out8(0x43, 0xb0);
    out8(0x42, 0xff);
    out8(0x42, 0xff);
    vfake.clock_ns += 1000000; /* 1193 ticks */
    assert_int_equal(in8(0x42), (0xffff - 1193) & 0xff);
    assert_int_equal(in8(0x42), (0xffff - 1193) >> 8);
    assert_false(in8(0x61) & 0x20);
    vfake.clock_ns += 54000000;
    assert_true(in8(0x61) & 0x20); /* output high: the loop ends */
    out8(0x43, 0x34);              /* channel 0, rate generator */
    out8(0x40, 0xa9);
    out8(0x40, 0x04);
    vfake.clock_ns += 100000;
    out8(0x43, 0x00); /* latch */
    vfake.clock_ns += 500000;
    assert_int_equal(in8(0x40), (0x4a9 - 119) & 0xff);
    assert_int_equal(in8(0x40), (0x4a9 - 119) >> 8);
    out8(0x43, 0xe2); /* read back the status of channel 0 */
    assert_int_equal(in8(0x40) & 0x3f, 0x34);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ports),  cmocka_unit_test(unowned),
        cmocka_unit_test(empty_pci_bus), cmocka_unit_test(endings),
        cmocka_unit_test(vcmos_clock),   cmocka_unit_test(pit_channel2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
