/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a balloon, in the machine of tests/unit/vdev_fake.h; how often each of its pages was
 * discarded is counted.
 */
#ifndef SPILLWAY_TESTS_UNIT_BALLOON_GUEST_H
#define SPILLWAY_TESTS_UNIT_BALLOON_GUEST_H

#include "hv/vdev/virtio/vballoon.h"
#include "tests/unit/virtio_driver.h"

#define PAGES    0x4000ull /* of the guest, 64 MiB */
#define LISTS    DRIVER_BUFFERS
#define ALL      (~0ull)
#define VECTOR   0xffff
#define SIZE     64
#define LIST_MAX 40000u

#define CONFIG(field) offsetof(struct virtio_balloon_config, field)

extern struct virtio_driver balloon_driver;
extern struct vballoon *balloon;
extern unsigned balloon_gone[PAGES]; /* how often each page was discarded */
extern unsigned balloon_again;       /* how often the vCPU was told to go on */
extern bool balloon_waits_often;     /* any access to memory may have to wait */

/* Nothing has been discarded. */
void balloon_forget(void);
/* The driver is there, with these features. */
void balloon_up(uint64_t features);
void balloon_down(void);
bool balloon_is_broken(void);
uint32_t balloon_config_read(unsigned offset);
void balloon_config_write(unsigned offset, uint32_t value);
/* Notifies until nothing waits any more; how often it had to. */
unsigned balloon_notify(unsigned queue);
unsigned balloon_used(unsigned queue);

#endif
