/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/virtio_blk_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/block.h"

#define STATUS_RUNNING 0x0fu /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */

struct virtio_blk_model model;

/* ---- PCI ---- */

void nvme_probe(void)
{
}

void ata_probe(void)
{
}

unsigned pci_init(void)
{
    return DEVICES;
}

struct pci_device *pci_next(struct pci_device *previous)
{
    struct pci_device *next = previous ? previous + 1 : model.pci;

    return next < model.pci + DEVICES ? next : NULL;
}

static struct device *device_of(const struct pci_device *dev)
{
    return &model.device[dev - model.pci];
}

uint8_t pci_read8(const struct pci_device *dev, unsigned offset)
{
    return device_of(dev)->config[offset];
}

uint32_t pci_read32(const struct pci_device *dev, unsigned offset)
{
    uint32_t value;

    memcpy(&value, device_of(dev)->config + offset, sizeof(value));
    return value;
}

/* Three of them, 32 bytes each. */
unsigned pci_find_capability(const struct pci_device *dev, uint8_t id, unsigned previous)
{
    (void)dev;
    (void)id;
    return previous == 0 ? 0x40 : previous < 0x80 ? previous + 0x20 : 0;
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    struct device *d = device_of(dev);

    return index == 0 && offset + bytes <= sizeof(d->bar) ? d->bar + offset : NULL;
}

void pci_enable(const struct pci_device *dev)
{
    (void)dev;
}

void pci_master_disable(const struct pci_device *dev)
{
    (void)dev;
    model.masters_off++;
}

bool pci_msix_enable(struct pci_device *dev)
{
    (void)dev;
    return false;
}

bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector)
{
    (void)dev;
    (void)entry;
    (void)vector;
    return false;
}

/* ---- the device: VIRTIO 1.1, 4.1.4 and 5.2 ---- */

volatile struct virtio_common *virtio_blk_model_common(struct device *d)
{
    return (volatile struct virtio_common *)(void *)d->bar;
}

void *pointer(const volatile uint32_t pair[2])
{
    return (void *)(uintptr_t)(pair[0] | (uint64_t)pair[1] << 32);
}

static void perform(struct device *d, const struct virtio_descriptor *table, unsigned count)
{
    const struct virtio_blk_header *header = (const void *)(uintptr_t)table[0].address;
    uint8_t *at = d->disk + header->sector * 512;

    if (header->type == 11) {
        const struct virtio_blk_range *range = (const void *)(uintptr_t)table[1].address;

        assert_true(count == 3 && table[1].bytes == 16 && header->sector == 0);
        assert_int_equal(range->flags, 0);
        memset(d->disk + range->sector * 512, 0xdd, range->sectors * 512ul);
        count = 2;
        table++; /* its status is behind the range */
    }
    for (unsigned i = 1; i + 1 < count; i++) {
        void *memory = (void *)(uintptr_t)table[i].address;

        if (header->type == 0) {
            memcpy(memory, at, table[i].bytes);
        } else {
            memcpy(at, memory, table[i].bytes);
        }
        at += table[i].bytes;
    }
    *(uint8_t *)(uintptr_t)table[count - 1].address = 0;
}

/* The request whose chain begins at `head`: in a table of its own, or in the ring. */
static void perform_chain(struct device *d, const struct virtio_descriptor *ring, uint16_t head)
{
    struct virtio_descriptor table[RING];
    unsigned count = 0;

    if (ring[head].flags & VIRTIO_DESC_INDIRECT) {
        perform(d, (const void *)(uintptr_t)ring[head].address,
                ring[head].bytes / sizeof(struct virtio_descriptor));
        return;
    }
    do {
        table[count] = ring[head];
        head = ring[head].next;
    } while (table[count++].flags & VIRTIO_DESC_NEXT);
    perform(d, table, count);
}

static void device_serve(struct device *d)
{
    volatile struct virtio_common *common = virtio_blk_model_common(d);
    struct virtio_descriptor *descriptors = pointer(common->queue_descriptors);
    struct virtio_avail *avail = pointer(common->queue_avail);
    struct virtio_used *used = pointer(common->queue_used);

    if ((uint16_t)(avail->index - d->seen) > RING) {
        model.reset_too_soon = true; /* the ring was emptied, and we do not know of it */
        return;
    }
    while (d->seen != avail->index) {
        uint16_t head = avail->ring[d->seen++ % RING];

        if (model.lose) {
            continue;
        }
        perform_chain(d, descriptors, head);
        used->ring[d->used++ % RING].id = head;
        used->index = d->used;
    }
}

/* Status reads as it was until the reset is over, whatever the driver has written. */
static void device_work(struct device *d)
{
    volatile struct virtio_common *common = virtio_blk_model_common(d);

    if (d->live && common->status == 0) {
        d->live = false;
        d->reset_at = platform_clock_ns() + model.reset_ns;
        model.resets++;
        common->status = STATUS_RUNNING;
    }
    if (d->reset_at != 0) {
        if (platform_clock_ns() < d->reset_at) {
            return;
        }
        d->reset_at = 0;
        d->seen = d->used = 0;
        common->status = 0;
    }
    d->live = common->status == STATUS_RUNNING;
    if (d->live) {
        device_serve(d);
    }
}

void virtio_blk_model_work(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        device_work(&model.device[i]);
    }
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* The same word is read for both halves of the features: INDIRECT and FLUSH below, VERSION_1 above.
 */
static void device_init(unsigned number)
{
    struct device *d = &model.device[number];
    static const uint8_t types[] = {1, 2, 4};

    model.pci[number].vendor = VIRTIO_VENDOR;
    model.pci[number].device = 0x1042;
    model.pci[number].slot = (uint8_t)(number + 2);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *cap = d->config + 0x40 + 0x20 * i;

        cap[3] = types[i];
        put32(cap + 8, 1024 * i);
        put32(cap + 12, 1024);
    }
    virtio_blk_model_common(d)->device_feature =
        (uint32_t)(BIT(0) | VIRTIO_BLK_F_FLUSH | (model.direct ? 0 : VIRTIO_F_INDIRECT));
    virtio_blk_model_common(d)->queues = 1;
    virtio_blk_model_common(d)->queue_size = RING;
    put32(d->bar + 2048, BLOCKS * 8);
    if (model.discards) {
        virtio_blk_model_common(d)->device_feature |= (uint32_t)VIRTIO_BLK_F_DISCARD;
    }
    put32(d->bar + 2048 + 36, model.discards);
    put32(d->bar + 2048 + 44, 16);
}

void virtio_blk_model_start(bool direct, uint32_t discards)
{
    memset(&model, 0, sizeof(model));
    model.direct = direct;
    model.discards = discards;
    model.device = aligned_alloc(4096, DEVICES * sizeof(*model.device));
    assert_non_null(model.device);
    memset(model.device, 0, DEVICES * sizeof(*model.device));
    for (unsigned i = 0; i < DEVICES; i++) {
        device_init(i);
    }
}

void virtio_blk_model_stop(void)
{
    free(model.device);
}
