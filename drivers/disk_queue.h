/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue engine: what hardware that takes many commands at once has in common, whatever its
 * rings and commands look like.  A driver (nvme_queue.c, virtio_blk_queue.c) embeds the two structs
 * and supplies `struct disk_ops`.
 *
 *   submit --> waiting --issue--> tag in flight --answer--> finished --poll--> done()
 *                                  |     ^  '-- failed, and may go well: issued again
 *                                  |     '----------------------------------- (BLOCK_RETRIES times)
 *                                overdue --> aborted --overdue again--> reset of the hardware
 *
 * A queue is software's waiting lists (drivers/block_queue.h: their order, and the bound of
 * priority), a table of tags in flight (drivers/block_tags.h) and the driver's ring.  The hardware
 * is all that one reset concerns, a controller with its queues:
 *
 *   RUNNING --reset_begin--> RESETTING --reset_step says DISK_RESET_ENDED--> RUNNING
 *                                 '----- it fails, or is late --give_up--> DEAD
 *
 * While it is RESETTING its queues are stopped: requests are only queued.  In RUNNING again, what
 * was in flight is issued once more, BLOCK_RETRIES times, and what waits is issued; in DEAD all of
 * it, and all that comes, fails.  So every request ends.
 *
 * Nobody waits for hardware.  disk_hardware_poll(), of whichever CPU comes by, looks once and goes
 * on.  Why each wait ends: a command in flight has a deadline, after which it is aborted or the
 * hardware is reset; a reset has the deadline that its driver sets at each of its steps, which are
 * bounded in number, and the look that finds it passed gives the hardware up.  Looks are taken as
 * long as a request is outstanding, and the one that was overdue is until the reset has ended.
 *
 * Locks: each queue has its own (RANK_BLOCK), for the lists, the tags and the ring.  `busy` is no
 * lock, nobody waits for it: whoever has set it owns the reset, for one step of it or one Abort.
 */
#ifndef SPILLWAY_DRIVERS_DISK_QUEUE_H
#define SPILLWAY_DRIVERS_DISK_QUEUE_H

#include "drivers/block_tags.h"

#define DISK_QUEUES 8 /* of one hardware */

struct disk_hardware;

struct disk_queue {
    struct block_queue requests; /* its lock protects all below, and the driver's part */
    struct disk_hardware *hardware;
    uint64_t last_answer; /* when the hardware last answered anything */
    bool stopped;         /* the hardware is being reset: touch no register */
    bool full;            /* the driver's: the ring has no room for another command */
    bool unnotified;      /* something was issued that the hardware was not told of */
    struct block_tags tags;
};

/* What became of a command. */
enum disk_verdict {
    DISK_DONE,
    DISK_AGAIN,  /* it failed, and may go well if it is issued again */
    DISK_FAILED, /* it failed, and would again */
};

enum disk_reset {
    DISK_RESET_WAITING, /* for the hardware; or for its next step */
    DISK_RESET_ENDED,   /* it takes commands, its rings are empty */
    DISK_RESET_FAILED,
};

struct disk_ops {
    /* ---- the queue's lock is held, and it is not stopped ---- */

    /*
     * Puts the command of q->tags.tag[tag].slice on the ring, of any block_op.  There is room.
     * Sets q->full if there is none for another one.
     */
    void (*issue)(struct disk_queue *q, unsigned tag);
    /* Tells the hardware of all that was issued. */
    void (*notify)(struct disk_queue *q);
    /* Takes all answers and passes them to disk_queue_answer(); sets q->full anew.  False: none. */
    bool (*reap)(struct disk_queue *q);

    /* ---- no lock is held ---- */

    /* Is there an answer?  A look at memory; what it misses the next one sees. */
    bool (*pending)(struct disk_queue *q);
    /* Why a command failed, in words: what disk_queue_answer() was given. */
    void (*describe)(uint16_t code, char *words, size_t bytes);

    /* ---- no lock is held, the caller owns `busy`; none of them waits ---- */

    /*
     * A command for `disk` is overdue: asks the hardware to give it up.  False: that cannot be
     * done, so the hardware is reset at once.  The command may have been answered meanwhile.
     */
    bool (*abort)(struct disk_queue *q, unsigned tag, const struct block_device *disk);
    /* Begins a reset.  Sets hw->deadline. */
    void (*reset_begin)(struct disk_hardware *hw);
    /* One look at it, and its next step if it is time.  Sets hw->deadline when it goes on to
     * another wait, and may set hw->look_at. */
    enum disk_reset (*reset_step)(struct disk_hardware *hw);
    /* The reset has failed, or (late) passed its deadline: the hardware shall touch no memory. */
    void (*give_up)(struct disk_hardware *hw, bool late);

    /* Hardware that answers other commands is slow, not dead: it gets so many times longer. */
    unsigned patience;
};

enum disk_state {
    DISK_RUNNING,
    DISK_RESETTING,
    DISK_DEAD, /* given up: all requests fail */
};

struct disk_hardware {
    const struct disk_ops *ops;
    uint32_t max_pages;       /* of one command */
    bool write_through;       /* what is written is in stable storage: flushes end by themselves */
    atomic_bool busy;         /* somebody owns the next three, and the driver's state of a reset */
    _Atomic uint32_t state;   /* enum disk_state; looked at without owning it */
    uint64_t deadline;        /* of what a reset waits for */
    _Atomic uint64_t look_at; /* not before this time; looked at without owning it */
    unsigned queues;          /* counted by the driver, as it puts them into queue[] */
    struct disk_queue *queue[DISK_QUEUES];
};

/* An empty queue of zeroed memory, for `tags` commands in flight (1..BLOCK_TAGS). */
void disk_queue_init(struct disk_queue *q, struct disk_hardware *hw, unsigned tags);
/*
 * From ops->reap(): the hardware has answered a command; `code` is for ops->describe().  False: no
 * command with this tag is in flight.  Any number is allowed.
 */
bool disk_queue_answer(struct disk_queue *q, unsigned tag, enum disk_verdict verdict,
                       uint16_t code);

/* For struct block_ops; its contracts hold.  A CPU submits to its own queue, if there are so many,
 * and polls all of them: the CPU that submitted may be away in a guest. */
void disk_hardware_submit(struct disk_hardware *hw, struct block_device *device,
                          struct block_request *request);
void disk_hardware_poll(struct disk_hardware *hw);

/* Boot only: waits for a reset that the driver has begun.  False: the hardware was given up. */
bool disk_hardware_wait(struct disk_hardware *hw);

#endif
