/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layouts and numbers of virtio, on either side: the machine's devices, which drivers/virtio_*.c
 * drives, and a guest's, which hv/vdev/virtio/ is.  Virtual I/O Device (VIRTIO) Version 1.1.
 */
#ifndef SPILLWAY_ARCH_X86_HW_VIRTIO_H
#define SPILLWAY_ARCH_X86_HW_VIRTIO_H

#include <stddef.h>

#include "base/bits.h"

/* 4.1.2 "PCI Device Discovery". */
#define VIRTIO_VENDOR      0x1af4
#define VIRTIO_DEVICE_BASE 0x1040 /* and the device's type */

/* 5 "Device Types". */
#define VIRTIO_TYPE_NET     1
#define VIRTIO_TYPE_BLOCK   2
#define VIRTIO_TYPE_CONSOLE 3
#define VIRTIO_TYPE_RNG     4
#define VIRTIO_TYPE_BALLOON 5

/* 2.1 "Device Status Field". */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

/* 6 "Reserved Feature Bits". */
#define VIRTIO_F_INDIRECT    BIT(28)
#define VIRTIO_F_EVENT_INDEX BIT(29)
#define VIRTIO_F_VERSION_1   BIT(32)

/* 4.1.4 "Virtio Structure PCI Capabilities": offsets in struct virtio_pci_cap. */
enum virtio_cap {
    VIRTIO_CAP_LENGTH = 2, /* of the capability */
    VIRTIO_CAP_TYPE = 3,
    VIRTIO_CAP_BAR = 4,
    VIRTIO_CAP_OFFSET = 8,
    VIRTIO_CAP_BYTES = 12, /* of the structure */
    VIRTIO_CAP_END = 16,
    VIRTIO_CAP_NOTIFY_MULTIPLIER = 16,
    VIRTIO_CAP_PCI_DATA = 16,
};

enum virtio_cap_type {
    VIRTIO_CFG_COMMON = 1,
    VIRTIO_CFG_NOTIFY = 2,
    VIRTIO_CFG_ISR = 3,
    VIRTIO_CFG_DEVICE = 4,
    VIRTIO_CFG_PCI = 5,
};

/* 4.1.4.5 "ISR status capability". */
#define VIRTIO_ISR_QUEUE  0x01u
#define VIRTIO_ISR_CONFIG 0x02u

/* 4.1.4.3 "Common configuration structure layout". */
struct virtio_common {
    uint32_t device_feature_select;
    uint32_t device_feature;
    uint32_t driver_feature_select;
    uint32_t driver_feature;
    uint16_t config_vector;
    uint16_t queues;
    uint8_t status;
    uint8_t generation;
    uint16_t queue_select;
    uint16_t queue_size;
    uint16_t queue_vector;
    uint16_t queue_enable;
    uint16_t queue_notify;
    uint32_t queue_descriptors[2];
    uint32_t queue_avail[2];
    uint32_t queue_used[2];
};
_Static_assert(sizeof(struct virtio_common) == 56, "virtio_pci_common_cfg");
_Static_assert(offsetof(struct virtio_common, queue_descriptors) == 32, "virtio_pci_common_cfg");

#define VIRTIO_NO_VECTOR 0xffffu

/* 2.6.5 "The Virtqueue Descriptor Table". */
struct virtio_descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct virtio_descriptor) == 16, "virtq_desc");

#define VIRTIO_DESC_NEXT     1u
#define VIRTIO_DESC_WRITE    2u /* the device writes it */
#define VIRTIO_DESC_INDIRECT 4u

/* 2.6.6 "The Virtqueue Available Ring", 2.6.8 "The Virtqueue Used Ring": both begin with flags and
 * an index of 16 bits each; entries follow, then an index of the other side's events. */
#define VIRTIO_AVAIL_NO_INTERRUPT 1u
#define VIRTIO_USED_NO_NOTIFY     1u

struct virtio_used_entry {
    uint32_t id;
    uint32_t bytes;
};
_Static_assert(sizeof(struct virtio_used_entry) == 8, "virtq_used_elem");

#endif
