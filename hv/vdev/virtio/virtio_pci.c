/* SPDX-License-Identifier: BSD-2-Clause */
/* The registers of a device: VIRTIO 1.1, 4.1.4 "Virtio Structure PCI Capabilities". */
#include <string.h>

#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/virtio/virtio.h"

/* A page for each structure. */
enum bar_page {
    PAGE_COMMON,
    PAGE_ISR,
    PAGE_CONFIG,
    PAGE_NOTIFY,
};
_Static_assert(VIRTIO_BAR_BYTES == (PAGE_NOTIFY + 1) * PAGE_SIZE, "of BAR 0");

#define NOTIFY_MULTIPLIER 4u

/* ---- common configuration: reads ---- */

static const struct virtq *selected(const struct virtio_device *device)
{
    static const struct virtq none = {.vector = VIRTIO_NO_VECTOR};

    return device->queue_select < device->queue_count ? &device->queue[device->queue_select]
                                                      : &none;
}

static void put_address(uint32_t pair[2], const struct virtq *queue, unsigned part)
{
    pair[0] = (uint32_t)queue->part[part].address.v;
    pair[1] = (uint32_t)(queue->part[part].address.v >> 32);
}

static uint32_t half_of(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* All registers as they read now. */
static void show_common(const struct virtio_device *device, struct virtio_common *common)
{
    const struct virtq *queue = selected(device);

    *common = (struct virtio_common){
        .device_feature_select = device->offered_select,
        .device_feature = half_of(device->offered, device->offered_select),
        .driver_feature_select = device->accepted_select,
        .driver_feature = half_of(device->accepted, device->accepted_select),
        .config_vector = device->config_vector,
        .queues = (uint16_t)device->queue_count,
        .status = device->status,
        .generation = device->generation,
        .queue_select = device->queue_select,
        .queue_size = queue->size,
        .queue_vector = queue->vector,
        .queue_enable = queue->enabled,
        .queue_notify = device->queue_select,
    };
    put_address(common->queue_descriptors, queue, VIRTQ_DESCRIPTORS);
    put_address(common->queue_avail, queue, VIRTQ_AVAIL);
    put_address(common->queue_used, queue, VIRTQ_USED);
}

/* Of `bytes` bytes at `from`; those behind them are zero. */
static void read_bytes(struct bus_access *access, const void *from, unsigned bytes, unsigned offset)
{
    access->value = 0;
    if (offset < bytes) {
        memcpy(&access->value, (const uint8_t *)from + offset, MIN(access->size, bytes - offset));
    }
}

static void read_common(const struct virtio_device *device, struct bus_access *access,
                        unsigned offset)
{
    struct virtio_common common;

    show_common(device, &common);
    read_bytes(access, &common, sizeof(common), offset);
}

/* ---- common configuration: writes ---- */

static void write_features(struct virtio_device *device, uint32_t value)
{
    unsigned shift = 32 * device->accepted_select;

    if (device->accepted_select < 2 && !(device->status & VIRTIO_STATUS_FEATURES_OK)) {
        device->accepted = (device->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value
                                                                                       << shift;
    }
}

/* A vector that the table does not have reads back as none: 4.1.5.1.2.1. */
static uint16_t vector_of(const struct virtio_device *device, uint32_t value)
{
    return value <= device->queue_count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void write_address(struct virtq *queue, unsigned word, uint32_t value)
{
    uint64_t *address = &queue->part[word / 2].address.v;
    unsigned shift = 32 * (word % 2);

    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static enum bus_result enable(struct virtio_device *device, struct virtq *queue,
                              struct mm_waiter *waiter)
{
    switch (virtq_enable(queue, device->vm->run.space, device->features, waiter)) {
    case MM_OK:
        break;
    case MM_WAIT:
        return BUS_PARK;
    case MM_NO_MEMSLOT:
    case MM_LOST:
        virtio_break(device, "its driver has put a queue where there can be none");
        break;
    }
    return BUS_DONE;
}

/* Of a queue that is there; what is set does not change while it is in use. */
static enum bus_result write_queue(struct virtio_device *device, unsigned offset, uint32_t value,
                                   struct mm_waiter *waiter)
{
    struct virtq *queue = &device->queue[device->queue_select];

    if (offset == offsetof(struct virtio_common, queue_vector)) {
        queue->vector = vector_of(device, value);
    } else if (queue->enabled) {
        return BUS_DONE;
    } else if (offset == offsetof(struct virtio_common, queue_size)) {
        if (value != 0 && value <= queue->size_max && (value & (value - 1)) == 0) {
            queue->size = (uint16_t)value;
        }
    } else if (offset >= offsetof(struct virtio_common, queue_descriptors)) {
        write_address(queue,
                      (offset - (unsigned)offsetof(struct virtio_common, queue_descriptors)) / 4,
                      value);
    } else if (offset == offsetof(struct virtio_common, queue_enable) && value == 1 &&
               (device->status & VIRTIO_STATUS_FEATURES_OK)) {
        return enable(device, queue, waiter);
    }
    return BUS_DONE;
}

static void write_status(struct virtio_device *device, uint8_t value)
{
    if (value == 0) {
        virtio_reset(device);
    } else {
        virtio_set_status(device, value);
    }
}

/* 4.1.3.1: each register is accessed with its width, those of 64 bits by halves. */
static unsigned width_at(unsigned offset)
{
    if (offset < offsetof(struct virtio_common, config_vector) ||
        offset >= offsetof(struct virtio_common, queue_descriptors)) {
        return 4;
    }
    return offset == offsetof(struct virtio_common, status) ||
                   offset == offsetof(struct virtio_common, generation)
               ? 1
               : 2;
}

/* While a reset is going on nothing is taken but another one. */
static enum bus_result write_common(struct virtio_device *device, unsigned offset, unsigned size,
                                    uint32_t value, struct mm_waiter *waiter)
{
    if (offset >= sizeof(struct virtio_common) || size != width_at(offset) || offset % size != 0 ||
        device->resetting) {
        return BUS_DONE;
    }
    switch (offset) {
    case offsetof(struct virtio_common, device_feature_select):
        device->offered_select = value;
        break;
    case offsetof(struct virtio_common, driver_feature_select):
        device->accepted_select = value;
        break;
    case offsetof(struct virtio_common, driver_feature):
        write_features(device, value);
        break;
    case offsetof(struct virtio_common, config_vector):
        device->config_vector = vector_of(device, value);
        break;
    case offsetof(struct virtio_common, status):
        write_status(device, (uint8_t)value);
        break;
    case offsetof(struct virtio_common, queue_select):
        device->queue_select = (uint16_t)value;
        break;
    default:
        if (offset >= offsetof(struct virtio_common, queue_size) &&
            device->queue_select < device->queue_count) {
            return write_queue(device, offset, value, waiter);
        }
        break;
    }
    return BUS_DONE;
}

/* ---- the other structures ---- */

/* 4.1.4.5: reading takes the request for an interrupt back. */
static void read_isr(struct virtio_device *device, struct bus_access *access, unsigned offset)
{
    access->value = 0;
    if (offset == 0) {
        access->value = device->isr;
        device->isr = 0;
        vpci_intx_set(&device->function, false);
    }
}

static void write_config(struct virtio_device *device, struct bus_access *access, unsigned offset)
{
    if (device->ops->config_write != NULL && offset < device->config_bytes &&
        access->size <= device->config_bytes - offset && !device->resetting) {
        device->ops->config_write(device, offset, access->size, access->value);
    }
}

/* 4.1.4.4: each queue has its place; what is written there is not looked at. */
static enum bus_result notify(struct virtio_device *device, struct bus_access *access,
                              unsigned offset)
{
    unsigned queue = offset / NOTIFY_MULTIPLIER;

    if (queue < device->queue_count && virtio_is_running(device) && device->queue[queue].enabled) {
        return device->ops->notify(device, queue, &access->vcpu->waiter);
    }
    return BUS_DONE;
}

static enum bus_result read_at(struct virtio_device *device, struct bus_access *access, unsigned at)
{
    unsigned offset = at % PAGE_SIZE;

    access->value = 0;
    switch (at / PAGE_SIZE) {
    case PAGE_COMMON:
        read_common(device, access, offset);
        break;
    case PAGE_ISR:
        read_isr(device, access, offset);
        break;
    case PAGE_CONFIG:
        read_bytes(access, device->config, device->config_bytes, offset);
        break;
    default:
        break;
    }
    return BUS_DONE;
}

static enum bus_result write_at(struct virtio_device *device, struct bus_access *access,
                                unsigned at)
{
    unsigned offset = at % PAGE_SIZE;

    switch (at / PAGE_SIZE) {
    case PAGE_COMMON:
        if (access->size == 8) { /* both halves of an address */
            (void)write_common(device, offset, 4, (uint32_t)access->value, NULL);
            return write_common(device, offset + 4, 4, (uint32_t)(access->value >> 32), NULL);
        }
        return write_common(device, offset, access->size, (uint32_t)access->value,
                            &access->vcpu->waiter);
    case PAGE_CONFIG:
        write_config(device, access, offset);
        break;
    case PAGE_NOTIFY:
        return notify(device, access, offset);
    default:
        break;
    }
    return BUS_DONE;
}

static enum bus_result bar_read(struct bus_access *access)
{
    return read_at(access->range->owner, access, (unsigned)access->offset);
}

static enum bus_result bar_write(struct bus_access *access)
{
    return write_at(access->range->owner, access, (unsigned)access->offset);
}

const struct bus_ops virtio_pci_ops = {.read = bar_read, .write = bar_write};

/* ---- through the configuration space: 4.1.4.7 "PCI configuration access capability" ---- */

/* An access to the data register is one of the length that the capability says, wherever it says.
 */
static enum bus_result access_window(struct virtio_device *device, struct bus_access *access)
{
    struct vpci_function *function = &device->function;
    unsigned cap = device->pci_access;
    uint32_t offset = vpci_config_get(function, cap + VIRTIO_CAP_OFFSET, 4);
    uint32_t bytes = vpci_config_get(function, cap + VIRTIO_CAP_BYTES, 4);
    unsigned size = access->size;
    enum bus_result result;

    if (function->config[cap + VIRTIO_CAP_BAR] != 0 || (bytes != 1 && bytes != 2 && bytes != 4) ||
        offset >= VIRTIO_BAR_BYTES || offset % bytes != 0) {
        return BUS_NOBODY;
    }
    access->size = bytes;
    spin_lock(&device->lock);
    result = access->write ? write_at(device, access, offset) : read_at(device, access, offset);
    spin_unlock(&device->lock);
    access->size = size;
    return result;
}

static enum bus_result access_config(struct vpci_function *function, struct bus_access *access,
                                     unsigned reg)
{
    struct virtio_device *device = CONTAINER_OF(function, struct virtio_device, function);

    return reg == device->pci_access + VIRTIO_CAP_PCI_DATA ? access_window(device, access)
                                                           : BUS_NOBODY;
}

static void reset_function(struct vpci_function *function)
{
    struct virtio_device *device = CONTAINER_OF(function, struct virtio_device, function);

    spin_lock(&device->lock);
    virtio_reset(device);
    spin_unlock(&device->lock);
}

const struct vpci_function_ops virtio_function_ops = {.config = access_config,
                                                      .reset = reset_function};

static unsigned add_capability(struct virtio_device *device, unsigned type, unsigned page,
                               unsigned bytes, unsigned more)
{
    struct vpci_function *function = &device->function;
    unsigned cap = vpci_function_add_capability(function, PCI_CAP_VENDOR, VIRTIO_CAP_END + more);

    function->config[cap + VIRTIO_CAP_LENGTH] = (uint8_t)(VIRTIO_CAP_END + more);
    function->config[cap + VIRTIO_CAP_TYPE] = (uint8_t)type;
    vpci_config_put(function, cap + VIRTIO_CAP_OFFSET, 4, page * (uint32_t)PAGE_SIZE);
    vpci_config_put(function, cap + VIRTIO_CAP_BYTES, 4, bytes);
    return cap;
}

void virtio_pci_add_capabilities(struct virtio_device *device)
{
    struct vpci_function *function = &device->function;
    unsigned cap;

    add_capability(device, VIRTIO_CFG_COMMON, PAGE_COMMON, sizeof(struct virtio_common), 0);
    add_capability(device, VIRTIO_CFG_ISR, PAGE_ISR, 1, 0);
    if (device->config_bytes != 0) {
        add_capability(device, VIRTIO_CFG_DEVICE, PAGE_CONFIG, device->config_bytes, 0);
    }
    cap = add_capability(device, VIRTIO_CFG_NOTIFY, PAGE_NOTIFY,
                         NOTIFY_MULTIPLIER * VIRTIO_QUEUES_MAX, 4);
    vpci_config_put(function, cap + VIRTIO_CAP_NOTIFY_MULTIPLIER, 4, NOTIFY_MULTIPLIER);
    cap = add_capability(device, VIRTIO_CFG_PCI, 0, 0, 4);
    vpci_config_set_writable(function, cap + VIRTIO_CAP_BAR, 1, 0xff);
    vpci_config_set_writable(function, cap + VIRTIO_CAP_OFFSET, 4, UINT32_MAX);
    vpci_config_set_writable(function, cap + VIRTIO_CAP_BYTES, 4, UINT32_MAX);
    device->pci_access = cap;
}
