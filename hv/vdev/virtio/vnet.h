/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net for a guest: VIRTIO 1.1, 5.1 "Network Device".  It owns a port of a switch
 * (hv/net/switch.h).
 *
 *     vnet_send.c       a chain's pages are pinned, switch_send(), unpinned: no byte is copied here
 *     vnet_receive.c    from there straight into the buffers of the receiver; or, when its lock is
 *                       taken, it has no buffers or one is paged out, by way of the port's queue
 *     vnet_control.c    which addresses it wants, how many queues
 *
 * What a guest's driver has to say of checksums and segments goes to another guest as it is.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VNET_H
#define SPILLWAY_HV_VDEV_VIRTIO_VNET_H

#include "hv/net/switch.h"
#include "hv/vdev/virtio/virtio.h"

#define VNET_PAIRS_MAX                                                                             \
    4u /* a pair of queues for each vCPU; ADMISSION_NET_PINS reckons with that                     \
        */

/* A network device at that place of the guest's bus, on that switch.  NULL: out of memory, or the
 * switch has no port left or the address already.  It is destroyed by virtio_destroy(). */
struct virtio_device *vnet_create(struct vm *vm, struct vpci *pci, uint8_t devfn,
                                  struct net_switch *net, const uint8_t mac[NET_MAC_BYTES]);
/* Both of a device that vnet_create() has made: a vCPU leaves the guest, to sleep or not, or begins
 * to run.  No locks held. */
void vnet_leaves(struct virtio_device *device, bool sleeps);
void vnet_begins(struct virtio_device *device);
/* Adds what such a device has counted. */
void vnet_add_stats(struct virtio_device *device, uint64_t count[PORT_COUNTS]);

#endif
