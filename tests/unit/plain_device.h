/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtio device that takes what it is given, in the machine of tests/unit/vdev_fake.h, and a
 * driver for it. */
#ifndef SPILLWAY_TESTS_UNIT_PLAIN_DEVICE_H
#define SPILLWAY_TESTS_UNIT_PLAIN_DEVICE_H

#include "hv/vdev/virtio/virtio.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN  (31u << 3)
#define QUEUES 4u
#define SIZE   64u
#define MEMORY (1u << 20)

#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX)

/* What it has seen, and what it shall do. */
struct plain_seen {
    struct virtq_chain last;
    unsigned chains, parks, starts, resets, config_writes, resumes, destroys;
    bool keeps;     /* gives nothing back */
    bool is_slow;   /* a reset takes longer */
    unsigned limit; /* of chains in one call; 0: none */
    uint16_t held[VIRTQ_SIZE_MAX];
    unsigned holds;
};

extern struct virtio_device plain_device;
extern struct virtio_driver plain_driver;
extern uint8_t plain_config[12];
extern struct plain_seen plain_seen;

/* For cmocka: the machine with the device; all is quiet and unpinned at its end. */
int plain_begin(void **state);
int plain_end(void **state);
/* The device's, as the driver reads it. */
uint8_t plain_status(void);
/* An indirect table of so many pieces of one byte. */
void plain_make_table(uint64_t at, unsigned entries);

#endif
