/* SPDX-License-Identifier: BSD-2-Clause */
/* Layouts and numbers of the network device, on either side.  VIRTIO 1.1, 5.1 "Network Device". */
#ifndef SPILLWAY_ARCH_X86_HW_VIRTIO_NET_H
#define SPILLWAY_ARCH_X86_HW_VIRTIO_NET_H

#include "arch/x86/hw/virtio.h"

/* 5.1.3 "Feature bits". */
#define VIRTIO_NET_F_CSUM          BIT(0)
#define VIRTIO_NET_F_GUEST_CSUM    BIT(1)
#define VIRTIO_NET_F_MAC           BIT(5)
#define VIRTIO_NET_F_GUEST_TSO4    BIT(7)
#define VIRTIO_NET_F_GUEST_TSO6    BIT(8)
#define VIRTIO_NET_F_HOST_TSO4     BIT(11)
#define VIRTIO_NET_F_HOST_TSO6     BIT(12)
#define VIRTIO_NET_F_MRG_RXBUF     BIT(15)
#define VIRTIO_NET_F_STATUS        BIT(16)
#define VIRTIO_NET_F_CTRL_VQ       BIT(17)
#define VIRTIO_NET_F_CTRL_RX       BIT(18)
#define VIRTIO_NET_F_CTRL_RX_EXTRA BIT(20)
#define VIRTIO_NET_F_MQ            BIT(22)
#define VIRTIO_NET_F_CTRL_MAC_ADDR BIT(23)

/* 5.1.4 "Device configuration layout": offsets. */
#define VIRTIO_NET_CONFIG_MAC    0
#define VIRTIO_NET_CONFIG_STATUS 6
#define VIRTIO_NET_S_LINK_UP     1u

struct virtio_net_config {
    uint8_t mac[6];
    uint16_t status;
    uint16_t pairs;
};
_Static_assert(sizeof(struct virtio_net_config) == 10, "virtio_net_config");
_Static_assert(offsetof(struct virtio_net_config, status) == VIRTIO_NET_CONFIG_STATUS,
               "virtio_net_config");

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

#define VIRTIO_NET_HDR_NEEDS_CSUM 1u
#define VIRTIO_NET_GSO_NONE       0
#define VIRTIO_NET_GSO_TCPV4      1
#define VIRTIO_NET_GSO_TCPV6      4

/* 5.1.6.5 "Control Virtqueue": class, command, what belongs to it; the device answers a byte. */
enum virtio_net_class {
    VIRTIO_NET_CTRL_RX,
    VIRTIO_NET_CTRL_MAC,
    VIRTIO_NET_CTRL_MQ = 4,
};

/* Commands of VIRTIO_NET_CTRL_RX: a byte says whether it is on. */
enum virtio_net_rx {
    VIRTIO_NET_RX_PROMISC,
    VIRTIO_NET_RX_ALL_MULTICAST,
    VIRTIO_NET_RX_ALL_UNICAST,
    VIRTIO_NET_RX_NO_MULTICAST,
    VIRTIO_NET_RX_NO_UNICAST,
    VIRTIO_NET_RX_NO_BROADCAST,
    VIRTIO_NET_RX_MODES,
};

#define VIRTIO_NET_MAC_TABLE_SET 0
#define VIRTIO_NET_MAC_ADDR_SET  1
#define VIRTIO_NET_MQ_PAIRS_SET  0

#define VIRTIO_NET_OK  0
#define VIRTIO_NET_ERR 1

#endif
