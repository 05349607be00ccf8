/* SPDX-License-Identifier: BSD-2-Clause */
/* Layouts and numbers of the network device, on either side.  VIRTIO 1.1, 5.1 "Network Device". */
#ifndef SPILLWAY_ARCH_X86_HW_VIRTIO_NET_H
#define SPILLWAY_ARCH_X86_HW_VIRTIO_NET_H

#include "arch/x86/hw/virtio.h"

/* 5.1.3 "Feature bits". */
#define VIRTIO_NET_F_MAC    BIT(5)
#define VIRTIO_NET_F_STATUS BIT(16)

/* 5.1.4 "Device configuration layout": offsets. */
#define VIRTIO_NET_CONFIG_MAC    0
#define VIRTIO_NET_CONFIG_STATUS 6
#define VIRTIO_NET_S_LINK_UP     1u

/* 5.1.6 "Device Operation": before each frame. */
struct virtio_net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_bytes;
    uint16_t gso_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
_Static_assert(sizeof(struct virtio_net_header) == 12, "virtio_net_hdr");

#endif
