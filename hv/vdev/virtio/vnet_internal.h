/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of virtio-net and nobody else.  The device's lock is held for all of it. */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VNET_INTERNAL_H
#define SPILLWAY_HV_VDEV_VIRTIO_VNET_INTERNAL_H

#include "arch/x86/hw/virtio_net.h"
#include "hv/timer.h"
#include "hv/vdev/virtio/quiet.h"
#include "hv/vdev/virtio/vnet.h"

#define VNET_ADDRESSES  16u          /* that its port learns: bridges in the guest */
#define VNET_FLOWS      128u         /* connections whose queue is known */
#define VNET_BUDGET     (256u << 10) /* bytes in one go */
#define VNET_FRAME_COST 512u         /* of a frame at least, in bytes */
#define VNET_CHAINS_MAX 64u          /* buffers of one received frame */
#define VNET_HEADER     ((uint32_t)sizeof(struct virtio_net_header))

struct vnet {
    struct virtio_device device;
    struct virtio_net_config config;
    struct port port;
    struct port_address learned[VNET_ADDRESSES];
    unsigned pairs, pairs_used;
    bool rx_mode[VIRTIO_NET_RX_MODES];
    uint8_t pair_of[VNET_FLOWS]; /* on which it has sent last */
    bool waits;                  /* the device's waiter is registered: resume() goes on */
    _Atomic bool looked_after;   /* resume(), or the guest's notification, looks into the queue */
    _Atomic bool woken;          /* the timer is set */
    struct timer timer;
    struct virtq_chain chain; /* that is being looked at */
    /* Transmit queues whose guest does not notify */
    struct quiet quiet;
    _Atomic uint32_t quiet_queues;
    _Atomic bool asleep; /* its only vCPU is, and adds nothing */
    bool look_set;       /* the timer is */
    bool signal_due;     /* of frames that have gone; the timer is set */
    struct timer look_timer;
};

/* ---- vnet_send.c ---- */

/* All that is in that queue, as far as the budget goes. */
enum bus_result vnet_send(struct vnet *v, unsigned queue, struct mm_waiter *waiter);

/* What has been sent without a notification; returns how many there were. */
unsigned vnet_look(struct vnet *v);
void vnet_look_init(struct vnet *v);

/* ---- vnet_receive.c ---- */

extern const struct port_ops vnet_port_ops;
void vnet_receive_init(struct vnet *v);
/* What waits in the port's queue, as far as the budget goes. */
void vnet_receive(struct vnet *v);
/* On which queue a frame of that flow arrives. */
unsigned vnet_queue_of(const struct vnet *v, uint32_t flow);
/* The guest sends frames of that flow on that pair. */
void vnet_note_flow(struct vnet *v, uint32_t flow, unsigned pair);

/* ---- vnet_control.c ---- */

/* The chains of the control queue, which is that one. */
enum bus_result vnet_control(struct vnet *v, unsigned queue, struct mm_waiter *waiter);
/* As after a reset: its own address, and what has no commands yet. */
void vnet_control_reset(struct vnet *v);

#endif
