/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk for a guest: VIRTIO 1.2, 5.2 "Block Device".  Chains become requests of its disk
 * (hv/vdev/disk/vdisk.h), from whichever CPU comes by:
 *
 *     notify, done(), resume  -->  virtio_take() --> vdisk_submit()
 *     done()                  -->  virtio_give(), virtio_signal()
 *
 * As many chains are taken as the disk has requests; the others wait in their rings until a request
 * ends.  A reset gives up what is in flight and is over when the disk is idle.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VBLK_H
#define SPILLWAY_HV_VDEV_VIRTIO_VBLK_H

#include "hv/vdev/disk/vdisk.h"
#include "hv/vdev/virtio/virtio.h"

#define VBLK_QUEUES_MAX 8   /* one for each vCPU */
#define VBLK_QUEUE_SIZE 128 /* a chain of VDISK_SEGMENTS without a table fits */

/* A disk over that device, on the guest's bus.  NULL: out of memory.  It is destroyed by
 * virtio_destroy(). */
struct virtio_device *vblk_create(struct vm *vm, struct vpci *pci, uint8_t devfn,
                                  struct block_device *device, bool read_only);
/* Both of a device that vblk_create() has made; no locks held.  vblk_look(): takes what its guest
 * has not notified of, since so many requests are in flight. */
void vblk_look(struct virtio_device *device);
void vblk_get_stats(struct virtio_device *device, struct vdisk_stats *stats);

#endif
