/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nvme_model.h"

#include <sched.h>
#include <string.h>

#include "drivers/block.h"
#include "drivers/platform.h"
#include "tests/unit/nvme_model_internal.h"

#define REG_CAP  0x00
#define REG_VS   0x08
#define REG_CC   0x14
#define REG_CSTS 0x1c
#define REG_AQA  0x24
#define REG_ASQ  0x28
#define REG_ACQ  0x30
#define REG_BELL 0x1000

struct nvme_model model;

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

bool one_in(unsigned n)
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

void queue_open(struct controller *m, unsigned id, void *sq, void *cq, unsigned sq_depth,
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
