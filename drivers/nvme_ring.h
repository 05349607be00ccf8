/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe queue entries, rings and PRPs: what can be checked without a controller.
 * NVM Express Base Specification 1.4, sections 3 "Controller Registers" and 4 "Data Structures".
 */
#ifndef SPILLWAY_DRIVERS_NVME_RING_H
#define SPILLWAY_DRIVERS_NVME_RING_H

#include "base/bits.h"
#include "base/types.h"

/* Submission queue entry: 4.2 "Submission Queue Entry - Command Format". */
struct nvme_command {
    uint8_t opcode;
    uint8_t flags; /* no fused operation, PRPs */
    uint16_t id;
    uint32_t nsid;
    uint32_t dword2;
    uint32_t dword3;
    uint64_t metadata;
    uint64_t prp1;
    uint64_t prp2;
    uint32_t dword10;
    uint32_t dword11;
    uint32_t dword12;
    uint32_t dword13;
    uint32_t dword14;
    uint32_t dword15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "NVMe submission queue entry");
_Static_assert(offsetof(struct nvme_command, prp1) == 24, "NVMe submission queue entry");
_Static_assert(offsetof(struct nvme_command, dword10) == 40, "NVMe submission queue entry");

/* Completion queue entry: 4.6 "Completion Queue Entry". */
struct nvme_completion {
    uint32_t result;
    uint32_t dword1;
    uint16_t sq_head;
    uint16_t sq_id;
    uint16_t id;
    uint16_t status; /* bit 0: phase */
};
_Static_assert(sizeof(struct nvme_completion) == 16, "NVMe completion queue entry");
_Static_assert(offsetof(struct nvme_completion, status) == 14, "NVMe completion queue entry");

#define NVME_CQE_PHASE     0x0001u
#define NVME_STATUS_CODE   0x01feu /* SC */
#define NVME_STATUS_TYPE   0x0e00u /* SCT */
#define NVME_STATUS_RESULT 0x0ffeu /* SCT and SC: zero is success */
#define NVME_STATUS_DNR    0x8000u /* do not retry */

enum nvme_io_opcode {
    NVME_IO_FLUSH = 0,
    NVME_IO_WRITE = 1,
    NVME_IO_READ = 2,
};

enum nvme_admin_opcode {
    NVME_ADMIN_CREATE_SQ = 1,
    NVME_ADMIN_CREATE_CQ = 5,
    NVME_ADMIN_IDENTIFY = 6,
    NVME_ADMIN_ABORT = 8,
    NVME_ADMIN_SET_FEATURES = 9,
};

/* A pair of rings.  Its owner's lock protects it; nvme_ring_pending alone may be called without. */
struct nvme_ring {
    struct nvme_command *sq;
    struct nvme_completion *cq;
    uint16_t depth; /* entries of each */
    uint16_t sq_tail;
    uint16_t sq_head; /* as last reported by the controller */
    uint16_t cq_head;
    uint16_t phase; /* NVME_CQE_PHASE or 0: what a new entry shows */
};

/* Both empty; forgets all entries. */
void nvme_ring_reset(struct nvme_ring *ring);
bool nvme_ring_full(const struct nvme_ring *ring);
/* Appends a copy of the command; the caller writes sq_tail to the doorbell. */
void nvme_ring_push(struct nvme_ring *ring, const struct nvme_command *command);
/* Has the controller posted an entry that was not taken yet? */
bool nvme_ring_pending(const struct nvme_ring *ring);
/* Takes the next completion; false: none.  The caller writes cq_head to the doorbell. */
bool nvme_ring_pop(struct nvme_ring *ring, struct nvme_completion *completion);

/* Most entries of a PRP list that nvme_prp_set fills for `pages` pages. */
#define NVME_PRP_LIST_BYTES 512

/*
 * Points a command at pages, the first one from `offset` on (4.3 "Physical Region Page Entry and
 * List": only the first may begin inside of a page).  `list`, at physical `list_address` and
 * aligned to NVME_PRP_LIST_BYTES, is used for more than two pages; at most 64.
 */
void nvme_prp_set(struct nvme_command *command, const pfn_t *page, uint32_t count, uint32_t offset,
                  uint64_t *list, hpa_t list_address);

/* Read or write of so many sectors of 512 bytes; the LBA is 1 << lba_shift bytes, and both are
 * multiples of it. */
void nvme_command_io(struct nvme_command *command, enum nvme_io_opcode opcode, uint32_t nsid,
                     uint64_t sector, uint32_t sectors, unsigned lba_shift);

/* Name of a completion's status in the words of the specification. */
const char *nvme_status_name(uint16_t status);

#endif
