/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers: structures shared by
 *
 *   nvme.c            finding controllers, their queues and interrupts
 *   nvme_namespace.c  the namespaces of a controller
 *   nvme_admin.c      the admin queue and its commands
 *   nvme_reset.c      start of a controller, at boot and when it has stopped answering
 *   nvme_queue.c      I/O queues, as the queue engine wants them (drivers/disk_queue.h)
 *
 * Locks: each I/O queue has that of its engine queue.  The admin queue and what belongs to a reset
 * are owned by the boot CPU at probe, later by whoever owns `hardware.busy`: the CPU that aborts a
 * command or takes one step of a reset.
 */
#ifndef SPILLWAY_DRIVERS_NVME_H
#define SPILLWAY_DRIVERS_NVME_H

#include "drivers/disk_queue.h"
#include "drivers/nvme_ring.h"
#include "drivers/page_pool.h"
#include "drivers/pci.h"

#define NVME_MAX_QUEUES  DISK_QUEUES
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
    struct disk_queue common; /* its lock protects all below; a tag is the command's id */
    struct nvme_ring ring;
    volatile uint32_t *sq_doorbell;
    volatile uint32_t *cq_doorbell;
    hpa_t memory; /* of all that this queue needs, itself included */
    uint64_t memory_bytes;
    hpa_t sq_address;
    hpa_t cq_address;
    uint64_t *prp_lists; /* NVME_PRP_LIST_BYTES for each tag */
    hpa_t prp_address;
    _Atomic uint64_t interrupts; /* noted by the handler */
    uint16_t id;                 /* 1.. */
    int vector;                  /* negative: polled */
};

struct nvme_namespace {
    struct block_device device;
    struct nvme_controller *controller;
    uint32_t nsid;
    unsigned lba_shift;
};

/* What a reset waits for. */
enum nvme_phase {
    NVME_STOPPING, /* CC.EN is 0, CSTS.RDY not yet */
    NVME_STARTING, /* CC.EN is 1, CSTS.RDY not yet */
    NVME_SETUP,    /* the commands that make the I/O queues known are under way */
};

struct nvme_controller {
    struct disk_hardware hardware;
    char name[16]; /* in the log: "nvme 00:04.0" */
    struct pci_device *pci;
    volatile uint8_t *registers;
    uint64_t capabilities;    /* CAP */
    uint32_t namespace_limit; /* NN: no NSID is greater */
    bool discards;            /* ONCS: it has Dataset Management */
    hpa_t memory;             /* of this struct, the admin queue and `identify` */
    /* All down to `identify_address` is owned with hardware.busy. */
    enum nvme_phase phase; /* of a reset */
    unsigned setup;        /* index of the command that is under way in NVME_SETUP */
    struct nvme_ring admin;
    hpa_t admin_sq;
    hpa_t admin_cq;
    uint16_t admin_id; /* of the last admin command, and its opcode */
    uint8_t admin_opcode;
    void *identify; /* one page for Identify data */
    hpa_t identify_address;
    bool msix;
    unsigned interrupts;      /* vectors set up; entry i serves queue i */
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

static inline struct nvme_controller *nvme_controller_of(struct disk_hardware *hw)
{
    return CONTAINER_OF(hw, struct nvme_controller, hardware);
}

static inline struct nvme_queue *nvme_queue_at(const struct nvme_controller *c, unsigned index)
{
    return CONTAINER_OF(c->hardware.queue[index], struct nvme_queue, common);
}

/* ---- nvme_admin.c; the caller owns hardware.busy ---- */

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
/* Sends an Abort and does not wait. */
void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command);
/* CSTS says fatal, or the controller is gone from the bus. */
bool nvme_admin_failed(const struct nvme_controller *c);

/* ---- nvme_reset.c; the caller owns hardware.busy ---- */

/* An answer to an admin command takes longer than this: the controller is given up. */
#define NVME_ADMIN_TIMEOUT_NS 5000000000ull

/* For struct disk_ops. */
void nvme_reset_begin(struct disk_hardware *hw);
enum disk_reset nvme_reset_step(struct disk_hardware *hw);
void nvme_give_up(struct disk_hardware *hw, bool late);
/* Boot only, waits: stops and starts a controller that has no I/O queues yet.  False: logged. */
bool nvme_start(struct nvme_controller *c);
/* Boot only, waits: makes the I/O queues known to the controller.  False: logged. */
bool nvme_start_queues(struct nvme_controller *c);

/* ---- nvme_namespace.c ---- */

/* Boot only: adds a disk for each active namespace that can be used, and says which cannot. */
void nvme_namespaces_add(struct nvme_controller *c);

/* ---- nvme_queue.c ---- */

/* Adds the next I/O queue pair, with `depth` entries.  False: there is no memory for it. */
bool nvme_queue_add(struct nvme_controller *c, uint16_t depth);
/* Gives their memory back: the controller never heard of them. */
void nvme_queues_free(struct nvme_controller *c);
extern const struct disk_ops nvme_disk_ops;
extern const struct block_ops nvme_block_ops;

#endif
