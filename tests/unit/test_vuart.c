/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* Port devices: 16550, PIT, CMOS clock, reset and power; and kvmclock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/kvmclock.h"
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

/* ---- kvmclock ---- */

struct pvclock {
    uint32_t version, pad;
    uint64_t tsc_timestamp, system_time;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad2[2];
};

static uint64_t guest_clock(uint64_t address, uint64_t guest_tsc)
{
    struct pvclock t;
    uint64_t delta;

    memcpy(&t, vfake.memory + address, sizeof(t));
    assert_int_equal(t.version % 2, 0);
    assert_int_equal(t.flags, 1);
    delta = guest_tsc - t.tsc_timestamp;
    delta = t.shift < 0 ? delta >> -t.shift : delta << t.shift;
    return t.system_time + (uint64_t)((__uint128_t)delta * t.mul >> 32);
}

static void scales(void **state)
{
    const uint64_t khz[] = {1, 33000, 999999, 1000000, 1000001, 2000000, 2400000, 3504000, 9000000};

    (void)state;
    for (unsigned i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        uint64_t ticks = khz[i] * 1000 * 100; /* 100 s */
        uint64_t ns;
        uint32_t mul;
        int8_t shift;

        kvmclock_scale(khz[i], &mul, &shift);
        ticks = shift < 0 ? ticks >> -shift : ticks << shift;
        ns = (uint64_t)((__uint128_t)ticks * mul >> 32);
        assert_in_range(ns, 100000000000ull - 100, 100000000000ull + 100);
    }
}

static void kvmclock(void **state)
{
    struct vcpu *vcpu;
    uint32_t wall[3];

    (void)state;
    vfake_start(1);
    vfake_memory(0x10000);
    vcpu = &vfake.vcpu[0];
    vcpu->msr_tsc_offset = 12345;
    vfake.epoch = 1700000000;
    for (unsigned n = 1; n <= 4; n++) { /* each call once has to wait */
        vfake.wait_at = vfake.calls + n;
        assert_int_equal(kvmclock_set_system_time(vcpu, 0x1fe0 | 1, NULL), MM_WAIT);
        assert_int_equal(vcpu->msr_kvm_system_time, 0);
    }
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x1fe0 | 1, NULL), MM_OK);
    assert_int_equal(vcpu->msr_kvm_system_time, 0x1fe1);
    vfake.clock_ns += 5000000000;
    assert_in_range(guest_clock(0x1fe0, vfake.clock_ns * 2 + 12345), 4999999990, 5000000010);
    vfake.wait_at = vfake.calls + 3;
    assert_int_equal(kvmclock_update(vcpu, 999, NULL), MM_WAIT);
    assert_int_equal(kvmclock_update(vcpu, 999, NULL), MM_OK);
    assert_in_range(guest_clock(0x1fe0, vfake.clock_ns * 2 + 999), 4999999990, 5000000010);
    assert_int_equal(kvmclock_set_wall_clock(vcpu, 0x3000, NULL), MM_OK);
    memcpy(wall, vfake.memory + 0x3000, sizeof(wall));
    assert_int_equal(wall[0], 2);
    assert_int_equal(wall[1], 1700000001); /* the VM started at one second */
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x10001, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_system_time(vcpu, UINT64_MAX, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_wall_clock(vcpu, 0x3002, NULL), MM_NO_MEMSLOT);
    assert_int_equal(kvmclock_set_system_time(vcpu, 0, NULL), MM_OK);
    assert_int_equal(kvmclock_update(vcpu, 0, NULL), MM_OK);
    vcpu->msr_kvm_system_time = 0x1fe1;
    vfake.wait_at = vfake.calls + 2;
    kvmclock_refresh(vcpu);
    assert_int_equal(vfake.cancels, 1);
    assert_int_equal(vcpu->requests, VCPU_REQUEST_CLOCK);
    vfake_stop();
}

/* After a pause the page says so until the guest has seen it, in whatever waits that comes about.
 */
static void kvmclock_after_a_pause(void **state)
{
    struct vcpu *vcpu;

    (void)state;
    vfake_start(1);
    vfake_memory(0x10000);
    vcpu = &vfake.vcpu[0];
    vfake.memory[0x1000 + 29] = 2; /* what lay there before */
    assert_int_equal(kvmclock_set_system_time(vcpu, 0x1001, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 1);
    kvmclock_paused(vcpu);
    assert_int_equal(vfake.requested[0], VCPU_REQUEST_CLOCK);
    for (unsigned n = 1; n <= 5; n++) {
        vfake.wait_at = vfake.calls + n;
        assert_int_equal(kvmclock_update(vcpu, 0, NULL), MM_WAIT);
        assert_true(vcpu->was_paused);
    }
    vfake.wait_at = 0;
    kvmclock_refresh(vcpu);
    assert_int_equal(vfake.memory[0x1000 + 29], 3);
    assert_false(vcpu->was_paused);
    assert_int_equal(kvmclock_update(vcpu, 5, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 3); /* it has not looked yet */
    vfake.memory[0x1000 + 29] = 1;
    assert_int_equal(kvmclock_update(vcpu, 7, NULL), MM_OK);
    assert_int_equal(vfake.memory[0x1000 + 29], 1);
    assert_int_equal(kvmclock_set_system_time(vcpu, 0, NULL), MM_OK);
    kvmclock_paused(vcpu);
    kvmclock_refresh(vcpu); /* it has no page */
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_autoconfig),
        cmocka_unit_test(divisor),
        cmocka_unit_test(output),
        cmocka_unit_test(output_waits),
        cmocka_unit_test(input),
        cmocka_unit_test(breaks),
        cmocka_unit_test(loopback),
        cmocka_unit_test(random_ports),
        cmocka_unit_test(unowned),
        cmocka_unit_test(empty_pci_bus),
        cmocka_unit_test(endings),
        cmocka_unit_test(vcmos_clock),
        cmocka_unit_test(pit_channel2),
        cmocka_unit_test(scales),
        cmocka_unit_test(kvmclock),
        cmocka_unit_test(kvmclock_after_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
