/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/fake_disk.c hv/timer.c */
/*
 * virtio-blk as a guest's driver sees it: requests in chains of any shape, more of them than the
 * disk has requests for, what cannot be, resets while requests are in flight, pages that are away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/config/config.h"
#include "hv/vdev/virtio/vblk.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN   (8u << 3)
#define MEMORY  (1u << 20)
#define BLOCKS  64u
#define SIZE    128u
#define VCPUS   2u
#define FLUSH   BIT(9)
#define DISCARD BIT(13)
#define ALL     (~0ull)

enum {
    T_IN,
    T_OUT,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_ZEROES = 13,
};

static struct fake_disk disk;
static struct virtio_driver driver;
static struct virtio_device *device;
static uint32_t discard_max; /* of the next disk */
static struct vm_config vm_config = {.name = "fake", .vcpus = VCPUS};

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static void create(bool read_only)
{
    vfake_start(VCPUS);
    vfake_memory(MEMORY);
    vfake.vm.config = &vm_config;
    vfake.vcpu[0].waiter.wake = wake;
    fake_disk_init(&disk, BLOCKS, 7);
    disk.device.discard_max = discard_max;
    disk.device.discard_align = 16;
    device = vblk_create(&vfake.vm, &vfake.vm.run.devices->pci, DEVFN, &disk.device, read_only);
    assert_non_null(device);
    vfake.vm.run.devices->virtio[vfake.vm.run.devices->virtio_count++] = device;
}

static void run(void)
{
    vfake_advance(1000);
    while (fake_disk_step(&disk)) {
        vfake_advance(1000);
    }
}

static void destroy(void)
{
    vm_devices_stop(&vfake.vm);
    run();
    assert_true(vm_devices_stop(&vfake.vm));
    assert_int_equal(vfake.pins, 0);
    vfake_stop(); /* and the device */
    assert_int_equal(vfake.own_frames, 0);
    fake_disk_free(&disk);
}

static uint64_t buffer(unsigned number)
{
    return DRIVER_BUFFERS + number * 0x2000ull;
}

/* One request as Linux makes it: header, data, status. */
static void add(unsigned queue, unsigned number, uint32_t type, uint64_t sector, uint64_t data,
                uint32_t bytes)
{
    uint64_t header = buffer(0) + number * 32;
    struct driver_segment segment[3] = {{header, 16, false}};
    unsigned count = 1;

    memcpy(vfake.memory + header, &type, 4);
    memset(vfake.memory + header + 4, 0, 4);
    memcpy(vfake.memory + header + 8, &sector, 8);
    vfake.memory[header + 16] = 0xee;
    if (bytes != 0) {
        segment[count++] = (struct driver_segment){data, bytes, type == T_IN || type == T_GET_ID};
    }
    segment[count++] = (struct driver_segment){header + 16, 1, true};
    driver_add(&driver, queue, (uint16_t)(number * 3), segment, count);
}

static uint8_t status(unsigned number)
{
    return vfake.memory[buffer(0) + number * 32 + 16];
}

static unsigned used(unsigned queue)
{
    uint32_t head, bytes;
    unsigned count = 0;

    while (driver_used(&driver, queue, &head, &bytes)) {
        count++;
    }
    return count;
}

/* Its status, when it has come back. */
static uint8_t result(uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
    add(0, 0, type, sector, data, bytes);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    run();
    assert_int_equal(used(0), 1);
    return status(0);
}

static uint64_t config_at(unsigned offset, unsigned bytes)
{
    return vfake_mmio_read(gpa(driver.config + offset), bytes);
}

static void test_configuration(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_int_equal(config_at(0, 8), BLOCKS * 8);
    assert_int_equal(config_at(12, 4), VDISK_SEGMENTS);
    assert_int_equal(config_at(20, 4), 512);
    assert_int_equal(config_at(24, 1), 3);
    assert_int_equal(config_at(34, 2), VCPUS);
    assert_true((driver.features & BIT(5)) == 0 && (driver.features & FLUSH) != 0);
    destroy();
    create(true);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_true((driver.features & BIT(5)) != 0 && (driver.features & BIT(14)) == 0);
    assert_int_equal(result(T_OUT, 0, buffer(1), 512), VDISK_IOERR);
    assert_int_equal(result(T_IN, 0, buffer(1), 512), VDISK_OK);
    destroy();
}

/* Offered where the disk has it, with the limits of the disk, and done. */
static void test_discard(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_int_equal(driver.features & DISCARD, 0);
    destroy();
    for (unsigned read_only = 0; read_only < 2; read_only++) {
        discard_max = 48;
        create(read_only);
        driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
        assert_true((driver.features & DISCARD) == (read_only ? 0 : DISCARD));
        assert_int_equal(config_at(36, 4), 48);
        assert_int_equal(config_at(40, 4), VDISK_RANGES);
        assert_int_equal(config_at(52, 4), VDISK_RANGES);
        assert_int_equal(config_at(44, 4), 16);
        memset(disk.data, 0x55, BLOCKS * 4096);
        memcpy(vfake.memory + buffer(1), &(struct vdisk_range){9, 48, 0}, 16);
        assert_int_equal(result(T_DISCARD, 0, buffer(1), 16), read_only ? VDISK_IOERR : VDISK_OK);
        assert_int_equal(disk.discards, !read_only);
        for (unsigned i = 0; i < BLOCKS * 8; i++) {
            bool gone = i >= 9 && i < 57 && !read_only;

            assert_int_equal(disk.data[i * 512], gone ? FAKE_DISK_DISCARDED : 0x55);
        }
        destroy();
        discard_max = 0;
    }
}

static void test_requests(void **state)
{
    char *memory;

    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    memory = (char *)vfake.memory + buffer(1);
    strcpy(memory, "written");
    assert_int_equal(result(T_OUT, 8, buffer(1), 4096), VDISK_OK);
    assert_string_equal((char *)disk.data + 4096, "written");
    assert_int_equal(result(T_FLUSH, 0, 0, 0), VDISK_OK);
    assert_int_equal(disk.flushes, 1);
    memset(memory, 0x11, 8192);
    assert_int_equal(result(T_IN, 8, buffer(1) + 512, 1024), VDISK_OK);
    assert_string_equal(memory + 512, "written");
    assert_int_equal(memory[511], 0x11);
    assert_int_equal(memory[1536], 0x11);
    assert_int_equal(result(T_GET_ID, 0, buffer(1), 20), VDISK_OK);
    assert_string_equal(memory, "fake0");
    memcpy(memory, &(struct vdisk_range){8, 8, 0}, 16);
    assert_int_equal(result(T_ZEROES, 0, buffer(1), 16), VDISK_OK);
    assert_int_equal(disk.data[4096], 0);
    assert_int_equal(result(T_DISCARD, 0, buffer(1), 16), VDISK_UNSUPP);
    assert_int_equal(result(99, 0, buffer(1), 512), VDISK_UNSUPP);
    assert_int_equal(result(T_IN, BLOCKS * 8, buffer(1), 512), VDISK_IOERR);
    assert_int_equal(result(T_IN, 0, MEMORY, 512), VDISK_IOERR);
    disk.reads_down = true;
    assert_int_equal(result(T_IN, 8, buffer(1), 4096), VDISK_IOERR);
    destroy();
}

/* A driver that does not know FLUSH, or has switched the cache off: a write that is done is safe.
 */
static void test_write_through(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL & ~FLUSH, VCPUS, SIZE);
    assert_int_equal(result(T_OUT, 8, buffer(1), 4096), VDISK_OK);
    assert_int_equal(disk.flushes, 1);
    destroy();
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_int_equal(result(T_OUT, 8, buffer(1), 4096), VDISK_OK);
    assert_int_equal(disk.flushes, 0);
    vfake_mmio_write(gpa(driver.config + 32), 1, 0);
    assert_int_equal(config_at(32, 1), 0);
    assert_int_equal(result(T_OUT, 8, buffer(1), 4096), VDISK_OK);
    assert_int_equal(disk.flushes, 1);
    destroy();
}

/* Header, data and status in pieces that no driver of today makes, and too many of them. */
static void test_any_layout(void **state)
{
    struct driver_segment segment[VDISK_SEGMENTS + 4];
    uint64_t at = buffer(1);
    unsigned count = 0;

    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    memset(vfake.memory + at, 0, 0x4000);
    vfake.memory[at] = T_OUT;
    vfake.memory[at + 8] = 16;                                         /* sector */
    segment[count++] = (struct driver_segment){at, 5, false};          /* of the header */
    segment[count++] = (struct driver_segment){at + 5, 11 + 3, false}; /* and data behind it */
    segment[count++] = (struct driver_segment){at + 19, 509, false};
    segment[count++] =
        (struct driver_segment){at + 1000, 4, true}; /* its last byte is the status */
    memcpy(vfake.memory + at + 16, "pieces", 7);
    vfake.memory[at + 1003] = 0xee;
    driver_add(&driver, 1, 0, segment, count);
    driver_notify(&driver, 1);
    run();
    assert_int_equal(used(1), 1);
    assert_int_equal(vfake.memory[at + 1003], VDISK_OK);
    assert_string_equal((char *)disk.data + 16 * 512, "pieces");

    vfake.memory[at] = T_IN;
    segment[0] = (struct driver_segment){at, 16, false};
    for (count = 1; count <= VDISK_SEGMENTS + 1; count++) {
        segment[count] = (struct driver_segment){at + 4096 + count * 512, 512, true};
    }
    segment[count++] = (struct driver_segment){at + 1003, 1, true};
    driver_add(&driver, 1, 0, segment, count);
    driver_notify(&driver, 1);
    run();
    assert_int_equal(used(1), 1);
    assert_int_equal(vfake.memory[at + 1003], VDISK_IOERR); /* more than SEG_MAX */
    destroy();
}

/* A chain that is no request: the device asks for a reset, and works again behind it. */
static void test_no_request(void **state)
{
    static const struct driver_segment bad[][2] = {
        {{0x80000, 15, false}, {0x80100, 1, true}},
        {{0x80000, 16, false}, {0x80100, 16, false}},
        {{MEMORY, 16, false}, {0x80100, 1, true}},
        {{0x80100, 1, true}, {0x80200, 16, true}},
    };

    (void)state;
    create(false);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
        driver_add(&driver, 0, 0, bad[i], 2);
        driver_notify(&driver, 0);
        run();
        assert_int_equal(used(0), 0);
        assert_true(DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET);
    }
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_int_equal(result(T_IN, 0, buffer(1), 512), VDISK_OK);
    destroy();
}

/* More chains than the disk has requests: those that wait are taken as others end, of all queues.
 */
static void test_many(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    for (unsigned queue = 0; queue < VCPUS; queue++) {
        for (unsigned i = 0; i < 40; i++) {
            add(queue, i, T_IN, i, buffer(2), 512);
        }
        assert_int_equal(driver_notify(&driver, queue), BUS_DONE);
    }
    assert_int_equal(disk.queued, VDISK_REQUESTS);
    run();
    assert_int_equal(used(0), 40);
    assert_int_equal(used(1), 40);
    destroy();
}

/* A reset while requests are in flight is over when they have ended; the guest's memory is not
 * written behind it. */
static void test_reset(void **state)
{
    (void)state;
    create(false);
    memset(disk.data, 0x77, BLOCKS * 4096);
    for (unsigned in_flight = 0; in_flight < 40; in_flight += 3) {
        driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
        for (unsigned i = 0; i < in_flight; i++) {
            add(0, i, T_IN, i, buffer(2), 4096);
        }
        driver_notify(&driver, 0);
        DRIVER_WRITE(&driver, status, 0);
        assert_int_equal(DRIVER_READ(&driver, status) != 0, in_flight != 0);
        run();
        assert_int_equal(DRIVER_READ(&driver, status), 0);
        assert_int_equal(vfake.pins, 0);
        assert_int_equal(disk.queued, 0);
        memset(vfake.memory + buffer(2), 0x11, 4096);
        run();
        assert_int_equal(vfake.memory[buffer(2)], 0x11);
        assert_int_equal(used(0), 0);
    }
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    assert_int_equal(result(T_IN, 0, buffer(1), 512), VDISK_OK);
    destroy();
}

/* A reset while the device itself waits for a header.  It must not wait for the waiter, whose
 * wake() wants the device's lock: the only one that is cancelled is the disk's own. */
static void test_reset_waits(void **state)
{
    (void)state;
    create(false);
    for (unsigned access = 1; access < 12; access++) {
        unsigned cancels;

        driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
        for (unsigned i = 0; i < 40; i++) {
            add(0, i, T_IN, i, buffer(2), 512);
        }
        driver_notify(&driver, 0);
        vfake.calls = 0;
        vfake.wait_at = access;
        while (vfake.calls < access) {
            fake_disk_step(&disk);
            vfake_advance(1000);
        }
        vfake.wait_at = 0;
        cancels = vfake.cancels;
        DRIVER_WRITE(&driver, status, 0);
        assert_int_equal(vfake.cancels - cancels, 1);
        run();
        assert_int_equal(DRIVER_READ(&driver, status), 0);
        driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
        device->waiter.wake(&device->waiter); /* it may have waited */
        assert_int_equal(result(T_IN, 0, buffer(1), 512), VDISK_OK);
    }
    destroy();
}

/* The VM ends with requests in flight: nothing is freed before they have ended. */
static void test_end(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    for (unsigned i = 0; i < 10; i++) {
        add(0, i, T_IN, i, buffer(2), 4096);
    }
    driver_notify(&driver, 0);
    assert_false(vm_devices_stop(&vfake.vm));
    while (disk.queued > 1) {
        fake_disk_step(&disk);
        vfake_advance(1000);
        assert_false(vm_devices_stop(&vfake.vm));
    }
    destroy();
}

/* A header that is paged out: the vCPU waits, nothing has happened, and it notifies again. */
static void test_header_is_away(void **state)
{
    (void)state;
    create(false);
    driver_start(&driver, DEVFN, ALL, VCPUS, SIZE);
    add(0, 0, T_IN, 0, buffer(1), 512);
    vfake.calls = 0;
    vfake.wait_at = 1;
    assert_int_equal(driver_notify(&driver, 0), BUS_PARK);
    assert_int_equal(disk.queued, 0);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    run();
    assert_int_equal(used(0), 1);
    assert_int_equal(status(0), VDISK_OK);
    destroy();
}

/* Each frame that it needs is not to be had once. */
static void test_no_memory(void **state)
{
    unsigned failures = 0;

    (void)state;
    vfake_start(VCPUS);
    vfake_memory(MEMORY);
    vfake.vm.config = &vm_config;
    fake_disk_init(&disk, BLOCKS, 7);
    for (vfake.own_most = 0;; vfake.own_most++) {
        device = vblk_create(&vfake.vm, &vfake.vm.run.devices->pci, DEVFN, &disk.device, false);
        if (device != NULL) {
            break;
        }
        failures++;
        assert_int_equal(vfake.own_frames, 0);
    }
    assert_true(failures > 10);
    assert_true(vfake.own_frames <= ADMISSION_DISK_FRAMES);
    vfake.vm.run.devices->virtio[vfake.vm.run.devices->virtio_count++] = device;
    destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configuration),  cmocka_unit_test(test_requests),
        cmocka_unit_test(test_discard),        cmocka_unit_test(test_write_through),
        cmocka_unit_test(test_any_layout),     cmocka_unit_test(test_no_request),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_waits),    cmocka_unit_test(test_end),
        cmocka_unit_test(test_header_is_away), cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
