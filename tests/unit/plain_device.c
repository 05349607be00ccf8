/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/plain_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vdev_fake.h"

struct virtio_device plain_device;
struct virtio_driver plain_driver;
uint8_t plain_config[12];
struct plain_seen plain_seen;
static enum bus_result take_all(struct virtio_device *d, unsigned queue, struct mm_waiter *waiter)
{
    for (unsigned n = 0; plain_seen.limit == 0 || n < plain_seen.limit; n++) {
        switch (virtio_take(d, queue, &plain_seen.last, waiter)) {
        case VIRTQ_CHAIN:
            plain_seen.chains++;
            if (plain_seen.keeps) {
                plain_seen.held[plain_seen.holds++] = plain_seen.last.head;
            } else {
                virtio_give(d, queue, plain_seen.last.head, plain_seen.last.writable);
            }
            break;
        case VIRTQ_PARK:
            plain_seen.parks++;
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
    plain_seen.starts++;
}

static bool reset(struct virtio_device *d)
{
    (void)d;
    plain_seen.resets++;
    plain_seen.holds = 0;
    return !plain_seen.is_slow;
}

static void config_write(struct virtio_device *d, unsigned offset, unsigned bytes, uint64_t value)
{
    memcpy(d->config + offset, &value, bytes);
    plain_seen.config_writes++;
}

static bool resume(struct virtio_device *d)
{
    (void)d;
    plain_seen.resumes++;
    return false;
}

static void destroy(struct virtio_device *d)
{
    memset(d, 0, sizeof(*d));
    plain_seen.destroys++;
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

int plain_begin(void **state)
{
    (void)state;
    memset(&plain_device, 0, sizeof(plain_device));
    memset(&plain_seen, 0, sizeof(plain_seen));
    memset(plain_config, 0x5a, sizeof(plain_config));
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    assert_true(virtio_create(&plain_device, &type, &vfake.vm.run.devices->pci, DEVFN, BIT(3),
                              QUEUES, SIZE, plain_config, sizeof(plain_config)));
    return 0;
}

int plain_end(void **state)
{
    (void)state;
    virtio_stop(&plain_device);
    if (!virtio_is_quiet(&plain_device)) {
        spin_lock(&plain_device.lock);
        virtio_reset_done(&plain_device);
        spin_unlock(&plain_device.lock);
    }
    assert_true(virtio_is_quiet(&plain_device));
    virtio_destroy(&plain_device);
    assert_int_equal(plain_seen.destroys, 1);
    vfake_stop();
    assert_int_equal(vfake.pins, 0);
    return 0;
}

uint8_t plain_status(void)
{
    return (uint8_t)DRIVER_READ(&plain_driver, status);
}

void plain_make_table(uint64_t at, unsigned entries)
{
    struct virtio_descriptor *table = (void *)(vfake.memory + at);

    for (unsigned i = 0; i < entries; i++) {
        table[i] = (struct virtio_descriptor){
            DRIVER_BUFFERS + i, 1, i + 1 < entries ? VIRTIO_DESC_NEXT : 0, (uint16_t)(i + 1)};
    }
}
