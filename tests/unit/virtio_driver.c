/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/virtio_driver.h"

#include <string.h>

#include "arch/x86/hw/pci.h"
#include "arch/x86/hw/ports.h"
#include "hv/vdev/access.h"
#include "tests/unit/vdev_fake.h"

/* ---- configuration space ---- */

static void select_register(uint8_t devfn, unsigned reg)
{
    vfake_port_out(IOPORT_PCI_ADDRESS, 4,
                   (uint32_t)PCI_ADDRESS_ENABLE | (uint32_t)devfn << 8 | (reg & 0xfcu));
}

uint32_t driver_config_read(uint8_t devfn, unsigned reg, unsigned size)
{
    select_register(devfn, reg);
    return vfake_port_in((uint16_t)(IOPORT_PCI_DATA + (reg & 3)), size);
}

void driver_config_write(uint8_t devfn, unsigned reg, unsigned size, uint32_t value)
{
    select_register(devfn, reg);
    vfake_port_out((uint16_t)(IOPORT_PCI_DATA + (reg & 3)), size, value);
}

unsigned driver_capability(uint8_t devfn, uint8_t id, unsigned n)
{
    unsigned at = driver_config_read(devfn, PCI_CAPABILITIES, 1);

    for (; at != 0; at = driver_config_read(devfn, at + 1, 1)) {
        if (driver_config_read(devfn, at, 1) == id && n-- == 0) {
            return at;
        }
    }
    return 0;
}

/* ---- registers ---- */

void driver_find(struct virtio_driver *driver, uint8_t devfn)
{
    uint64_t bar = driver_config_read(devfn, PCI_BAR0, 4) & ~PCI_BAR_FLAGS;
    unsigned cap;

    memset(driver, 0, sizeof(*driver));
    driver->devfn = devfn;
    bar |= (uint64_t)driver_config_read(devfn, PCI_BAR0 + 4, 4) << 32;
    driver_config_write(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (unsigned n = 0; (cap = driver_capability(devfn, PCI_CAP_VENDOR, n)) != 0; n++) {
        uint64_t at = bar + driver_config_read(devfn, cap + VIRTIO_CAP_OFFSET, 4);

        switch (driver_config_read(devfn, cap + VIRTIO_CAP_TYPE, 1)) {
        case VIRTIO_CFG_COMMON:
            driver->common = at;
            break;
        case VIRTIO_CFG_NOTIFY:
            driver->notify = at;
            driver->multiplier = driver_config_read(devfn, cap + VIRTIO_CAP_NOTIFY_MULTIPLIER, 4);
            break;
        case VIRTIO_CFG_ISR:
            driver->isr = at;
            break;
        case VIRTIO_CFG_DEVICE:
            driver->config = at;
            break;
        }
    }
}

uint32_t driver_read(const struct virtio_driver *driver, unsigned offset, unsigned size)
{
    return (uint32_t)vfake_mmio_read(gpa(driver->common + offset), size);
}

void driver_write(const struct virtio_driver *driver, unsigned offset, unsigned size,
                  uint32_t value)
{
    vfake_mmio_write(gpa(driver->common + offset), size, value);
}

/* ---- start ---- */

static uint64_t offered(const struct virtio_driver *driver)
{
    uint64_t features;

    DRIVER_WRITE(driver, device_feature_select, 0);
    features = DRIVER_READ(driver, device_feature);
    DRIVER_WRITE(driver, device_feature_select, 1);
    return features | (uint64_t)DRIVER_READ(driver, device_feature) << 32;
}

uint8_t driver_negotiate(struct virtio_driver *driver, uint64_t wanted)
{
    DRIVER_WRITE(driver, status, 0);
    DRIVER_WRITE(driver, status, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    driver->features = offered(driver) & wanted;
    DRIVER_WRITE(driver, driver_feature_select, 0);
    DRIVER_WRITE(driver, driver_feature, (uint32_t)driver->features);
    DRIVER_WRITE(driver, driver_feature_select, 1);
    DRIVER_WRITE(driver, driver_feature, (uint32_t)(driver->features >> 32));
    DRIVER_WRITE(driver, status, DRIVER_READ(driver, status) | VIRTIO_STATUS_FEATURES_OK);
    return (uint8_t)DRIVER_READ(driver, status);
}

static uint64_t ring(unsigned queue)
{
    return DRIVER_RINGS + queue * DRIVER_RING;
}

enum bus_result driver_enable(struct virtio_driver *driver, unsigned queue, uint16_t size,
                              uint16_t vector)
{
    driver->size = size;
    driver->avail[queue] = 0;
    driver->used[queue] = 0;
    memset(vfake.memory + ring(queue), 0, DRIVER_RING);
    DRIVER_WRITE(driver, queue_select, queue);
    DRIVER_WRITE(driver, queue_size, size);
    DRIVER_WRITE(driver, queue_vector, vector);
    DRIVER_WRITE(driver, queue_descriptors[0], (uint32_t)ring(queue));
    DRIVER_WRITE(driver, queue_avail[0], (uint32_t)ring(queue) + DRIVER_AVAIL);
    DRIVER_WRITE(driver, queue_used[0], (uint32_t)ring(queue) + DRIVER_USED);
    return vdev_mmio_write(
        &vfake.vcpu[0], gpa(driver->common + offsetof(struct virtio_common, queue_enable)), 2, 1);
}

void driver_start(struct virtio_driver *driver, uint8_t devfn, uint64_t wanted, unsigned queues,
                  uint16_t size)
{
    driver_find(driver, devfn);
    driver_negotiate(driver, wanted | VIRTIO_F_VERSION_1);
    for (unsigned i = 0; i < queues; i++) {
        driver_enable(driver, i, size, VIRTIO_NO_VECTOR);
    }
    DRIVER_WRITE(driver, status, DRIVER_READ(driver, status) | VIRTIO_STATUS_DRIVER_OK);
}

/* ---- rings ---- */

uint16_t driver_load16(uint64_t address)
{
    uint16_t value;

    memcpy(&value, vfake.memory + address, sizeof(value));
    return value;
}

void driver_store16(uint64_t address, uint16_t value)
{
    memcpy(vfake.memory + address, &value, sizeof(value));
}

void driver_descriptor(unsigned queue, unsigned number, uint64_t address, uint32_t bytes,
                       uint16_t flags, uint16_t next)
{
    struct virtio_descriptor descriptor = {address, bytes, flags, next};

    memcpy(vfake.memory + ring(queue) + number * sizeof(descriptor), &descriptor,
           sizeof(descriptor));
}

void driver_publish(struct virtio_driver *driver, unsigned queue, uint16_t head)
{
    uint64_t avail = ring(queue) + DRIVER_AVAIL;

    driver_store16(avail + 4 + driver->avail[queue] % driver->size * 2u, head);
    driver_store16(avail + 2, ++driver->avail[queue]);
}

void driver_add(struct virtio_driver *driver, unsigned queue, uint16_t head,
                const struct driver_segment *segment, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        driver_descriptor(queue, head + i, segment[i].address, segment[i].bytes,
                          (uint16_t)((i + 1 < count ? VIRTIO_DESC_NEXT : 0) |
                                     (segment[i].device_writes ? VIRTIO_DESC_WRITE : 0)),
                          (uint16_t)(head + i + 1));
    }
    driver_publish(driver, queue, head);
}

enum bus_result driver_notify(const struct virtio_driver *driver, unsigned queue)
{
    return vdev_mmio_write(&vfake.vcpu[0], gpa(driver->notify + queue * driver->multiplier), 2,
                           queue);
}

bool driver_used(struct virtio_driver *driver, unsigned queue, uint32_t *head, uint32_t *bytes)
{
    uint64_t used = ring(queue) + DRIVER_USED;
    struct virtio_used_entry entry;

    if (driver_load16(used + 2) == driver->used[queue]) {
        return false;
    }
    memcpy(&entry, vfake.memory + used + 4 + driver->used[queue]++ % driver->size * sizeof(entry),
           sizeof(entry));
    *head = entry.id;
    *bytes = entry.bytes;
    return true;
}
