/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-console of a guest, Linux's hvc0: VIRTIO 1.2, 5.3 "Console Device".  One port.
 *
 *     transmit     what the guest prints, straight from its buffers to the host's output()
 *     receive      what has been typed waits in a queue until the guest has buffers for it; what
 *                  finds the queue full is not taken, and its sender is told when it has room
 *                  (a ring of one buffer, and VCONSOLE_KEYS in it: Linux's driver looks at one
 *                  buffer for each interrupt, and what is in others, or is longer than what
 *                  hvc_console reads in one go, has to wait for a timer or for the next key)
 *     emerg_wr     a character by a register, before there is a driver or when it is dead
 *
 * While the host is busy the vCPU that has notified tries again, in its turn; the guest has its
 * buffer back when all of it has been shown.  A vCPU's exit shows at most VCONSOLE_PIECES pieces.
 * What a key costs outside of the guest's own time is one chain at most.
 *
 * Locks: that of its virtio device (RANK_VDEV), with which the host's functions are called.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VCONSOLE_H
#define SPILLWAY_HV_VDEV_VIRTIO_VCONSOLE_H

#include "arch/x86/hw/virtio_console.h"
#include "hv/vdev/virtio/virtio.h"

#define VCONSOLE_TYPED_MAX 512u /* power of two */
#define VCONSOLE_KEYS      15u  /* less than hvc_console's 16, so that it does not poll for more */
#define VCONSOLE_PIECE     256u /* bytes */
#define VCONSOLE_PIECES    16u

/* All get the owner. */
struct vconsole_host {
    void (*output)(void *owner, const char *text, size_t bytes);
    bool (*busy)(void *owner); /* shall the guest wait? */
    void (*room)(void *owner); /* after a vconsole_type() that was false: try again */
};

struct vconsole {
    struct virtio_device device; /* its lock is for the rest, too */
    struct virtio_console_config config;
    const struct vconsole_host *host;
    void *owner;
    char typed[VCONSOLE_TYPED_MAX];
    uint32_t head, tail;      /* of it: next to give to the guest, next to be typed */
    bool refused;             /* a character that was not taken */
    bool waiting;             /* the device's waiter is registered, for a receive buffer */
    uint32_t shown;           /* bytes of the next transmit chain */
    struct virtq_chain chain; /* for one call */
};

/* On that bus.  NULL: out of memory.  Its life is that of its virtio device, whose end frees it. */
struct vconsole *vconsole_create(struct vpci *pci, uint8_t devfn, void *owner,
                                 const struct vconsole_host *host);

/* Is a driver there?  No locks at or above RANK_VDEV held, as for the following. */
bool vconsole_is_ready(struct vconsole *console);
/* A character for the guest, which vconsole_send_typed() sends on its way.  False: not now;
 * host->room() follows if a driver is there. */
bool vconsole_type(struct vconsole *console, char c);
void vconsole_send_typed(struct vconsole *console);

#endif
