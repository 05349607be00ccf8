/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nvme_model.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drivers/nvme_ring.h"
#include "drivers/pci.h"
#include "drivers/platform.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())

#define REG_CAP  0x00
#define REG_CC   0x14
#define REG_CSTS 0x1c
#define REG_AQA  0x24
#define REG_ASQ  0x28
#define REG_ACQ  0x30
#define REG_BELL 0x1000

#define MODEL_QUEUES 8
#define MODEL_DEPTH  64
#define DMA_BLOCKS   256

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

static struct {
    _Alignas(4096) uint8_t bar[0x2000];
    struct nvme_model_options options;
    struct model_queue queue[MODEL_QUEUES];
    struct pci_device pci;
    uint8_t *disk;
    pthread_t thread;
    atomic_bool quit;
    atomic_uint fail_one_in, lose_one_in, starts, aborts;
    bool enabled;
    uint64_t clock_speed;
    uint64_t seed;
    void *dma[DMA_BLOCKS]; /* freed at the end */
    unsigned dma_count;
} model;

static _Thread_local unsigned this_cpu;

/* ---- the machine ---- */

volatile void *platform_map(hpa_t address, uint64_t bytes)
{
    (void)bytes;
    return (volatile void *)(uintptr_t)address.v;
}

void *platform_dma_alloc(uint64_t bytes, hpa_t *address)
{
    void *memory = aligned_alloc(4096, ALIGN_UP(bytes, 4096));

    CHECK(memory && model.dma_count < DMA_BLOCKS);
    model.dma[model.dma_count++] = memory;
    memset(memory, 0, ALIGN_UP(bytes, 4096));
    address->v = (uintptr_t)memory;
    return memory;
}

void *platform_frame_ptr(pfn_t frame)
{
    return (void *)(uintptr_t)pfn_to_hpa(frame).v;
}

uint64_t platform_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec) * model.clock_speed;
}

void platform_delay_us(unsigned us)
{
    (void)us;
    sched_yield();
}

int platform_irq_alloc(unsigned cpu, platform_irq_handler handler, void *owner)
{
    (void)handler;
    (void)owner;
    return (int)(64 + cpu);
}

unsigned platform_cpu_count(void)
{
    return MODEL_CPUS;
}

unsigned platform_cpu_id(void)
{
    return this_cpu;
}

void nvme_model_set_cpu(unsigned cpu)
{
    this_cpu = cpu;
}

/* ---- PCI, as far as nvme.c uses it ---- */

struct pci_device *pci_next(struct pci_device *previous)
{
    return previous ? NULL : &model.pci;
}

struct pci_bar pci_bar_read(const struct pci_device *dev, unsigned index)
{
    (void)dev;
    return (struct pci_bar){(uintptr_t)model.bar, index == 0 ? sizeof(model.bar) : 0, false};
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    struct pci_bar bar = pci_bar_read(dev, index);

    return offset + bytes <= bar.size ? (volatile void *)(model.bar + offset) : NULL;
}

void pci_enable(const struct pci_device *dev)
{
    (void)dev;
}

void pci_master_disable(const struct pci_device *dev)
{
    (void)dev;
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

static uint32_t reg(unsigned offset)
{
    return __atomic_load_n((uint32_t *)(void *)(model.bar + offset), __ATOMIC_ACQUIRE);
}

static void reg_set(unsigned offset, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)(model.bar + offset), value, __ATOMIC_RELEASE);
}

static void *reg_pointer(unsigned offset)
{
    return (void *)(uintptr_t)(reg(offset) | (uint64_t)reg(offset + 4) << 32);
}

static void queue_open(unsigned id, void *sq, void *cq, unsigned sq_depth, unsigned cq_depth)
{
    struct model_queue *q = &model.queue[id];

    memset(q, 0, sizeof(*q));
    q->sq = sq;
    q->cq = cq;
    q->sq_depth = sq_depth;
    q->cq_depth = cq_depth;
    q->phase = 1;
}

static void model_identify(const struct nvme_command *c)
{
    uint8_t *page = (uint8_t *)(uintptr_t)c->prp1;

    memset(page, 0, 4096);
    if (c->dword10 == 1) {
        memcpy(page + 24, "model", 5);
        page[77] = model.options.mdts;
    } else if (c->dword10 == 2) {
        page[0] = 1;
    } else {
        uint64_t lbas = (uint64_t)MODEL_BLOCKS << (12 - model.options.lba_shift);
        uint32_t format = model.options.lba_shift << 16;
        memcpy(page, &lbas, 8);
        page[26] = 1;
        memcpy(page + 132, &format, 4);
    }
}

static uint16_t model_admin(const struct nvme_command *c, uint32_t *result)
{
    unsigned id = c->dword10 & 0xffff;

    switch (c->opcode) {
    case NVME_ADMIN_IDENTIFY:
        model_identify(c);
        return 0;
    case NVME_ADMIN_SET_FEATURES:
        *result = (model.options.queues - 1) << 16 | (model.options.queues - 1);
        return 0;
    case NVME_ADMIN_CREATE_CQ:
        if (id == 0 || id > model.options.queues || !(c->dword11 & 1)) {
            return 0x101 << 1;
        }
        queue_open(id, NULL, (void *)(uintptr_t)c->prp1, 0, (c->dword10 >> 16) + 1);
        return 0;
    case NVME_ADMIN_CREATE_SQ:
        if (id == 0 || id > model.options.queues || c->dword11 >> 16 != id) {
            return 0x100 << 1;
        }
        model.queue[id].sq = (void *)(uintptr_t)c->prp1;
        model.queue[id].sq_depth = (c->dword10 >> 16) + 1;
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

static uint16_t model_io(const struct nvme_command *c)
{
    unsigned shift = model.options.lba_shift;
    uint64_t at = (c->dword10 | (uint64_t)c->dword11 << 32) << shift;
    uint64_t bytes = (uint64_t)((c->dword12 & 0xffff) + 1) << shift;
    unsigned pages = (unsigned)(bytes >> 12);

    if (c->opcode == NVME_IO_FLUSH) {
        return 0;
    }
    CHECK(c->nsid == 1 && bytes % 4096 == 0 && pages >= 1 && pages <= 64);
    CHECK(model.options.mdts == 0 || pages <= 1u << model.options.mdts);
    if (at + bytes > (uint64_t)MODEL_BLOCKS << 12) {
        return 0x80 << 1 | 0x8000;
    }
    if (one_in(atomic_load(&model.fail_one_in))) {
        return 0x281 << 1;
    }
    for (unsigned i = 0; i < pages; i++) {
        uint8_t *block = model.disk + at + i * 4096ull, *page = prp_page(c, i, pages);
        if (c->opcode == NVME_IO_READ) {
            memcpy(page, block, 4096);
        } else {
            memcpy(block, page, 4096);
        }
    }
    return 0;
}

static void queue_fetch(unsigned id, struct model_queue *q)
{
    unsigned tail = reg(REG_BELL + 8 * id);

    while (q->sq_head != tail && q->parked_count < MODEL_DEPTH) {
        struct nvme_command c = q->sq[q->sq_head];
        struct nvme_completion *done = &q->parked[q->parked_count];

        q->sq_head = (q->sq_head + 1) % q->sq_depth;
        if (id != 0 && one_in(atomic_load(&model.lose_one_in))) {
            continue;
        }
        memset(done, 0, sizeof(*done));
        done->id = c.id;
        done->sq_id = (uint16_t)id;
        done->status = id == 0 ? model_admin(&c, &done->result) : model_io(&c);
        q->parked_count++;
    }
}

static void queue_post(unsigned id, struct model_queue *q)
{
    while (q->parked_count != 0 && (id == 0 || model_random(4) != 0)) {
        unsigned pick = model_random(q->parked_count);
        struct nvme_completion done = q->parked[pick];
        struct nvme_completion *entry = &q->cq[q->cq_tail];

        if ((q->cq_tail + 1) % q->cq_depth == reg(REG_BELL + 8 * id + 4)) {
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

static void controller_switch(void)
{
    bool enable = (reg(REG_CC) & 1) != 0;

    if (enable == model.enabled) {
        return;
    }
    if (enable && model.options.no_restart && atomic_load(&model.starts) != 0) {
        return;
    }
    model.enabled = enable;
    memset(model.queue, 0, sizeof(model.queue));
    for (unsigned at = REG_BELL; at < sizeof(model.bar); at += 4) {
        reg_set(at, 0);
    }
    if (enable) {
        queue_open(0, reg_pointer(REG_ASQ), reg_pointer(REG_ACQ), (reg(REG_AQA) & 0xfff) + 1,
                   (reg(REG_AQA) >> 16 & 0xfff) + 1);
        atomic_fetch_add(&model.starts, 1);
    }
    reg_set(REG_CSTS, enable);
}

static void *controller_main(void *unused)
{
    (void)unused;
    while (!atomic_load(&model.quit)) {
        controller_switch();
        for (unsigned id = 0; model.enabled && id < MODEL_QUEUES; id++) {
            if (model.queue[id].sq) {
                queue_fetch(id, &model.queue[id]);
                queue_post(id, &model.queue[id]);
            }
        }
        sched_yield();
    }
    return NULL;
}

void nvme_model_start(const struct nvme_model_options *options)
{
    memset(&model, 0, sizeof(model));
    model.options = *options;
    model.clock_speed = options->clock_speed ? options->clock_speed : 1;
    model.seed = 88172645463325252ull;
    model.disk = calloc(MODEL_BLOCKS, 4096);
    model.pci.class_code = 0x010802;
    model.pci.msix_entries = (uint16_t)(options->queues + 1);
    nvme_model_inject(options->fail_one_in, options->lose_one_in);
    /* MQES 64 entries, ready within half a second, NVM command set. */
    reg_set(REG_CAP, MODEL_DEPTH - 1);
    reg_set(REG_CAP + 4, 1u << 5);
    CHECK(model.disk && pthread_create(&model.thread, NULL, controller_main, NULL) == 0);
}

void nvme_model_stop(void)
{
    atomic_store(&model.quit, true);
    pthread_join(model.thread, NULL);
    free(model.disk);
    for (unsigned i = 0; i < model.dma_count; i++) {
        free(model.dma[i]);
    }
}

void nvme_model_inject(unsigned fail_one_in, unsigned lose_one_in)
{
    atomic_store(&model.fail_one_in, fail_one_in);
    atomic_store(&model.lose_one_in, lose_one_in);
}

unsigned nvme_model_starts(void)
{
    return atomic_load(&model.starts);
}

unsigned nvme_model_aborts(void)
{
    return atomic_load(&model.aborts);
}
