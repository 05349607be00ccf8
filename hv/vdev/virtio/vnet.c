/* SPDX-License-Identifier: BSD-2-Clause */
/* What a network device is made of, and which queue is whose. */
#include "hv/vdev/virtio/vnet.h"

#include <stdlib.h>
#include <string.h>

#include "hv/config/admission.h"
#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/vdev/virtio/vnet_internal.h"

#define QUEUE_SIZE    256
#define CLASS_NETWORK 0x020000 /* Ethernet controller */

#define FEATURES                                                                                   \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MAC | VIRTIO_NET_F_GUEST_TSO4 |    \
     VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 |                   \
     VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX |  \
     VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_MAC_ADDR)

static struct vnet *vnet_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vnet, device);
}

/* 5.1.2 "Virtqueues": pairs of receive and transmit, and behind the last pair that the driver can
 * know of the one for commands. */
static unsigned control_queue(const struct vnet *v)
{
    return v->device.features & VIRTIO_NET_F_MQ ? v->pairs * 2 : 2;
}

static enum bus_result notify(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter)
{
    struct vnet *v = vnet_of(device);

    if (queue == control_queue(v) && (device->features & VIRTIO_NET_F_CTRL_VQ)) {
        return vnet_control(v, queue, waiter);
    }
    if (queue % 2 == 1 && queue < v->pairs_used * 2) {
        return vnet_send(v, queue, waiter);
    }
    vnet_receive(v);
    return BUS_DONE;
}

static void start(struct virtio_device *device)
{
    vnet_control_reset(vnet_of(device));
}

/* The waiter stays where it is, should it be registered: resume() finds nothing to do. */
static bool reset(struct virtio_device *device)
{
    struct vnet *v = vnet_of(device);

    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        v->config.mac[i] = (uint8_t)(v->port.mac >> (40 - 8 * i));
    }
    v->signal_due = false;
    vnet_control_reset(v);
    port_clear(&v->port);
    return true;
}

static bool resume(struct virtio_device *device)
{
    struct vnet *v = vnet_of(device);

    v->waits = false;
    vnet_receive(v);
    (void)vnet_look(v);
    return v->waits;
}

/* It has been stopped.  Whoever sends to it leaves first; then its timer is not set any more. */
static void destroy(struct virtio_device *device)
{
    struct vnet *v = vnet_of(device);

    switch_detach(&v->port);
    timer_cancel_sync(&v->timer);
    timer_cancel_sync(&v->look_timer);
    port_destroy(&v->port);
    free(v);
}

static const struct virtio_device_ops device_ops = {
    .notify = notify, .start = start, .reset = reset, .resume = resume, .destroy = destroy};

static const struct virtio_type type = {VIRTIO_TYPE_NET, CLASS_NETWORK, &device_ops};

_Static_assert((2 * VNET_PAIRS_MAX + 1) * VIRTQ_PINS_MAX + NET_PIECES_MAX <= ADMISSION_NET_PINS,
               "what is promised is enough");
_Static_assert(PORT_QUEUE_BYTES / PAGE_SIZE == ADMISSION_NET_FRAMES, "and so is this");

static bool init(struct vnet *v, struct vm *vm, const uint8_t mac[NET_MAC_BYTES])
{
    vnet_receive_init(v);
    vnet_look_init(v);
    if (!port_init(&v->port, &vnet_port_ops, PORT_QUEUE_BYTES)) {
        port_destroy(&v->port);
        return false;
    }
    v->port.mac = port_mac(mac);
    v->port.learned = v->learned;
    v->port.learned_count = VNET_ADDRESSES;
    v->pairs = MIN(vm->config->vcpus, VNET_PAIRS_MAX);
    v->pairs_used = 1;
    memcpy(v->config.mac, mac, NET_MAC_BYTES);
    v->config.status = VIRTIO_NET_S_LINK_UP;
    v->config.pairs = (uint16_t)v->pairs;
    return true;
}

struct virtio_device *vnet_create(struct vm *vm, struct vpci *pci, uint8_t devfn,
                                  struct net_switch *net, const uint8_t mac[NET_MAC_BYTES])
{
    struct vnet *v = calloc(1, sizeof(*v));

    if (v == NULL) {
        return NULL;
    }
    if (!init(v, vm, mac)) {
        free(v);
        return NULL;
    }
    if (!virtio_create(&v->device, &type, pci, devfn, FEATURES, v->pairs * 2 + 1, QUEUE_SIZE,
                       &v->config, sizeof(v->config)) ||
        !switch_attach(net, &v->port)) {
        virtio_destroy(&v->device);
        return NULL;
    }
    return &v->device;
}

void vnet_add_stats(struct virtio_device *device, uint64_t count[PORT_COUNTS])
{
    for (unsigned i = 0; i < PORT_COUNTS; i++) {
        count[i] += vnet_of(device)->port.count[i];
    }
}
