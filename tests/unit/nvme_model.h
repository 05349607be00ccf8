/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NVMe controller in a thread, and the machine around drivers/nvme*.c: PCI, DMA memory, clock.
 *
 * "Physical" addresses are host pointers.  The controller completes in random order, can fail
 * commands and can swallow them; it forgets everything when it is disabled, as a real one does.
 */
#ifndef SPILLWAY_TESTS_NVME_MODEL_H
#define SPILLWAY_TESTS_NVME_MODEL_H

#include "base/types.h"

#define MODEL_CPUS   4
#define MODEL_BLOCKS 2048

struct nvme_model_options {
    unsigned queues;      /* I/O queue pairs the controller grants */
    unsigned lba_shift;   /* 9 or 12 */
    uint8_t mdts;         /* as in Identify: 2^mdts pages, 0: no limit */
    unsigned fail_one_in; /* 0: never */
    unsigned lose_one_in; /* 0: never */
    unsigned clock_speed; /* 200: the driver's ten seconds pass in 50 ms; 0: real time */
    bool no_restart;      /* once disabled it never becomes ready again */
};

/* Starts the controller; nvme_probe() finds it afterwards. */
void nvme_model_start(const struct nvme_model_options *options);
/* Stops its thread. */
void nvme_model_stop(void);
/* Changes failures while it runs. */
void nvme_model_inject(unsigned fail_one_in, unsigned lose_one_in);
/* How often it was enabled. */
unsigned nvme_model_starts(void);
/* Aborts it received. */
unsigned nvme_model_aborts(void);
/* The CPU that the calling thread plays. */
void nvme_model_set_cpu(unsigned cpu);

#endif
