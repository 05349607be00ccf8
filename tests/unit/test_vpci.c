/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * A guest's PCI bus: both ways to the configuration space, BARs that are sized, moved and put over
 * each other, MSI-X with its masks, INTA, and writes of anything anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/access.h"
#include "hv/vdev/pci/vpci.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVICES 3u
#define VECTORS 70u
#define SMALL   0x1000u
#define LARGE   0x8000u
/* BARs: 0 and 1, 2, 3. */
#define BAR_LARGE 0
#define BAR_MSIX  2
#define BAR_SMALL 3

static struct device {
    struct vpci_function function;
    struct spinlock lock;
    unsigned resets, id;
} devices[DEVICES];

static uint8_t devfn_of(unsigned n)
{
    return (uint8_t)(n == 2 ? (20u << 3 | 1)
                            : (20u + n) << 3); /* the last one: a second function */
}

static enum bus_result bar_read(struct bus_access *access)
{
    const struct device *device = access->range->owner;

    access->value = device->id << 16 | access->offset;
    return BUS_DONE;
}

static enum bus_result bar_write(struct bus_access *access)
{
    (void)access;
    return BUS_DONE;
}

static void reset(struct vpci_function *function)
{
    CONTAINER_OF(function, struct device, function)->resets++;
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};
static const struct vpci_function_ops ops = {.reset = reset};

static void make(unsigned n)
{
    const struct vpci_identity identity = {
        .vendor = 0x1234, .device = (uint16_t)(0x100 + n), .class_code = 0x020000, .revision = 3};
    struct device *device = &devices[n];
    const struct bus_range range = {.ops = &bar_ops, .owner = device, .lock = &device->lock};

    memset(device, 0, sizeof(*device));
    device->id = n + 1;
    spin_init(&device->lock, RANK_VDEV, "device");
    vpci_function_init(&device->function, &identity, &ops);
    vpci_function_add_bar(&device->function, BAR_LARGE, LARGE, true, &range);
    vpci_function_add_bar(&device->function, BAR_SMALL, SMALL, false, &range);
    vpci_function_add_pin(&device->function);
    vpci_function_add_reset(&device->function);
    assert_true(vpci_function_add_msix(&device->function, BAR_MSIX, VECTORS));
    vpci_attach(&vfake.vm.run.devices->pci, &device->function, devfn_of(n));
}

static int begin(void **state)
{
    (void)state;
    vfake_start(2);
    vfake_memory(1 << 20);
    for (unsigned n = 0; n < DEVICES; n++) {
        make(n);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned n = 0; n < DEVICES; n++) {
        vpci_detach(&vfake.vm.run.devices->pci, &devices[n].function);
        vpci_function_destroy(&devices[n].function);
    }
    vfake_stop();
    return 0;
}

static gpa_t ecam(uint8_t devfn, unsigned reg)
{
    return gpa(VPCI_ECAM_BASE + (uint64_t)devfn * PAGE_SIZE + reg);
}

static uint64_t bar_address(unsigned n, unsigned bar)
{
    uint64_t low = driver_config_read(devfn_of(n), PCI_BAR0 + 4 * bar, 4) & ~PCI_BAR_FLAGS;

    return bar != BAR_LARGE
               ? low
               : low | (uint64_t)driver_config_read(devfn_of(n), PCI_BAR0 + 4, 4) << 32;
}

static void command(unsigned n, uint16_t value)
{
    driver_config_write(devfn_of(n), PCI_COMMAND, 2, value);
}

/* Whose byte is there?  0: nobody's. */
static unsigned owner_at(uint64_t address)
{
    uint32_t value = (uint32_t)vfake_mmio_read(gpa(address), 4);

    return value == UINT32_MAX ? 0 : value >> 16;
}

/* ---- configuration space ---- */

static void test_mechanisms(void **state)
{
    (void)state;
    for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        for (unsigned reg = 0; reg < PCI_CONFIG_BYTES; reg += 4) {
            uint32_t word = driver_config_read((uint8_t)devfn, reg, 4);

            assert_int_equal(vfake_mmio_read(ecam((uint8_t)devfn, reg), 4), word);
            for (unsigned lane = 0; lane < 4; lane++) {
                assert_int_equal(driver_config_read((uint8_t)devfn, reg + lane, 1),
                                 (word >> (8 * lane)) & 0xff);
                assert_int_equal(vfake_mmio_read(ecam((uint8_t)devfn, reg + lane), 1),
                                 (word >> (8 * lane)) & 0xff);
            }
        }
    }
    assert_int_equal(driver_config_read(devfn_of(0), PCI_VENDOR, 4), 0x01001234);
    assert_int_equal(driver_config_read(devfn_of(0), PCI_HEADER, 1), PCI_HEADER_MULTI);
    assert_int_equal(driver_config_read(devfn_of(1), PCI_HEADER, 1), 0);
    assert_int_equal(driver_config_read(devfn_of(1), PCI_INTERRUPT_LINE, 1), 11);
    /* Over the end of a word, of the ports, of the space; another bus; not enabled. */
    assert_int_equal(vfake_mmio_read(ecam(0, 3), 2), 0x0000);
    assert_int_equal(vfake_mmio_read(ecam(devfn_of(0), 1), 8), 0x0300100000010012);
    assert_int_equal(vfake_mmio_read(ecam(devfn_of(0), 0xfe), 4), 0);
    assert_int_equal(vfake_mmio_read(ecam(devfn_of(0), 0xffc), 4), 0);
    assert_int_equal(driver_config_read(0, 3, 2), 0xff00);
    vfake_port_out(IOPORT_PCI_ADDRESS, 4, (uint32_t)PCI_ADDRESS_ENABLE | 0x10000);
    assert_int_equal(vfake_port_in(IOPORT_PCI_DATA, 4), UINT32_MAX);
    vfake_port_out(IOPORT_PCI_ADDRESS, 4, 0);
    assert_int_equal(vfake_port_in(IOPORT_PCI_DATA, 4), UINT32_MAX);
    assert_int_equal(vfake_port_in(IOPORT_PCI_ADDRESS, 4), 0);
}

/* ---- BARs ---- */

static void test_bars(void **state)
{
    uint64_t large = bar_address(0, BAR_LARGE), small = bar_address(0, BAR_SMALL);

    (void)state;
    assert_true(large >= VPCI_WINDOW_BASE && large + LARGE <= VPCI_WINDOW_END);
    assert_int_equal(large % LARGE, 0);
    assert_int_equal(owner_at(small), 0);
    command(0, PCI_COMMAND_MEMORY);
    assert_int_equal(owner_at(small), 1);
    assert_int_equal(owner_at(large + LARGE - 4), 1);
    /* Its size. */
    command(0, 0);
    driver_config_write(devfn_of(0), PCI_BAR0, 4, UINT32_MAX);
    driver_config_write(devfn_of(0), PCI_BAR0 + 4, 4, UINT32_MAX);
    assert_int_equal(driver_config_read(devfn_of(0), PCI_BAR0, 4), ~(LARGE - 1) | PCI_BAR_TYPE_64);
    assert_int_equal(driver_config_read(devfn_of(0), PCI_BAR0 + 4, 4), UINT32_MAX);
    command(0, PCI_COMMAND_MEMORY); /* at the last addresses there are */
    assert_int_equal(owner_at(0 - (uint64_t)LARGE), 1);
    assert_int_equal(owner_at(large), 0);
    /* Above 4 GiB, byte by byte. */
    for (unsigned i = 0; i < 8; i++) {
        driver_config_write(devfn_of(0), PCI_BAR0 + i, 1, i == 4 ? 0x12 : 0);
    }
    assert_int_equal(owner_at(0x1200000000), 1);
    command(0, 0);
    assert_int_equal(owner_at(0x1200000000), 0);
}

/* Who was there first stays; when he goes the other one is seen.  Two that change places. */
static void test_overlap(void **state)
{
    uint64_t a = bar_address(0, BAR_SMALL), b = bar_address(1, BAR_SMALL);

    (void)state;
    command(0, PCI_COMMAND_MEMORY);
    command(1, PCI_COMMAND_MEMORY);
    driver_config_write(devfn_of(1), PCI_BAR0 + 12, 4, (uint32_t)a);
    assert_int_equal(owner_at(a), 1);
    assert_int_equal(owner_at(b), 0);
    driver_config_write(devfn_of(0), PCI_BAR0 + 12, 4, (uint32_t)b);
    assert_int_equal(owner_at(a), 2);
    assert_int_equal(owner_at(b), 1);
    driver_config_write(devfn_of(1), PCI_BAR0 + 12, 4, 0xfec00000); /* the IOAPIC stays */
    assert_int_equal(vfake_mmio_read(gpa(0xfec00000), 4), 0);
    assert_int_equal(owner_at(a), 0);
    command(0, 0);
    driver_config_write(devfn_of(1), PCI_BAR0 + 12, 4, (uint32_t)b);
    assert_int_equal(owner_at(b), 2);
}

static void test_function(void **state)
{
    unsigned cap = driver_capability(devfn_of(0), PCI_CAP_AF, 0), before = devices[0].resets;
    uint64_t at = bar_address(0, BAR_SMALL);

    (void)state;
    command(0, PCI_COMMAND_MEMORY);
    driver_config_write(devfn_of(0), cap + PCI_AF_CONTROL, 1, 0);
    assert_int_equal(devices[0].resets, before);
    /* In the middle of a wider write. */
    vfake_mmio_write(ecam(devfn_of(0), cap + PCI_AF_CONTROL - 1), 4, PCI_AF_INITIATE << 8);
    assert_int_equal(devices[0].resets, before + 1);
    assert_int_equal(driver_config_read(devfn_of(0), PCI_COMMAND, 2), 0);
    assert_int_equal(bar_address(0, BAR_SMALL), 0);
    assert_int_equal(owner_at(at), 0);
    assert_int_equal(driver_config_read(devfn_of(0), PCI_HEADER, 1), PCI_HEADER_MULTI);
    vm_devices_reset(&vfake.vm);
    assert_int_equal(bar_address(0, BAR_SMALL), at);
}

/* ---- MSI-X ---- */

static bool delivered(unsigned vcpu, unsigned vector)
{
    if ((unsigned)vlapic_highest_pending(vfake.vcpu[vcpu].vlapic) != vector) {
        return false;
    }
    vlapic_accept(vfake.vcpu[vcpu].vlapic, vector);
    vlapic_mmio_write(&vfake.vcpu[vcpu], 0xb0, 4, 0);
    return true;
}

static uint64_t table(unsigned entry)
{
    return bar_address(0, BAR_MSIX) + entry * 16;
}

static uint64_t pending(void)
{
    return vfake_mmio_read(gpa(bar_address(0, BAR_MSIX) + VPCI_MSIX_BYTES / 2 + 8), 8);
}

static void set_entry(unsigned entry, uint32_t address, uint32_t data, uint32_t control)
{
    vfake_mmio_write(gpa(table(entry)), 8, address);
    vfake_mmio_write(gpa(table(entry) + 8), 4, data);
    vfake_mmio_write(gpa(table(entry) + 12), 4, control);
}

static void msix_control(uint16_t value)
{
    unsigned cap = driver_capability(devfn_of(0), PCI_CAP_MSIX, 0);

    driver_config_write(devfn_of(0), cap + PCI_MSIX_CONTROL, 2, value);
    assert_int_equal(driver_config_read(devfn_of(0), cap + PCI_MSIX_CONTROL, 2),
                     (value & (PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL)) | (VECTORS - 1));
}

static void test_messages(void **state)
{
    struct vpci_function *function = &devices[0].function;

    (void)state;
    command(0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(vfake_mmio_read(gpa(table(3) + 12), 4), PCI_MSIX_ENTRY_MASKED);
    set_entry(65, MSI_ADDRESS | 1 << 12, 0x61, 0);
    vpci_msix_send(function, 65);
    assert_int_equal(pending(), 0);
    assert_false(vpci_msix_enabled(function));
    msix_control(PCI_MSIX_ENABLE);
    vpci_msix_send(function, 65);
    assert_true(delivered(1, 0x61));
    /* Masked, one and all: it waits, and comes once. */
    vfake_mmio_write(gpa(table(65) + 12), 4, UINT32_MAX);
    assert_int_equal(vfake_mmio_read(gpa(table(65) + 12), 4), PCI_MSIX_ENTRY_MASKED);
    vpci_msix_send(function, 65);
    vpci_msix_send(function, 65);
    assert_int_equal(pending(), BIT(1));
    vfake_mmio_write(gpa(bar_address(0, BAR_MSIX) + VPCI_MSIX_BYTES / 2 + 8), 8, 0);
    msix_control(PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    vfake_mmio_write(gpa(table(65) + 12), 4, 0);
    assert_int_equal(pending(), BIT(1));
    assert_false(delivered(1, 0x61));
    command(0, PCI_COMMAND_MEMORY);
    msix_control(PCI_MSIX_ENABLE);
    assert_false(delivered(1, 0x61)); /* no bus master */
    command(0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_true(delivered(1, 0x61));
    assert_int_equal(pending(), 0);
    assert_false(delivered(1, 0x61));
    /* Not a vector of its, not a message. */
    vpci_msix_send(function, VECTORS);
    vpci_msix_send(function, UINT32_MAX);
    set_entry(0, 0x1000, 0x62, 0);
    vpci_msix_send(function, 0);
    set_entry(0, MSI_ADDRESS, 0x05, 0);
    vpci_msix_send(function, 0);
    vfake_mmio_write(gpa(table(0)), 8, (1ull << 32) | MSI_ADDRESS);
    vfake_mmio_write(gpa(table(0) + 8), 4, 0x62);
    vpci_msix_send(function, 0);
    assert_int_equal(vlapic_highest_pending(vfake.vcpu[0].vlapic), -1);
}

/* ---- INTA ---- */

static void test_line(void **state)
{
    struct lines *lines = &vfake.vm.run.devices->lines;

    (void)state;
    /* Devices 20 and 21: lines 0 and 1; the third shares a line with the first. */
    vpci_intx_set(&devices[0].function, true);
    vpci_intx_set(&devices[2].function, true);
    vpci_intx_set(&devices[0].function, true);
    assert_int_equal(lines->ioapic.level >> LINES_PCI_PIN & 0xf, 1);
    assert_int_equal(lines->level, BIT(10));
    assert_true(driver_config_read(devfn_of(0), PCI_STATUS, 2) & PCI_STATUS_INTX);
    command(0, PCI_COMMAND_NO_INTX);
    assert_true(driver_config_read(devfn_of(0), PCI_STATUS, 2) & PCI_STATUS_INTX);
    assert_int_equal(lines->level, BIT(10));
    vpci_intx_set(&devices[2].function, false);
    assert_int_equal(lines->level, 0);
    assert_int_equal(lines->ioapic.level, 0);
    command(0, 0);
    assert_int_equal(lines->level, BIT(10));
    vpci_intx_set(&devices[1].function, true);
    assert_int_equal(lines->level, BIT(10) | BIT(11));
    msix_control(PCI_MSIX_ENABLE);
    assert_int_equal(lines->level, BIT(11));
    vm_devices_reset(&vfake.vm);
    assert_int_equal(lines->level, 0);
    assert_int_equal(lines->pci[0] + lines->pci[1], 0);
    assert_int_equal(vfake_port_in(VPIC_TRIGGER_PORT + 1, 1), LINES_PCI_TRIGGER >> 8);
}

/* ---- anything ---- */

/* What no write may change, and where each BAR is after it. */
static void check(unsigned n)
{
    const struct vpci_function *function = &devices[n].function;

    assert_int_equal(driver_config_read(devfn_of(n), PCI_VENDOR, 4), 0x01001234 + (n << 16));
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        uint64_t address;
        bool wanted = vpci_bar_wanted(function, bar, &address);

        assert_true(wanted || !function->bar[bar].placed);
        assert_int_equal(function->bar[bar].placed, function->bar[bar].range.present);
        if (function->bar[bar].placed) {
            assert_int_equal(function->bar[bar].range.first, address);
        } else if (wanted) { /* another one is there */
            assert_false(
                bus_is_free(&vfake.vm.run.devices->memory, address, function->bar[bar].bytes));
        }
    }
}

static void test_anything(void **state)
{
    static const uint32_t likely[] = {0, 2, 6, UINT32_MAX, 0xc1000000, 0xc1008000, 0xfec00000};

    (void)state;
    support_seed(20261128);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned n = (unsigned)support_random_below(DEVICES);
        unsigned size = 1u << support_random_below(4);
        unsigned reg = (unsigned)support_random_below(support_random_below(4) ? 0x60 : 0x1000);
        uint64_t value =
            support_random_below(3) ? likely[support_random_below(7)] : support_random();

        reg = MIN(reg, (unsigned)PAGE_SIZE - size);
        vfake_mmio_write(ecam(devfn_of(n), reg), size, value);
        (void)vfake_mmio_read(ecam(devfn_of(n), reg), size);
        if (support_random_below(8) == 0) {
            vpci_intx_set(&devices[n].function, support_random_below(2));
            vpci_msix_send(&devices[n].function, (unsigned)support_random_below(VECTORS + 2));
        }
        for (unsigned each = 0; each < DEVICES; each++) {
            check(each);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_mechanisms), CASE(test_bars), CASE(test_overlap),  CASE(test_function),
        CASE(test_messages),   CASE(test_line), CASE(test_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
