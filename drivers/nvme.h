/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers: structures shared by
 *
 *   nvme.c            finding controllers, their queues and interrupts
 *   nvme_namespace.c  the namespaces of a controller
 *   nvme_admin.c      start of a controller, the admin queue and its commands
 *   nvme_queue.c      I/O, reset
 *
 * Locks: each I/O queue has its block_queue lock.  The admin queue belongs to whoever
 * has set `admin_busy`: the boot CPU at probe, later the CPU that aborts or resets.
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

struct nvme_controller {
    char name[16]; /* in the log: "nvme 00:04.0" */
    struct pci_device *pci;
    volatile uint8_t *registers;
    uint64_t capabilities;    /* CAP */
    uint32_t max_pages;       /* of one command, from MDTS */
    uint32_t namespace_limit; /* NN: no NSID is greater */
    hpa_t memory;             /* of this struct, the admin queue and `identify` */
    atomic_bool admin_busy;   /* owner of the admin queue and of start and reset */
    atomic_bool dead;         /* a reset failed: all requests fail */
    struct nvme_ring admin;
    hpa_t admin_sq;
    hpa_t admin_cq;
    uint16_t admin_id; /* of the last admin command */
    void *identify;    /* one page for Identify data */
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

/* ---- nvme_admin.c; the caller owns admin_busy ---- */

/* Register of the doorbell of a submission queue (cq: of its completion queue). */
volatile uint32_t *nvme_doorbell(struct nvme_controller *c, unsigned queue, bool cq);
/* Maps nothing, allocates nothing: disables, sets up the admin queue, enables.  False: it failed.
 */
bool nvme_start(struct nvme_controller *c);
/* Makes c->queue[0..queues) known to the controller. */
bool nvme_start_queues(struct nvme_controller *c);
/* Issues an admin command and waits for it.  False (and logged) on failure or time-out. */
bool nvme_admin_run(struct nvme_controller *c, struct nvme_command *command, uint32_t *result);
/* Identify (NVME_IDENTIFY_*) into c->identify. */
bool nvme_admin_identify(struct nvme_controller *c, uint32_t cns, uint32_t nsid);
/* The command that asks for `want` queue pairs, and what its result grants. */
struct nvme_command nvme_admin_queue_command(unsigned want);
unsigned nvme_admin_queues_granted(uint32_t result);
/* Sends an Abort and does not wait.  Takes and leaves admin_busy; gives up if it is taken. */
void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command);
/* CSTS says fatal, or the controller is gone from the bus. */
bool nvme_admin_failed(const struct nvme_controller *c);

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
