/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/plain_device.c
 *          hv/timer.c */
/* The virtio transport and its queues, with drivers that keep the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/access.h"
#include "tests/unit/plain_device.h"
#include "tests/unit/vdev_fake.h"

/* ---- drivers that keep the rules ---- */

static void test_identity(void **state)
{
    (void)state;
    driver_find(&plain_driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, PCI_VENDOR, 4),
                     VIRTIO_VENDOR | (VIRTIO_DEVICE_BASE + 42) << 16);
    assert_int_equal(driver_config_read(DEVFN, PCI_CLASS, 4), 0xff000001);
    assert_true(plain_driver.common != 0 && plain_driver.isr != 0 && plain_driver.config != 0 &&
                plain_driver.notify != 0);
    assert_int_equal(DRIVER_READ(&plain_driver, queues), QUEUES);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_size), SIZE);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.config + 8), 4), 0x5a5a5a5a);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.config + 10), 8), 0x5a5a);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.config + sizeof(plain_config)), 4), 0);
}

static void test_features(void **state)
{
    (void)state;
    driver_find(&plain_driver, DEVFN);
    assert_true(driver_negotiate(&plain_driver, UINT64_MAX) & VIRTIO_STATUS_FEATURES_OK);
    assert_int_equal(plain_driver.features, FEATURES | BIT(3));
    /* Settled: nothing changes any more. */
    DRIVER_WRITE(&plain_driver, driver_feature_select, 0);
    DRIVER_WRITE(&plain_driver, driver_feature, 0);
    assert_int_equal(DRIVER_READ(&plain_driver, driver_feature),
                     BIT(3) | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX);
    /* Without VERSION_1; with one that is not offered. */
    assert_false(driver_negotiate(&plain_driver, BIT(3)) & VIRTIO_STATUS_FEATURES_OK);
    DRIVER_WRITE(&plain_driver, status, VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(plain_seen.starts, 0);
    DRIVER_WRITE(&plain_driver, status, 0);
    DRIVER_WRITE(&plain_driver, driver_feature_select, 0);
    DRIVER_WRITE(&plain_driver, driver_feature, BIT(4));
    DRIVER_WRITE(&plain_driver, driver_feature_select, 1);
    DRIVER_WRITE(&plain_driver, driver_feature, 1);
    DRIVER_WRITE(&plain_driver, status, VIRTIO_STATUS_FEATURES_OK);
    assert_int_equal(plain_status(), 0);
    DRIVER_WRITE(&plain_driver, driver_feature_select, 7);
    DRIVER_WRITE(&plain_driver, driver_feature, 1);
    assert_int_equal(DRIVER_READ(&plain_driver, driver_feature), 0);
}

static void test_chain(void **state)
{
    const struct driver_segment segment[] = {
        {DRIVER_BUFFERS, 16, false}, {DRIVER_BUFFERS + 16, 5000, true}, {0x1000, 1, true}};
    uint32_t head, bytes;

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    assert_int_equal(plain_seen.starts, 1);
    for (unsigned round = 0; round < 70000; round++) { /* indices wrap */
        driver_add(&plain_driver, 0, round % 60, segment, 3);
        assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
        assert_true(driver_used(&plain_driver, 0, &head, &bytes));
        assert_int_equal(head, round % 60);
        assert_int_equal(bytes, 5001);
        assert_false(driver_used(&plain_driver, 0, &head, &bytes));
    }
    assert_int_equal(plain_seen.last.count, 3);
    assert_int_equal(plain_seen.last.readable, 16);
    assert_int_equal(plain_seen.last.writable, 5001);
    assert_true(plain_seen.last.segment[1].device_writes &&
                !plain_seen.last.segment[0].device_writes);
    assert_int_equal(plain_seen.last.segment[2].address.v, 0x1000);
    assert_int_equal(plain_status() & VIRTIO_STATUS_NEEDS_RESET, 0);
}

static void test_indirect(void **state)
{
    uint32_t head, bytes;

    (void)state;
    driver_start(&plain_driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    plain_make_table(DRIVER_BUFFERS + 8, VIRTQ_SEGMENTS_MAX);
    driver_descriptor(0, 5, DRIVER_BUFFERS + 8, VIRTQ_SEGMENTS_MAX * 16, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&plain_driver, 0, 5);
    /* The table's page is out: nothing happens until it is there. */
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_PARK);
    assert_int_equal(plain_seen.chains, 0);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_true(driver_used(&plain_driver, 0, &head, &bytes));
    assert_int_equal(head, 5);
    assert_int_equal(plain_seen.last.count, VIRTQ_SEGMENTS_MAX);
    assert_int_equal(plain_seen.last.readable, VIRTQ_SEGMENTS_MAX);
}

static void test_untake(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    struct virtq_chain chain;

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, 8);
    for (uint16_t i = 0; i < 8; i++) {
        driver_add(&plain_driver, 0, i, &segment, 1);
    }
    for (uint16_t i = 0; i < 8; i++) {
        for (unsigned again = 0; again < 3; again++) {
            assert_int_equal(virtio_take(&plain_device, 0, &chain, NULL), VIRTQ_CHAIN);
            assert_int_equal(chain.head, i);
            if (again < 2) {
                virtio_untake(&plain_device, 0, chain.head);
            }
        }
    }
    assert_int_equal(virtio_take(&plain_device, 0, &chain, NULL), VIRTQ_EMPTY);
    for (uint16_t i = 0; i < 8; i++) {
        virtio_give(&plain_device, 0, 7 - i, 0);
    }
}

/* In pieces, with the others' turn between them. */
static void test_again(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    plain_seen.limit = 10;
    for (uint16_t i = 0; i < 25; i++) {
        driver_add(&plain_driver, 0, i, &segment, 1);
    }
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_PARK);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_PARK);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_int_equal(plain_seen.chains, 25);
}

/* ---- interrupts ---- */

static bool delivered(unsigned vector)
{
    unsigned highest = (unsigned)vlapic_highest_pending(vfake.vcpu[0].vlapic);

    if (highest != vector) {
        return false;
    }
    vlapic_accept(vfake.vcpu[0].vlapic, vector);
    vlapic_mmio_write(&vfake.vcpu[0], 0xb0, 4, 0);
    return true;
}

static void use_msix(unsigned entries)
{
    unsigned cap = driver_capability(DEVFN, PCI_CAP_MSIX, 0);
    uint32_t bar = driver_config_read(DEVFN, PCI_BAR0 + 8, 4);

    for (unsigned i = 0; i < entries; i++) {
        vfake_mmio_write(gpa(bar + i * 16), 8, MSI_ADDRESS);
        vfake_mmio_write(gpa(bar + i * 16 + 8), 4, 0x50 + i);
        vfake_mmio_write(gpa(bar + i * 16 + 12), 4, 0);
    }
    driver_config_write(DEVFN, cap + PCI_MSIX_CONTROL, 2, PCI_MSIX_ENABLE);
}

static void test_msix(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_find(&plain_driver, DEVFN);
    driver_negotiate(&plain_driver, VIRTIO_F_VERSION_1);
    use_msix(QUEUES + 1);
    DRIVER_WRITE(&plain_driver, config_vector, 4);
    assert_int_equal(DRIVER_READ(&plain_driver, config_vector), 4);
    DRIVER_WRITE(&plain_driver, config_vector, QUEUES + 1); /* the table has no such entry */
    assert_int_equal(DRIVER_READ(&plain_driver, config_vector), VIRTIO_NO_VECTOR);
    DRIVER_WRITE(&plain_driver, config_vector, 4);
    driver_enable(&plain_driver, 0, SIZE, 1);
    DRIVER_WRITE(&plain_driver, status, plain_status() | VIRTIO_STATUS_DRIVER_OK);
    driver_add(&plain_driver, 0, 0, &segment, 1);
    driver_notify(&plain_driver, 0);
    assert_true(delivered(0x51));
    /* NO_INTERRUPT. */
    driver_store16(DRIVER_RINGS + DRIVER_AVAIL, VIRTIO_AVAIL_NO_INTERRUPT);
    driver_add(&plain_driver, 0, 0, &segment, 1);
    driver_notify(&plain_driver, 0);
    assert_false(delivered(0x51));
    spin_lock(&plain_device.lock);
    virtio_config_changed(&plain_device);
    spin_unlock(&plain_device.lock);
    assert_true(delivered(0x54));
    assert_int_equal(DRIVER_READ(&plain_driver, generation), 1);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.isr), 1), 0);
}

static void test_intx(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    driver_add(&plain_driver, 0, 0, &segment, 1);
    driver_notify(&plain_driver, 0);
    assert_true(driver_config_read(DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTX);
    assert_int_equal(vfake.vm.run.devices->lines.pci[31 % 4], 1);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.isr), 1), VIRTIO_ISR_QUEUE);
    assert_int_equal(vfake.vm.run.devices->lines.pci[31 % 4], 0);
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.isr), 1), 0);
}

/* An interrupt when the index passes used_event, and not before: over two rounds of the indices. */
static void test_event_index(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    uint64_t event = DRIVER_RINGS + DRIVER_AVAIL + 4 + 2 * SIZE;
    uint64_t notify_at = DRIVER_RINGS + DRIVER_USED + 4 + 8 * SIZE;

    (void)state;
    driver_find(&plain_driver, DEVFN);
    driver_negotiate(&plain_driver, FEATURES);
    use_msix(QUEUES + 1);
    driver_enable(&plain_driver, 0, SIZE, 0);
    DRIVER_WRITE(&plain_driver, status, plain_status() | VIRTIO_STATUS_DRIVER_OK);
    driver_store16(event, 9);
    for (unsigned i = 0; i < 140000; i++) {
        driver_add(&plain_driver, 0, i % SIZE, &segment, 1);
        driver_notify(&plain_driver, 0);
        assert_int_equal(driver_load16(notify_at), (uint16_t)(i + 1));
        if (delivered(0x50)) {
            assert_true(i == 0 || (uint16_t)i == driver_load16(event));
            driver_store16(event, (uint16_t)(driver_load16(event) + 10));
        } else {
            assert_int_not_equal((uint16_t)i, driver_load16(event));
        }
        if (i == 0) {
            driver_store16(event, 9);
        }
    }
}

/* Not a bus master: the device leaves memory alone. */
static void test_no_master(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    driver_add(&plain_driver, 0, 0, &segment, 1);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_int_equal(plain_seen.chains, 0);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_int_equal(plain_seen.chains, 1);
}

/* ---- set up and reset ---- */

static void test_enable_waits(void **state)
{
    unsigned parks = 0;

    (void)state;
    driver_find(&plain_driver, DEVFN);
    driver_negotiate(&plain_driver, VIRTIO_F_VERSION_1);
    /* Each of its pages is out once: nothing is held while the vCPU waits. */
    for (unsigned wait = 3; wait > 0; wait--) {
        vfake.wait_at = vfake.calls + wait;
        assert_int_equal(driver_enable(&plain_driver, 0, SIZE, 0), BUS_PARK);
        assert_int_equal(DRIVER_READ(&plain_driver, queue_enable), 0);
        assert_int_equal(vfake.pins, 0);
        parks++;
    }
    vfake.wait_at = 0;
    assert_int_equal(driver_enable(&plain_driver, 0, SIZE, 0), BUS_DONE);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_enable), 1);
    assert_int_equal(vfake.pins, 3);
    assert_int_equal(parks, 3);
    /* In use: its registers stay as they are. */
    DRIVER_WRITE(&plain_driver, queue_descriptors[0], 0x100);
    DRIVER_WRITE(&plain_driver, queue_size, 2);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_descriptors[0]), DRIVER_RINGS);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_size), SIZE);
    DRIVER_WRITE(&plain_driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_enable), 0);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_descriptors[0]), 0);
}

/* Rings that cannot be: beyond memory, across its end, not aligned, over the last address. */
static void test_bad_rings(void **state)
{
    static const uint64_t bad[][3] = {
        {MEMORY, 0x1000, 0x2000},         {MEMORY - 16, 0x1000, 0x2000},
        {0x1000, MEMORY, 0x2000},         {0x1000, 0x2000, 0xfee00000},
        {0x1008, 0x2000, 0x3000},         {0x1000, 0x2001, 0x3000},
        {0x1000, 0x2000, 0x3002},         {UINT64_MAX - 15, 0x2000, 0x3000},
        {0x1000, UINT64_MAX - 1, 0x3000}, {0x1000, 0x2000, UINT64_MAX - 3},
    };

    (void)state;
    driver_find(&plain_driver, DEVFN);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        driver_negotiate(&plain_driver, VIRTIO_F_VERSION_1);
        DRIVER_WRITE(&plain_driver, queue_select, 1);
        for (unsigned part = 0; part < 3; part++) {
            unsigned at = (unsigned)offsetof(struct virtio_common, queue_descriptors) + part * 8;

            driver_write(&plain_driver, at, 4, (uint32_t)bad[i][part]);
            driver_write(&plain_driver, at + 4, 4, (uint32_t)(bad[i][part] >> 32));
        }
        DRIVER_WRITE(&plain_driver, queue_enable, 1);
        assert_int_equal(DRIVER_READ(&plain_driver, queue_enable), 0);
        assert_true(plain_status() & VIRTIO_STATUS_NEEDS_RESET);
        assert_int_equal(vfake.pins, 0);
    }
    /* Too early, and a queue that is not there. */
    DRIVER_WRITE(&plain_driver, status, 0);
    DRIVER_WRITE(&plain_driver, queue_enable, 1);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_enable), 0);
    DRIVER_WRITE(&plain_driver, queue_select, QUEUES);
    DRIVER_WRITE(&plain_driver, queue_enable, 1);
    assert_int_equal(DRIVER_READ(&plain_driver, queue_size), 0);
    assert_int_equal(plain_status(), 0);
}

static void test_slow_reset(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    plain_seen.resets = 0;
    plain_seen.keeps = true;
    plain_seen.is_slow = true;
    driver_add(&plain_driver, 0, 3, &segment, 1);
    driver_notify(&plain_driver, 0);
    assert_int_equal(plain_seen.holds, 1);
    DRIVER_WRITE(&plain_driver, status, 0);
    assert_int_not_equal(plain_status(), 0);
    assert_int_equal(vfake.pins, 3);
    DRIVER_WRITE(&plain_driver, status, 0); /* impatient */
    DRIVER_WRITE(&plain_driver, status, VIRTIO_STATUS_ACKNOWLEDGE);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_int_equal(plain_seen.resets, 1);
    assert_false(virtio_is_quiet(&plain_device));
    spin_lock(&plain_device.lock);
    virtio_reset_done(&plain_device);
    spin_unlock(&plain_device.lock);
    assert_int_equal(plain_status(), 0);
    assert_int_equal(vfake.pins, 0);
    assert_true(virtio_is_quiet(&plain_device));
}

static void test_function_reset(void **state)
{
    unsigned cap = driver_capability(DEVFN, PCI_CAP_AF, 0);
    uint32_t bar = driver_config_read(DEVFN, PCI_BAR0, 4);

    (void)state;
    driver_start(&plain_driver, DEVFN, 0, 2, SIZE);
    use_msix(1);
    assert_true(driver_config_read(DEVFN, cap + PCI_AF_CAPABILITY, 1) & PCI_AF_FLR);
    driver_config_write(DEVFN, cap + PCI_AF_CONTROL, 1, PCI_AF_INITIATE);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(driver_config_read(DEVFN, PCI_COMMAND, 2), 0);
    assert_int_equal(driver_config_read(DEVFN, PCI_BAR0, 4), PCI_BAR_TYPE_64);
    assert_false(vpci_msix_enabled(&plain_device.function));
    assert_int_equal(vfake_mmio_read(gpa(plain_driver.common), 4), UINT32_MAX); /* not there */
    driver_config_write(DEVFN, PCI_BAR0, 4, bar);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(plain_status(), 0);
}

/* Registers through the configuration space. */
static void test_pci_access(void **state)
{
    unsigned cap = driver_capability(DEVFN, PCI_CAP_VENDOR, 4);

    (void)state;
    driver_find(&plain_driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, cap + VIRTIO_CAP_TYPE, 1), VIRTIO_CFG_PCI);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_OFFSET, 4, offsetof(struct virtio_common, status));
    driver_config_write(DEVFN, cap + VIRTIO_CAP_BYTES, 4, 1);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 1, VIRTIO_STATUS_ACKNOWLEDGE);
    assert_int_equal(plain_status(), VIRTIO_STATUS_ACKNOWLEDGE);
    assert_int_equal(driver_config_read(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 1),
                     VIRTIO_STATUS_ACKNOWLEDGE);
    /* Nonsense reaches nothing. */
    for (unsigned i = 0; i < 3; i++) {
        driver_config_write(DEVFN, cap + VIRTIO_CAP_BYTES, 4, (const uint32_t[]){0, 3, 8}[i]);
        driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 4, 0);
    }
    driver_config_write(DEVFN, cap + VIRTIO_CAP_BYTES, 4, 4);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_OFFSET, 4, VIRTIO_BAR_BYTES);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 4, 0);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_OFFSET, 4, 0xfffffffc);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 4, 0);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_BAR, 1, 2);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_OFFSET, 4, 20);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 4, 0);
    assert_int_equal(plain_status(), VIRTIO_STATUS_ACKNOWLEDGE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, plain_begin, plain_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_identity),   CASE(test_features),       CASE(test_chain),
        CASE(test_indirect),   CASE(test_untake),         CASE(test_again),
        CASE(test_msix),       CASE(test_intx),           CASE(test_event_index),
        CASE(test_no_master),  CASE(test_enable_waits),   CASE(test_bad_rings),
        CASE(test_slow_reset), CASE(test_function_reset), CASE(test_pci_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
