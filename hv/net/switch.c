/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/switch.h"

#include <string.h>

#include "base/log.h"
#include "base/xxhash.h"
#include "hv/arch.h"
#include "hv/net/offload.h"

#define MAC_GROUP     BIT(40) /* of several stations */
#define MAC_BROADCAST BITS(47, 0)
#define MAC_RESERVED                                                                               \
    0x0180c2000000ull /* and 15 more: for the nearest bridge, IEEE 802.1Q-2018,                    \
                       */
#define MAC_RESERVED_MASK                                                                          \
    (~0xfull)         /* table 8-1 "C-VLAN and MAC Bridge component Reserved                       \
                       * addresses" */
#define LOOK_COST 64u /* of a port that is looked at, in bytes */

uint64_t port_mac(const uint8_t bytes[NET_MAC_BYTES])
{
    uint64_t mac = 0;

    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        mac = mac << 8 | bytes[i];
    }
    return mac;
}

unsigned port_hash(uint64_t mac)
{
    return (unsigned)(mac * 0x9e3779b97f4a7c15ull >> 58);
}

static void count(struct port *port, enum port_count which, uint64_t by)
{
    atomic_fetch_add_explicit(&port->count[which], by, memory_order_relaxed);
}

void port_count_drop(struct port *port, enum port_count which)
{
    count(port, which, 1);
}

/* ---- addresses; the switch's lock is held --------------------------------------------------- */

static struct port_address **bucket_of(struct net_switch *net, uint64_t mac)
{
    return &net->bucket[XXH64(&mac, sizeof(mac), net->seed) % SWITCH_BUCKETS];
}

static struct port_address *find(struct net_switch *net, uint64_t mac)
{
    struct port_address *address = *bucket_of(net, mac);

    while (address != NULL && address->mac != mac) {
        address = address->next;
    }
    return address;
}

static void forget(struct net_switch *net, struct port_address *address)
{
    struct port_address **link = bucket_of(net, address->mac);

    if (address->mac == 0) {
        return;
    }
    while (*link != address) {
        link = &(*link)->next;
    }
    *link = address->next;
    address->mac = 0;
}

static void enter(struct net_switch *net, struct port_address *address, struct port *port,
                  uint64_t mac)
{
    struct port_address **bucket = bucket_of(net, mac);

    address->mac = mac;
    address->port = port;
    address->next = *bucket;
    *bucket = address;
}

/* In the place of the one that the port has had for longest. */
static struct port_address *place_for(struct port *port)
{
    struct port_address *address = &port->learned[port->next_learned];

    port->next_learned = (port->next_learned + 1) % port->learned_count;
    return address;
}

/* The port has sent a frame from that address.  False: it is another one's by right. */
static bool learn(struct net_switch *net, struct port *port, uint64_t mac)
{
    struct port_address *address = find(net, mac);

    if (address != NULL && address->port != port) {
        if (address == &address->port->own) {
            return false;
        }
        forget(net, address); /* it has moved */
        address = NULL;
    }
    if (address == NULL) {
        if (port->learned_count == 0) {
            return true;
        }
        address = place_for(port);
        forget(net, address);
        enter(net, address, port, mac);
    }
    address->seen_ns = arch_clock_ns();
    return true;
}

/* Who has the address, if that is known and recent. */
static struct port *look_up(struct net_switch *net, uint64_t mac)
{
    struct port_address *address = find(net, mac);

    if (address == NULL) {
        return NULL;
    }
    if (address != &address->port->own && arch_clock_ns() - address->seen_ns > SWITCH_AGE_NS) {
        forget(net, address);
        return NULL;
    }
    return address->port;
}

/* ---- to one port ---------------------------------------------------------------------------- */

static bool put(struct port *to, const struct net_frame *frame)
{
    bool done;

    spin_lock(&to->lock);
    done = net_queue_put(&to->queue, frame);
    if (done) {
        to->ops->wake(to);
    }
    spin_unlock(&to->lock);
    return done;
}

/* With nothing left to do that the port does not take.  What is queued counts when it is taken. */
static void deliver_one(void *context, const struct net_frame *frame)
{
    struct port *to = context;
    enum port_taken taken = to->ops->take != NULL ? to->ops->take(to, frame) : PORT_LATER;

    if (taken == PORT_TAKEN) {
        count(to, PORT_GOT_FRAMES, 1);
        count(to, PORT_GOT_BYTES, frame->bytes);
    } else if (taken == PORT_DROPPED || !put(to, frame)) {
        count(to, PORT_GOT_DROPS, 1);
    }
}

static uint32_t needs(const struct net_offload *offload)
{
    static const uint32_t cutting[] = {0, PORT_TAKES_TCP4, PORT_TAKES_TCP6};

    return (offload->partial ? PORT_TAKES_PARTIAL : 0) | cutting[offload->segments];
}

bool port_takes(const struct port *port, const struct net_offload *offload)
{
    return (needs(offload) & ~atomic_load_explicit(&port->flags, memory_order_relaxed)) == 0;
}

static void deliver(struct port *to, const struct net_frame *frame)
{
    if (port_takes(to, &frame->offload)) {
        deliver_one(to, frame);
    } else if (!net_offload_do(frame, deliver_one, to)) {
        count(to, PORT_GOT_DROPS, 1);
    }
}

/* ---- to whom it is for ---------------------------------------------------------------------- */

static void begin_use(struct port *port)
{
    atomic_fetch_add_explicit(&port->users, 1, memory_order_relaxed);
}

static void end_use(struct port *port)
{
    /* Release: whoever sees nobody at the port sees all that was done. */
    atomic_fetch_sub_explicit(&port->users, 1, memory_order_release);
}

static bool wants(struct port *port, uint64_t destination)
{
    uint32_t flags = atomic_load_explicit(&port->flags, memory_order_relaxed);
    uint32_t flag = destination == MAC_BROADCAST ? PORT_WANTS_BROADCAST
                    : destination & MAC_GROUP    ? PORT_WANTS_MULTICAST
                                                 : PORT_WANTS_UNKNOWN;

    return (flags & flag) != 0 || (destination != MAC_BROADCAST &&
                                   atomic_load_explicit(&port->wanted_hash, memory_order_relaxed) &
                                       BIT(port_hash(destination)));
}

/* The next one from *at on that wants it, in use; or NULL. */
static struct port *next_wanting(struct net_switch *net, const struct port *from,
                                 uint64_t destination, unsigned *at)
{
    struct port *found = NULL;

    spin_lock(&net->lock);
    while (found == NULL && *at < net->end) {
        struct port *port = net->port[(*at)++];

        if (port != NULL && port != from && wants(port, destination)) {
            begin_use(port);
            found = port;
        }
    }
    spin_unlock(&net->lock);
    return found;
}

static uint32_t flood(struct port *from, const struct net_frame *frame, uint64_t destination)
{
    uint32_t cost = 0;
    unsigned at = 0;
    struct port *to;

    if (frame->bytes > SWITCH_FLOOD_BYTES || frame->offload.segments != NET_SEGMENTS_NONE ||
        (destination & MAC_RESERVED_MASK) == MAC_RESERVED) {
        count(from, PORT_SENT_DROPS, 1);
        return 0;
    }
    while ((to = next_wanting(from->net, from, destination, &at)) != NULL) {
        deliver(to, frame);
        end_use(to);
        cost += frame->bytes;
    }
    return cost + at * LOOK_COST;
}

/* Learns, and looks who is to have it: *to in use, or NULL: nobody in particular.  False: it is to
 * be dropped. */
static bool choose(struct port *from, uint64_t source, uint64_t destination, struct port **to)
{
    struct net_switch *net = from->net;
    bool good;

    *to = NULL;
    spin_lock(&net->lock);
    good = !(source & MAC_GROUP) && source != 0 && learn(net, from, source);
    if (good && !(destination & MAC_GROUP)) {
        *to = look_up(net, destination);
        good = *to != from; /* who sends to itself hears itself */
    }
    if (good && *to != NULL) {
        begin_use(*to);
    }
    spin_unlock(&net->lock);
    return good;
}

uint32_t switch_send(struct port *port, const struct net_frame *frame)
{
    uint64_t destination, source;
    struct port *to;

    if (!net_frame_is_valid(frame)) {
        count(port, PORT_SENT_DROPS, 1);
        return LOOK_COST;
    }
    destination = port_mac(frame->piece[0].data);
    source = port_mac(frame->piece[0].data + NET_MAC_BYTES);
    if (!choose(port, source, destination, &to)) {
        count(port, PORT_SENT_DROPS, 1);
        return LOOK_COST;
    }
    count(port, PORT_SENT_FRAMES, 1);
    count(port, PORT_SENT_BYTES, frame->bytes);
    if (to == NULL) {
        return LOOK_COST + flood(port, frame, destination);
    }
    deliver(to, frame);
    end_use(to);
    return LOOK_COST + frame->bytes;
}

/* ---- life ----------------------------------------------------------------------------------- */

void switch_init(struct net_switch *net, uint64_t seed)
{
    memset(net, 0, sizeof(*net));
    spin_init(&net->lock, RANK_SWITCH, "switch");
    net->seed = seed;
}

bool port_init(struct port *port, const struct port_ops *ops, uint32_t queue_bytes)
{
    memset(port, 0, sizeof(*port));
    spin_init(&port->lock, RANK_SWITCH, "port");
    port->ops = ops;
    return queue_bytes == 0 || net_queue_create(&port->queue, queue_bytes);
}

void port_destroy(struct port *port)
{
    ASSERT(port->net == NULL);
    net_queue_destroy(&port->queue);
}

/* False: another one has that address by right.  Who has only learned it loses it. */
static bool claim(struct net_switch *net, struct port *port)
{
    struct port_address *other = port->mac != 0 ? find(net, port->mac) : NULL;

    if (other != NULL && other == &other->port->own) {
        return false;
    }
    if (other != NULL) {
        forget(net, other);
    }
    if (port->mac != 0) {
        enter(net, &port->own, port, port->mac);
    }
    return true;
}

bool switch_attach(struct net_switch *net, struct port *port)
{
    unsigned number = 0;
    bool done = false;

    spin_lock(&net->lock);
    while (number < SWITCH_PORTS_MAX && net->port[number] != NULL) {
        number++;
    }
    if (number < SWITCH_PORTS_MAX && claim(net, port)) {
        net->port[number] = port;
        net->end = MAX(net->end, number + 1);
        port->number = number;
        port->net = net;
        done = true;
    }
    spin_unlock(&net->lock);
    return done;
}

void switch_detach(struct port *port)
{
    struct net_switch *net = port->net;

    if (net == NULL) {
        return;
    }
    spin_lock(&net->lock);
    net->port[port->number] = NULL;
    forget(net, &port->own);
    for (unsigned i = 0; i < port->learned_count; i++) {
        forget(net, &port->learned[i]);
    }
    spin_unlock(&net->lock);
    /* Acquire: see end_use(). */
    while (atomic_load_explicit(&port->users, memory_order_acquire) != 0) {
        __builtin_ia32_pause();
    }
    port->net = NULL;
}

/* ---- the queue ------------------------------------------------------------------------------ */

const struct net_frame *port_peek(struct port *port)
{
    return net_queue_peek(&port->queue);
}

void port_next(struct port *port, bool taken)
{
    count(port, taken ? PORT_GOT_FRAMES : PORT_GOT_DROPS, 1);
    count(port, PORT_GOT_BYTES, taken ? port->queue.first.bytes : 0);
    net_queue_next(&port->queue);
}

bool port_is_empty(const struct port *port)
{
    return net_queue_is_empty(&port->queue);
}

void port_clear(struct port *port)
{
    net_queue_clear(&port->queue);
}
