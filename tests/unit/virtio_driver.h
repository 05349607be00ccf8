/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's driver of a virtio device, for tests: it finds the device's registers by the
 * configuration space, and lays its rings into the memory of tests/unit/vdev_fake.h, at fixed
 * places.  What a hostile one does, a test writes there itself.
 */
#ifndef SPILLWAY_TESTS_UNIT_VIRTIO_DRIVER_H
#define SPILLWAY_TESTS_UNIT_VIRTIO_DRIVER_H

#include "arch/x86/hw/virtio.h"
#include "hv/vdev/bus/bus.h"

#define DRIVER_QUEUES 9u
#define DRIVER_RINGS  0x10000u /* of queue n: n * DRIVER_RING behind it */
#define DRIVER_RING   0x4000u
#define DRIVER_AVAIL  0x1000u
#define DRIVER_USED   0x2000u
#define DRIVER_BUFFERS                                                                             \
    (DRIVER_RINGS + DRIVER_QUEUES * DRIVER_RING) /* memory that no ring is in                      \
                                                  */

struct virtio_driver {
    uint8_t devfn;
    uint64_t common, isr, config, notify; /* addresses; config: 0 if there is none */
    uint32_t multiplier;
    uint64_t features; /* that both know */
    uint16_t size;
    uint16_t avail[DRIVER_QUEUES], used[DRIVER_QUEUES]; /* next to publish, next to look at */
};

/* A piece of a chain. */
struct driver_segment {
    uint64_t address;
    uint32_t bytes;
    bool device_writes;
};

/* Configuration space, by mechanism 1. */
uint32_t driver_config_read(uint8_t devfn, unsigned reg, unsigned size);
void driver_config_write(uint8_t devfn, unsigned reg, unsigned size, uint32_t value);
/* Offset of the capability, the n-th with that id; 0: none. */
unsigned driver_capability(uint8_t devfn, uint8_t id, unsigned n);

/* Finds the registers, and lets the function decode and master. */
void driver_find(struct virtio_driver *driver, uint8_t devfn);
uint32_t driver_read(const struct virtio_driver *driver, unsigned offset, unsigned size);
void driver_write(const struct virtio_driver *driver, unsigned offset, unsigned size,
                  uint32_t value);
#define DRIVER_READ(driver, field)                                                                 \
    driver_read(driver, offsetof(struct virtio_common, field),                                     \
                sizeof(((struct virtio_common *)0)->field))
#define DRIVER_WRITE(driver, field, value)                                                         \
    driver_write(driver, offsetof(struct virtio_common, field),                                    \
                 sizeof(((struct virtio_common *)0)->field), value)

/* Reset, then features: what is offered of `wanted`.  The status at its end. */
uint8_t driver_negotiate(struct virtio_driver *driver, uint64_t wanted);
/* Sets up one queue of `size` at its place, with a vector, and writes queue_enable. */
enum bus_result driver_enable(struct virtio_driver *driver, unsigned queue, uint16_t size,
                              uint16_t vector);
/* All of it: negotiates, enables that many queues, DRIVER_OK. */
void driver_start(struct virtio_driver *driver, uint8_t devfn, uint64_t wanted, unsigned queues,
                  uint16_t size);

/* Writes a descriptor of the ring; a 16-bit word of a ring. */
void driver_descriptor(unsigned queue, unsigned number, uint64_t address, uint32_t bytes,
                       uint16_t flags, uint16_t next);
uint16_t driver_load16(uint64_t address);
void driver_store16(uint64_t address, uint16_t value);
/* Makes a chain of descriptors from `head` on, and publishes it. */
void driver_add(struct virtio_driver *driver, unsigned queue, uint16_t head,
                const struct driver_segment *segment, unsigned count);
/* Publishes a head. */
void driver_publish(struct virtio_driver *driver, unsigned queue, uint16_t head);
enum bus_result driver_notify(const struct virtio_driver *driver, unsigned queue);
/* The next used entry.  False: there is none. */
bool driver_used(struct virtio_driver *driver, unsigned queue, uint32_t *head, uint32_t *bytes);

#endif
