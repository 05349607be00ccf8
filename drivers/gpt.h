/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GPT: checks and decodes what block.c has read.  Pure functions.
 * UEFI Specification 2.9, chapter 5 "GUID Partition Table (GPT) Disk Layout".
 */
#ifndef SPILLWAY_DRIVERS_GPT_H
#define SPILLWAY_DRIVERS_GPT_H

#include "base/types.h"

struct gpt_table {
    uint64_t entries_lba;
    uint64_t first_usable;
    uint64_t last_usable;
    uint32_t entry_count;
    uint32_t entry_size;
    uint32_t entries_crc;
};

struct gpt_partition {
    uint64_t first_lba;
    uint64_t last_lba;
    char uuid[37]; /* unique GUID, lower case */
};

#define GPT_MAX_BYTES 65536u /* of the entry array: larger tables are refused */

/* Is there a protective MBR (one entry of type 0xee, signature 55 aa) in the first 512 bytes? */
bool gpt_is_protective_mbr(const uint8_t *sector);
/* Decodes the header in `sector`, one logical block that claims to be `lba`. */
bool gpt_parse_header(const uint8_t *sector, uint32_t bytes, uint64_t lba, struct gpt_table *table);
/* Is the entry array of entry_count * entry_size bytes what the header promised? */
bool gpt_check_entries(const struct gpt_table *table, const uint8_t *entries);
/* Decodes entry `index`; false: unused, or its range is no part of the usable area. */
bool gpt_parse_entry(const struct gpt_table *table, const uint8_t *entries, uint32_t index,
                     struct gpt_partition *partition);
/* CRC-32 as in Ethernet and GPT. */
uint32_t gpt_crc32(const uint8_t *data, size_t bytes);

#endif
