/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers in memory (tests/unit/nvme_model.h), inside: nvme_model.c has registers, queues
 * and PCI, nvme_model_commands.c what a command does.
 */
#ifndef SPILLWAY_TESTS_UNIT_NVME_MODEL_INTERNAL_H
#define SPILLWAY_TESTS_UNIT_NVME_MODEL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "drivers/nvme_ring.h"
#include "drivers/pci.h"
#include "tests/unit/nvme_model.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())

#define MODEL_QUEUES 8
#define MODEL_DEPTH  64

/* A queue pair as the controller sees it. */
struct model_queue {
    struct nvme_command *sq;
    struct nvme_completion *cq;
    unsigned sq_depth, cq_depth;
    unsigned sq_head, cq_tail;
    uint16_t phase;
    struct nvme_completion parked[MODEL_DEPTH]; /* executed, not posted yet */
    unsigned parked_count;
};

struct controller {
    _Alignas(4096) uint8_t bar[0x2000];
    struct model_queue queue[MODEL_QUEUES];
    uint8_t *disk;
    bool enabled;
    bool changing; /* CC.EN was seen to change; CSTS.RDY follows at ready_at */
    uint64_t ready_at;
    bool master; /* may write to memory */
};

struct nvme_model {
    struct nvme_model_options options;
    struct controller *controller;
    struct pci_device pci[MODEL_CONTROLLERS];
    unsigned controllers;
    pthread_t thread;
    atomic_bool quit;
    atomic_uint fail_one_in, lose_one_in, queues, starts, aborts, masters_off, passes;
    atomic_bool ignore_admin, unplugged;
    _Atomic uint64_t stop_ns, start_ns;
    uint64_t seed;
};

extern struct nvme_model model;

/* True once in `n` times; 0: never. */
bool one_in(unsigned n);
void queue_open(struct controller *m, unsigned id, void *sq, void *cq, unsigned sq_depth,
                unsigned cq_depth);

/* ---- nvme_model_commands.c ---- */

/* Do a command; its status. */
uint16_t model_admin(struct controller *m, const struct nvme_command *c, uint32_t *result);
uint16_t model_io(struct controller *m, const struct nvme_command *c);
/* Where the data of a namespace begins. */
uint8_t *namespace_disk(struct controller *m, unsigned index);

#endif
