/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers: structures shared by
 *
 *   nvme.c            finding controllers, their queues and interrupts
 *   nvme_namespace.c  the namespaces of a controller
 *   nvme_admin.c      the admin queue and its commands
 *   nvme_reset.c      start of a controller, at boot and when it has stopped answering
 *   nvme_queue.c      I/O
 *
 * Locks: each I/O queue has its block_queue lock.  The admin queue, `state` and what belongs to a
 * reset are owned by whoever has set `admin_busy`: the boot CPU at probe, later the CPU that aborts
 * a command or takes one step of a reset.
 */
#ifndef SPILLWAY_DRIVERS_NVME_H
#define SPILLWAY_DRIVERS_NVME_H

#include "drivers/block_slots.h"
#include "drivers/nvme_ring.h"
#include "drivers/page_pool.h"
#include "drivers/pci.h"

#define NVME_MAX_QUEUES  8
#define NVME_ADMIN_DEPTH 16

/* NVMe 1.4, 3.1 "Register Definition". */
enum {
    NVME_CAP = 0x00,
    NVME_VS = 0x08,
    NVME_CC = 0x14,
    NVME_CSTS = 0x1c,
    NVME_AQA = 0x24,
    NVME_ASQ = 0x28,
    NVME_ACQ = 0x30,
    NVME_DOORBELLS = 0x1000,
};

#define NVME_CAP_MQES     BITS(15, 0)
#define NVME_CAP_TO       BITS(31, 24) /* ready time-out, 500 ms units */
#define NVME_CAP_DSTRD    BITS(35, 32)
#define NVME_CAP_CSS_NVM  BIT(37) /* NVM command set */
#define NVME_CAP_CSS_SETS BIT(43) /* I/O command sets: a namespace tells its own */
#define NVME_CAP_MPSMIN   BITS(51, 48)

#define NVME_CSTS_READY 0x1u
#define NVME_CSTS_FATAL 0x2u
#define NVME_CSTS_GONE  0xffffffffu /* the controller has left the bus */

/* What Identify is asked for (CNS). */
#define NVME_IDENTIFY_NAMESPACE   0u
#define NVME_IDENTIFY_CONTROLLER  1u
#define NVME_IDENTIFY_LIST        2u /* of active namespaces */
#define NVME_IDENTIFY_DESCRIPTORS 3u /* of a namespace */

struct nvme_controller;

struct nvme_queue {
    struct block_queue requests; /* its lock protects all below */
    struct nvme_ring ring;
    struct nvme_controller *controller;
    volatile uint32_t *sq_doorbell;
    volatile uint32_t *cq_doorbell;
    hpa_t memory; /* of all that this queue needs, itself included */
    uint64_t memory_bytes;
    hpa_t sq_address;
    hpa_t cq_address;
    uint64_t *prp_lists; /* NVME_PRP_LIST_BYTES for each slot */
    hpa_t prp_address;
    struct block_slots slots;    /* the index is the command's id */
    _Atomic uint64_t interrupts; /* noted by the handler */
    uint16_t id;                 /* 1.. */
    int vector;                  /* negative: polled */
    bool stopped;                /* the controller is being reset: touch no register */
};

struct nvme_namespace {
    struct block_device device;
    struct nvme_controller *controller;
    uint32_t nsid;
    unsigned lba_shift;
};

enum nvme_state {
    NVME_RUNNING,
    NVME_STOPPING, /* CC.EN is 0, CSTS.RDY not yet */
    NVME_STARTING, /* CC.EN is 1, CSTS.RDY not yet */
    NVME_SETUP,    /* the commands that make the I/O queues known are under way */
    NVME_DEAD,     /* given up: all requests fail */
};

struct nvme_controller {
    char name[16]; /* in the log: "nvme 00:04.0" */
    struct pci_device *pci;
    volatile uint8_t *registers;
    uint64_t capabilities;    /* CAP */
    uint32_t max_pages;       /* of one command, from MDTS */
    uint32_t namespace_limit; /* NN: no NSID is greater */
    hpa_t memory;             /* of this struct, the admin queue and `identify` */
    atomic_bool admin_busy;   /* owner of all down to `identify_address` */
    _Atomic uint32_t state;   /* enum nvme_state; looked at without owning it */
    uint64_t deadline;        /* of what a reset waits for */
    _Atomic uint64_t look_at; /* not before this time; looked at without owning it */
    unsigned setup;           /* index of the command that is under way in NVME_SETUP */
    struct nvme_ring admin;
    hpa_t admin_sq;
    hpa_t admin_cq;
    uint16_t admin_id; /* of the last admin command, and its opcode */
    uint8_t admin_opcode;
    void *identify; /* one page for Identify data */
    hpa_t identify_address;
    bool msix;
    unsigned interrupts; /* vectors set up; entry i serves queue i */
    unsigned queues;
    struct nvme_queue *queue[NVME_MAX_QUEUES];
    struct page_pool structs; /* for namespaces */
    unsigned namespaces;
};

static inline uint32_t nvme_read(const struct nvme_controller *c, unsigned offset)
{
    return *(volatile uint32_t *)(c->registers + offset);
}

static inline void nvme_write(struct nvme_controller *c, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(c->registers + offset) = value;
}

static inline enum nvme_state nvme_state(const struct nvme_controller *c)
{
    return (enum nvme_state)atomic_load_explicit(&c->state, memory_order_relaxed);
}

/* ---- nvme_admin.c; the caller owns admin_busy ---- */

enum nvme_answer {
    NVME_WAITING, /* none yet */
    NVME_DONE,
    NVME_FAILED, /* refused, and logged */
};

/* Register of the doorbell of a submission queue (cq: of its completion queue). */
volatile uint32_t *nvme_doorbell(struct nvme_controller *c, unsigned queue, bool cq);
/* Issues a command and does not wait.  False: the ring is full of commands that nobody answers. */
bool nvme_admin_send(struct nvme_controller *c, struct nvme_command *command);
/* Looks once for the answer to the last command that was sent.  *result may be NULL. */
enum nvme_answer nvme_admin_answer(struct nvme_controller *c, uint32_t *result);
/* Boot only: sends a command and waits.  False (and logged) on failure or time-out. */
bool nvme_admin_run(struct nvme_controller *c, struct nvme_command *command, uint32_t *result);
/* Boot only: Identify (NVME_IDENTIFY_*) into c->identify. */
bool nvme_admin_identify(struct nvme_controller *c, uint32_t cns, uint32_t nsid);
/* The command that asks for `want` queue pairs, and what its result grants. */
struct nvme_command nvme_admin_queue_command(unsigned want);
unsigned nvme_admin_queues_granted(uint32_t result);
/* Sends an Abort and does not wait.  Takes and leaves admin_busy; gives up if it is taken, or if
 * the controller does not run. */
void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command);
/* CSTS says fatal, or the controller is gone from the bus. */
bool nvme_admin_failed(const struct nvme_controller *c);

/* ---- nvme_reset.c; the caller owns admin_busy ---- */

/* An answer to an admin command takes longer than this: the controller is given up. */
#define NVME_ADMIN_TIMEOUT_NS 5000000000ull

/* Begins to stop the controller; it will be started again.  Its I/O queues are stopped. */
void nvme_reset_begin(struct nvme_controller *c);
/* One look at a reset, and its next step if it is time; never waits.  True: it has just ended, and
 * `state` says how, NVME_RUNNING or (logged) NVME_DEAD. */
bool nvme_reset_step(struct nvme_controller *c);
/* Boot only, waits: stops and starts a controller that has no I/O queues yet.  False: logged. */
bool nvme_start(struct nvme_controller *c);
/* Boot only, waits: makes c->queue[0..queues) known to the controller.  False: logged. */
bool nvme_start_queues(struct nvme_controller *c);

/* ---- nvme_namespace.c ---- */

/* Boot only: adds a disk for each active namespace that can be used, and says which cannot. */
void nvme_namespaces_add(struct nvme_controller *c);

/* ---- nvme_queue.c ---- */

/* Memory of I/O queue pair `id`, from 1, with `depth` entries.  NULL if there is none. */
struct nvme_queue *nvme_queue_new(struct nvme_controller *c, uint16_t id, uint16_t depth);
/* Gives it back: the controller never heard of the queue. */
void nvme_queue_free(struct nvme_queue *q);
extern const struct block_ops nvme_block_ops;

#endif
