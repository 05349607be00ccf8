/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* The local APIC: priorities, destinations, modes.  Its timer: tests/unit/test_vlapic_timer.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "tests/unit/vlapic_access.h"

static void to_x2apic(unsigned cpu)
{
    assert_true(vlapic_msr_write(&vfake.vcpu[cpu], MSR_IA32_APIC_BASE,
                                 APIC_BASE_DEFAULT | APIC_BASE_ENABLE | APIC_BASE_X2APIC));
}

static void send_x2(unsigned cpu, uint32_t destination, uint32_t low)
{
    assert_true(vlapic_msr_write(&vfake.vcpu[cpu], MSR_IA32_X2APIC_BASE + 0x30,
                                 (uint64_t)destination << 32 | low));
}

/* Vector each vCPU has pending, as bits: who got it. */
static unsigned receivers(unsigned vector)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < vfake.vm.run.vcpu_count; i++) {
        int got;

        while ((got = vlapic_highest_pending(vfake.vcpu[i].vlapic)) >= 0) {
            vlapic_accept(vfake.vcpu[i].vlapic, (unsigned)got);
            mask |= (unsigned)got == vector ? 1u << i : 0;
            if (reg_read(i, 0x30) == 0x50014) {
                (void)vlapic_msr_write(&vfake.vcpu[i], MSR_IA32_X2APIC_BASE + 0xb, 0);
                reg_write(i, 0xb0, 0);
            }
        }
    }
    return mask;
}

static void reset_values(void **state)
{
    (void)state;
    vfake_start(2);
    vlapic_reset(vfake.vcpu[1].vlapic, false);
    assert_int_equal(reg_read(1, 0x20), 1 << 24);
    assert_int_equal(reg_read(1, 0x30), 0x50014);
    assert_int_equal(reg_read(1, 0xf0), 0xff);
    assert_int_equal(reg_read(1, 0xe0), 0xffffffff);
    for (unsigned offset = 0x320; offset <= 0x370; offset += 0x10) {
        assert_int_equal(reg_read(1, offset), 0x10000);
    }
    assert_int_equal(vfake.vcpu[0].msr_apic_base, 0xfee00900);
    assert_int_equal(vfake.vcpu[1].msr_apic_base, 0xfee00800);
    assert_int_equal(pending(1), -1);
    vfake_stop();
}

static void priorities(void **state)
{
    struct vlapic *vlapic;

    (void)state;
    vfake_start(1);
    vlapic = vfake.vcpu[0].vlapic;
    vlapic_deliver(&vfake.vcpu[0], 0x31, false);
    vlapic_deliver(&vfake.vcpu[0], 0x31, false);
    vlapic_deliver(&vfake.vcpu[0], 0x52, false);
    assert_int_equal(vfake.notified[0], 2); /* once for each vector */
    assert_int_equal(pending(0), 0x52);
    vlapic_accept(vlapic, 0x52);
    assert_int_equal(reg_read(0, 0xa0), 0x50); /* PPR */
    assert_int_equal(reg_read(0, 0x120), 1u << (0x52 % 32));
    assert_int_equal(pending(0), -1); /* 0x31 is below PPR */
    vlapic_deliver(&vfake.vcpu[0], 0x5f, false);
    assert_int_equal(pending(0), -1); /* same class */
    vlapic_deliver(&vfake.vcpu[0], 0x60, false);
    assert_int_equal(pending(0), 0x60); /* nests */
    vlapic_accept(vlapic, 0x60);
    reg_write(0, 0xb0, 0);
    reg_write(0, 0xb0, 0);
    assert_int_equal(take(0), 0x5f);
    vlapic_set_tpr(vlapic, 3);
    assert_int_equal(reg_read(0, 0x80), 0x30);
    assert_int_equal(pending(0), -1);
    vlapic_set_tpr(vlapic, 2);
    assert_int_equal(vlapic_get_tpr(vlapic), 2);
    assert_int_equal(take(0), 0x31);
    assert_int_equal(take(0), -1);
    vlapic_deliver(&vfake.vcpu[0], 0x22, false);
    assert_int_equal(pending(0), -1);
    vlapic_set_tpr(vlapic, 0);
    assert_int_equal(take(0), 0x22);
    reg_write(0, 0xb0, 0); /* EOI with nothing in service */
    vfake_stop();
}

static void every_vector(void **state)
{
    (void)state;
    vfake_start(1);
    for (unsigned v = 0; v < 300; v++) {
        vlapic_deliver(&vfake.vcpu[0], v, false);
    }
    for (unsigned v = 255; v >= 16; v--) {
        assert_int_equal(take(0), v);
    }
    assert_int_equal(take(0), -1);
    reg_write(0, 0x280, 0);
    assert_int_equal(reg_read(0, 0x280), 0x40); /* received illegal vectors */
    vfake_stop();
}

static void disabled(void **state)
{
    (void)state;
    vfake_start(1);
    reg_write(0, 0x320, 0x40);
    reg_write(0, 0xf0, 0xff);
    assert_int_equal(reg_read(0, 0x320), 0x10040); /* masked by the software disable */
    reg_write(0, 0x320, 0x40);
    assert_int_equal(reg_read(0, 0x320), 0x10040); /* and stays so */
    vlapic_deliver(&vfake.vcpu[0], 0x40, false);
    assert_int_equal(pending(0), -1);
    vfake_stop();
}

static void apic_base(void **state)
{
    struct vcpu *vcpu;
    uint64_t value;

    (void)state;
    vfake_start(2);
    vcpu = &vfake.vcpu[1];
    assert_true(vlapic_owns_mmio(vcpu, gpa(0xfee00300)));
    assert_false(vlapic_owns_mmio(vcpu, gpa(0xfee01000)));
    assert_false(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 2, &value)); /* not in xAPIC mode */
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00400));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00801));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 1ull << 52 | 0x800));
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xd0000900));
    assert_int_equal(vcpu->msr_apic_base, 0xd0000800); /* not the BSP */
    assert_true(vlapic_owns_mmio(vcpu, gpa(0xd0000000)));
    assert_false(vlapic_owns_mmio(vcpu, gpa(0xfee00000)));
    to_x2apic(1);
    assert_false(vlapic_owns_mmio(vcpu, gpa(0xfee00000)));
    assert_true(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 2, &value));
    assert_int_equal(value, 1);
    assert_true(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 0xd, &value));
    assert_int_equal(value, 2);
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00800)); /* back to xAPIC */
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00000));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00c00)); /* off to x2APIC */
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, 0xfee00800));
    assert_int_equal(reg_read(1, 0xf0), 0xff); /* registers were reset */
    vfake_stop();
}

static void x2apic_registers(void **state)
{
    struct vcpu *vcpu;
    uint64_t value;

    (void)state;
    vfake_start(1);
    vcpu = &vfake.vcpu[0];
    to_x2apic(0);
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x02, 0)); /* id: read-only */
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x03, 0));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x0a, 0));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x0b, 1)); /* EOI: zero only */
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x0d, 0));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x0e, 0)); /* no DFR */
    assert_false(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 0x0e, &value));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x31, 0));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x08, 0x100));
    assert_false(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x0f, 1ull << 32));
    assert_false(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 0x3f, &value));
    assert_false(vlapic_msr_read(vcpu, MSR_IA32_X2APIC_BASE + 0xff, &value));
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x08, 0x20));
    assert_int_equal(vlapic_get_tpr(vcpu->vlapic), 2);
    assert_true(vlapic_msr_write(vcpu, MSR_IA32_X2APIC_BASE + 0x3f, 0x77)); /* self IPI */
    assert_int_equal(pending(0), 0x77);
    vfake_stop();
}

static void shorthands(void **state)
{
    (void)state;
    vfake_start(4);
    reg_write(1, 0x300, 0x40041);
    assert_int_equal(receivers(0x41), 2);
    reg_write(1, 0x300, 0x80042);
    assert_int_equal(receivers(0x42), 0xf);
    reg_write(1, 0x300, 0xc0043);
    assert_int_equal(receivers(0x43), 0xd);
    vfake_stop();
}

static void physical(void **state)
{
    (void)state;
    vfake_start(4);
    reg_write(0, 0x310, 2u << 24);
    reg_write(0, 0x300, 0x44);
    assert_int_equal(receivers(0x44), 4);
    reg_write(0, 0x310, 0xffu << 24);
    reg_write(0, 0x300, 0x45);
    assert_int_equal(receivers(0x45), 0xf);
    reg_write(0, 0x310, 9u << 24);
    reg_write(0, 0x300, 0x46);
    assert_int_equal(receivers(0x46), 0);
    reg_write(0, 0x300, 0x0f); /* illegal vector */
    reg_write(0, 0x280, 0);
    assert_int_equal(reg_read(0, 0x280), 0x20);
    vfake_stop();
}

static uint64_t all_receivers(unsigned vector)
{
    uint64_t mask = 0;

    for (unsigned i = 0; i < VM_VCPUS_MAX; i++) {
        int got = pending(i);

        mask |= got == (int)vector ? BIT(i) : 0;
        if (got >= 0) {
            vlapic_accept(vfake.vcpu[i].vlapic, (unsigned)got);
            (void)vlapic_msr_write(&vfake.vcpu[i], MSR_IA32_X2APIC_BASE + 0xb, 0);
            reg_write(i, 0xb0, 0);
        }
    }
    return mask;
}

/* The last of 64, each cluster of 16, and everybody. */
static void many(void **state)
{
    struct vlapic_message m = {.vector = 0x51};

    (void)state;
    vfake_start(VM_VCPUS_MAX);
    reg_write(0, 0x310, 63u << 24);
    reg_write(0, 0x300, 0x44);
    assert_int_equal(all_receivers(0x44), BIT(63));
    reg_write(0, 0x310, 64u << 24);
    reg_write(0, 0x300, 0x44);
    assert_int_equal(all_receivers(0x44), 0);
    m.destination = 40; /* as an IOAPIC sends it */
    assert_int_equal(vlapic_send(&vfake.vm, &m), 1);
    assert_int_equal(all_receivers(0x51), BIT(40));
    m.destination = 0xff;
    assert_int_equal(vlapic_send(&vfake.vm, &m), 64);
    assert_int_equal(all_receivers(0x51), UINT64_MAX);
    for (unsigned i = 0; i < VM_VCPUS_MAX; i++) {
        to_x2apic(i);
    }
    for (unsigned cluster = 0; cluster < 5; cluster++) {
        send_x2(7, cluster << 16 | 0x8101, 0x846);
        assert_int_equal(all_receivers(0x46), cluster < 4 ? 0x8101ull << (16 * cluster) : 0);
    }
    send_x2(7, 63, 0x47);
    assert_int_equal(all_receivers(0x47), BIT(63));
    send_x2(7, 0xfffffffe, 0x47);
    assert_int_equal(all_receivers(0x47), 0);
    send_x2(7, 0xfffeffff, 0x847);
    assert_int_equal(all_receivers(0x47), 0);
    send_x2(7, 0xffffffff, 0x48);
    assert_int_equal(all_receivers(0x48), UINT64_MAX);
    send_x2(7, 3 << 16 | 0xf000, 0x149); /* lowest priority: one of them */
    send_x2(7, 3 << 16 | 0xf000, 0x949);
    assert_int_equal(all_receivers(0x49), BIT(60));
    vfake_stop();
}

static void logical_xapic(void **state)
{
    (void)state;
    vfake_start(4);
    for (unsigned i = 0; i < 4; i++) {
        reg_write(i, 0xd0, 1u << (24 + i)); /* flat model */
    }
    reg_write(0, 0x310, 0x0a000000);
    reg_write(0, 0x300, 0x847);
    assert_int_equal(receivers(0x47), 0xa);
    for (unsigned i = 0; i < 4; i++) {
        reg_write(i, 0xe0, 0); /* cluster model: two clusters of two */
        reg_write(i, 0xd0, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    reg_write(0, 0x310, 0x12000000);
    reg_write(0, 0x300, 0x848);
    assert_int_equal(receivers(0x48), 8);
    reg_write(0, 0x310, 0xf1000000); /* all clusters */
    reg_write(0, 0x300, 0x849);
    assert_int_equal(receivers(0x49), 5);
    vfake_stop();
}

static void logical_x2apic(void **state)
{
    struct vlapic_message m = {.destination = 0x6, .vector = 0x52, .logical = true};

    (void)state;
    vfake_start(4);
    for (unsigned i = 0; i < 4; i++) {
        to_x2apic(i);
    }
    send_x2(0, 0x9, 0x850);
    assert_int_equal(receivers(0x50), 9);
    send_x2(0, 0x1000f, 0x850); /* another cluster */
    assert_int_equal(receivers(0x50), 0);
    send_x2(0, 0xffffffff, 0x51);
    assert_int_equal(receivers(0x51), 0xf);
    send_x2(0, 0xff, 0x51); /* not the broadcast id in this mode */
    assert_int_equal(receivers(0x51), 0);
    assert_int_equal(vlapic_send(&vfake.vm, &m), 2); /* eight bits wide, from an IOAPIC */
    assert_int_equal(receivers(0x52), 6);
    vfake_stop();
}

static void lowest_priority(void **state)
{
    struct vlapic_message m = {.destination = 0xff, .vector = 0x60, .delivery = DELIVERY_LOWEST};

    (void)state;
    vfake_start(3);
    vlapic_set_tpr(vfake.vcpu[0].vlapic, 4);
    vlapic_set_tpr(vfake.vcpu[1].vlapic, 2);
    vlapic_set_tpr(vfake.vcpu[2].vlapic, 3);
    assert_int_equal(vlapic_send(&vfake.vm, &m), 1);
    assert_int_equal(receivers(0x60), 2);
    vfake_stop();
}

static void init_sipi_nmi(void **state)
{
    (void)state;
    vfake_start(2);
    reg_write(0, 0x310, 1u << 24);
    reg_write(0, 0x300, 0xc500); /* INIT, level, assert */
    assert_int_equal(vfake.requested[1], VCPU_REQUEST_INIT);
    vfake.requested[1] = 0;
    reg_write(0, 0x300, 0x8500); /* INIT de-assert */
    assert_int_equal(vfake.requested[1], 0);
    reg_write(0, 0x300, 0x469a + 0x0000);
    assert_int_equal(vfake.requested[1], VCPU_REQUEST_SIPI);
    assert_int_equal(vfake.vcpu[1].sipi_vector, 0x9a);
    vfake.requested[1] = 0;
    reg_write(0, 0x300, 0x4400);
    assert_int_equal(vfake.requested[1], VCPU_REQUEST_NMI);
    assert_int_equal(vfake.requested[0], 0);
    vfake_stop();
}

static void mmio_shapes(void **state)
{
    struct vcpu *vcpu;

    (void)state;
    vfake_start(2);
    vcpu = &vfake.vcpu[1];
    assert_int_equal(vlapic_mmio_read(vcpu, 0x23, 1), 1);
    assert_int_equal(vlapic_mmio_read(vcpu, 0x30, 2), 0x14);
    assert_int_equal(vlapic_mmio_read(vcpu, 0x32, 2), 5);
    assert_int_equal(vlapic_mmio_read(vcpu, 0x24, 4), 0);
    vlapic_mmio_write(vcpu, 0x80, 1, 0xff); /* not a 32-bit store */
    vlapic_mmio_write(vcpu, 0x84, 4, 0xff);
    assert_int_equal(reg_read(1, 0x80), 0);
    for (unsigned offset = 0; offset < 0x1000; offset++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            (void)vlapic_mmio_read(vcpu, offset, size);
            vlapic_mmio_write(vcpu, offset, size, 0xa5a5a5a5a5a5a5a5ull);
        }
    }
    vfake_stop();
}

static void level_eoi_reaches_ioapic(void **state)
{
    struct vioapic *ioapic;

    (void)state;
    vfake_start(1);
    ioapic = &vfake.vm.run.lines->ioapic;
    vfake_mmio_write(gpa(VIOAPIC_BASE), 4, 0x10 + 2 * 9);
    vfake_mmio_write(gpa(VIOAPIC_BASE + 0x10), 4, 0x8031); /* pin 9, level */
    vioapic_set_pin(ioapic, 9, true);
    assert_int_equal(take(0), 0x31);
    assert_int_equal(take(0), 0x31); /* still asserted: the EOI sent it again */
    vioapic_set_pin(ioapic, 9, false);
    assert_int_equal(take(0), 0x31); /* was on its way */
    assert_int_equal(take(0), -1);
    vfake_stop();
}

/* An NMI button reaches those whose LVT lets it through: the boot vCPU's, as firmware leaves it. */
static void lint1(void **state)
{
    (void)state;
    vfake_start(3);
    vlapic_reset(vfake.vcpu[1].vlapic, false);
    vlapic_virtual_wire(vfake.vcpu[0].vlapic);
    memset(vfake.requested, 0, sizeof(vfake.requested));
    for (unsigned i = 0; i < 2; i++) {
        vlapic_pulse_lint1(&vfake.vcpu[i]);
    }
    assert_int_equal(vfake.requested[0], VCPU_REQUEST_NMI);
    assert_int_equal(vfake.requested[1], 0);
    vfake.requested[0] = 0;
    reg_write(0, 0x360, 0x10400); /* NMI, masked */
    vlapic_pulse_lint1(&vfake.vcpu[0]);
    assert_int_equal(vfake.requested[0], 0);
    for (unsigned delivery = 0; delivery < 8; delivery++) { /* fixed, SMI, INIT, ExtINT, ... */
        reg_write(0, 0x360, delivery << 8 | 0x61);
        vlapic_pulse_lint1(&vfake.vcpu[0]);
        assert_int_equal(vfake.requested[0] & ~VCPU_REQUEST_EVENT,
                         delivery == 4 ? VCPU_REQUEST_NMI : 0);
        assert_int_equal(take(0), delivery == 0 ? 0x61 : -1);
        vfake.requested[0] = 0;
    }
    assert_true(vlapic_msr_write(&vfake.vcpu[2], MSR_IA32_APIC_BASE, APIC_BASE_DEFAULT));
    vlapic_pulse_lint1(&vfake.vcpu[2]); /* the APIC is off: the pin is the CPU's */
    assert_int_equal(vfake.requested[2], VCPU_REQUEST_NMI);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_values),   cmocka_unit_test(priorities),
        cmocka_unit_test(every_vector),   cmocka_unit_test(disabled),
        cmocka_unit_test(apic_base),      cmocka_unit_test(x2apic_registers),
        cmocka_unit_test(shorthands),     cmocka_unit_test(physical),
        cmocka_unit_test(many),           cmocka_unit_test(logical_xapic),
        cmocka_unit_test(logical_x2apic), cmocka_unit_test(lowest_priority),
        cmocka_unit_test(init_sipi_nmi),  cmocka_unit_test(lint1),
        cmocka_unit_test(mmio_shapes),    cmocka_unit_test(level_eoi_reaches_ioapic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
