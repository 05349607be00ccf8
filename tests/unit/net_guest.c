/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/net_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vdev_fake.h"

const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct vm_config guest_config;
struct net_switch guest_net;
struct virtio_device *net_device;
struct virtio_driver net_driver;

struct peer_state net_peer;

static enum port_taken peer_take(struct port *port, const struct net_frame *frame)
{
    (void)port;
    net_peer.frames++;
    vfake.clock_ns += net_peer.cost_ns;
    net_peer.offload = frame->offload;
    net_peer.bytes = frame->bytes;
    net_frame_copy(frame, 0, net_peer.data, frame->bytes);
    return PORT_TAKEN;
}

static const struct port_ops peer_ops = {.take = peer_take};

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static int begin_with(unsigned vcpus)
{
    memset(&net_peer, 0, sizeof(net_peer));
    switch_init(&guest_net, 99);
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    guest_config.vcpus = vcpus;
    vfake.vm.config = &guest_config;
    assert_true(port_init(&net_peer.port, &peer_ops, 1u << 18));
    net_peer.port.mac = port_mac(peer_mac);
    net_peer.port.flags =
        PORT_WANTS_BROADCAST | PORT_TAKES_PARTIAL | PORT_TAKES_TCP4 | PORT_TAKES_TCP6;
    net_peer.port.learned = net_peer.learned;
    net_peer.port.learned_count = ARRAY_SIZE(net_peer.learned);
    assert_true(switch_attach(&guest_net, &net_peer.port));
    net_device = vnet_create(&vfake.vm, &vfake.vm.run.devices->pci, DEVFN, &guest_net, guest_mac);
    assert_non_null(net_device);
    return 0;
}

int net_guest_begin(void **state)
{
    (void)state;
    return begin_with(1);
}

int net_guest_begin_many(void **state)
{
    (void)state;
    return begin_with(8);
}

int net_guest_end(void **state)
{
    (void)state;
    virtio_stop(net_device);
    assert_true(virtio_is_quiet(net_device));
    virtio_destroy(net_device);
    assert_true(guest_net.port[1] == NULL);
    switch_detach(&net_peer.port);
    port_destroy(&net_peer.port);
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    return 0;
}

void net_guest_start(uint64_t features)
{
    driver_start(&net_driver, DEVFN, features, 3, SIZE);
}

bool net_guest_is_broken(void)
{
    return DRIVER_READ(&net_driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

uint64_t net_guest_counted(enum port_count which)
{
    uint64_t count[PORT_COUNTS] = {0};

    vnet_add_stats(net_device, count);
    return count[which];
}

bool net_guest_used(unsigned queue, uint32_t *bytes)
{
    uint32_t head;

    return driver_used(&net_driver, queue, &head, bytes);
}

void net_fill_frame(uint8_t *at, const uint8_t *to, const uint8_t *from, uint32_t bytes,
                    unsigned mark)
{
    for (uint32_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(i * 7 + i / 256 + mark);
    }
    memcpy(at, to, MIN(bytes, 6));
    memcpy(at + 6, from, bytes < 12 ? 0 : 6);
}

uint8_t net_sent_by_peer[NET_FRAME_MAX];

void net_peer_sends(uint32_t bytes, unsigned mark, const struct net_offload *offload)
{
    uint32_t head = MIN(bytes, NET_HEAD_BYTES);
    const struct net_piece piece[2] = {{net_sent_by_peer, head},
                                       {net_sent_by_peer + head, bytes - head}};
    struct net_frame frame = {.bytes = bytes, .pieces = 2, .piece = piece};

    if (offload != NULL) {
        frame.offload = *offload;
    }
    net_fill_frame(net_sent_by_peer, guest_mac, peer_mac, bytes, mark);
    switch_send(&net_peer.port, &frame);
}

uint64_t net_guest_buffer(unsigned n)
{
    return DRIVER_BUFFERS + n * 0x8000u + 4000;
}

void net_guest_add_buffer(unsigned n, uint32_t bytes)
{
    const struct driver_segment segment = {net_guest_buffer(n), bytes, true};

    driver_add(&net_driver, RX, (uint16_t)n, &segment, 1);
}
