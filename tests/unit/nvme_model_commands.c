/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "tests/unit/nvme_model_internal.h"

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

uint16_t model_admin(struct controller *m, const struct nvme_command *c, uint32_t *result)
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

uint8_t *namespace_disk(struct controller *m, unsigned index)
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

uint16_t model_io(struct controller *m, const struct nvme_command *c)
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
