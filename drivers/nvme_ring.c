/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/nvme_ring.h"

#include <string.h>

#include "base/block.h"

void nvme_ring_reset(struct nvme_ring *ring)
{
    memset(ring->sq, 0, ring->depth * sizeof(*ring->sq));
    /* Phase 0 everywhere: the first lap of the controller writes phase 1. */
    memset(ring->cq, 0, ring->depth * sizeof(*ring->cq));
    ring->sq_tail = 0;
    ring->sq_head = 0;
    ring->cq_head = 0;
    ring->phase = NVME_CQE_PHASE;
}

static uint16_t ring_next(const struct nvme_ring *ring, uint16_t index)
{
    return index + 1 == ring->depth ? 0 : (uint16_t)(index + 1);
}

bool nvme_ring_full(const struct nvme_ring *ring)
{
    return ring_next(ring, ring->sq_tail) == ring->sq_head;
}

void nvme_ring_push(struct nvme_ring *ring, const struct nvme_command *command)
{
    ring->sq[ring->sq_tail] = *command;
    ring->sq_tail = ring_next(ring, ring->sq_tail);
}

bool nvme_ring_pending(const struct nvme_ring *ring)
{
    const struct nvme_completion *entry = &ring->cq[ring->cq_head];

    /* Acquire: the controller writes the phase last; the rest of the entry is read after it. */
    return (__atomic_load_n(&entry->status, __ATOMIC_ACQUIRE) & NVME_CQE_PHASE) == ring->phase;
}

bool nvme_ring_pop(struct nvme_ring *ring, struct nvme_completion *completion)
{
    if (!nvme_ring_pending(ring)) {
        return false;
    }
    *completion = ring->cq[ring->cq_head];
    if (completion->sq_head < ring->depth) {
        ring->sq_head = completion->sq_head;
    }
    ring->cq_head = ring_next(ring, ring->cq_head);
    if (ring->cq_head == 0) {
        ring->phase ^= NVME_CQE_PHASE;
    }
    return true;
}

/* 4.3 "Physical Region Page Entry and List": the second PRP is a page, or a list of the rest. */
void nvme_prp_set(struct nvme_command *command, const pfn_t *page, uint32_t count, uint32_t offset,
                  uint64_t *list, hpa_t list_address)
{
    command->prp1 = pfn_to_hpa(page[0]).v + offset;
    if (count == 1) {
        command->prp2 = 0;
        return;
    }
    if (count == 2) {
        command->prp2 = pfn_to_hpa(page[1]).v;
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        list[i - 1] = pfn_to_hpa(page[i]).v;
    }
    command->prp2 = list_address.v;
}

void nvme_command_io(struct nvme_command *command, enum nvme_io_opcode opcode, uint32_t nsid,
                     uint64_t sector, uint32_t sectors, unsigned lba_shift)
{
    unsigned shift = lba_shift - BLOCK_SECTOR_SHIFT;
    uint64_t lba = sector >> shift;

    memset(command, 0, sizeof(*command));
    command->opcode = (uint8_t)opcode;
    command->nsid = nsid;
    if (opcode == NVME_IO_FLUSH) {
        return;
    }
    command->dword10 = (uint32_t)lba;
    command->dword11 = (uint32_t)(lba >> 32);
    command->dword12 = (sectors >> shift) - 1; /* a 0's based count */
}

/* 4.6.1.2 "Status Code (SC)". */
static const struct {
    uint16_t status; /* SCT << 8 | SC */
    const char *name;
} status_names[] = {
    {0x000, "successful completion"},
    {0x001, "invalid command opcode"},
    {0x002, "invalid field in command"},
    {0x003, "command id conflict"},
    {0x004, "data transfer error"},
    {0x005, "aborted: power loss notification"},
    {0x006, "internal error"},
    {0x007, "command abort requested"},
    {0x008, "aborted: SQ deletion"},
    {0x00b, "invalid namespace or format"},
    {0x00c, "command sequence error"},
    {0x013, "PRP offset invalid"},
    {0x020, "namespace is write protected"},
    {0x021, "command interrupted"},
    {0x080, "LBA out of range"},
    {0x081, "capacity exceeded"},
    {0x082, "namespace not ready"},
    {0x083, "reservation conflict"},
    {0x084, "format in progress"},
    {0x100, "completion queue invalid"},
    {0x101, "invalid queue identifier"},
    {0x102, "invalid queue size"},
    {0x103, "abort command limit exceeded"},
    {0x108, "invalid interrupt vector"},
    {0x180, "conflicting attributes"},
    {0x181, "invalid protection information"},
    {0x182, "attempted write to read only range"},
    {0x280, "write fault"},
    {0x281, "unrecovered read error"},
    {0x282, "end-to-end guard check error"},
    {0x283, "end-to-end application tag check error"},
    {0x284, "end-to-end reference tag check error"},
    {0x285, "compare failure"},
    {0x286, "access denied"},
    {0x287, "deallocated or unwritten logical block"},
    {0x300, "internal path error"},
    {0x371, "command aborted by host"},
};

const char *nvme_status_name(uint16_t status)
{
    unsigned key =
        (unsigned)(FIELD_GET(NVME_STATUS_TYPE, status) << 8 | FIELD_GET(NVME_STATUS_CODE, status));

    for (size_t i = 0; i < ARRAY_SIZE(status_names); i++) {
        if (status_names[i].status == key) {
            return status_names[i].name;
        }
    }
    return "status code not known";
}
