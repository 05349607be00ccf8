/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device of a guest, whatever its type: the modern PCI transport (VIRTIO 1.1, 4.1 "Virtio
 * Over PCI Bus"), features, status, queues, interrupts.
 *
 *      guest                virtio_pci.c                          the type's file
 *     status 0       -->    virtio_reset()               -->      ops->reset
 *     status ...     -->    features are settled
 *     queue_enable   -->    virtq_enable(): pinned
 *     DRIVER_OK      -->                                 -->      ops->start
 *     notification   -->                                 -->      ops->notify
 *                                                                     virtio_take() ...
 *     used ring, MSI-X or INTA       <--      virtio_give(), virtio_signal()
 *
 * A device may hold chains for as long as it likes, and give them from any context.  A reset in the
 * middle of work is over (the guest reads status 0) when ops->reset has said that nothing is in
 * flight, or virtio_reset_done() has been called; until then the rings stay pinned.
 *
 * Life: virtio_create() before any vCPU runs; virtio_stop() when all are stopped, then
 * virtio_is_quiet() until it is true, then virtio_destroy().
 *
 * Locks: device->lock (RANK_VDEV), held around all ops, and by all who call what is not "life".
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VIRTIO_H
#define SPILLWAY_HV_VDEV_VIRTIO_VIRTIO_H

#include "hv/vdev/pci/vpci.h"
#include "hv/vdev/virtio/virtq.h"
#include "mm/owner/waiter.h"

#define VIRTIO_QUEUES_MAX (VPCI_VECTORS_MAX - 1) /* one vector is for changes of configuration */

struct virtio_device;

struct virtio_device_ops {
    /*
     * The guest says that there are chains in that queue.  From its vCPU's exit, whose waiter that
     * is: BUS_PARK if it is registered (nothing has been done for the chain that waits: the guest
     * notifies again), else BUS_DONE.  Does bounded work; virtio_again() when more is left.
     */
    enum bus_result (*notify)(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter);
    /* The driver is ready; device->features are settled.  NULL: nothing to do. */
    void (*start)(struct virtio_device *device);
    /* Forget all chains, and stop.  True: nothing is in flight any more; false:
     * virtio_reset_done() follows.  NULL: nothing ever is. */
    bool (*reset)(struct virtio_device *device);
    /* The guest has written to the type's configuration, of which device->config has the bytes.
     * NULL: it is read-only. */
    void (*config_write)(struct virtio_device *device, unsigned offset, unsigned bytes,
                         uint64_t value);
    /* The device's own waiter was woken.  True: it is registered again.  NULL: it is not used. */
    bool (*resume)(struct virtio_device *device);
    /* Frees the type's struct, in which the device is.  Without the lock. */
    void (*destroy)(struct virtio_device *device);
};

/* What a type brings. */
struct virtio_type {
    uint16_t number;     /* VIRTIO_TYPE_* */
    uint32_t class_code; /* as in struct vpci_identity */
    const struct virtio_device_ops *ops;
};

struct virtio_device {
    struct vpci_function function; /* has its own locks */
    const struct virtio_device_ops *ops;
    struct vm *vm;
    struct vpci *pci;
    unsigned pci_access; /* capability: registers through the configuration space */

    struct spinlock lock; /* what follows */
    /* Of the type: set before virtio_create() returns to its caller's vCPUs. */
    uint64_t offered;
    uint8_t *config; /* of the type: the guest reads these bytes */
    unsigned config_bytes;
    unsigned queue_count;
    struct virtq *queue;

    uint64_t accepted; /* features, as the driver writes them */
    uint64_t features; /* settled; 0 before */
    uint32_t offered_select, accepted_select;
    uint16_t queue_select, config_vector;
    uint8_t status, generation, isr;
    bool resetting;
    struct mm_waiter waiter; /* for what no vCPU waits for */
    struct virtio_descriptor table[VIRTQ_SEGMENTS_MAX];
};

/* ---- life; no locks held ---- */

/*
 * Zero before; with `queues` queues of at most `size` descriptors, and `config_bytes` bytes of
 * configuration, which live as long.  Offers these features and those of all devices.  False: out
 * of memory.
 */
bool virtio_create(struct virtio_device *device, const struct virtio_type *type, struct vpci *pci,
                   uint8_t devfn, uint64_t features, unsigned queues, uint16_t size, void *config,
                   unsigned config_bytes);
/* As if the guest reset it.  No vCPU runs. */
void virtio_stop(struct virtio_device *device);
/* Is nothing in flight any more, and nothing pinned? */
bool virtio_is_quiet(struct virtio_device *device);
/* It is quiet; takes it off its bus, and frees it.  Also one that could not be created. */
void virtio_destroy(struct virtio_device *device);

/* ---- for the type; the device's lock is held ---- */

/* May it touch the queues: the driver is ready, nothing is broken, no reset is going on, and the
 * function is bus master? */
bool virtio_is_running(struct virtio_device *device);
/* Chains that the device has, of all queues. */
unsigned virtio_in_flight(const struct virtio_device *device);
/* The next chain, as virtq_take(); empty when the device is not running.  When the queue is broken
 * the device asks for a reset (virtio_break()). */
enum virtq_result virtio_take(struct virtio_device *device, unsigned queue,
                              struct virtq_chain *chain, struct mm_waiter *waiter);
/* Puts back the chain that was taken last. */
void virtio_untake(struct virtio_device *device, unsigned queue, uint16_t head);
/* Some of what the device may read of a chain that has been taken, from that offset on, out of one
 * piece of it; copied as by space_read().  *bytes: at most so many; in fact so many, 0: there is no
 * more. */
enum mm_result virtio_read(struct virtio_device *device, const struct virtq_chain *chain,
                           uint32_t offset, void *to, uint32_t *bytes, struct mm_waiter *waiter);
/* Done with that chain; virtio_signal() follows after one or several. */
void virtio_give(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written);
/* Done with several, as virtq_give_all(). */
void virtio_give_all(struct virtio_device *device, unsigned queue, const struct virtq_used *used,
                     unsigned count);
/* Interrupts the guest, if it wants that for what has been given since the last call. */
void virtio_signal(struct virtio_device *device, unsigned queue);
/* The guest has broken a rule: NEEDS_RESET, with an interrupt and a line in the log. */
void virtio_break(struct virtio_device *device, const char *what);
/* device->config has changed: the guest is told. */
void virtio_config_changed(struct virtio_device *device);
/* What ops->reset was false for has ended. */
void virtio_reset_done(struct virtio_device *device);
/* More is left than may be done in one exit: others get their turn, then the vCPU notifies again.
 * Of a notify handler's waiter; its BUS_PARK. */
enum bus_result virtio_again(struct mm_waiter *waiter);

/* ---- between virtio.c and virtio_pci.c; the device's lock is held ---- */

/* Begins a reset, if none is going on. */
void virtio_reset(struct virtio_device *device);
/* A new status other than 0 is written. */
void virtio_set_status(struct virtio_device *device, uint8_t status);
/* Handlers of the BAR with the registers, and of the configuration space. */
extern const struct bus_ops virtio_pci_ops;
extern const struct vpci_function_ops virtio_function_ops;
#define VIRTIO_BAR_BYTES 0x4000u
/* The capabilities that say what lies where in BAR 0. */
void virtio_pci_add_capabilities(struct virtio_device *device);

#endif
