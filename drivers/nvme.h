/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers: structures shared by nvme.c (probe, namespaces), nvme_admin.c
 * (controller start, admin commands) and nvme_queue.c (I/O).
 *
 * Locks: each I/O queue has its block_queue lock.  The admin queue belongs to whoever
 * has set `admin_busy`: the boot CPU at probe, later the CPU that aborts or resets.
 */
#ifndef SPILLWAY_DRIVERS_NVME_H
#define SPILLWAY_DRIVERS_NVME_H

#include "drivers/block_slots.h"
#include "drivers/nvme_ring.h"
#include "drivers/pci.h"

#define NVME_MAX_QUEUES     8
#define NVME_MAX_NAMESPACES 4
#define NVME_ADMIN_DEPTH    16
#define NVME_IO_DEPTH       64

struct nvme_controller;

struct nvme_queue {
    struct block_queue requests; /* its lock protects all below */
    struct nvme_ring ring;
    struct nvme_controller *controller;
    volatile uint32_t *sq_doorbell;
    volatile uint32_t *cq_doorbell;
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
    struct pci_device *pci;
    volatile uint8_t *registers;
    uint64_t capabilities;  /* CAP */
    uint32_t max_pages;     /* of one command, from MDTS */
    atomic_bool admin_busy; /* owner of the admin queue and of start and reset */
    atomic_bool dead;       /* a reset failed: all requests fail */
    struct nvme_ring admin;
    hpa_t admin_sq;
    hpa_t admin_cq;
    uint16_t admin_id; /* of the last admin command */
    void *identify;    /* one page for Identify data */
    hpa_t identify_address;
    unsigned interrupts; /* vectors set up; entry i serves queue i */
    unsigned queues;
    struct nvme_queue *queue[NVME_MAX_QUEUES];
    unsigned namespaces;
    struct nvme_namespace namespace[NVME_MAX_NAMESPACES];
};

/* ---- nvme_admin.c; the caller owns admin_busy ---- */

/* Maps nothing, allocates nothing: disables, sets up the admin queue, enables.  False: it failed.
 */
bool nvme_admin_start(struct nvme_controller *c);
/* Issues an admin command and waits for it.  False (and logged) on failure or time-out. */
bool nvme_admin_run(struct nvme_controller *c, struct nvme_command *command, uint32_t *result);
/* Identify into c->identify.  CNS: 0 namespace, 1 controller, 2 list of active namespaces. */
bool nvme_admin_identify(struct nvme_controller *c, uint32_t cns, uint32_t nsid);
/* Asks for `want` queue pairs; what was granted, 0 on failure. */
unsigned nvme_admin_queue_count(struct nvme_controller *c, unsigned want);
/* Tells the controller about c->queue[0..queues). */
bool nvme_admin_create_queues(struct nvme_controller *c);
/* Sends an Abort and does not wait.  Takes and leaves admin_busy; gives up if it is taken. */
void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command);
/* CSTS says fatal, or the controller is gone from the bus. */
bool nvme_admin_failed(const struct nvme_controller *c);

/* ---- nvme_queue.c ---- */

/* Memory of one more I/O queue pair, NULL if there is none; `id` from 1. */
struct nvme_queue *nvme_queue_new(struct nvme_controller *c, uint16_t id, uint16_t depth);
extern const struct block_ops nvme_block_ops;

#endif
