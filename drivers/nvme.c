/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe probe: controllers, queues and interrupts. */
#include "drivers/nvme.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"

#define NVME_CLASS 0x010802u /* mass storage, NVM, NVMe I/O controller */

/* Identify Controller: NVMe 1.4, 5.15.2.2 "Identify Controller data structure". */
#define IDENTIFY_MODEL       24
#define IDENTIFY_MODEL_BYTES 40
#define IDENTIFY_MDTS        77
#define IDENTIFY_NN          516
#define IDENTIFY_ONCS        520
#define ONCS_DATASET         BIT(2)

/*
 * Memory of a controller, a page each.  What is left of the first page is for namespaces:
 *
 *     struct nvme_controller | admin submission queue | admin completion queue | Identify data
 */
#define CONTROLLER_BYTES (4 * PAGE_SIZE)
#define ADMIN_SQ_OFFSET  PAGE_SIZE
#define ADMIN_CQ_OFFSET  (2 * PAGE_SIZE)
#define IDENTIFY_OFFSET  (3 * PAGE_SIZE)
_Static_assert(sizeof(struct nvme_controller) <= PAGE_SIZE, "a controller fits its page");
_Static_assert(NVME_ADMIN_DEPTH * sizeof(struct nvme_command) <= PAGE_SIZE, "admin queue");

/* Note it: the main loop polls the phase bit soon after. */
static void nvme_interrupt(void *owner)
{
    struct nvme_queue *q = owner;

    atomic_fetch_add_explicit(&q->interrupts, 1, memory_order_relaxed);
}

/* NULL, and logged, if there is no memory for it. */
static struct nvme_controller *controller_new(struct pci_device *pci)
{
    hpa_t memory;
    uint8_t *base = platform_dma_alloc(CONTROLLER_BYTES, &memory);
    struct nvme_controller *c = (struct nvme_controller *)(void *)base;

    if (!c) {
        log_error("nvme %02x:%02x.%x: no memory (%u KiB): left out, its disks are not used",
                  pci->bus, pci->slot, pci->function, (unsigned)(CONTROLLER_BYTES >> 10));
        return NULL;
    }
    snprintf(c->name, sizeof(c->name), "nvme %02x:%02x.%x", pci->bus, pci->slot, pci->function);
    c->hardware.ops = &nvme_disk_ops;
    c->pci = pci;
    c->memory = memory;
    page_pool_fill(&c->structs, c + 1, ADMIN_SQ_OFFSET - sizeof(*c));
    c->admin.depth = NVME_ADMIN_DEPTH;
    c->admin.sq = (struct nvme_command *)(void *)(base + ADMIN_SQ_OFFSET);
    c->admin.cq = (struct nvme_completion *)(void *)(base + ADMIN_CQ_OFFSET);
    c->identify = base + IDENTIFY_OFFSET;
    c->admin_sq = hpa(memory.v + ADMIN_SQ_OFFSET);
    c->admin_cq = hpa(memory.v + ADMIN_CQ_OFFSET);
    c->identify_address = hpa(memory.v + IDENTIFY_OFFSET);
    return c;
}

/* Of a controller that knows no I/O queue and has sent no interrupt. */
static void controller_free(struct nvme_controller *c)
{
    nvme_queues_free(c);
    pci_master_disable(c->pci);
    if (c->registers) {
        nvme_read(c, NVME_CSTS); /* what it has written to memory comes before the answer */
    }
    platform_dma_free(c->memory, CONTROLLER_BYTES);
}

/* NULL, or what is missing. */
static const char *controller_map(struct nvme_controller *c)
{
    volatile uint8_t *head = pci_bar_map(c->pci, 0, 0, PAGE_SIZE);

    if (!head) {
        return "its registers cannot be mapped";
    }
    c->registers = head;
    c->capabilities = nvme_read(c, NVME_CAP) | (uint64_t)nvme_read(c, NVME_CAP + 4) << 32;
    /* Doorbells of the admin queue and of as many I/O queues as can be used. */
    uint64_t bytes = NVME_DOORBELLS + (2ull * (NVME_MAX_QUEUES + 1) * 4
                                       << FIELD_GET(NVME_CAP_DSTRD, c->capabilities));
    uint64_t size = pci_bar_read(c->pci, 0).size;
    volatile uint8_t *all = pci_bar_map(c->pci, 0, 0, MIN(bytes, size));
    if (!all) {
        return "its registers cannot be mapped";
    }
    c->registers = all;
    if (FIELD_GET(NVME_CAP_MPSMIN, c->capabilities) != 0) {
        return "it has no 4 KiB pages";
    }
    if (!(c->capabilities & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_SETS))) {
        return "it has no NVM command set";
    }
    return NULL;
}

static bool controller_identify(struct nvme_controller *c)
{
    const uint8_t *data = c->identify;
    char model[IDENTIFY_MODEL_BYTES + 1];
    size_t length = IDENTIFY_MODEL_BYTES;

    if (!nvme_admin_identify(c, NVME_IDENTIFY_CONTROLLER, 0)) {
        return false;
    }
    uint8_t mdts = data[IDENTIFY_MDTS];

    c->hardware.max_pages = BLOCK_MAX_PAGES;
    if (mdts != 0 && mdts < 16) {
        c->hardware.max_pages = MIN(1u << mdts, (uint32_t)BLOCK_MAX_PAGES);
    }
    c->discards = (data[IDENTIFY_ONCS] & ONCS_DATASET) != 0;
    memcpy(&c->namespace_limit, data + IDENTIFY_NN, sizeof(c->namespace_limit));
    memcpy(model, data + IDENTIFY_MODEL, IDENTIFY_MODEL_BYTES);
    while (length > 0 && (model[length - 1] == ' ' || model[length - 1] == '\0')) {
        length--;
    }
    model[length] = '\0';
    log_info("%s: %s, version %u.%u, %u pages a command", c->name, model,
             nvme_read(c, NVME_VS) >> 16, nvme_read(c, NVME_VS) >> 8 & 0xff, c->hardware.max_pages);
    return true;
}

/* Doorbells that BAR 0 has room for: a device need not implement that many queues. */
static unsigned queues_in_bar(const struct nvme_controller *c)
{
    uint64_t size = pci_bar_read(c->pci, 0).size;
    uint64_t pair = 8ull << FIELD_GET(NVME_CAP_DSTRD, c->capabilities);
    uint64_t pairs = size > NVME_DOORBELLS ? (size - NVME_DOORBELLS) / pair : 0;

    return pairs > 1 ? (unsigned)MIN(pairs - 1, (uint64_t)NVME_MAX_QUEUES) : 0;
}

/* One queue per CPU; fewer if the controller or its interrupts are fewer; 0 on failure.  Without
 * MSI-X one with MSI; without MSI as many, polled. */
static unsigned queues_wanted(struct nvme_controller *c)
{
    unsigned want = MIN(platform_cpu_count(), queues_in_bar(c));
    uint32_t granted;

    if (c->msix) {
        want = MIN(want, c->pci->msix_entries);
    } else if (c->pci->msi) {
        want = MIN(want, 1u);
    }
    struct nvme_command command = nvme_admin_queue_command(want);
    if (want == 0 || !nvme_admin_run(c, &command, &granted)) {
        return 0;
    }
    return MIN(nvme_admin_queues_granted(granted), want);
}

/* Lets queue `i` interrupt CPU `i`, if there is a vector for it; else it is polled. */
static void queue_route(struct nvme_controller *c, unsigned i)
{
    struct nvme_queue *q = nvme_queue_at(c, i);
    int vector = c->msix || c->pci->msi ? platform_irq_alloc(i, nvme_interrupt, q) : -1;

    if (vector >= 0 &&
        (c->msix ? pci_msix_route(c->pci, i, vector) : pci_msi_route(c->pci, vector))) {
        q->vector = vector;
        c->interrupts++;
    }
}

/* NULL, or what is missing.  Memory for fewer queues than wanted is enough. */
static const char *controller_queues(struct nvme_controller *c)
{
    unsigned want, depth;

    c->msix = pci_msix_enable(c->pci);
    want = queues_wanted(c);
    depth = MIN((unsigned)FIELD_GET(NVME_CAP_MQES, c->capabilities) + 1, block_tags_for(want));

    if (want == 0 || depth < 2) {
        return "it grants no I/O queue";
    }
    while (c->hardware.queues < want && nvme_queue_add(c, (uint16_t)depth)) {
    }
    if (c->hardware.queues == 0) {
        return "no memory for an I/O queue";
    }
    if (c->hardware.queues < want) {
        log_warn("%s: memory for %u of %u queues", c->name, c->hardware.queues, want);
    }
    return NULL;
}

static void controller_probe(struct pci_device *pci)
{
    struct nvme_controller *c = controller_new(pci);
    const char *missing;

    if (!c) {
        return;
    }
    pci_enable(pci);
    missing = controller_map(c);
    if (!missing && (!nvme_start(c) || !controller_identify(c))) {
        missing = "it does not start";
    }
    if (!missing) {
        missing = controller_queues(c);
    }
    if (missing) {
        log_error("%s: %s: left out, its disks are not used", c->name, missing);
        controller_free(c);
        return;
    }
    for (unsigned i = 0; i < c->hardware.queues; i++) {
        queue_route(c, i);
    }
    if (!nvme_start_queues(c)) {
        /* Its memory is not given back: an interrupt for a queue may be under way. */
        log_error("%s: it does not take its queues: left out, its disks are not used", c->name);
        return;
    }
    log_info("%s: %u queues of %u, %u with interrupts", c->name, c->hardware.queues,
             nvme_queue_at(c, 0)->ring.depth, c->interrupts);
    nvme_namespaces_add(c);
}

void nvme_probe(void)
{
    for (struct pci_device *pci = pci_next(NULL); pci; pci = pci_next(pci)) {
        if (pci->class_code == NVME_CLASS) {
            controller_probe(pci);
        }
    }
}
