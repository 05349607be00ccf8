/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* Interrupt lines: 8259s and IOAPIC, INTR and LINT0, and whom the PIT's timer costs what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "hv/timer.h"
#include "hv/vdev/irq/lines.h"
#include "hv/vdev/legacy/vpit.h"
#include "tests/unit/vdev_fake.h"

#define VECTOR       0x51
#define APIC_BASE    0x1b
#define LVT_LINT0    0x350
#define LINT_EXTINT  0x700
#define LINT_NMI     0x400
#define MASKED       0x10000
#define NS_PER_MS    1000000ull
#define UART_VECTOR  0x34
#define TICK_VECTOR  0x30
#define PERIOD_COUNT 4773 /* 250 Hz */

static struct vcpu *vcpu(void)
{
    return &vfake.vcpu[0];
}

static void out8(uint16_t port, uint8_t value)
{
    vfake_port_out(port, 1, value);
}

static uint8_t in8(uint16_t port)
{
    return (uint8_t)vfake_port_in(port, 1);
}

static bool extint(void)
{
    return vlapic_extint_pending(vcpu()->vlapic);
}

static int apic_vector(void)
{
    return vlapic_highest_pending(vcpu()->vlapic);
}

static void set_pin(unsigned pin, uint32_t low)
{
    vfake_mmio_write(gpa(VIOAPIC_BASE), 4, 0x10 + 2 * pin);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x10), 4, low);
}

static void set_lint0(uint32_t value)
{
    vlapic_mmio_write(vcpu(), LVT_LINT0, 4, value);
}

/* Vectors 30h and 38h; the masks as given. */
static void init_pics(uint16_t masks)
{
    static const uint8_t words[2][4] = {{0x11, 0x30, 0x04, 0x01}, {0x11, 0x38, 0x02, 0x01}};

    for (unsigned i = 0; i < 4; i++) {
        vfake_port_out(VPIC_MASTER_PORT + (i > 0), 1, words[0][i]);
        vfake_port_out(VPIC_SLAVE_PORT + (i > 0), 1, words[1][i]);
    }
    out8(VPIC_MASTER_PORT + 1, (uint8_t)masks);
    out8(VPIC_SLAVE_PORT + 1, (uint8_t)(masks >> 8));
}

static void start(void)
{
    vfake_start(2);
    for (unsigned i = 0; i < 2; i++) {
        vfake.vcpu[i].state = VCPU_SLEEPING;
    }
    vlapic_virtual_wire(vcpu()->vlapic);
}

static void program_pit(unsigned count)
{
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
}

/* ---- lines ---- */

static void each_line_goes_to_both(void **state)
{
    (void)state;
    start();
    init_pics(0xffff & ~(1u << VUART_IRQ));
    set_pin(VUART_IRQ, VECTOR);
    out8(0x3f9, 0x02); /* transmitter empty: it is */
    assert_true(extint());
    assert_int_equal(apic_vector(), VECTOR);
    assert_int_equal(lines_acknowledge(vfake.vm.lines), UART_VECTOR);
    assert_false(extint());
    vfake_stop();
}

/* Who reads the cause before the CPU has acknowledged takes the interrupt back. */
static void line_falls_first(void **state)
{
    (void)state;
    start();
    init_pics(0xffff & ~(1u << VUART_IRQ));
    out8(0x3f9, 0x02);
    assert_true(extint());
    (void)in8(0x3fa);
    assert_false(extint());
    assert_int_equal(lines_acknowledge(vfake.vm.lines), 0x37); /* spurious */
    vfake_stop();
}

static void lint0_modes(void **state)
{
    (void)state;
    start();
    init_pics(0xffff & ~(1u << VUART_IRQ));
    set_lint0(MASKED | LINT_EXTINT);
    vfake.notified[0] = 0;
    out8(0x3f9, 0x02);
    assert_false(extint());
    assert_int_equal(vfake.notified[0], 0);
    set_lint0(LINT_EXTINT);
    assert_true(extint()); /* it has waited */
    out8(0x3f9, 0);
    assert_false(extint());
    set_lint0(VECTOR);
    out8(0x3f9, 0x02);
    assert_false(extint());
    assert_int_equal(apic_vector(), VECTOR);
    out8(0x3f9, 0);
    set_lint0(LINT_NMI);
    out8(0x3f9, 0x02);
    assert_true(vfake.requested[0] & VCPU_REQUEST_NMI);
    assert_int_equal(vfake.notified[1], 0); /* not wired to other processors */
    vfake_stop();
}

/* APIC_BASE.EN = 0: the pin is INTR itself. */
static void apic_switched_off(void **state)
{
    (void)state;
    start();
    init_pics(0xffff & ~(1u << VUART_IRQ));
    set_lint0(MASKED);
    out8(0x3f9, 0x02);
    assert_false(extint());
    assert_true(vlapic_msr_write(vcpu(), APIC_BASE, APIC_BASE_DEFAULT));
    assert_true(extint());
    assert_int_equal(lines_acknowledge(vfake.vm.lines), UART_VECTOR);
    vfake_stop();
}

static void reset_lowers_all(void **state)
{
    (void)state;
    start();
    init_pics(0xffff & ~(1u << VUART_IRQ));
    out8(0x3f9, 0x02);
    assert_true(extint());
    vm_devices_reset(&vfake.vm);
    assert_false(extint());
    assert_int_equal(in8(VPIC_MASTER_PORT + 1), 0xfb);
    vfake_stop();
}

/* ---- the PIT's interrupt ---- */

static void masked_costs_nothing(void **state)
{
    (void)state;
    start();
    assert_int_equal(timer_next(), TIMER_NEVER); /* 18.2 Hz, and nobody listens */
    program_pit(PERIOD_COUNT);
    assert_int_equal(timer_next(), TIMER_NEVER);
    init_pics(0xfffe);
    assert_true(timer_next() != TIMER_NEVER);
    out8(VPIC_MASTER_PORT + 1, 0xff);
    assert_int_equal(timer_next(), TIMER_NEVER);
    set_pin(LINE_PIT_PIN, VECTOR);
    assert_true(timer_next() != TIMER_NEVER);
    set_pin(LINE_PIT_PIN, MASKED | VECTOR);
    assert_int_equal(timer_next(), TIMER_NEVER);
    vfake.notified[0] = 0;
    vfake_advance(NS_PER_S);
    assert_int_equal(vfake.notified[0] + vfake.served[0], 0);
    vfake_stop();
}

/* Ticks within that time, the CPU taking each at once and ending it. */
static unsigned take_ticks(uint64_t ns)
{
    unsigned ticks = 0;

    for (uint64_t end = vfake.clock_ns + ns; vfake.clock_ns < end;) {
        vfake_advance(100000);
        if (extint()) {
            assert_int_equal(lines_acknowledge(vfake.vm.lines), TICK_VECTOR);
            out8(VPIC_MASTER_PORT, 0x20);
            ticks++;
        }
    }
    return ticks;
}

static void ticks_by_8259(void **state)
{
    (void)state;
    start();
    init_pics(0xfffe);
    program_pit(PERIOD_COUNT);
    (void)take_ticks(5 * NS_PER_MS);
    assert_in_range(take_ticks(NS_PER_S), 249, 251);
    out8(0x43, 0x30); /* one shot */
    out8(0x40, 0xff);
    out8(0x40, 0x00);
    assert_int_equal(take_ticks(NS_PER_S), 1);
    assert_int_equal(timer_next(), TIMER_NEVER);
    vfake_stop();
}

static void ticks_by_ioapic(void **state)
{
    unsigned ticks = 0;

    (void)state;
    start();
    program_pit(PERIOD_COUNT);
    set_pin(LINE_PIT_PIN, VECTOR);
    for (unsigned i = 0; i < 10000; i++) {
        vfake_advance(100000);
        if (apic_vector() == VECTOR) {
            vlapic_accept(vcpu()->vlapic, VECTOR);
            vlapic_mmio_write(vcpu(), 0xb0, 4, 0);
            ticks++;
        }
    }
    assert_in_range(ticks, 249, 251);
    vfake_stop();
}

/* One that the CPU does not take keeps the timer off until it does. */
static void waiting_tick_costs_nothing(void **state)
{
    (void)state;
    start();
    init_pics(0xfffe);
    program_pit(PERIOD_COUNT);
    vfake_advance(10 * NS_PER_MS);
    assert_true(extint());
    assert_int_equal(timer_next(), TIMER_NEVER);
    vfake.served[0] = 0;
    vfake_advance(NS_PER_S);
    assert_int_equal(vfake.served[0], 0);
    assert_in_range(take_ticks(8 * NS_PER_MS), VTIMERS_TICKS_MAX, VTIMERS_TICKS_MAX + 3);
    assert_true(timer_next() != TIMER_NEVER);
    vfake_stop();
}

/* A VM without a CPU is left alone, and finds a few of its ticks when it has one again. */
static void paused(void **state)
{
    (void)state;
    start();
    init_pics(0xfffe);
    program_pit(PERIOD_COUNT);
    (void)take_ticks(20 * NS_PER_MS);
    vfake.vcpu[0].state = vfake.vcpu[1].state = VCPU_STOPPED;
    vfake_advance(10 * NS_PER_MS);
    assert_int_equal(timer_next(), TIMER_NEVER);
    assert_false(extint());
    vfake.served[0] = 0;
    vfake_advance(300 * NS_PER_S);
    assert_int_equal(vfake.served[0], 0);
    vfake.vcpu[1].state = VCPU_RUNNING;
    vm_devices_begin_run(&vfake.vm);
    assert_true(extint());
    assert_in_range(take_ticks(8 * NS_PER_MS), VTIMERS_TICKS_MAX, VTIMERS_TICKS_MAX + 3);
    assert_in_range(take_ticks(NS_PER_S), 248, 252);
    vfake_stop();
}

/* However short the period: no more than one in VTIMERS_TICK_MIN_NS. */
static void ticks_are_bounded(void **state)
{
    (void)state;
    start();
    init_pics(0xfffe);
    for (unsigned count = 1; count < 300; count += 37) {
        program_pit(count);
        assert_in_range(take_ticks(100 * NS_PER_MS), 1, 100 * NS_PER_MS / VTIMERS_TICK_MIN_NS + 1);
        assert_true(vfake.served[0] <= 100 * NS_PER_MS / VTIMERS_TICK_MIN_NS + 2);
        vfake.served[0] = 0;
    }
    vfake_stop();
}

/* ---- the HPET's ---- */

static void hpet_out(unsigned offset, unsigned size, uint64_t value)
{
    vfake_mmio_write(gpa(VHPET_BASE + offset), size, value);
}

static uint64_t hpet_in(unsigned offset, unsigned size)
{
    return vfake_mmio_read(gpa(VHPET_BASE + offset), size);
}

/* Comparator 0 takes the PIT's place at both controllers, comparator 1 the RTC's. */
static void hpet_replaces(void **state)
{
    (void)state;
    start();
    init_pics(0xfefa);
    program_pit(PERIOD_COUNT);
    hpet_out(0x10, 4, 3);
    assert_int_equal(take_ticks(100 * NS_PER_MS), 0);
    assert_int_equal(timer_next(), TIMER_NEVER);
    hpet_out(0x100, 4, 0x04 | 0x08 | 0x40 | 0x100); /* periodic, and the comparator with it */
    hpet_out(0x108, 4, (uint32_t)hpet_in(0xf0, 4) + 1000000);
    hpet_out(0x108, 4, 1000000); /* 10 ms */
    assert_in_range(take_ticks(NS_PER_S), 99, 101);
    hpet_out(0x100, 4, 0);
    hpet_out(0x120, 4, 0x04 | 0x100);
    hpet_out(0x128, 4, (uint32_t)hpet_in(0xf0, 4) + 100000);
    vfake_advance(NS_PER_MS);
    assert_true(extint());
    assert_int_equal(lines_acknowledge(vfake.vm.lines), 0x38);
    assert_int_equal(timer_next(), vfake.clock_ns + ((1ull << 32) * 10)); /* when it wraps */
    hpet_out(0x10, 4, 1);
    out8(VPIC_MASTER_PORT, 0x20);
    assert_true(take_ticks(100 * NS_PER_MS) > 20); /* the PIT again */
    vfake_stop();
}

static void hpet_has_pins(void **state)
{
    (void)state;
    start();
    set_pin(20, VECTOR);
    set_pin(21, 0x8000 | (VECTOR + 1));
    hpet_out(0x10, 4, 1);
    hpet_out(0x100, 4, 0x04 | 20 << 9);
    hpet_out(0x120, 4, 0x06 | 21 << 9);
    hpet_out(0x140, 4, 0x04 | 5 << 9); /* it cannot be routed there */
    assert_int_equal(hpet_in(0x140, 4) >> 9 & 31, 0);
    hpet_out(0x108, 8, hpet_in(0xf0, 8) + 100000);
    hpet_out(0x128, 8, hpet_in(0xf0, 8) + 200000);
    vfake_advance(NS_PER_MS);
    assert_int_equal(apic_vector(), VECTOR);
    vlapic_accept(vcpu()->vlapic, VECTOR);
    vlapic_mmio_write(vcpu(), 0xb0, 4, 0);
    vfake_advance(NS_PER_MS);
    for (unsigned i = 0; i < 2; i++) { /* as long as its bit is set */
        assert_int_equal(apic_vector(), VECTOR + 1);
        vlapic_accept(vcpu()->vlapic, VECTOR + 1);
        hpet_out(0x20, 4, i == 0 ? 0xd : 0x2);
        vlapic_mmio_write(vcpu(), 0xb0, 4, 0);
    }
    assert_int_equal(apic_vector(), -1);
    assert_int_equal(timer_next(), TIMER_NEVER);
    vfake_stop();
}

/* ---- port 61h ---- */

static void port_61h(void **state)
{
    (void)state;
    start();
    out8(0x61, 0); /* gate low */
    out8(0x43, 0xb0);
    out8(0x42, 0x00);
    out8(0x42, 0x10);
    vfake.clock_ns += 100 * NS_PER_MS;
    assert_int_equal(in8(0x61) & 0x23, 0);
    assert_int_equal(in8(0x42), 0x00); /* it has not counted */
    assert_int_equal(in8(0x42), 0x10);
    out8(0x61, 0xfd); /* gate high, speaker off; the rest is read-only or not there */
    vfake.clock_ns += 3 * NS_PER_MS;
    assert_int_equal(in8(0x61) & 0xef, 0x01);
    vfake.clock_ns += NS_PER_MS;
    assert_int_equal(in8(0x61) & 0xef, 0x21);                     /* 4,096 clocks are 3.43 ms */
    for (unsigned i = 0, before = in8(0x61) & 0x10; i < 8; i++) { /* refresh toggles */
        unsigned now;

        vfake.clock_ns += 15085;
        now = in8(0x61) & 0x10;
        assert_int_equal(now, before ^ 0x10);
        before = now;
    }
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_goes_to_both),
        cmocka_unit_test(line_falls_first),
        cmocka_unit_test(lint0_modes),
        cmocka_unit_test(apic_switched_off),
        cmocka_unit_test(reset_lowers_all),
        cmocka_unit_test(masked_costs_nothing),
        cmocka_unit_test(ticks_by_8259),
        cmocka_unit_test(ticks_by_ioapic),
        cmocka_unit_test(waiting_tick_costs_nothing),
        cmocka_unit_test(ticks_are_bounded),
        cmocka_unit_test(hpet_replaces),
        cmocka_unit_test(hpet_has_pins),
        cmocka_unit_test(paused),
        cmocka_unit_test(port_61h),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
