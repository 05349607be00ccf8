/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nvme_model.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/block.h"
#include "drivers/nvme_ring.h"
#include "drivers/pci.h"
#include "drivers/platform.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())

#define REG_CAP  0x00
#define REG_VS   0x08
#define REG_CC   0x14
#define REG_CSTS 0x1c
#define REG_AQA  0x24
#define REG_ASQ  0x28
#define REG_ACQ  0x30
#define REG_BELL 0x1000

#define MODEL_QUEUES 8
#define MODEL_DEPTH  64

/* A queue pair as the controller sees it. */
struct model_queue {
    struct nvme_command *sq;
    struct nvme_completion *cq;
    unsigned sq_depth, cq_depth;
    unsigned sq_head, cq_tail;
    uint16_t phase;
    struct nvme_completion parked[MODEL_DEPTH]; /* executed, not posted yet */
    unsigned parked_count;
};

struct controller {
    _Alignas(4096) uint8_t bar[0x2000];
    struct model_queue queue[MODEL_QUEUES];
    uint8_t *disk;
    bool enabled;
    bool changing; /* CC.EN was seen to change; CSTS.RDY follows at ready_at */
    uint64_t ready_at;
    bool master; /* may write to memory */
};

static struct {
    struct nvme_model_options options;
    struct controller *controller;
    struct pci_device pci[MODEL_CONTROLLERS];
    unsigned controllers;
    pthread_t thread;
    atomic_bool quit;
    atomic_uint fail_one_in, lose_one_in, queues, starts, aborts, masters_off, passes;
    atomic_bool ignore_admin, unplugged;
    _Atomic uint64_t stop_ns, start_ns;
    uint64_t seed;
} model;

/* ---- no other disks ---- */

void virtio_blk_probe(void)
{
}

void ata_probe(void)
{
}

/* ---- PCI, as far as nvme.c uses it ---- */

unsigned pci_init(void)
{
    return model.controllers;
}

struct pci_device *pci_next(struct pci_device *previous)
{
    struct pci_device *next = previous ? previous + 1 : model.pci;

    return next < model.pci + model.controllers ? next : NULL;
}

static struct controller *controller_of(const struct pci_device *dev)
{
    return &model.controller[dev - model.pci];
}

struct pci_bar pci_bar_read(const struct pci_device *dev, unsigned index)
{
    struct controller *m = controller_of(dev);

    return (struct pci_bar){(uintptr_t)m->bar, index == 0 ? sizeof(m->bar) : 0, false};
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    struct pci_bar bar = pci_bar_read(dev, index);

    return offset + bytes <= bar.size ? (volatile void *)(uintptr_t)(bar.address + offset) : NULL;
}

void pci_enable(const struct pci_device *dev)
{
    controller_of(dev)->master = true;
}

/* Memory that the driver gives back afterwards is not touched any more: ASan watches that. */
void pci_master_disable(const struct pci_device *dev)
{
    controller_of(dev)->master = false;
    atomic_fetch_add(&model.masters_off, 1);
}

bool pci_msix_enable(struct pci_device *dev)
{
    return dev->msix_entries != 0;
}

bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector)
{
    (void)vector;
    return entry < dev->msix_entries;
}

bool pci_msi_route(struct pci_device *dev, int vector)
{
    (void)dev;
    (void)vector;
    return false;
}

/* ---- the controller ---- */

static unsigned model_random(unsigned below)
{
    model.seed ^= model.seed << 13;
    model.seed ^= model.seed >> 7;
    model.seed ^= model.seed << 17;
    return (unsigned)(model.seed % below);
}

static bool one_in(unsigned n)
{
    return n != 0 && model_random(n) == 0;
}

static uint32_t reg(struct controller *m, unsigned offset)
{
    return __atomic_load_n((uint32_t *)(void *)(m->bar + offset), __ATOMIC_ACQUIRE);
}

static void reg_set(struct controller *m, unsigned offset, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)(m->bar + offset), value, __ATOMIC_RELEASE);
}

static void *reg_pointer(struct controller *m, unsigned offset)
{
    return (void *)(uintptr_t)(reg(m, offset) | (uint64_t)reg(m, offset + 4) << 32);
}

static void queue_open(struct controller *m, unsigned id, void *sq, void *cq, unsigned sq_depth,
                       unsigned cq_depth)
{
    struct model_queue *q = &m->queue[id];

    memset(q, 0, sizeof(*q));
    q->sq = sq;
    q->cq = cq;
    q->sq_depth = sq_depth;
    q->cq_depth = cq_depth;
    q->phase = 1;
}

static uint32_t nsid_at(unsigned index)
{
    return 1 + index * model.options.nsid_step;
}

/* Index of a namespace, or that of none: options.namespaces. */
static unsigned index_of(uint32_t nsid)
{
    unsigned index = (nsid - 1) / model.options.nsid_step;

    return nsid != 0 && index < model.options.namespaces && nsid_at(index) == nsid
               ? index
               : model.options.namespaces;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void identify_controller(uint8_t *page)
{
    memcpy(page + 24, "model", 5);
    page[77] = model.options.mdts;
    page[520] = model.options.discards ? BIT(2) : 0;
    put32(page + 516, nsid_at(model.options.namespaces - 1));
}

static void identify_list(uint8_t *page, uint32_t above)
{
    unsigned count = 0;

    for (unsigned i = 0; i < model.options.namespaces && count < 1024; i++) {
        if (nsid_at(i) > above) {
            put32(page + 4 * count++, nsid_at(i));
        }
    }
}

/* An EUI64 before the command set, as real ones have. */
static void identify_descriptors(uint8_t *page, uint32_t nsid)
{
    page[0] = 1;
    page[1] = 8;
    page[4] = 0xaa;
    page[12] = 4;
    page[13] = 1;
    page[16] = nsid == model.options.zoned ? 2 : 0;
}

static void identify_namespace(uint8_t *page)
{
    uint64_t lbas = (uint64_t)model.options.blocks << (12 - model.options.lba_shift);

    memcpy(page, &lbas, 8);
    page[26] = 1;
    put32(page + 132, model.options.lba_shift << 16);
}

static uint16_t model_identify(const struct nvme_command *c)
{
    uint8_t page[4096] = {0};

    if (c->dword10 == 1) {
        identify_controller(page);
    } else if (c->dword10 == 2 && !model.options.no_list) {
        identify_list(page, c->nsid);
    } else if (c->dword10 == 3 && index_of(c->nsid) < model.options.namespaces) {
        identify_descriptors(page, c->nsid);
    } else if (c->dword10 == 0) {
        if (index_of(c->nsid) < model.options.namespaces) {
            identify_namespace(page);
        }
    } else {
        return 0x02 << 1;
    }
    memcpy((void *)(uintptr_t)c->prp1, page, sizeof(page));
    return 0;
}

static uint16_t model_admin(struct controller *m, const struct nvme_command *c, uint32_t *result)
{
    unsigned id = c->dword10 & 0xffff, queues = atomic_load(&model.queues);

    switch (c->opcode) {
    case NVME_ADMIN_IDENTIFY:
        return model_identify(c);
    case NVME_ADMIN_SET_FEATURES:
        *result = (queues - 1) << 16 | (queues - 1);
        return 0;
    case NVME_ADMIN_CREATE_CQ:
        if (id == 0 || id > queues || !(c->dword11 & 1)) {
            return 0x101 << 1;
        }
        queue_open(m, id, NULL, (void *)(uintptr_t)c->prp1, 0, (c->dword10 >> 16) + 1);
        return 0;
    case NVME_ADMIN_CREATE_SQ:
        if (id == 0 || id > queues || c->dword11 >> 16 != id) {
            return 0x100 << 1;
        }
        m->queue[id].sq = (void *)(uintptr_t)c->prp1;
        m->queue[id].sq_depth = (c->dword10 >> 16) + 1;
        return 0;
    case NVME_ADMIN_ABORT:
        atomic_fetch_add(&model.aborts, 1);
        *result = 1; /* not aborted */
        return 0;
    default:
        return 0x01 << 1;
    }
}

/* Page `i` of a transfer, by the PRPs. */
static uint8_t *prp_page(const struct nvme_command *c, unsigned i, unsigned pages)
{
    if (i == 0) {
        return (uint8_t *)(uintptr_t)c->prp1;
    }
    if (pages == 2) {
        return (uint8_t *)(uintptr_t)c->prp2;
    }
    return (uint8_t *)(uintptr_t)((uint64_t *)(uintptr_t)c->prp2)[i - 1];
}

static uint8_t *namespace_disk(struct controller *m, unsigned index)
{
    return m->disk + (uint64_t)index * model.options.blocks * 4096;
}

static uint16_t model_discard(struct controller *m, const struct nvme_command *c, unsigned index)
{
    const struct nvme_range *range = (const void *)(uintptr_t)c->prp1;
    unsigned shift = model.options.lba_shift;
    uint64_t lbas = (uint64_t)model.options.blocks << (12 - shift);

    if (!model.options.discards) {
        return 0x01 << 1 | 0x8000;
    }
    if (one_in(atomic_load(&model.fail_one_in))) {
        return 0x06 << 1;
    }
    CHECK(c->dword10 == 0 && c->dword11 == 4 && c->prp2 == 0 && range->attributes == 0);
    CHECK((c->prp1 & 4095) + sizeof(*range) <= 4096);
    if (range->lba >= lbas || range->blocks > lbas - range->lba) {
        return 0x80 << 1 | 0x8000;
    }
    memset(namespace_disk(m, index) + (range->lba << shift), NVME_MODEL_DISCARDED,
           (size_t)range->blocks << shift);
    return 0;
}

static uint16_t model_io(struct controller *m, const struct nvme_command *c)
{
    unsigned shift = model.options.lba_shift, index = index_of(c->nsid);
    uint64_t at = (c->dword10 | (uint64_t)c->dword11 << 32) << shift;
    uint64_t bytes = (uint64_t)((c->dword12 & 0xffff) + 1) << shift;
    unsigned offset = c->prp1 & 4095; /* only the first page may begin inside */
    unsigned pages = (unsigned)((offset + bytes + 4095) >> 12);

    CHECK(index < model.options.namespaces && c->nsid != model.options.zoned);
    if (c->opcode == NVME_IO_FLUSH) {
        return 0;
    }
    if (c->opcode == NVME_IO_DATASET) {
        return model_discard(m, c, index);
    }
    CHECK(offset % 4 == 0 && pages >= 1 && pages <= 64);
    CHECK(model.options.mdts == 0 || pages <= 1u << model.options.mdts);
    if (at + bytes > (uint64_t)model.options.blocks << 12) {
        return 0x80 << 1 | 0x8000;
    }
    if (one_in(atomic_load(&model.fail_one_in))) {
        return 0x281 << 1;
    }
    uint8_t *block = namespace_disk(m, index) + at;
    for (unsigned i = 0; i < pages; i++) {
        uint8_t *page = prp_page(c, i, pages);
        uint64_t piece = 4096 - (i == 0 ? offset : 0);

        piece = piece < bytes ? piece : bytes;
        CHECK(i == 0 || ((uintptr_t)page & 4095) == 0);
        if (c->opcode == NVME_IO_READ) {
            memcpy(page, block, piece);
        } else {
            memcpy(block, page, piece);
        }
        block += piece;
        bytes -= piece;
    }
    return 0;
}

static void queue_fetch(struct controller *m, unsigned id)
{
    struct model_queue *q = &m->queue[id];
    unsigned tail = reg(m, REG_BELL + 8 * id);

    while (q->sq_head != tail && q->parked_count < MODEL_DEPTH) {
        struct nvme_command c = q->sq[q->sq_head];
        struct nvme_completion *done = &q->parked[q->parked_count];

        q->sq_head = (q->sq_head + 1) % q->sq_depth;
        if (id == 0 ? atomic_load(&model.ignore_admin) : one_in(atomic_load(&model.lose_one_in))) {
            continue;
        }
        memset(done, 0, sizeof(*done));
        done->id = c.id;
        done->sq_id = (uint16_t)id;
        done->status = id == 0 ? model_admin(m, &c, &done->result) : model_io(m, &c);
        q->parked_count++;
    }
}

static void queue_post(struct controller *m, unsigned id)
{
    struct model_queue *q = &m->queue[id];

    while (q->parked_count != 0 && (id == 0 || model.options.manual || model_random(16) != 0)) {
        unsigned pick = model_random(q->parked_count);
        struct nvme_completion done = q->parked[pick];
        struct nvme_completion *entry = &q->cq[q->cq_tail];

        if ((q->cq_tail + 1) % q->cq_depth == reg(m, REG_BELL + 8 * id + 4)) {
            return;
        }
        q->parked[pick] = q->parked[--q->parked_count];
        entry->result = done.result;
        entry->sq_head = (uint16_t)q->sq_head;
        entry->sq_id = done.sq_id;
        entry->id = done.id;
        __atomic_store_n(&entry->status, (uint16_t)(done.status | q->phase), __ATOMIC_RELEASE);
        q->cq_tail = (q->cq_tail + 1) % q->cq_depth;
        q->phase ^= q->cq_tail == 0;
    }
}

static void controller_enable(struct controller *m)
{
    for (unsigned at = REG_BELL; at < sizeof(m->bar); at += 4) {
        reg_set(m, at, 0);
    }
    queue_open(m, 0, reg_pointer(m, REG_ASQ), reg_pointer(m, REG_ACQ),
               (reg(m, REG_AQA) & 0xfff) + 1, (reg(m, REG_AQA) >> 16 & 0xfff) + 1);
    atomic_fetch_add(&model.starts, 1);
}

/* It stops working at once when CC.EN is cleared, whenever CSTS.RDY says so. */
static void controller_switch(struct controller *m, uint64_t now)
{
    bool enable = (reg(m, REG_CC) & 1) != 0;
    uint64_t wait = atomic_load(enable ? &model.start_ns : &model.stop_ns);

    if (enable == m->enabled) {
        m->changing = false;
        return;
    }
    if (!m->changing) {
        m->changing = true;
        m->ready_at = wait == NVME_MODEL_NEVER ? wait : now + wait;
        memset(m->queue, 0, sizeof(m->queue));
    }
    if (now < m->ready_at ||
        (enable && model.options.no_restart && atomic_load(&model.starts) != 0)) {
        return;
    }
    m->enabled = enable;
    m->changing = false;
    if (enable) {
        controller_enable(m);
    }
    reg_set(m, REG_CSTS, enable);
}

static void controller_pass(struct controller *m, uint64_t now)
{
    if (atomic_load(&model.unplugged)) {
        reg_set(m, REG_CSTS, ~0u);
        return;
    }
    controller_switch(m, now);
    for (unsigned id = 0; m->enabled && !m->changing && m->master && id < MODEL_QUEUES; id++) {
        if (m->queue[id].sq) {
            queue_fetch(m, id);
            queue_post(m, id);
        }
    }
}

static void model_pass(void)
{
    for (unsigned i = 0; i < model.controllers; i++) {
        controller_pass(&model.controller[i], platform_clock_ns());
    }
}

static void *controller_main(void *unused)
{
    (void)unused;
    while (!atomic_load(&model.quit)) {
        model_pass();
        atomic_fetch_add(&model.passes, 1);
        sched_yield();
    }
    return NULL;
}

/* ---- setting up ---- */

static void controller_init(unsigned number)
{
    struct controller *m = &model.controller[number];
    struct pci_device *pci = &model.pci[number];

    pci->slot = (uint8_t)(number + 2);
    pci->class_code = 0x010802;
    pci->msix_entries = (uint16_t)(model.options.queues + 1);
    m->disk = calloc((size_t)model.options.namespaces * model.options.blocks, 4096);
    CHECK(m->disk != NULL);
    reg_set(m, REG_CAP, (MODEL_DEPTH - 1u) | (uint32_t)model.options.timeout << 24);
    reg_set(m, REG_CAP + 4, 1u << 5 | (model.options.command_sets ? 1u << 11 : 0));
    reg_set(m, REG_VS, model.options.no_list ? 0x10000 : 0x10400);
}

static void apply_defaults(struct nvme_model_options *options)
{
    options->controllers = MAX(options->controllers, 1u);
    options->namespaces = MAX(options->namespaces, 1u);
    options->nsid_step = MAX(options->nsid_step, 1u);
    options->blocks = options->blocks ? options->blocks : MODEL_BLOCKS;
}

void nvme_model_start(const struct nvme_model_options *options)
{
    disk_machine_start(options->manual ? model_pass : NULL);
    memset(&model, 0, sizeof(model));
    model.options = *options;
    apply_defaults(&model.options);
    model.seed = 88172645463325252ull;
    model.controllers = model.options.controllers;
    model.controller = aligned_alloc(4096, model.controllers * sizeof(*model.controller));
    CHECK(model.controller != NULL && model.controllers <= MODEL_CONTROLLERS);
    memset(model.controller, 0, model.controllers * sizeof(*model.controller));
    nvme_model_inject(options->fail_one_in, options->lose_one_in);
    nvme_model_grant(options->queues);
    for (unsigned i = 0; i < model.controllers; i++) {
        controller_init(i);
    }
    CHECK(options->manual || pthread_create(&model.thread, NULL, controller_main, NULL) == 0);
}

void nvme_model_stop(void)
{
    atomic_store(&model.quit, true);
    if (!model.options.manual) {
        pthread_join(model.thread, NULL);
    }
    for (unsigned i = 0; i < model.controllers; i++) {
        free(model.controller[i].disk);
    }
    free(model.controller);
    disk_machine_stop();
}

uint8_t *nvme_model_disk(unsigned controller, unsigned index)
{
    return namespace_disk(&model.controller[controller], index);
}

void nvme_model_inject(unsigned fail_one_in, unsigned lose_one_in)
{
    atomic_store(&model.fail_one_in, fail_one_in);
    atomic_store(&model.lose_one_in, lose_one_in);
}

void nvme_model_set_ready(uint64_t stop_ns, uint64_t start_ns)
{
    atomic_store(&model.stop_ns, stop_ns);
    atomic_store(&model.start_ns, start_ns);
}

void nvme_model_ignore_admin(void)
{
    atomic_store(&model.ignore_admin, true);
}

void nvme_model_grant(unsigned queues)
{
    atomic_store(&model.queues, queues);
}

void nvme_model_unplug(void)
{
    atomic_store(&model.unplugged, true);
}

unsigned nvme_model_starts(void)
{
    return atomic_load(&model.starts);
}

unsigned nvme_model_aborts(void)
{
    return atomic_load(&model.aborts);
}

unsigned nvme_model_passes(void)
{
    return atomic_load(&model.passes);
}

unsigned nvme_model_masters_off(void)
{
    return atomic_load(&model.masters_off);
}
