/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA commands and bus-master descriptor tables: what can be checked without a disk.
 * ATA/ATAPI-7 Volume 1, 6 "Command descriptions"; Programming Interface for Bus Master IDE
 * Controller 1.0, 1.2 "Physical Region Descriptor".
 */
#ifndef SPILLWAY_DRIVERS_ATA_COMMAND_H
#define SPILLWAY_DRIVERS_ATA_COMMAND_H

#include "base/block.h"
#include "base/types.h"

#define ATA_SECTORS_PER_BLOCK 8
#define ATA_LBA28_MAX_PAGES   32 /* 256 sectors */

/* Physical region descriptor. */
struct ata_prd {
    uint32_t address;
    uint16_t bytes; /* 0: 64 KiB */
    uint16_t flags;
};
_Static_assert(sizeof(struct ata_prd) == 8, "physical region descriptor");
#define ATA_PRD_LAST 0x8000u

/* Register contents of one command; the high bytes are for the 48-bit form. */
struct ata_taskfile {
    uint8_t command;
    uint8_t device; /* without the drive select bit */
    bool lba48;
    uint16_t sectors;
    uint64_t lba;
};

struct ata_identity {
    bool usable; /* DMA, LBA, sectors of 512 bytes */
    bool lba48;
    uint64_t sectors;
    char model[41];
};

/* A piece of memory for ata_prd_build(), not across pages. */
struct ata_piece {
    uint32_t address, bytes;
};

/*
 * Describes pieces of memory, joining neighbours without crossing a 64 KiB boundary.  Returns the
 * number of entries, at most `count`.
 */
unsigned ata_prd_build(struct ata_prd *table, const struct ata_piece *piece, unsigned count);
/* The command that moves so many sectors, or flushes. */
void ata_taskfile_build(struct ata_taskfile *out, enum block_op op, bool lba48, uint64_t sector,
                        uint32_t sectors);
/* Decodes IDENTIFY DEVICE data. */
void ata_identity_parse(struct ata_identity *out, const uint16_t words[256]);
/* Error register in words, into `out`. */
void ata_error_describe(uint8_t error, char *out, size_t size);

#endif
