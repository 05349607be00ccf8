/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-blk probe: features, limits, queues and interrupts. */
#include "drivers/virtio_blk.h"

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
    b->max_pages = 1;
    b->max_segment = SEGMENT_BYTES;
    b->device.blocks =
        (config32(b, CONFIG_CAPACITY) | (uint64_t)config32(b, CONFIG_CAPACITY + 4) << 32) >> 3;
    b->device.read_only = (b->features & VIRTIO_BLK_F_RO) != 0;
    if (b->features & VIRTIO_BLK_F_SEG_MAX) {
        uint32_t segments = config32(b, CONFIG_SEG_MAX);
        b->max_pages = MAX(MIN(segments, (uint32_t)BLOCK_MAX_PAGES), 1u);
    }
    if (b->features & VIRTIO_BLK_F_SIZE_MAX) {
        b->max_segment = MIN(config32(b, CONFIG_SIZE_MAX), SEGMENT_BYTES);
    }
    if (b->max_segment < PAGE_SIZE) {
        log_warn("virtio-blk: segments of at most %u bytes: not used", b->max_segment);
        return false;
    }
    if ((b->features & VIRTIO_BLK_F_BLK_SIZE) && config32(b, CONFIG_BLK_SIZE) > PAGE_SIZE) {
        log_warn("virtio-blk: blocks of %u bytes: not used", config32(b, CONFIG_BLK_SIZE));
        return false;
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

/* One queue per CPU, if the device has as many, each with an MSI-X entry on that CPU. */
static bool make_queues(struct virtio_blk *b)
{
    unsigned want = queue_count(b);
    bool msix = pci_msix_enable(b->pci.pci);

    for (unsigned i = 0; i < want; i++) {
        uint16_t size = virtio_pci_queue_size(&b->pci, i);
        /* Header, one page, status; and a power of two, as 2.6 "Split Virtqueues" demands. */
        if (size < 4 || (size & (size - 1)) != 0) {
            break;
        }
        b->max_pages = MIN(b->max_pages, size - 2u);
        struct virtio_blk_queue *q = virtio_blk_queue_new(b, i, size);
        if (!q) {
            break;
        }
        int vector = msix ? platform_irq_alloc(i, virtio_blk_interrupt, q) : -1;
        if (vector >= 0 && pci_msix_route(b->pci.pci, i, vector)) {
            q->vector = vector;
        }
        b->queue[b->queues++] = q;
    }
    return b->queues != 0;
}

static bool enable_queue(struct virtio_blk *b, struct virtio_blk_queue *q)
{
    bool has_vector;

    virtio_ring_reset(&q->ring, q->vector >= 0);
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

    if (!virtio_pci_negotiate(&b->pci, WANTED, &b->features) ||
        (b->queues != 0 && b->features != before)) {
        return false;
    }
    if (b->queues == 0 && (!read_limits(b) || !make_queues(b))) {
        return false;
    }
    for (unsigned i = 0; i < b->queues; i++) {
        if (!enable_queue(b, b->queue[i])) {
            return false;
        }
    }
    virtio_pci_run(&b->pci);
    return true;
}

static void device_probe(struct pci_device *pci)
{
    hpa_t self;
    struct virtio_blk *b = platform_dma_alloc(sizeof(*b), &self);

    if (!b) {
        log_error("virtio-blk: no memory");
        return;
    }
    pci_enable(pci);
    if (!virtio_pci_map(&b->pci, pci) || !virtio_blk_start(b)) {
        log_error("virtio-blk: %02x:%02x.%x cannot be used", pci->bus, pci->slot, pci->function);
        return;
    }
    b->device.ops = &virtio_blk_ops;
    b->device.driver = b;
    block_add_disk(&b->device, "vd");
    log_info("%s: %u queues of %u, %s, %u pages a request%s", b->device.name, b->queues,
             b->queue[0]->ring.size, b->queue[0]->vector >= 0 ? "MSI-X" : "polled", b->max_pages,
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
