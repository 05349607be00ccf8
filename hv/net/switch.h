/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A learning switch: ports, and which MAC address is behind which of them.  It knows neither guests
 * nor machines: a VM's network device is the owner of a port, and so is an uplink's driver.
 *
 *     owner A                        switch                          owner B
 *     switch_send(port A, frame) --> learns A's address
 *                                    finds port B        -->  ops->take(): at once, in place
 *                                       | not now
 *                                       '--> its queue   -->  ops->wake(), later port_peek(),
 *                                                             port_next()
 *
 * Nobody waits for an owner: what finds no room in its queue is dropped, and counted.  What an
 * owner cannot do with an offload is done for it (hv/net/offload.h).
 *
 * An address that a port has by right (port->mac) is nobody else's: a frame from another port that
 * claims to come from it is dropped.  Others are learned, so many of each port, and forgotten after
 * SWITCH_AGE_NS: no port can push out what another one has.
 *
 * Life of a port: port_init(), switch_attach(), switch_detach(), port_destroy().
 *
 * Locks: switch->lock and port->lock (RANK_SWITCH), never both; an owner may hold its own, of a
 * lower rank, when it sends.  ops->take() runs with the sender's locks held.
 */
#ifndef SPILLWAY_HV_NET_SWITCH_H
#define SPILLWAY_HV_NET_SWITCH_H

#include "base/bits.h"
#include "base/lock.h"
#include "hv/net/queue.h"

#define SWITCH_PORTS_MAX   257u /* as many NICs as there can be, and an uplink */
#define SWITCH_BUCKETS     256u
#define SWITCH_AGE_NS      (300 * NS_PER_S)
#define SWITCH_FLOOD_BYTES 9018u /* to many at once: no longer than a jumbo frame */
#define PORT_QUEUE_BYTES   (512u << 10)

/* Offloads that an owner takes as they are; the others are done before. */
#define PORT_TAKES_PARTIAL BIT(0) /* checksums that are to be completed */
#define PORT_TAKES_TCP4    BIT(1) /* frames that are to be cut: NET_SEGMENTS_TCP4 */
#define PORT_TAKES_TCP6    BIT(2)
/* Which frames to all or to nobody known it wants, beside those to an address in its hash. */
#define PORT_WANTS_BROADCAST BIT(8)
#define PORT_WANTS_MULTICAST BIT(9)
#define PORT_WANTS_UNKNOWN   BIT(10) /* unicast: promiscuous, or an uplink */

enum port_taken {
    PORT_TAKEN, /* it has all that it wants of the frame */
    PORT_LATER, /* not now: the frame is to be queued */
    PORT_DROPPED,
};

struct port;
struct net_switch;

struct port_ops {
    /*
     * A frame, valid during the call.  From the sender's context, with the sender's locks held,
     * perhaps several senders' at once: waits for no lock of that rank (spin_trylock).  Not before
     * what is in the queue.  Bounded work.  NULL: all frames go through the queue.
     */
    enum port_taken (*take)(struct port *port, const struct net_frame *frame);
    /* There is something in the queue.  As above, and with the port's lock held: notes it, and does
     * the work later.  NULL: the port has no queue. */
    void (*wake)(struct port *port);
};

/* An address behind a port; under the switch's lock. */
struct port_address {
    struct port_address *next; /* of its bucket */
    struct port *port;
    uint64_t mac; /* 0: not in use */
    uint64_t seen_ns;
};

/* Since port_init(); as the owner sees it. */
enum port_count {
    PORT_SENT_FRAMES, /* into the switch */
    PORT_SENT_BYTES,
    PORT_SENT_DROPS, /* not valid, or with another port's address */
    PORT_GOT_FRAMES,
    PORT_GOT_BYTES,
    PORT_GOT_DROPS, /* no room in the queue, or the owner could not take them */
    PORT_COUNTS,
};

struct port {
    /* Of the owner, before it attaches. */
    const struct port_ops *ops;
    uint64_t mac;                 /* by right; 0: none */
    struct port_address *learned; /* room for others, zero ... */
    unsigned learned_count;       /* ... so many */
    /* Of the owner, at any time. */
    _Atomic uint32_t flags;       /* PORT_TAKES_*, PORT_WANTS_* */
    _Atomic uint64_t wanted_hash; /* BIT(port_hash()) of addresses that it wants, too */

    struct net_switch *net; /* NULL: not attached */
    unsigned number;
    unsigned next_learned; /* which to replace; under the switch's lock */
    struct port_address own;
    _Atomic uint32_t users; /* who are at it now; it stays meanwhile */
    struct spinlock lock;   /* who puts into the queue */
    struct net_queue queue;
    _Atomic uint64_t count[PORT_COUNTS];
};

struct net_switch {
    struct spinlock lock; /* what follows, and addresses of all ports */
    uint64_t seed;
    struct port *port[SWITCH_PORTS_MAX];
    unsigned end; /* behind the last one that is there */
    struct port_address *bucket[SWITCH_BUCKETS];
};

/* Once.  `seed`: random, so that no guest knows who shares a bucket. */
void switch_init(struct net_switch *net, uint64_t seed);

/* Its queue, of whole pages; what is the owner's is set afterwards.  0 bytes: it has none, since
 * ops->take() never says PORT_LATER.  False: out of memory; port_destroy() follows all the same. */
bool port_init(struct port *port, const struct port_ops *ops, uint32_t queue_bytes);
void port_destroy(struct port *port);
/* False: the switch has no room for it, or another port has its address by right. */
bool switch_attach(struct net_switch *net, struct port *port);
/* When it returns nobody is at the port any more, nor comes; its queue is as it was.  Waits for
 * others' calls of take() and wake(), which are bounded, and wait for none of the caller's locks:
 * it holds none at or above the owner's rank. */
void switch_detach(struct port *port);

/*
 * Sends a frame from that port: one call at a time for each.  Returns what that has cost, in bytes
 * that were moved or looked at: whoever sends for a guest has a budget.
 */
uint32_t switch_send(struct port *port, const struct net_frame *frame);

/* ---- the queue, for its owner: one call at a time ---- */

/* The first frame that waits; NULL: none. */
const struct net_frame *port_peek(struct port *port);
/* It is done with, and counted. */
void port_next(struct port *port, bool taken);
bool port_is_empty(const struct port *port);
/* All that waits is forgotten; not counted. */
void port_clear(struct port *port);

/* Do its flags say that it takes frames with that left to do? */
bool port_takes(const struct port *port, const struct net_offload *offload);
/* A frame of the owner's that it has not even sent; a frame for it that it could not take. */
void port_count_drop(struct port *port, enum port_count which);

/* Six bytes as a number: the first byte is the highest. */
uint64_t port_mac(const uint8_t bytes[NET_MAC_BYTES]);
/* Which bit of wanted_hash stands for that address. */
unsigned port_hash(uint64_t mac);

#endif
