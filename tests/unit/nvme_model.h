/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers on a PCI bus that has nothing else, in the machine of disk_machine.h.
 *
 * A controller completes in random order, can fail commands and can swallow them; it forgets
 * everything when it is disabled, as a real one does.
 *
 * The controllers work in a thread; or, `manual`, whenever time passes, so that a test decides.
 */
#ifndef SPILLWAY_TESTS_NVME_MODEL_H
#define SPILLWAY_TESTS_NVME_MODEL_H

#include "tests/unit/disk_machine.h"

#define MODEL_CPUS        MACHINE_CPUS
#define MODEL_CONTROLLERS 8
#define MODEL_BLOCKS      2048

struct nvme_model_options {
    unsigned controllers; /* 0: one; all are alike, each with disks of its own */
    unsigned queues;      /* I/O queue pairs that a controller grants */
    unsigned lba_shift;   /* 9 or 12 */
    uint8_t mdts;         /* as in Identify: 2^mdts pages, 0: no limit */
    uint8_t timeout;      /* CAP.TO */
    unsigned fail_one_in; /* 0: never */
    unsigned lose_one_in; /* 0: never */
    unsigned namespaces;  /* 0: one */
    unsigned nsid_step;   /* 0: 1; NSIDs are 1, 1 + step, ... */
    uint32_t blocks;      /* of a namespace; 0: MODEL_BLOCKS */
    uint32_t zoned;       /* NSID of a namespace with the zoned command set; 0: none */
    bool command_sets;    /* CAP.CSS.IOCSS: namespaces tell their command sets */
    bool no_list;         /* version 1.0: there is no list of active namespaces */
    bool no_restart;      /* once disabled it never becomes ready again */
    bool discards;        /* ONCS: Dataset Management, of one range */
    bool manual;
};

#define NVME_MODEL_DISCARDED 0xdd /* what discarded blocks hold */

/* Starts the controllers; block_init() finds them afterwards. */
void nvme_model_start(const struct nvme_model_options *options);
/* Stops them and frees all memory. */
void nvme_model_stop(void);
/* Contents of a namespace of a controller, by index. */
uint8_t *nvme_model_disk(unsigned controller, unsigned index);

/* ---- trouble, while it runs ---- */

void nvme_model_inject(unsigned fail_one_in, unsigned lose_one_in);
/* From now on CSTS.RDY follows CC.EN so much later. */
void nvme_model_set_ready(uint64_t stop_ns, uint64_t start_ns);
#define NVME_MODEL_NEVER UINT64_MAX
/* Admin commands are not answered any more. */
void nvme_model_ignore_admin(void);
/* From now on it grants so many I/O queue pairs. */
void nvme_model_grant(unsigned queues);
/* The controllers leave the bus: their registers read as ones. */
void nvme_model_unplug(void);

/* ---- figures ---- */

/* How often controllers were enabled. */
unsigned nvme_model_starts(void);
/* Aborts they received. */
unsigned nvme_model_aborts(void);
/* How often the thread has looked after all of them. */
unsigned nvme_model_passes(void);
/* Controllers that were cut off from memory. */
unsigned nvme_model_masters_off(void);

#endif
