/* SPDX-License-Identifier: BSD-2-Clause */
/* Status, features, queues and interrupts of a device: VIRTIO 1.1, chapters 2 and 3. */
#include "hv/vdev/virtio/virtio.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hv/guest/vm.h"

#define REGISTERS_BAR 0 /* and 1: it has 64 bits */
#define MSIX_BAR      2

#define COMMON_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX)

#define STATUS_WRITABLE                                                                            \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |                  \
     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

/* ---- interrupts ---- */

static void interrupt(struct virtio_device *device, uint16_t vector, uint8_t isr)
{
    if (!vpci_msix_enabled(&device->function)) {
        device->isr |= isr;
        vpci_intx_set(&device->function, true);
    } else if (vector != VIRTIO_NO_VECTOR) {
        vpci_msix_send(&device->function, vector);
    }
}

void virtio_signal(struct virtio_device *device, unsigned queue)
{
    if (virtq_wants_signal(&device->queue[queue])) {
        interrupt(device, device->queue[queue].vector, VIRTIO_ISR_QUEUE);
    }
}

void virtio_config_changed(struct virtio_device *device)
{
    device->generation++;
    if (device->status & VIRTIO_STATUS_DRIVER_OK) {
        interrupt(device, device->config_vector, VIRTIO_ISR_CONFIG);
    }
}

/* 2.1.1: "DEVICE_NEEDS_RESET", by a change of configuration if the driver is there. */
void virtio_break(struct virtio_device *device, const char *what)
{
    if (!(device->status & VIRTIO_STATUS_NEEDS_RESET)) {
        device->status |= VIRTIO_STATUS_NEEDS_RESET;
        vm_log(device->vm, LOG_WARN, "vm %s: virtio device %02x.%x: %s: it needs a reset",
               device->vm->name, device->function.devfn >> 3, device->function.devfn & 7, what);
        virtio_config_changed(device);
    }
}

/* ---- queues ---- */

bool virtio_is_running(struct virtio_device *device)
{
    const uint8_t stopped = VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;

    return (device->status & VIRTIO_STATUS_DRIVER_OK) && !(device->status & stopped) &&
           !device->resetting && vpci_is_master(&device->function);
}

unsigned virtio_in_flight(const struct virtio_device *device)
{
    unsigned in_flight = 0;

    for (unsigned i = 0; i < device->queue_count; i++) {
        in_flight += device->queue[i].in_flight;
    }
    return in_flight;
}

enum virtq_result virtio_take(struct virtio_device *device, unsigned queue,
                              struct virtq_chain *chain, struct mm_waiter *waiter)
{
    enum virtq_result result;

    if (!virtio_is_running(device)) {
        return VIRTQ_EMPTY;
    }
    result = virtq_take(&device->queue[queue], chain, waiter);
    if (result == VIRTQ_BROKEN) {
        virtio_break(device, "its driver has broken a queue");
    }
    return result;
}

void virtio_untake(struct virtio_device *device, unsigned queue, uint16_t head)
{
    virtq_untake(&device->queue[queue], head);
}

void virtio_give(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written)
{
    virtq_give(&device->queue[queue], head, written);
}

enum mm_result virtio_read(struct virtio_device *device, const struct virtq_chain *chain,
                           uint32_t offset, void *to, uint32_t *bytes, struct mm_waiter *waiter)
{
    for (unsigned i = 0; i < chain->count && !chain->segment[i].device_writes; i++) {
        const struct virtq_segment *segment = &chain->segment[i];

        if (offset < segment->bytes) {
            *bytes = MIN(*bytes, segment->bytes - offset);
            return space_read(device->vm->run.space, gpa(segment->address.v + offset), to, *bytes,
                              waiter);
        }
        offset -= segment->bytes;
    }
    *bytes = 0;
    return MM_OK;
}

void virtio_give_all(struct virtio_device *device, unsigned queue, const struct virtq_used *used,
                     unsigned count)
{
    virtq_give_all(&device->queue[queue], used, count);
}

enum bus_result virtio_again(struct mm_waiter *waiter)
{
    waiter->wake(waiter);
    return BUS_PARK;
}

/* ---- reset ---- */

void virtio_reset_done(struct virtio_device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        virtq_disable(&device->queue[i]);
    }
    device->accepted = 0;
    device->features = 0;
    device->offered_select = 0;
    device->accepted_select = 0;
    device->queue_select = 0;
    device->config_vector = VIRTIO_NO_VECTOR;
    device->status = 0;
    device->isr = 0;
    device->resetting = false;
    vpci_intx_set(&device->function, false);
}

void virtio_reset(struct virtio_device *device)
{
    if (device->resetting) {
        return;
    }
    device->resetting = true;
    if (device->ops->reset == NULL || device->ops->reset(device)) {
        virtio_reset_done(device);
    }
}

/* ---- status ---- */

/* 3.1.1 "Driver Requirements: Device Initialization", steps 5 and 6. */
static bool settle_features(struct virtio_device *device)
{
    if ((device->accepted & ~device->offered) || !(device->accepted & VIRTIO_F_VERSION_1)) {
        return false;
    }
    device->features = device->accepted;
    return true;
}

/* Bits are only ever added.  Those that would come too early are not taken. */
void virtio_set_status(struct virtio_device *device, uint8_t status)
{
    uint8_t added = (uint8_t)(status & STATUS_WRITABLE & ~device->status);

    if ((added & VIRTIO_STATUS_FEATURES_OK) && !settle_features(device)) {
        added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    device->status |= added & (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    if ((added & VIRTIO_STATUS_DRIVER_OK) && (device->status & VIRTIO_STATUS_FEATURES_OK)) {
        device->status |= VIRTIO_STATUS_DRIVER_OK;
        if (device->ops->start != NULL) {
            device->ops->start(device);
        }
    }
}

/* ---- life ---- */

/* The waiter's turn is over unless it has to wait again. */
static void wake(struct mm_waiter *waiter)
{
    struct virtio_device *device = CONTAINER_OF(waiter, struct virtio_device, waiter);

    spin_lock(&device->lock);
    if (!device->ops->resume(device)) {
        waiter_end_turn(waiter);
    }
    spin_unlock(&device->lock);
}

static void init_function(struct virtio_device *device, const struct virtio_type *type)
{
    const struct vpci_identity identity = {
        .vendor = VIRTIO_VENDOR,
        .device = (uint16_t)(VIRTIO_DEVICE_BASE + type->number),
        .subsystem_vendor = VIRTIO_VENDOR,
        .subsystem = (uint16_t)(VIRTIO_DEVICE_BASE + type->number),
        .class_code = type->class_code,
        .revision = 1,
    };
    const struct bus_range range = {.ops = &virtio_pci_ops, .owner = device, .lock = &device->lock};

    vpci_function_init(&device->function, &identity, &virtio_function_ops);
    vpci_function_add_bar(&device->function, REGISTERS_BAR, VIRTIO_BAR_BYTES, true, &range);
    vpci_function_add_pin(&device->function);
    vpci_function_add_reset(&device->function);
    virtio_pci_add_capabilities(device);
}

bool virtio_create(struct virtio_device *device, const struct virtio_type *type, struct vpci *pci,
                   uint8_t devfn, uint64_t features, unsigned queues, uint16_t size, void *config,
                   unsigned config_bytes)
{
    ASSERT(queues <= VIRTIO_QUEUES_MAX && size <= VIRTQ_SIZE_MAX);
    spin_init(&device->lock, RANK_VDEV, "virtio");
    device->ops = type->ops;
    device->vm = pci->vm;
    device->offered = features | COMMON_FEATURES;
    device->config = config;
    device->config_bytes = config_bytes;
    device->waiter.wake = wake;
    list_init(&device->waiter.link);
    init_function(device, type);
    device->queue = calloc(queues, sizeof(device->queue[0]));
    if (device->queue == NULL || !vpci_function_add_msix(&device->function, MSIX_BAR, queues + 1)) {
        return false;
    }
    device->queue_count = queues;
    for (unsigned i = 0; i < queues; i++) {
        virtq_init(&device->queue[i], size, device->table);
    }
    device->pci = pci;
    vpci_attach(pci, &device->function, devfn);
    return true;
}

void virtio_stop(struct virtio_device *device)
{
    spin_lock(&device->lock);
    virtio_reset(device);
    spin_unlock(&device->lock);
}

bool virtio_is_quiet(struct virtio_device *device)
{
    bool quiet;

    spin_lock(&device->lock);
    quiet = !device->resetting;
    spin_unlock(&device->lock);
    return quiet;
}

void virtio_destroy(struct virtio_device *device)
{
    waiter_cancel(&device->waiter);
    if (device->pci != NULL) {
        vpci_detach(device->pci, &device->function);
        device->pci = NULL;
    }
    vpci_function_destroy(&device->function);
    free(device->queue);
    device->ops->destroy(device);
}
