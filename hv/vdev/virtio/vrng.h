/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-rng: random bytes from the hypervisor's source.  VIRTIO 1.1, 5.4 "Entropy Device".
 *
 * It gives VRNG_RATE bytes a second, whatever the guest asks for, and VRNG_BURST at once: chains
 * wait in the queue until more may be given, which a timer sees to.  So no guest can keep a CPU at
 * it.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VRNG_H
#define SPILLWAY_HV_VDEV_VIRTIO_VRNG_H

#include "hv/vdev/virtio/virtio.h"

#define VRNG_RATE  65536u
#define VRNG_BURST 1024u
#define VRNG_PIECE 256u /* of one chain: the guest asks again for more */

/* On that bus.  NULL: out of memory. */
struct virtio_device *vrng_create(struct vpci *pci, uint8_t devfn);

#endif
