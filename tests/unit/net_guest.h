/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a virtio-net on a switch, in the machine of tests/unit/vdev_fake.h, and the other
 * end: a port that keeps the last frame it has got.
 */
#ifndef SPILLWAY_TESTS_UNIT_NET_GUEST_H
#define SPILLWAY_TESTS_UNIT_NET_GUEST_H

#include "arch/x86/hw/virtio_net.h"
#include "hv/config/config.h"
#include "hv/vdev/virtio/vnet.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN   (VM_SLOT_NET << 3)
#define SIZE    64u
#define MEMORY  (4u << 20)
#define RX      0u
#define TX      1u
#define CONTROL 2u
#define HEADER  12u

#define OFFLOADS                                                                                   \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |                       \
     VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6)

/* The other end: what it has got last, and how much. */
struct peer_state {
    struct port port;
    struct port_address learned[4];
    unsigned frames;
    uint64_t cost_ns; /* that it takes to take one */
    struct net_offload offload;
    uint32_t bytes;
    uint8_t data[NET_FRAME_MAX];
};

extern const uint8_t guest_mac[6], peer_mac[6];
extern struct vm_config guest_config;
extern struct net_switch guest_net;
extern struct virtio_device *net_device;
extern struct virtio_driver net_driver;
extern struct peer_state net_peer;
extern uint8_t net_sent_by_peer[NET_FRAME_MAX];

/* For cmocka: a machine of one vCPU, or of many; all pins are gone at its end. */
int net_guest_begin(void **state);
int net_guest_begin_many(void **state);
int net_guest_end(void **state);
/* Resets the device; the driver is there, with these features. */
void net_guest_start(uint64_t features);
bool net_guest_is_broken(void);
/* What the device has counted. */
uint64_t net_guest_counted(enum port_count which);
/* Has the device given a chain back? */
bool net_guest_used(unsigned queue, uint32_t *bytes);
/* A frame whose bytes depend on their place and on `mark`. */
void net_fill_frame(uint8_t *at, const uint8_t *to, const uint8_t *from, uint32_t bytes,
                    unsigned mark);
/* The frame is then in net_sent_by_peer. */
void net_peer_sends(uint32_t bytes, unsigned mark, const struct net_offload *offload);
/* Address of the n-th buffer of the receive queue. */
uint64_t net_guest_buffer(unsigned n);
/* Publishes it, of that many bytes. */
void net_guest_add_buffer(unsigned n, uint32_t bytes);

#endif
