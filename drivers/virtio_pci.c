/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/virtio_pci.h"

#include "base/log.h"
#include "drivers/platform.h"

static void map_structure(struct virtio_pci *v, unsigned cap)
{
    unsigned bar = pci_read8(v->pci, cap + VIRTIO_CAP_BAR);
    uint32_t offset = pci_read32(v->pci, cap + VIRTIO_CAP_OFFSET);
    uint32_t bytes = pci_read32(v->pci, cap + VIRTIO_CAP_BYTES);
    unsigned type = pci_read8(v->pci, cap + VIRTIO_CAP_TYPE);

    if (bar >= PCI_BARS ||
        (type != VIRTIO_CFG_COMMON && type != VIRTIO_CFG_NOTIFY && type != VIRTIO_CFG_DEVICE)) {
        return;
    }
    volatile void *at = pci_bar_map(v->pci, bar, offset, bytes);

    /* 4.1.4.1: of several structures of a type the first usable one is meant. */
    if (!at) {
        return;
    }
    if (type == VIRTIO_CFG_COMMON && !v->common && bytes >= sizeof(struct virtio_common)) {
        v->common = at;
    } else if (type == VIRTIO_CFG_NOTIFY && !v->notify) {
        v->notify = at;
        v->notify_bytes = bytes;
        v->notify_multiplier = pci_read32(v->pci, cap + VIRTIO_CAP_NOTIFY_MULTIPLIER);
    } else if (type == VIRTIO_CFG_DEVICE && !v->config) {
        v->config = at;
        v->config_bytes = bytes;
    }
}

bool virtio_pci_map(struct virtio_pci *v, struct pci_device *pci)
{
    v->pci = pci;
    for (unsigned cap = pci_find_capability(pci, PCI_CAP_VENDOR, 0); cap != 0;
         cap = pci_find_capability(pci, PCI_CAP_VENDOR, cap)) {
        map_structure(v, cap);
    }
    return v->common && v->notify && v->config;
}

/* 4.1.4.3.2 "Driver Requirements: Common configuration structure layout": status reads 0 again when
 * the reset is done. */
void virtio_pci_reset_begin(struct virtio_pci *v)
{
    v->common->status = 0;
}

bool virtio_pci_reset_done(const struct virtio_pci *v)
{
    return v->common->status == 0;
}

static uint64_t read_features(struct virtio_pci *v)
{
    v->common->device_feature_select = 0;
    uint32_t low = v->common->device_feature;
    v->common->device_feature_select = 1;
    return low | (uint64_t)v->common->device_feature << 32;
}

static void write_features(struct virtio_pci *v, uint64_t features)
{
    v->common->driver_feature_select = 0;
    v->common->driver_feature = (uint32_t)features;
    v->common->driver_feature_select = 1;
    v->common->driver_feature = (uint32_t)(features >> 32);
}

bool virtio_pci_negotiate(struct virtio_pci *v, uint64_t wanted, uint64_t *features)
{
    v->common->status = VIRTIO_STATUS_ACKNOWLEDGE;
    v->common->status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    *features = read_features(v) & (wanted | VIRTIO_F_VERSION_1);
    if (!(*features & VIRTIO_F_VERSION_1)) {
        log_warn("virtio: device without VERSION_1");
        return false;
    }
    write_features(v, *features);
    v->common->status =
        VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
    if (!(v->common->status & VIRTIO_STATUS_FEATURES_OK)) {
        log_warn("virtio: device refuses our features %llx", (unsigned long long)*features);
        return false;
    }
    return true;
}

uint16_t virtio_pci_queue_size(struct virtio_pci *v, unsigned index)
{
    if (index >= v->common->queues) {
        return 0;
    }
    v->common->queue_select = (uint16_t)index;
    uint16_t size = v->common->queue_size;
    return MIN(size, (uint16_t)VIRTIO_RING_MAX);
}

static void write_address(volatile uint32_t pair[2], hpa_t address)
{
    pair[0] = (uint32_t)address.v;
    pair[1] = (uint32_t)(address.v >> 32);
}

volatile uint16_t *virtio_pci_queue_enable(struct virtio_pci *v, unsigned index, uint16_t size,
                                           const hpa_t parts[3], uint16_t vector, bool *has_vector)
{
    v->common->queue_select = (uint16_t)index;
    v->common->queue_size = size;
    v->common->queue_vector = vector;
    /* 4.1.5.1.2 "MSI-X Vector Configuration": the device answers NO_VECTOR if it has no room. */
    *has_vector = vector != VIRTIO_NO_VECTOR && v->common->queue_vector == vector;
    write_address(v->common->queue_descriptors, parts[0]);
    write_address(v->common->queue_avail, parts[1]);
    write_address(v->common->queue_used, parts[2]);
    uint64_t at = (uint64_t)v->common->queue_notify * v->notify_multiplier;
    if (at + sizeof(uint16_t) > v->notify_bytes) {
        return NULL;
    }
    v->common->queue_enable = 1;
    return (volatile uint16_t *)(v->notify + at);
}

void virtio_pci_run(struct virtio_pci *v)
{
    v->common->config_vector = VIRTIO_NO_VECTOR;
    v->common->status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                        VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;
}
