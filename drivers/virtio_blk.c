/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-blk probe: features, limits, queues and interrupts. */
#include "drivers/virtio_blk.h"

#include <stdio.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"

#define DEVICE_TRANSITIONAL 0x1001
#define DEVICE_MODERN       0x1042

/* 5.2.4 "Device configuration layout". */
enum {
    CONFIG_CAPACITY = 0, /* 512-byte sectors */
    CONFIG_SIZE_MAX = 8,
    CONFIG_SEG_MAX = 12,
    CONFIG_BLK_SIZE = 20,
    CONFIG_QUEUES = 34,
    CONFIG_BYTES = 36,
};

#define WANTED                                                                                     \
    (VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_BLK_SIZE |      \
     VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_MQ | VIRTIO_F_INDIRECT)

#define SEGMENT_BYTES 0x40000u /* when the device sets no limit: a whole request */

#define RESET_TIMEOUT_NS 1000000000ull
#define POLL_US          10u

/* Note it: the main loop looks at the used index soon after. */
static void virtio_blk_interrupt(void *owner)
{
    struct virtio_blk_queue *q = owner;

    atomic_fetch_add_explicit(&q->interrupts, 1, memory_order_relaxed);
}

static uint32_t config32(const struct virtio_blk *b, unsigned offset)
{
    return *(volatile uint32_t *)(b->pci.config + offset);
}

/* Limits that follow from the features.  False: a device we cannot serve. */
static bool read_limits(struct virtio_blk *b)
{
    b->hardware.max_pages = 1;
    b->max_segment = SEGMENT_BYTES;
    b->device.blocks =
        (config32(b, CONFIG_CAPACITY) | (uint64_t)config32(b, CONFIG_CAPACITY + 4) << 32) >> 3;
    b->device.read_only = (b->features & VIRTIO_BLK_F_RO) != 0;
    if (b->features & VIRTIO_BLK_F_SEG_MAX) {
        uint32_t segments = config32(b, CONFIG_SEG_MAX);
        b->hardware.max_pages = MAX(MIN(segments, (uint32_t)BLOCK_MAX_PAGES), 1u);
    }
    if (b->features & VIRTIO_BLK_F_SIZE_MAX) {
        b->max_segment = MIN(config32(b, CONFIG_SIZE_MAX), SEGMENT_BYTES);
    }
    if (b->max_segment < PAGE_SIZE) {
        log_warn("%s: segments of at most %u bytes", b->device.name, b->max_segment);
        return false;
    }
    b->device.unit = 1;
    if ((b->features & VIRTIO_BLK_F_BLK_SIZE) && config32(b, CONFIG_BLK_SIZE) > PAGE_SIZE) {
        log_warn("%s: blocks of %u bytes", b->device.name, config32(b, CONFIG_BLK_SIZE));
        return false;
    }
    if (b->features & VIRTIO_BLK_F_BLK_SIZE) {
        b->device.unit = (uint8_t)MAX(config32(b, CONFIG_BLK_SIZE) / BLOCK_SECTOR_BYTES, 1u);
    }
    return true;
}

static unsigned queue_count(const struct virtio_blk *b)
{
    unsigned queues = 1;

    if ((b->features & VIRTIO_BLK_F_MQ) && b->pci.config_bytes >= CONFIG_BYTES) {
        queues = *(volatile uint16_t *)(b->pci.config + CONFIG_QUEUES);
    }
    return MIN(MIN(queues, platform_cpu_count()), (unsigned)VIRTIO_BLK_MAX_QUEUES);
}

/* The next queue.  False, and logged: the device has no such queue, or there is no memory. */
static bool make_queue(struct virtio_blk *b, unsigned tags)
{
    unsigned i = b->hardware.queues;
    uint16_t size = virtio_pci_queue_size(&b->pci, i);

    /* Header, one page, status; and a power of two, as 2.6 "Split Virtqueues" demands. */
    if (size < 4 || (size & (size - 1)) != 0) {
        log_warn("%s: queue %u of %u descriptors: not used", b->device.name, i, size);
        return false;
    }
    if (!virtio_blk_queue_add(b, size, tags)) {
        log_warn("%s: no memory for queue %u: not used", b->device.name, i);
        return false;
    }
    b->hardware.max_pages = MIN(b->hardware.max_pages, size - 2u);
    return true;
}

/* One queue per CPU, if the device has as many, each with an MSI-X entry on that CPU. */
static bool make_queues(struct virtio_blk *b)
{
    unsigned want = queue_count(b);
    bool msix = pci_msix_enable(b->pci.pci);

    while (b->hardware.queues < want && make_queue(b, block_tags_for(want))) {
    }
    for (unsigned i = 0; i < b->hardware.queues; i++) {
        struct virtio_blk_queue *q = virtio_blk_queue_at(b, i);
        int vector = msix ? platform_irq_alloc(i, virtio_blk_interrupt, q) : -1;
        if (vector >= 0 && pci_msix_route(b->pci.pci, i, vector)) {
            q->vector = vector;
        }
    }
    return b->hardware.queues != 0;
}

static bool enable_queue(struct virtio_blk *b, struct virtio_blk_queue *q)
{
    bool has_vector;

    virtio_ring_reset(&q->ring, q->vector >= 0);
    q->common.full = !virtio_blk_queue_has_room(q);
    q->notify = virtio_pci_queue_enable(&b->pci, q->index, q->ring.size, q->parts,
                                        q->vector >= 0 ? q->index : (uint16_t)VIRTIO_NO_VECTOR,
                                        &has_vector);
    if (q->vector >= 0 && !has_vector) {
        log_warn("%s: queue %u gets no interrupt, polling", b->device.name, q->index);
        q->vector = -1;
    }
    return q->notify != NULL;
}

bool virtio_blk_start(struct virtio_blk *b)
{
    uint64_t before = b->features;
    bool first = b->hardware.queues == 0;

    if (!virtio_pci_negotiate(&b->pci, WANTED, &b->features) || (!first && b->features != before)) {
        return false;
    }
    if (first && (!read_limits(b) || !make_queues(b))) {
        return false;
    }
    /* 5.2.6.2: without FLUSH a completed write is in stable storage already. */
    b->hardware.write_through = !(b->features & VIRTIO_BLK_F_FLUSH);
    for (unsigned i = 0; i < b->hardware.queues; i++) {
        if (!enable_queue(b, virtio_blk_queue_at(b, i))) {
            return false;
        }
    }
    virtio_pci_run(&b->pci);
    return true;
}

/* Boot only: waits until the device has reset itself. */
static bool reset_and_wait(struct virtio_blk *b)
{
    uint64_t deadline = platform_clock_ns() + RESET_TIMEOUT_NS;

    virtio_pci_reset_begin(&b->pci);
    while (!virtio_pci_reset_done(&b->pci)) {
        if (platform_clock_ns() >= deadline) {
            return false;
        }
        platform_delay_us(POLL_US);
    }
    return true;
}

/* NULL, or what is missing. */
static const char *device_start(struct virtio_blk *b, struct pci_device *pci)
{
    pci_enable(pci);
    if (!virtio_pci_map(&b->pci, pci)) {
        return "it is no modern device";
    }
    if (!reset_and_wait(b)) {
        return "it does not reset";
    }
    return virtio_blk_start(b) ? NULL : "it does not start, or has no queue";
}

static void device_probe(struct pci_device *pci)
{
    hpa_t memory;
    struct virtio_blk *b = platform_dma_alloc(sizeof(*b), &memory);
    const struct virtio_blk_queue *q;
    const char *missing;

    if (!b) {
        log_error("virtio %02x:%02x.%x: no memory (%u KiB): left out, its disk is not used",
                  pci->bus, pci->slot, pci->function, (unsigned)(PAGE_SIZE >> 10));
        return;
    }
    /* Until it has one, for the log. */
    snprintf(b->device.name, sizeof(b->device.name), "virtio %02x:%02x.%x", pci->bus, pci->slot,
             pci->function);
    b->hardware.ops = &virtio_blk_disk_ops;
    b->device.ops = &virtio_blk_ops;
    b->device.driver = b;
    missing = device_start(b, pci);
    if (!missing && !block_add_disk(&b->device, "vd")) {
        missing = "there are too many disks";
    }
    if (missing) {
        log_error("%s: %s: left out, its disk is not used", b->device.name, missing);
        pci_master_disable(pci);
        if (b->hardware.queues == 0) {
            /* With queues an interrupt for one of them may be under way. */
            platform_dma_free(memory, sizeof(*b));
        }
        return;
    }
    q = virtio_blk_queue_at(b, 0);
    log_info("%s: %u queues of %u, %s, %u pages a request%s", b->device.name, b->hardware.queues,
             q->ring.size, q->vector >= 0 ? "MSI-X" : "polled", b->hardware.max_pages,
             b->features & VIRTIO_F_INDIRECT ? ", indirect" : "");
}

void virtio_blk_probe(void)
{
    for (struct pci_device *pci = pci_next(NULL); pci; pci = pci_next(pci)) {
        if (pci->vendor == VIRTIO_VENDOR &&
            (pci->device == DEVICE_TRANSITIONAL || pci->device == DEVICE_MODERN)) {
            device_probe(pci);
        }
    }
}
