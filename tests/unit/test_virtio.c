/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * The virtio transport and its queues, with a device that takes what it is given: drivers that keep
 * the rules, drivers that do not, and rings full of random bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/access.h"
#include "hv/vdev/virtio/virtio.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN  (31u << 3)
#define QUEUES 4u
#define SIZE   64u
#define MEMORY (1u << 20)

#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX)

static struct virtio_device device;
static struct virtio_driver driver;
static uint8_t config[12];
/* What the device has seen, and what it shall do. */
static struct {
    struct virtq_chain last;
    unsigned chains, parks, starts, resets, config_writes, resumes, destroys;
    bool keeps;     /* gives nothing back */
    bool is_slow;   /* a reset takes longer */
    unsigned limit; /* of chains in one call; 0: none */
    uint16_t held[VIRTQ_SIZE_MAX];
    unsigned holds;
} seen;

static enum bus_result take_all(struct virtio_device *d, unsigned queue, struct mm_waiter *waiter)
{
    for (unsigned n = 0; seen.limit == 0 || n < seen.limit; n++) {
        switch (virtio_take(d, queue, &seen.last, waiter)) {
        case VIRTQ_CHAIN:
            seen.chains++;
            if (seen.keeps) {
                seen.held[seen.holds++] = seen.last.head;
            } else {
                virtio_give(d, queue, seen.last.head, seen.last.writable);
            }
            break;
        case VIRTQ_PARK:
            seen.parks++;
            return BUS_PARK;
        case VIRTQ_EMPTY:
        case VIRTQ_BROKEN:
            virtio_signal(d, queue);
            return BUS_DONE;
        }
    }
    virtio_signal(d, queue);
    return virtio_again(waiter);
}

static void start(struct virtio_device *d)
{
    assert_true(d->features & VIRTIO_F_VERSION_1);
    seen.starts++;
}

static bool reset(struct virtio_device *d)
{
    (void)d;
    seen.resets++;
    seen.holds = 0;
    return !seen.is_slow;
}

static void config_write(struct virtio_device *d, unsigned offset, unsigned bytes, uint64_t value)
{
    memcpy(d->config + offset, &value, bytes);
    seen.config_writes++;
}

static bool resume(struct virtio_device *d)
{
    (void)d;
    seen.resumes++;
    return false;
}

static void destroy(struct virtio_device *d)
{
    memset(d, 0, sizeof(*d));
    seen.destroys++;
}

static const struct virtio_device_ops ops = {.destroy = destroy,
                                             .notify = take_all,
                                             .start = start,
                                             .reset = reset,
                                             .config_write = config_write,
                                             .resume = resume};
static const struct virtio_type type = {.number = 42, .class_code = 0xff0000, .ops = &ops};

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static int begin(void **state)
{
    (void)state;
    memset(&device, 0, sizeof(device));
    memset(&seen, 0, sizeof(seen));
    memset(config, 0x5a, sizeof(config));
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    assert_true(virtio_create(&device, &type, &vfake.vm.run.devices->pci, DEVFN, BIT(3), QUEUES,
                              SIZE, config, sizeof(config)));
    return 0;
}

static int end(void **state)
{
    (void)state;
    virtio_stop(&device);
    if (!virtio_is_quiet(&device)) {
        spin_lock(&device.lock);
        virtio_reset_done(&device);
        spin_unlock(&device.lock);
    }
    assert_true(virtio_is_quiet(&device));
    virtio_destroy(&device);
    assert_int_equal(seen.destroys, 1);
    vfake_stop();
    assert_int_equal(vfake.pins, 0);
    return 0;
}

static uint8_t status(void)
{
    return (uint8_t)DRIVER_READ(&driver, status);
}

/* ---- drivers that keep the rules ---- */

static void test_identity(void **state)
{
    (void)state;
    driver_find(&driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, PCI_VENDOR, 4),
                     VIRTIO_VENDOR | (VIRTIO_DEVICE_BASE + 42) << 16);
    assert_int_equal(driver_config_read(DEVFN, PCI_CLASS, 4), 0xff000001);
    assert_true(driver.common != 0 && driver.isr != 0 && driver.config != 0 && driver.notify != 0);
    assert_int_equal(DRIVER_READ(&driver, queues), QUEUES);
    assert_int_equal(DRIVER_READ(&driver, queue_size), SIZE);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 8), 4), 0x5a5a5a5a);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 10), 8), 0x5a5a);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + sizeof(config)), 4), 0);
}

static void test_features(void **state)
{
    (void)state;
    driver_find(&driver, DEVFN);
    assert_true(driver_negotiate(&driver, UINT64_MAX) & VIRTIO_STATUS_FEATURES_OK);
    assert_int_equal(driver.features, FEATURES | BIT(3));
    /* Settled: nothing changes any more. */
    DRIVER_WRITE(&driver, driver_feature_select, 0);
    DRIVER_WRITE(&driver, driver_feature, 0);
    assert_int_equal(DRIVER_READ(&driver, driver_feature),
                     BIT(3) | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX);
    /* Without VERSION_1; with one that is not offered. */
    assert_false(driver_negotiate(&driver, BIT(3)) & VIRTIO_STATUS_FEATURES_OK);
    DRIVER_WRITE(&driver, status, VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(seen.starts, 0);
    DRIVER_WRITE(&driver, status, 0);
    DRIVER_WRITE(&driver, driver_feature_select, 0);
    DRIVER_WRITE(&driver, driver_feature, BIT(4));
    DRIVER_WRITE(&driver, driver_feature_select, 1);
    DRIVER_WRITE(&driver, driver_feature, 1);
    DRIVER_WRITE(&driver, status, VIRTIO_STATUS_FEATURES_OK);
    assert_int_equal(status(), 0);
    DRIVER_WRITE(&driver, driver_feature_select, 7);
    DRIVER_WRITE(&driver, driver_feature, 1);
    assert_int_equal(DRIVER_READ(&driver, driver_feature), 0);
}

static void test_chain(void **state)
{
    const struct driver_segment segment[] = {
        {DRIVER_BUFFERS, 16, false}, {DRIVER_BUFFERS + 16, 5000, true}, {0x1000, 1, true}};
    uint32_t head, bytes;

    (void)state;
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    assert_int_equal(seen.starts, 1);
    for (unsigned round = 0; round < 70000; round++) { /* indices wrap */
        driver_add(&driver, 0, round % 60, segment, 3);
        assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
        assert_true(driver_used(&driver, 0, &head, &bytes));
        assert_int_equal(head, round % 60);
        assert_int_equal(bytes, 5001);
        assert_false(driver_used(&driver, 0, &head, &bytes));
    }
    assert_int_equal(seen.last.count, 3);
    assert_int_equal(seen.last.readable, 16);
    assert_int_equal(seen.last.writable, 5001);
    assert_true(seen.last.segment[1].device_writes && !seen.last.segment[0].device_writes);
    assert_int_equal(seen.last.segment[2].address.v, 0x1000);
    assert_int_equal(status() & VIRTIO_STATUS_NEEDS_RESET, 0);
}

static void make_table(uint64_t at, unsigned entries)
{
    struct virtio_descriptor *table = (void *)(vfake.memory + at);

    for (unsigned i = 0; i < entries; i++) {
        table[i] = (struct virtio_descriptor){
            DRIVER_BUFFERS + i, 1, i + 1 < entries ? VIRTIO_DESC_NEXT : 0, (uint16_t)(i + 1)};
    }
}

static void test_indirect(void **state)
{
    uint32_t head, bytes;

    (void)state;
    driver_start(&driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    make_table(DRIVER_BUFFERS + 8, VIRTQ_SEGMENTS_MAX);
    driver_descriptor(0, 5, DRIVER_BUFFERS + 8, VIRTQ_SEGMENTS_MAX * 16, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&driver, 0, 5);
    /* The table's page is out: nothing happens until it is there. */
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(driver_notify(&driver, 0), BUS_PARK);
    assert_int_equal(seen.chains, 0);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_true(driver_used(&driver, 0, &head, &bytes));
    assert_int_equal(head, 5);
    assert_int_equal(seen.last.count, VIRTQ_SEGMENTS_MAX);
    assert_int_equal(seen.last.readable, VIRTQ_SEGMENTS_MAX);
}

static void test_untake(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    struct virtq_chain chain;

    (void)state;
    driver_start(&driver, DEVFN, 0, 1, 8);
    for (uint16_t i = 0; i < 8; i++) {
        driver_add(&driver, 0, i, &segment, 1);
    }
    for (uint16_t i = 0; i < 8; i++) {
        for (unsigned again = 0; again < 3; again++) {
            assert_int_equal(virtio_take(&device, 0, &chain, NULL), VIRTQ_CHAIN);
            assert_int_equal(chain.head, i);
            if (again < 2) {
                virtio_untake(&device, 0, chain.head);
            }
        }
    }
    assert_int_equal(virtio_take(&device, 0, &chain, NULL), VIRTQ_EMPTY);
    for (uint16_t i = 0; i < 8; i++) {
        virtio_give(&device, 0, 7 - i, 0);
    }
}

/* In pieces, with the others' turn between them. */
static void test_again(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    seen.limit = 10;
    for (uint16_t i = 0; i < 25; i++) {
        driver_add(&driver, 0, i, &segment, 1);
    }
    assert_int_equal(driver_notify(&driver, 0), BUS_PARK);
    assert_int_equal(driver_notify(&driver, 0), BUS_PARK);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(seen.chains, 25);
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
    driver_find(&driver, DEVFN);
    driver_negotiate(&driver, VIRTIO_F_VERSION_1);
    use_msix(QUEUES + 1);
    DRIVER_WRITE(&driver, config_vector, 4);
    assert_int_equal(DRIVER_READ(&driver, config_vector), 4);
    DRIVER_WRITE(&driver, config_vector, QUEUES + 1); /* the table has no such entry */
    assert_int_equal(DRIVER_READ(&driver, config_vector), VIRTIO_NO_VECTOR);
    DRIVER_WRITE(&driver, config_vector, 4);
    driver_enable(&driver, 0, SIZE, 1);
    DRIVER_WRITE(&driver, status, status() | VIRTIO_STATUS_DRIVER_OK);
    driver_add(&driver, 0, 0, &segment, 1);
    driver_notify(&driver, 0);
    assert_true(delivered(0x51));
    /* NO_INTERRUPT. */
    driver_store16(DRIVER_RINGS + DRIVER_AVAIL, VIRTIO_AVAIL_NO_INTERRUPT);
    driver_add(&driver, 0, 0, &segment, 1);
    driver_notify(&driver, 0);
    assert_false(delivered(0x51));
    spin_lock(&device.lock);
    virtio_config_changed(&device);
    spin_unlock(&device.lock);
    assert_true(delivered(0x54));
    assert_int_equal(DRIVER_READ(&driver, generation), 1);
    assert_int_equal(vfake_mmio_read(gpa(driver.isr), 1), 0);
}

static void test_intx(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    driver_add(&driver, 0, 0, &segment, 1);
    driver_notify(&driver, 0);
    assert_true(driver_config_read(DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTX);
    assert_int_equal(vfake.vm.run.devices->lines.pci[31 % 4], 1);
    assert_int_equal(vfake_mmio_read(gpa(driver.isr), 1), VIRTIO_ISR_QUEUE);
    assert_int_equal(vfake.vm.run.devices->lines.pci[31 % 4], 0);
    assert_int_equal(vfake_mmio_read(gpa(driver.isr), 1), 0);
}

/* An interrupt when the index passes used_event, and not before: over two rounds of the indices. */
static void test_event_index(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    uint64_t event = DRIVER_RINGS + DRIVER_AVAIL + 4 + 2 * SIZE;
    uint64_t notify_at = DRIVER_RINGS + DRIVER_USED + 4 + 8 * SIZE;

    (void)state;
    driver_find(&driver, DEVFN);
    driver_negotiate(&driver, FEATURES);
    use_msix(QUEUES + 1);
    driver_enable(&driver, 0, SIZE, 0);
    DRIVER_WRITE(&driver, status, status() | VIRTIO_STATUS_DRIVER_OK);
    driver_store16(event, 9);
    for (unsigned i = 0; i < 140000; i++) {
        driver_add(&driver, 0, i % SIZE, &segment, 1);
        driver_notify(&driver, 0);
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
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    driver_add(&driver, 0, 0, &segment, 1);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(seen.chains, 0);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(seen.chains, 1);
}

/* ---- set up and reset ---- */

static void test_enable_waits(void **state)
{
    unsigned parks = 0;

    (void)state;
    driver_find(&driver, DEVFN);
    driver_negotiate(&driver, VIRTIO_F_VERSION_1);
    /* Each of its pages is out once: nothing is held while the vCPU waits. */
    for (unsigned wait = 3; wait > 0; wait--) {
        vfake.wait_at = vfake.calls + wait;
        assert_int_equal(driver_enable(&driver, 0, SIZE, 0), BUS_PARK);
        assert_int_equal(DRIVER_READ(&driver, queue_enable), 0);
        assert_int_equal(vfake.pins, 0);
        parks++;
    }
    vfake.wait_at = 0;
    assert_int_equal(driver_enable(&driver, 0, SIZE, 0), BUS_DONE);
    assert_int_equal(DRIVER_READ(&driver, queue_enable), 1);
    assert_int_equal(vfake.pins, 3);
    assert_int_equal(parks, 3);
    /* In use: its registers stay as they are. */
    DRIVER_WRITE(&driver, queue_descriptors[0], 0x100);
    DRIVER_WRITE(&driver, queue_size, 2);
    assert_int_equal(DRIVER_READ(&driver, queue_descriptors[0]), DRIVER_RINGS);
    assert_int_equal(DRIVER_READ(&driver, queue_size), SIZE);
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(DRIVER_READ(&driver, queue_enable), 0);
    assert_int_equal(DRIVER_READ(&driver, queue_descriptors[0]), 0);
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
    driver_find(&driver, DEVFN);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        driver_negotiate(&driver, VIRTIO_F_VERSION_1);
        DRIVER_WRITE(&driver, queue_select, 1);
        for (unsigned part = 0; part < 3; part++) {
            unsigned at = (unsigned)offsetof(struct virtio_common, queue_descriptors) + part * 8;

            driver_write(&driver, at, 4, (uint32_t)bad[i][part]);
            driver_write(&driver, at + 4, 4, (uint32_t)(bad[i][part] >> 32));
        }
        DRIVER_WRITE(&driver, queue_enable, 1);
        assert_int_equal(DRIVER_READ(&driver, queue_enable), 0);
        assert_true(status() & VIRTIO_STATUS_NEEDS_RESET);
        assert_int_equal(vfake.pins, 0);
    }
    /* Too early, and a queue that is not there. */
    DRIVER_WRITE(&driver, status, 0);
    DRIVER_WRITE(&driver, queue_enable, 1);
    assert_int_equal(DRIVER_READ(&driver, queue_enable), 0);
    DRIVER_WRITE(&driver, queue_select, QUEUES);
    DRIVER_WRITE(&driver, queue_enable, 1);
    assert_int_equal(DRIVER_READ(&driver, queue_size), 0);
    assert_int_equal(status(), 0);
}

static void test_slow_reset(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};

    (void)state;
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    seen.resets = 0;
    seen.keeps = true;
    seen.is_slow = true;
    driver_add(&driver, 0, 3, &segment, 1);
    driver_notify(&driver, 0);
    assert_int_equal(seen.holds, 1);
    DRIVER_WRITE(&driver, status, 0);
    assert_int_not_equal(status(), 0);
    assert_int_equal(vfake.pins, 3);
    DRIVER_WRITE(&driver, status, 0); /* impatient */
    DRIVER_WRITE(&driver, status, VIRTIO_STATUS_ACKNOWLEDGE);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(seen.resets, 1);
    assert_false(virtio_is_quiet(&device));
    spin_lock(&device.lock);
    virtio_reset_done(&device);
    spin_unlock(&device.lock);
    assert_int_equal(status(), 0);
    assert_int_equal(vfake.pins, 0);
    assert_true(virtio_is_quiet(&device));
}

static void test_function_reset(void **state)
{
    unsigned cap = driver_capability(DEVFN, PCI_CAP_AF, 0);
    uint32_t bar = driver_config_read(DEVFN, PCI_BAR0, 4);

    (void)state;
    driver_start(&driver, DEVFN, 0, 2, SIZE);
    use_msix(1);
    assert_true(driver_config_read(DEVFN, cap + PCI_AF_CAPABILITY, 1) & PCI_AF_FLR);
    driver_config_write(DEVFN, cap + PCI_AF_CONTROL, 1, PCI_AF_INITIATE);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(driver_config_read(DEVFN, PCI_COMMAND, 2), 0);
    assert_int_equal(driver_config_read(DEVFN, PCI_BAR0, 4), PCI_BAR_TYPE_64);
    assert_false(vpci_msix_enabled(&device.function));
    assert_int_equal(vfake_mmio_read(gpa(driver.common), 4), UINT32_MAX); /* not there */
    driver_config_write(DEVFN, PCI_BAR0, 4, bar);
    driver_config_write(DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(status(), 0);
}

/* Registers through the configuration space. */
static void test_pci_access(void **state)
{
    unsigned cap = driver_capability(DEVFN, PCI_CAP_VENDOR, 4);

    (void)state;
    driver_find(&driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, cap + VIRTIO_CAP_TYPE, 1), VIRTIO_CFG_PCI);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_OFFSET, 4, offsetof(struct virtio_common, status));
    driver_config_write(DEVFN, cap + VIRTIO_CAP_BYTES, 4, 1);
    driver_config_write(DEVFN, cap + VIRTIO_CAP_PCI_DATA, 1, VIRTIO_STATUS_ACKNOWLEDGE);
    assert_int_equal(status(), VIRTIO_STATUS_ACKNOWLEDGE);
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
    assert_int_equal(status(), VIRTIO_STATUS_ACKNOWLEDGE);
}

/* ---- drivers that break the rules ---- */

/* Ring 0 is set up, indirect tables are allowed; the device must ask for a reset, and only that. */
static void expect_broken(const char *what)
{
    unsigned chains = seen.chains;

    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    if (!(status() & VIRTIO_STATUS_NEEDS_RESET) || seen.chains != chains) {
        fail_msg("not refused: %s", what);
    }
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    driver_start(&driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
}

static void test_hostile_chains(void **state)
{
    const uint64_t buffer = DRIVER_BUFFERS;

    (void)state;
    driver_start(&driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    driver_publish(&driver, 0, SIZE);
    expect_broken("a head that is none");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, 1);
    driver_publish(&driver, 0, 1);
    expect_broken("a loop of one");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, 2);
    driver_descriptor(0, 2, buffer, 16, VIRTIO_DESC_NEXT, 1);
    driver_publish(&driver, 0, 1);
    expect_broken("a loop of two");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, SIZE);
    driver_publish(&driver, 0, 1);
    expect_broken("a next one that is none");
    driver_descriptor(0, 1, buffer, 0, 0, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("no bytes");
    driver_descriptor(0, 1, UINT64_MAX - 7, 16, 0, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("beyond the last address");
    driver_descriptor(0, 1, buffer, 0x80000000, VIRTIO_DESC_NEXT, 2);
    driver_descriptor(0, 2, buffer, 0x80000000, 0, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("4 GiB");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT | VIRTIO_DESC_WRITE, 2);
    driver_descriptor(0, 2, buffer, 16, 0, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("read behind written");
}

static void test_hostile_tables(void **state)
{
    static const uint32_t bad_bytes[] = {0, 15, 17, (VIRTQ_SEGMENTS_MAX + 1) * 16, UINT32_MAX};
    struct virtio_descriptor *table = (void *)(vfake.memory + DRIVER_BUFFERS);

    (void)state;
    driver_start(&driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(bad_bytes); i++) {
        make_table(DRIVER_BUFFERS, 4);
        driver_descriptor(0, 1, DRIVER_BUFFERS, bad_bytes[i], VIRTIO_DESC_INDIRECT, 0);
        driver_publish(&driver, 0, 1);
        expect_broken("the size of a table");
    }
    driver_descriptor(0, 1, MEMORY, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("a table beyond memory");
    driver_descriptor(0, 1, UINT64_MAX - 15, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("a table beyond the last address");
    driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT | VIRTIO_DESC_NEXT, 2);
    driver_publish(&driver, 0, 1);
    expect_broken("a table and a next one");
    for (unsigned bad = 0; bad < 3; bad++) {
        make_table(DRIVER_BUFFERS, 4);
        table[bad == 0 ? 3 : 2].flags = bad == 0   ? VIRTIO_DESC_INDIRECT
                                        : bad == 1 ? VIRTIO_DESC_NEXT
                                                   : VIRTIO_DESC_NEXT;
        table[2].next = bad == 1 ? 4 : bad == 2 ? 0 : 3;
        driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT, 0);
        driver_publish(&driver, 0, 1);
        expect_broken("an entry of a table");
    }
    /* Not negotiated. */
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    make_table(DRIVER_BUFFERS, 4);
    driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&driver, 0, 1);
    expect_broken("a table that was not negotiated");
}

static void test_hostile_indices(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    uint64_t index = DRIVER_RINGS + DRIVER_AVAIL + 2;

    (void)state;
    driver_start(&driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    driver_add(&driver, 0, 0, &segment, 1);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(seen.chains, 1);
    driver_store16(index, 0);
    expect_broken("an index that runs backwards");
    driver_store16(index, SIZE + 1);
    expect_broken("an index that runs away");
    seen.keeps = true;
    driver_add(&driver, 0, 4, &segment, 1);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    driver_publish(&driver, 0, 4);
    expect_broken("a chain that the device has");
}

/* Rings of random bytes, some of them likely, and a driver that writes anything anywhere. */
static void random_ring(unsigned queue)
{
    uint64_t ring = DRIVER_RINGS + queue * DRIVER_RING;

    for (unsigned i = 0; i < SIZE; i++) {
        bool wild = support_random_below(50) == 0;
        uint64_t address = wild ? support_random() : support_random_below(MEMORY);
        uint32_t bytes = wild ? (uint32_t)support_random() : (uint32_t)support_random_below(200);
        uint16_t flags = (uint16_t)(support_random_below(8));

        driver_descriptor(queue, i, address, flags & VIRTIO_DESC_INDIRECT ? bytes & ~15u : bytes,
                          flags, (uint16_t)support_random_below(SIZE + wild));
        driver_store16(ring + DRIVER_AVAIL + 4 + 2 * i,
                       (uint16_t)support_random_below(SIZE + wild));
    }
    driver_store16(ring + DRIVER_AVAIL + 2,
                   (uint16_t)(device.queue[queue].avail_next + support_random_below(SIZE + 2)));
}

static void random_register(void)
{
    unsigned offset = (unsigned)support_random_below(sizeof(struct virtio_common));
    unsigned size = 1u << support_random_below(3);
    uint64_t value = support_random_below(4) ? support_random_below(16) : support_random();

    (void)vdev_mmio_write(&vfake.vcpu[0], gpa(driver.common + offset), size, value);
    (void)vfake_mmio_read(gpa(driver.common + offset), size);
}

static void test_random(void **state)
{
    unsigned chains = 0;

    (void)state;
    support_seed(20261127);
    for (unsigned round = 0; round < 3000; round++) {
        driver_start(&driver, DEVFN, support_random_below(2) ? FEATURES : 0, QUEUES, SIZE);
        assert_int_equal(vfake.pins, QUEUES * 3);
        seen.keeps = support_random_below(2);
        for (unsigned step = 0; step < 8; step++) {
            unsigned queue = (unsigned)support_random_below(QUEUES);

            random_ring(queue);
            vfake.wait_often = support_random_below(4) == 0;
            if (support_random_below(3) == 0) {
                random_register();
            }
            (void)driver_notify(&driver, queue);
            vfake.wait_often = false;
        }
        chains += seen.chains;
        seen.chains = 0;
        seen.holds = 0;
    }
    assert_true(chains > 1000 && seen.parks > 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_identity),       CASE(test_features),       CASE(test_chain),
        CASE(test_indirect),       CASE(test_untake),         CASE(test_again),
        CASE(test_msix),           CASE(test_intx),           CASE(test_event_index),
        CASE(test_no_master),      CASE(test_enable_waits),   CASE(test_bad_rings),
        CASE(test_slow_reset),     CASE(test_function_reset), CASE(test_pci_access),
        CASE(test_hostile_chains), CASE(test_hostile_tables), CASE(test_hostile_indices),
        CASE(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
