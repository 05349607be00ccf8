/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Network interfaces of the machine: what all of them have, their life, and who polls them.
 *
 *                    .---------------- it has come back ----------------.
 *                    v                                                  |
 *     nic_init --> NIC_RUNNING --overdue, or it talks nonsense--> NIC_RESETTING
 *                                                                       |
 *                                                 late, or it fails --> NIC_DEAD
 *
 * A frame to be sent is copied into one of the NIC's own buffers, or dropped and counted: so many
 * buffers there are and no more, and nobody waits for one.  A frame that has come is shown to the
 * one receiver in the NIC's buffer, which the hardware gets back at once.  What nobody takes stays
 * in the hardware's ring, and what comes then the hardware drops by itself.
 *
 * Receiving costs at most a quarter of one CPU's time, whatever comes: after a turn the NIC has a
 * pause of three times as long, in which its interrupts are off.  So a flood costs frames.
 *
 * Nobody waits for hardware: whoever polls looks once and goes on.  Why each wait ends: frames that
 * were sent and do not come back within NIC_TIMEOUT_NS, with the link up, end in a reset; a reset
 * that has not ended within NIC_RESET_NS ends in NIC_DEAD, where every frame is dropped.
 *
 * Locks: `lock` (RANK_NIC) protects what sends; whoever has set `busy` owns what receives and the
 * states above.  It is no lock, nobody waits for it.
 */
#ifndef SPILLWAY_DRIVERS_NIC_H
#define SPILLWAY_DRIVERS_NIC_H

#include "base/lock.h"
#include "base/types.h"
#include "drivers/pci.h"

#define NIC_MAX       16
#define NIC_NAME_MAX  8
#define NIC_MAC_BYTES 6
#define NIC_FRAME_MIN 14u   /* an Ethernet header */
#define NIC_FRAME_MAX 1518u /* with a VLAN tag, without the checksum at the end */

#define NIC_BUFFERS      128u  /* in each direction; a power of two */
#define NIC_BUFFER_BYTES 2048u /* a frame, and what a device puts before it */
#define NIC_TURN         32u   /* frames received at a time at most ... */
#define NIC_TURN_PART    8u    /* ... in parts of so many, until the time is over */

#define NIC_LINK_NS    250000000ull   /* how often the link is looked at */
#define NIC_POLL_NS    1000000ull     /* and frames, of a NIC without interrupts that is used */
#define NIC_TIMEOUT_NS 5000000000ull  /* for a frame that was sent */
#define NIC_TURN_NS    200000ull      /* no part begins later than this in a turn */
#define NIC_SETTLE_NS  1000000000ull  /* between the beginning of a reset and its first look */
#define NIC_RESET_NS   10000000000ull /* a reset takes no longer */

struct nic;

/* Memory that a part of a frame lies in. */
struct nic_piece {
    const void *at;
    uint32_t bytes;
};

struct nic_ops {
    /* ---- nic->lock is held, and it is not stopped ---- */

    /* Copies the pieces, NIC_FRAME_MAX bytes at most, into a buffer and gives it to the hardware.
     * False: it has all of them. */
    bool (*send)(struct nic *nic, const struct nic_piece *pieces, unsigned count);
    /* Takes back buffers that were sent.  How many; negative: the hardware returned nonsense. */
    int (*reap)(struct nic *nic);

    /* ---- any context ---- */

    /* Has a frame come?  A look at memory; what it misses the next one sees. */
    bool (*pending)(const struct nic *nic);

    /* ---- the caller owns `busy`, no lock is held; none of them waits ---- */

    /* Shows up to `most` frames to nic_received() and gives their buffers back.  False: the
     * hardware returned nonsense. */
    bool (*receive)(struct nic *nic, unsigned most);
    /* Of a NIC that is not `polled`. */
    void (*interrupts)(struct nic *nic, bool on);
    bool (*link)(struct nic *nic);
    void (*reset_begin)(struct nic *nic);
    bool (*reset_done)(struct nic *nic);
    /* After a reset: all buffers are free, none is sent; interrupts on.  False: it cannot be used.
     */
    bool (*start)(struct nic *nic);
};

enum nic_state {
    NIC_RUNNING,
    NIC_RESETTING,
    NIC_DEAD,
};

struct nic_stats {
    uint64_t rx_frames, rx_bytes;
    uint64_t rx_errors; /* damaged, or of a length that no frame has: dropped */
    uint64_t tx_frames, tx_bytes;
    uint64_t tx_dropped; /* no buffer was free, or no link, or a reset was under way */
    uint64_t link_changes, resets;
};

/* A frame that has come, valid during the call only.  No locks held, one call at a time for each
 * NIC.  Interrupts off. */
typedef void (*nic_receiver)(void *owner, const void *frame, uint32_t bytes);

struct nic {
    const struct nic_ops *ops; /* this and the next four: the driver's, before nic_add() */
    struct pci_device *pci;
    const char *model;
    uint8_t mac[NIC_MAC_BYTES];
    bool polled; /* it sends no interrupts */
    char name[NIC_NAME_MAX];

    struct spinlock lock; /* of what follows, and of the driver's ring of frames to be sent */
    bool stopped;         /* by a reset: touch no register */
    bool up;              /* the link; written by the owner of `busy` only */
    unsigned sent;        /* buffers that the hardware has */
    bool nonsense;        /* was returned by it */
    uint64_t progress_ns; /* when the first of them was given to it, or the last one came back */

    atomic_bool busy; /* somebody owns what follows, and the driver's ring of frames that come */
    bool masked;      /* its interrupts are off */
    enum nic_state state;
    uint64_t deadline; /* of a reset */
    nic_receiver receiver;
    void *receiver_owner;

    _Atomic bool used;              /* there is a receiver */
    _Atomic uint64_t look_at;       /* when to look at all of it */
    _Atomic uint64_t receive_after; /* the pause ends */
    struct nic_stats stats;         /* tx_*: of `lock`; the others: of `busy` */
};

/*
 * Boot CPU, once, when PCI has been enumerated: finds the NICs that there are drivers for, and
 * names them eth0 .. eth15 in the order of the bus.  One that does not start is left out and said
 * so.
 */
void nic_init(void);
unsigned nic_count(void);
/* 0 .. nic_count() - 1. */
struct nic *nic_at(unsigned index);
/* By name ("eth0"), or by MAC ("52:54:00:12:34:56", either case); NULL: there is none. */
struct nic *nic_find(const char *name);
/* "52:54:00:12:34:56": 18 bytes with the NUL. */
void nic_format_mac(const uint8_t mac[NIC_MAC_BYTES], char text[18]);

/* From now on frames that come are shown to `receiver`.  Boot CPU, at boot; once for each NIC. */
void nic_attach(struct nic *nic, nic_receiver receiver, void *owner);
/*
 * Sends a frame of so many pieces; copied before the return.  False: it was dropped, and counted.
 * Any context, any lock below RANK_NIC held.
 */
bool nic_send(struct nic *nic, const struct nic_piece *pieces, unsigned count);

/* Looks at all of them: frames, link, resets.  Bounded.  Every CPU's main loop; no locks held. */
void nic_poll(void);
/* When to poll again, at the latest; of a NIC that another CPU polls just now that CPU knows it.
 * UINT64_MAX: there is none.  Cheap. */
uint64_t nic_deadline(void);

/* A snapshot, torn where it is written meanwhile. */
void nic_get_stats(const struct nic *nic, struct nic_stats *stats);

/* ---- for drivers ---- */

/* Each looks at one function of the PCI bus.  NULL: it is none of its own, or it was left out, and
 * that was logged.  The NIC runs, and stays for ever. */
struct nic *virtio_net_probe(struct pci_device *pci);
struct nic *e1000_probe(struct pci_device *pci);

/* Logs why the function is no NIC of ours.  NULL. */
struct nic *nic_leave_out(const struct pci_device *pci, const char *why);
/* From ops->receive(): a frame of so many bytes, any number; a damaged one is NULL.  At least
 * NIC_FRAME_MAX bytes are there. */
void nic_received(struct nic *nic, const void *frame, uint32_t bytes);
/* Copies pieces one behind the other; how many bytes that were. */
uint32_t nic_gather(uint8_t *to, const struct nic_piece *pieces, unsigned count);
/* Boot only: begins a reset and waits until it is over.  False: it does not end. */
bool nic_reset_and_wait(struct nic *nic);

#endif
