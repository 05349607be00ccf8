/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NICs for tests of their drivers, in the machine of tests/unit/disk_machine.h: a virtio device, an
 * 82540EM and an 82574L.  Registers are plain memory; the devices see what was written when time
 * passes.  Each may be made to lose frames, to return nonsense, and to take its time for a reset.
 */
#ifndef SPILLWAY_TESTS_NIC_MODEL_H
#define SPILLWAY_TESTS_NIC_MODEL_H

#include "drivers/nic.h"

#define MODEL_NICS   3u
#define MODEL_VIRTIO 0u
#define MODEL_E1000  1u
#define MODEL_E1000E 2u
#define MODEL_KEPT   256u

/* How a frame comes. */
struct model_arrival {
    const void *data;
    uint32_t bytes; /* that are written */
    uint32_t says;  /* how many it says that they are; of virtio with its header */
    bool damaged;   /* e1000: errors are set */
    bool open;      /* e1000: it does not end here */
};

struct model_nic {
    bool lose;         /* what is sent never comes back */
    bool link;         /* as its registers say */
    uint64_t reset_ns; /* a reset takes so long */
    /* ---- seen by it ---- */
    unsigned resets, starts;
    bool master_off;
    unsigned sent; /* frames since model_start() */
    uint8_t frame[MODEL_KEPT][NIC_FRAME_MAX];
    uint32_t bytes[MODEL_KEPT];
};

/* New devices, in a new machine; the `fail`-th allocation of memory fails, 0: none. */
void model_start(unsigned fail);
void model_stop(void);
struct model_nic *model_nic(unsigned number);
/* False: it has no buffer, and the frame is gone. */
bool model_arrive(unsigned number, const struct model_arrival *arrival);
/* The same, of a good frame. */
bool model_frame(unsigned number, const void *data, uint32_t bytes);
/* It says of a buffer that it never had, or had already, that it is used. */
void model_nonsense(unsigned number);
/* Are its interrupts off?  Of an 82574L: were they, since its start? */
bool model_masked(unsigned number);
void model_mac(unsigned number, uint8_t mac[NIC_MAC_BYTES]);

#endif
