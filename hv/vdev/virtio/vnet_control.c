/* SPDX-License-Identifier: BSD-2-Clause */
/* The control queue: VIRTIO 1.1, 5.1.6.5 "Control Virtqueue". */
#include <stdatomic.h>
#include <string.h>

#include "hv/guest/vm.h"
#include "hv/vdev/virtio/vnet_internal.h"

#define COMMAND_MAX 2048u /* bytes: two tables of 150 addresses */
#define CHAINS_MAX  16u   /* in one exit */

/* Of a chain: class and command, and what belongs to them. */
struct command {
    uint32_t bytes; /* of data */
    uint8_t class, number;
    uint8_t data[COMMAND_MAX];
};

/* ---- which frames it wants ------------------------------------------------------------------ */

static uint32_t wanted(const struct vnet *v)
{
    const bool *mode = v->rx_mode;
    uint32_t flags = 0;

    if (mode[VIRTIO_NET_RX_PROMISC] ||
        (mode[VIRTIO_NET_RX_ALL_UNICAST] && !mode[VIRTIO_NET_RX_NO_UNICAST])) {
        flags |= PORT_WANTS_UNKNOWN;
    }
    if (mode[VIRTIO_NET_RX_PROMISC] ||
        (mode[VIRTIO_NET_RX_ALL_MULTICAST] && !mode[VIRTIO_NET_RX_NO_MULTICAST])) {
        flags |= PORT_WANTS_MULTICAST;
    }
    if (mode[VIRTIO_NET_RX_PROMISC] || !mode[VIRTIO_NET_RX_NO_BROADCAST]) {
        flags |= PORT_WANTS_BROADCAST;
    }
    return flags;
}

/* Which offloads it can take is settled with its features. */
static uint32_t takes(const struct vnet *v)
{
    uint64_t features = v->device.features;

    return (features & VIRTIO_NET_F_GUEST_CSUM ? PORT_TAKES_PARTIAL : 0) |
           (features & VIRTIO_NET_F_GUEST_TSO4 ? PORT_TAKES_TCP4 : 0) |
           (features & VIRTIO_NET_F_GUEST_TSO6 ? PORT_TAKES_TCP6 : 0);
}

static void update_flags(struct vnet *v)
{
    atomic_store(&v->port.flags, takes(v) | wanted(v));
}

/* 5.1.6.5.1: without commands a device is given all that is not somebody else's. */
void vnet_control_reset(struct vnet *v)
{
    memset(v->rx_mode, 0, sizeof(v->rx_mode));
    v->rx_mode[VIRTIO_NET_RX_ALL_MULTICAST] = !(v->device.features & VIRTIO_NET_F_CTRL_RX);
    atomic_store(&v->port.wanted_hash, 0);
    v->pairs_used = 1;
    memset(v->pair_of, 0, sizeof(v->pair_of));
    update_flags(v);
}

/* ---- commands ------------------------------------------------------------------------------- */

static bool set_mode(struct vnet *v, const struct command *command)
{
    unsigned known = v->device.features & VIRTIO_NET_F_CTRL_RX_EXTRA ? VIRTIO_NET_RX_MODES
                                                                     : VIRTIO_NET_RX_ALL_UNICAST;

    if (!(v->device.features & VIRTIO_NET_F_CTRL_RX) || command->number >= known ||
        command->bytes != 1) {
        return false;
    }
    v->rx_mode[command->number] = command->data[0] != 0;
    update_flags(v);
    return true;
}

/* A count of 32 bits, and so many addresses.  Returns where the next one begins; 0: it is not all
 * there. */
static uint32_t add_table(const struct command *command, uint32_t at, uint64_t *hash)
{
    uint32_t count;

    if (at + sizeof(count) > command->bytes) {
        return 0;
    }
    memcpy(&count, command->data + at, sizeof(count));
    at += (uint32_t)sizeof(count);
    if (count > (command->bytes - at) / NET_MAC_BYTES) {
        return 0;
    }
    for (; count > 0; count--, at += NET_MAC_BYTES) {
        *hash |= BIT(port_hash(port_mac(command->data + at)));
    }
    return at;
}

/* 5.1.6.5.2 "Setting MAC Address Filtering": of stations, and of groups. */
static bool set_table(struct vnet *v, const struct command *command)
{
    uint64_t hash = BIT(port_hash(port_mac(v->config.mac)));
    uint32_t at = add_table(command, 0, &hash);

    if (at == 0 || add_table(command, at, &hash) == 0) {
        return false;
    }
    atomic_store(&v->port.wanted_hash, hash);
    return true;
}

static bool set_address(struct vnet *v, const struct command *command)
{
    if (command->bytes != NET_MAC_BYTES || (command->data[0] & 1)) {
        return false;
    }
    memcpy(v->config.mac, command->data, NET_MAC_BYTES);
    atomic_fetch_or(&v->port.wanted_hash, BIT(port_hash(port_mac(v->config.mac))));
    return true;
}

static bool set_mac(struct vnet *v, const struct command *command)
{
    if (command->number == VIRTIO_NET_MAC_TABLE_SET &&
        (v->device.features & VIRTIO_NET_F_CTRL_RX)) {
        return set_table(v, command);
    }
    return command->number == VIRTIO_NET_MAC_ADDR_SET &&
           (v->device.features & VIRTIO_NET_F_CTRL_MAC_ADDR) && set_address(v, command);
}

/* 5.1.6.5.5 "Automatic receive steering in multiqueue mode". */
static bool set_pairs(struct vnet *v, const struct command *command)
{
    unsigned pairs = command->data[0] | (unsigned)command->data[1] << 8;

    if (!(v->device.features & VIRTIO_NET_F_MQ) || command->number != VIRTIO_NET_MQ_PAIRS_SET ||
        command->bytes != 2 || pairs == 0 || pairs > v->pairs) {
        return false;
    }
    v->pairs_used = pairs;
    return true;
}

static bool obey(struct vnet *v, const struct command *command)
{
    switch (command->class) {
    case VIRTIO_NET_CTRL_RX:
        return set_mode(v, command);
    case VIRTIO_NET_CTRL_MAC:
        return set_mac(v, command);
    case VIRTIO_NET_CTRL_MQ:
        return set_pairs(v, command);
    default:
        return false;
    }
}

/* ---- the queue ------------------------------------------------------------------------------ */

/* All of the chain that the device may read, which fits. */
static enum mm_result read_all(struct vnet *v, uint8_t *to, struct mm_waiter *waiter)
{
    for (unsigned i = 0; i < v->chain.count && !v->chain.segment[i].device_writes; i++) {
        const struct virtq_segment *segment = &v->chain.segment[i];
        enum mm_result result =
            space_read(v->device.vm->run.space, segment->address, to, segment->bytes, waiter);

        if (result != MM_OK) {
            return result;
        }
        to += segment->bytes;
    }
    return MM_OK;
}

static enum mm_result read_command(struct vnet *v, struct command *command,
                                   struct mm_waiter *waiter)
{
    uint8_t raw[COMMAND_MAX + 2] = {0};
    enum mm_result result = read_all(v, raw, waiter);

    command->class = raw[0];
    command->number = raw[1];
    command->bytes = v->chain.readable - 2;
    memcpy(command->data, raw + 2, COMMAND_MAX);
    return result;
}

static enum mm_result answer(struct vnet *v, bool good, struct mm_waiter *waiter)
{
    const uint8_t byte = good ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    unsigned i = 0;

    while (!v->chain.segment[i].device_writes) {
        i++;
    }
    return space_write(v->device.vm->run.space, v->chain.segment[i].address, &byte, 1, waiter);
}

/* Obeys and answers.  With MM_WAIT it comes again, and says the same then. */
static enum mm_result serve(struct vnet *v, struct mm_waiter *waiter)
{
    struct command command;
    enum mm_result result;
    bool good = false;

    if (v->chain.readable < 2 || v->chain.writable == 0) {
        return MM_NO_MEMSLOT;
    }
    if (v->chain.readable <= COMMAND_MAX + 2) {
        result = read_command(v, &command, waiter);
        if (result != MM_OK) {
            return result;
        }
        good = obey(v, &command);
    }
    return answer(v, good, waiter);
}

static enum bus_result serve_all(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    for (unsigned n = 0; n < CHAINS_MAX; n++) {
        enum virtq_result taken = virtio_take(&v->device, queue, &v->chain, waiter);
        enum mm_result result;

        if (taken != VIRTQ_CHAIN) {
            return taken == VIRTQ_PARK ? BUS_PARK : BUS_DONE;
        }
        result = serve(v, waiter);
        if (result == MM_WAIT) {
            virtio_untake(&v->device, queue, v->chain.head);
            return BUS_PARK;
        }
        if (result != MM_OK) {
            virtio_break(&v->device, "a command that is none, or not in memory");
            return BUS_DONE;
        }
        virtio_give(&v->device, queue, v->chain.head, 1);
    }
    return virtio_again(waiter);
}

enum bus_result vnet_control(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    enum bus_result result = serve_all(v, queue, waiter);

    virtio_signal(&v->device, queue);
    return result;
}
