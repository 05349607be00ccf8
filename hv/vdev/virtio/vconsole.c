/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/vconsole.h"

#include <stdlib.h>

#include "hv/guest/vm.h"

#define QUEUE_SIZE          16
#define CLASS_COMMUNICATION 0x078000 /* "other communications device" */

enum outcome {
    SHOWN,   /* a piece of a chain, or all of it */
    WAITING, /* the waiter is registered */
    BUSY,    /* whoever shows it has no room */
    NOTHING, /* there is no chain, or the device is broken */
};

static struct vconsole *console_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vconsole, device);
}

/* ---- what the guest prints ------------------------------------------------------------------ */

/* The next piece of the chain that has been taken.  *ended: it was the last one. */
static enum outcome show_piece(struct vconsole *console, bool *ended, struct mm_waiter *waiter)
{
    char text[VCONSOLE_PIECE];
    uint32_t bytes = sizeof(text);

    if (console->host->busy(console->owner)) {
        return BUSY;
    }
    switch (virtio_read(&console->device, &console->chain, console->shown, text, &bytes, waiter)) {
    case MM_OK:
        break;
    case MM_WAIT:
        return WAITING;
    default:
        virtio_break(&console->device, "its driver prints what is not in memory");
        return NOTHING;
    }
    if (bytes != 0) {
        console->host->output(console->owner, text, bytes);
    }
    console->shown += bytes;
    *ended = bytes == 0 || console->shown == console->chain.readable;
    return SHOWN;
}

/* The chain goes back into the queue unless it has ended: only `shown` is left of it. */
static enum outcome show_next(struct vconsole *console, struct mm_waiter *waiter)
{
    enum virtq_result taken =
        virtio_take(&console->device, VIRTIO_CONSOLE_TRANSMIT, &console->chain, waiter);
    enum outcome outcome;
    bool ended = false;

    if (taken != VIRTQ_CHAIN) {
        return taken == VIRTQ_PARK ? WAITING : NOTHING;
    }
    outcome = show_piece(console, &ended, waiter);
    if (ended) {
        console->shown = 0;
        virtio_give(&console->device, VIRTIO_CONSOLE_TRANSMIT, console->chain.head, 0);
    } else {
        virtio_untake(&console->device, VIRTIO_CONSOLE_TRANSMIT, console->chain.head);
    }
    return outcome;
}

static enum bus_result show_all(struct vconsole *console, struct mm_waiter *waiter)
{
    enum outcome outcome = SHOWN;

    for (unsigned i = 0; i < VCONSOLE_PIECES && outcome == SHOWN; i++) {
        outcome = show_next(console, waiter);
    }
    virtio_signal(&console->device, VIRTIO_CONSOLE_TRANSMIT);
    switch (outcome) {
    case WAITING:
        return BUS_PARK;
    case NOTHING:
        return BUS_DONE;
    default:
        return virtio_again(waiter);
    }
}

/* ---- what is typed -------------------------------------------------------------------------- */

static uint32_t typed_bytes(const struct vconsole *console)
{
    return console->tail - console->head;
}

static void tell_of_room(struct vconsole *console)
{
    if (console->refused && typed_bytes(console) < VCONSOLE_TYPED_MAX) {
        console->refused = false;
        console->host->room(console->owner);
    }
}

/* Some of it, which fits into the first piece of the chain and lies in one piece here.  True: it
 * has gone, or the device is broken; false: the waiter is registered. */
static bool fill(struct vconsole *console, struct mm_waiter *waiter)
{
    const struct virtq_segment *segment = &console->chain.segment[0];
    uint32_t at = console->head % VCONSOLE_TYPED_MAX;
    uint32_t most = MIN(VCONSOLE_TYPED_MAX - at, VCONSOLE_KEYS);
    uint32_t bytes = MIN(MIN(typed_bytes(console), most), segment->bytes);
    enum mm_result result = MM_NO_MEMSLOT;

    if (segment->device_writes) {
        result = space_write(console->device.vm->run.space, segment->address, &console->typed[at],
                             bytes, waiter);
    }
    if (result == MM_WAIT) {
        virtio_untake(&console->device, VIRTIO_CONSOLE_RECEIVE, console->chain.head);
        return false;
    }
    if (result != MM_OK) {
        virtio_break(&console->device, "a buffer for what is typed cannot be written");
        return true;
    }
    console->head += bytes;
    virtio_give(&console->device, VIRTIO_CONSOLE_RECEIVE, console->chain.head, bytes);
    return true;
}

/* As much as the guest has buffers for.  Each chain takes a byte at least, so it ends.  True: the
 * waiter is registered. */
static bool give_typed(struct vconsole *console, struct mm_waiter *waiter)
{
    enum virtq_result taken = VIRTQ_CHAIN;
    bool waits = false;

    while (!waits && taken == VIRTQ_CHAIN && typed_bytes(console) != 0) {
        taken = virtio_take(&console->device, VIRTIO_CONSOLE_RECEIVE, &console->chain, waiter);
        waits = taken == VIRTQ_PARK || (taken == VIRTQ_CHAIN && !fill(console, waiter));
    }
    virtio_signal(&console->device, VIRTIO_CONSOLE_RECEIVE);
    tell_of_room(console);
    return waits;
}

bool vconsole_is_ready(struct vconsole *console)
{
    bool ready;

    spin_lock(&console->device.lock);
    ready = virtio_is_running(&console->device);
    spin_unlock(&console->device.lock);
    return ready;
}

bool vconsole_type(struct vconsole *console, char c)
{
    bool taken;

    spin_lock(&console->device.lock);
    taken = virtio_is_running(&console->device) && typed_bytes(console) < VCONSOLE_TYPED_MAX;
    if (taken) {
        console->typed[console->tail++ % VCONSOLE_TYPED_MAX] = c;
    }
    console->refused = !taken;
    spin_unlock(&console->device.lock);
    return taken;
}

void vconsole_send_typed(struct vconsole *console)
{
    spin_lock(&console->device.lock);
    if (!console->waiting) {
        console->waiting = give_typed(console, &console->device.waiter);
    }
    spin_unlock(&console->device.lock);
}

/* ---- the device ----------------------------------------------------------------------------- */

static enum bus_result notify(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter)
{
    if (queue == VIRTIO_CONSOLE_TRANSMIT) {
        return show_all(console_of(device), waiter);
    }
    return give_typed(console_of(device), waiter) ? BUS_PARK : BUS_DONE;
}

static bool resume(struct virtio_device *device)
{
    struct vconsole *console = console_of(device);

    console->waiting = give_typed(console, &device->waiter);
    return console->waiting;
}

/* What was typed and not read is gone. */
static bool reset(struct virtio_device *device)
{
    struct vconsole *console = console_of(device);

    console->head = console->tail;
    console->shown = 0;
    tell_of_room(console);
    return true;
}

/* 5.3.4: the low byte of what is written there. */
static void config_write(struct virtio_device *device, unsigned offset, unsigned bytes,
                         uint64_t value)
{
    struct vconsole *console = console_of(device);
    char c = (char)value;

    (void)bytes;
    if (offset == offsetof(struct virtio_console_config, emergency)) {
        console->host->output(console->owner, &c, 1);
    }
}

static void destroy(struct virtio_device *device)
{
    free(console_of(device));
}

static const struct virtio_device_ops ops = {.notify = notify,
                                             .config_write = config_write,
                                             .reset = reset,
                                             .resume = resume,
                                             .destroy = destroy};
static const struct virtio_type type = {
    .number = VIRTIO_TYPE_CONSOLE, .class_code = CLASS_COMMUNICATION, .ops = &ops};

struct vconsole *vconsole_create(struct vpci *pci, uint8_t devfn, void *owner,
                                 const struct vconsole_host *host)
{
    struct vconsole *console = calloc(1, sizeof(*console));

    if (console == NULL) {
        return NULL;
    }
    console->owner = owner;
    console->host = host;
    if (!virtio_create(&console->device, &type, pci, devfn, VIRTIO_CONSOLE_F_EMERG_WRITE,
                       VIRTIO_CONSOLE_QUEUES, QUEUE_SIZE, &console->config,
                       sizeof(console->config))) {
        virtio_destroy(&console->device);
        return NULL;
    }
    virtq_init(&console->device.queue[VIRTIO_CONSOLE_RECEIVE], 1, console->device.table);
    return console;
}
