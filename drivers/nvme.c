/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe probe: controller, namespaces, queues and interrupts. */
#include "drivers/nvme.h"

#include <string.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"

#define NVME_CLASS 0x010802u /* mass storage, NVM, NVMe I/O controller */

#define NVME_CAP 0x00
#define NVME_VS  0x08

#define CAP_MQES   BITS(15, 0)
#define CAP_DSTRD  BITS(35, 32)
#define CAP_CSS    BIT(37) /* NVM command set */
#define CAP_MPSMIN BITS(51, 48)

#define IDENTIFY_NAMESPACE  0
#define IDENTIFY_CONTROLLER 1
#define IDENTIFY_LIST       2

#define FLBAS_FORMAT         0x0fu
#define NSATTR_WRITE_PROTECT 0x01u

/* Identify Namespace: NVMe 1.4, 5.15.2.1 "Identify Namespace data structure". */
struct nvme_identify_namespace {
    uint64_t size; /* logical blocks */
    uint8_t reserved8[18];
    uint8_t format; /* FLBAS */
    uint8_t reserved27[72];
    uint8_t attributes; /* NSATTR */
    uint8_t reserved100[28];
    uint32_t formats[16]; /* LBAF */
};
_Static_assert(offsetof(struct nvme_identify_namespace, format) == 26, "FLBAS");
_Static_assert(offsetof(struct nvme_identify_namespace, attributes) == 99, "NSATTR");
_Static_assert(offsetof(struct nvme_identify_namespace, formats) == 128, "LBAF");
#define LBAF_METADATA BITS(15, 0)
#define LBAF_SHIFT    BITS(23, 16)

/* Identify Controller: 5.15.2.2 "Identify Controller data structure". */
#define IDENTIFY_MODEL       24
#define IDENTIFY_MODEL_BYTES 40
#define IDENTIFY_MDTS        77

static uint32_t reg_read(const struct nvme_controller *c, unsigned offset)
{
    return *(volatile uint32_t *)(c->registers + offset);
}

/* Note it: the main loop polls the phase bit soon after. */
static void nvme_interrupt(void *owner)
{
    struct nvme_queue *q = owner;

    atomic_fetch_add_explicit(&q->interrupts, 1, memory_order_relaxed);
}

static bool controller_map(struct nvme_controller *c)
{
    volatile uint8_t *head = pci_bar_map(c->pci, 0, 0, PAGE_SIZE);

    if (!head) {
        return false;
    }
    c->registers = head;
    c->capabilities = reg_read(c, NVME_CAP) | (uint64_t)reg_read(c, NVME_CAP + 4) << 32;
    /* Doorbells of the admin queue and of as many I/O queues as can be used. */
    uint64_t bytes =
        0x1000 + (2ull * (NVME_MAX_QUEUES + 1) * 4 << FIELD_GET(CAP_DSTRD, c->capabilities));
    uint64_t size = pci_bar_read(c->pci, 0).size;
    c->registers = pci_bar_map(c->pci, 0, 0, MIN(bytes, size));
    if (!c->registers) {
        return false;
    }
    if (FIELD_GET(CAP_MPSMIN, c->capabilities) != 0 || !(c->capabilities & CAP_CSS)) {
        log_warn("nvme: controller without 4 KiB pages or without the NVM command set");
        return false;
    }
    return true;
}

static bool controller_alloc(struct nvme_controller *c)
{
    c->admin.depth = NVME_ADMIN_DEPTH;
    c->admin.sq = platform_dma_alloc(NVME_ADMIN_DEPTH * sizeof(struct nvme_command), &c->admin_sq);
    c->admin.cq =
        platform_dma_alloc(NVME_ADMIN_DEPTH * sizeof(struct nvme_completion), &c->admin_cq);
    c->identify = platform_dma_alloc(PAGE_SIZE, &c->identify_address);
    return c->admin.sq && c->admin.cq && c->identify;
}

static void controller_identify(struct nvme_controller *c)
{
    const uint8_t *data = c->identify;
    uint8_t mdts;
    char model[IDENTIFY_MODEL_BYTES + 1];
    size_t length = IDENTIFY_MODEL_BYTES;

    c->max_pages = BLOCK_MAX_PAGES;
    if (!nvme_admin_identify(c, IDENTIFY_CONTROLLER, 0)) {
        return;
    }
    mdts = data[IDENTIFY_MDTS];
    if (mdts != 0 && mdts < 16) {
        c->max_pages = MIN(1u << mdts, (uint32_t)BLOCK_MAX_PAGES);
    }
    memcpy(model, data + IDENTIFY_MODEL, IDENTIFY_MODEL_BYTES);
    while (length > 0 && (model[length - 1] == ' ' || model[length - 1] == '\0')) {
        length--;
    }
    model[length] = '\0';
    log_info("nvme: %s, version %u.%u, %u pages a command", model, reg_read(c, NVME_VS) >> 16,
             reg_read(c, NVME_VS) >> 8 & 0xff, c->max_pages);
}

/* Doorbells that BAR 0 has room for: a device need not implement that many queues. */
static unsigned queues_in_bar(const struct nvme_controller *c)
{
    uint64_t size = pci_bar_read(c->pci, 0).size;
    uint64_t pair = 8ull << FIELD_GET(CAP_DSTRD, c->capabilities);
    uint64_t pairs = size > 0x1000 ? (size - 0x1000) / pair : 0;

    return pairs > 1 ? (unsigned)MIN(pairs - 1, (uint64_t)NVME_MAX_QUEUES) : 0;
}

/*
 * One queue per CPU, each with its MSI-X entry on that CPU; fewer if the controller or the table
 * has fewer.  Without MSI-X one queue with MSI; without MSI polling.
 */
static bool controller_queues(struct nvme_controller *c)
{
    unsigned want = MIN(platform_cpu_count(), queues_in_bar(c));
    uint16_t depth = (uint16_t)MIN(FIELD_GET(CAP_MQES, c->capabilities) + 1, NVME_IO_DEPTH);
    bool msix = pci_msix_enable(c->pci);

    if (msix) {
        want = MIN(want, c->pci->msix_entries);
    } else if (c->pci->msi) {
        want = MIN(want, 1u);
    }
    want = want ? nvme_admin_queue_count(c, want) : 0;
    for (unsigned i = 0; i < want; i++) {
        struct nvme_queue *q = nvme_queue_new(c, (uint16_t)(i + 1), depth);
        if (!q) {
            break;
        }
        int vector = msix || c->pci->msi ? platform_irq_alloc(i, nvme_interrupt, q) : -1;
        if (vector >= 0 &&
            (msix ? pci_msix_route(c->pci, i, vector) : pci_msi_route(c->pci, vector))) {
            q->vector = vector;
            c->interrupts++;
        }
        c->queue[c->queues++] = q;
    }
    return c->queues != 0 && depth >= 2 && nvme_admin_create_queues(c);
}

static void namespace_add(struct nvme_controller *c, uint32_t nsid)
{
    const struct nvme_identify_namespace *data = c->identify;

    if (c->namespaces == NVME_MAX_NAMESPACES || !nvme_admin_identify(c, IDENTIFY_NAMESPACE, nsid) ||
        data->size == 0) {
        return;
    }
    uint32_t format = data->formats[data->format & FLBAS_FORMAT];
    unsigned shift = (unsigned)FIELD_GET(LBAF_SHIFT, format);

    if (shift < 9 || shift > PAGE_SHIFT || FIELD_GET(LBAF_METADATA, format) != 0) {
        log_warn("nvme: namespace %u has logical blocks of %u bytes with %u of metadata: not used",
                 nsid, 1u << (shift & 31), (unsigned)FIELD_GET(LBAF_METADATA, format));
        return;
    }
    struct nvme_namespace *ns = &c->namespace[c->namespaces++];

    ns->controller = c;
    ns->nsid = nsid;
    ns->lba_shift = shift;
    ns->device.ops = &nvme_block_ops;
    ns->device.blocks = data->size >> (PAGE_SHIFT - shift);
    ns->device.read_only = (data->attributes & NSATTR_WRITE_PROTECT) != 0;
    ns->device.driver = ns;
    block_add_disk(&ns->device, "nvme");
}

static void controller_namespaces(struct nvme_controller *c)
{
    uint32_t nsids[NVME_MAX_NAMESPACES];

    if (nvme_admin_identify(c, IDENTIFY_LIST, 0)) {
        memcpy(nsids, c->identify, sizeof(nsids));
    } else {
        /* Before NVMe 1.1 there was no list. */
        memset(nsids, 0, sizeof(nsids));
        nsids[0] = 1;
    }
    for (unsigned i = 0; i < NVME_MAX_NAMESPACES && nsids[i] != 0; i++) {
        namespace_add(c, nsids[i]);
    }
}

static void controller_probe(struct pci_device *pci)
{
    hpa_t self;
    struct nvme_controller *c = platform_dma_alloc(sizeof(*c), &self);

    if (!c) {
        log_error("nvme: no memory");
        return;
    }
    c->pci = pci;
    pci_enable(pci);
    if (!controller_map(c) || !controller_alloc(c) || !nvme_admin_start(c)) {
        log_error("nvme: %02x:%02x.%x cannot be used", pci->bus, pci->slot, pci->function);
        return;
    }
    controller_identify(c);
    if (!controller_queues(c)) {
        log_error("nvme: no I/O queue");
        return;
    }
    log_info("nvme: %u queues of %u, %u with interrupts", c->queues, c->queue[0]->ring.depth,
             c->interrupts);
    controller_namespaces(c);
}

void nvme_probe(void)
{
    for (struct pci_device *pci = pci_next(NULL); pci; pci = pci_next(pci)) {
        if (pci->class_code == NVME_CLASS) {
            controller_probe(pci);
        }
    }
}
