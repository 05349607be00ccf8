/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gpt.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define MBR_ENTRIES    446
#define MBR_ENTRY      16
#define MBR_TYPE       4
#define MBR_SIGNATURE  510
#define MBR_PROTECTIVE 0xee

/* 5.3.2 "GPT Header". */
struct gpt_header {
    char signature[8];
    uint32_t revision;
    uint32_t header_bytes;
    uint32_t header_crc;
    uint32_t reserved20;
    uint64_t my_lba;
    uint64_t alternate_lba;
    uint64_t first_usable;
    uint64_t last_usable;
    uint8_t disk_guid[16];
    uint64_t entries_lba;
    uint32_t entry_count;
    uint32_t entry_size;
    uint32_t entries_crc;
    uint32_t reserved92;
};
_Static_assert(offsetof(struct gpt_header, my_lba) == 24, "GPT header");
_Static_assert(offsetof(struct gpt_header, entries_lba) == 72, "GPT header");
_Static_assert(offsetof(struct gpt_header, entries_crc) == 88, "GPT header");
#define GPT_HEADER_BYTES 92u

/* 5.3.3 "GPT Partition Entry Array". */
struct gpt_entry {
    uint8_t type[16];
    uint8_t guid[16];
    uint64_t first_lba;
    uint64_t last_lba;
    uint64_t attributes;
    uint16_t name[36];
};
_Static_assert(sizeof(struct gpt_entry) == 128, "GPT partition entry");

uint32_t gpt_crc32(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;

    while (bytes-- != 0) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

bool gpt_is_protective_mbr(const uint8_t *sector)
{
    if (sector[MBR_SIGNATURE] != 0x55 || sector[MBR_SIGNATURE + 1] != 0xaa) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (sector[MBR_ENTRIES + i * MBR_ENTRY + MBR_TYPE] == MBR_PROTECTIVE) {
            return true;
        }
    }
    return false;
}

/* The CRC covers the header with the CRC field itself as zero. */
static bool header_crc_ok(const uint8_t *sector, const struct gpt_header *header)
{
    uint8_t copy[512];

    memcpy(copy, sector, header->header_bytes);
    memset(copy + offsetof(struct gpt_header, header_crc), 0, sizeof(header->header_crc));
    return gpt_crc32(copy, header->header_bytes) == header->header_crc;
}

bool gpt_parse_header(const uint8_t *sector, uint32_t bytes, uint64_t lba, struct gpt_table *table)
{
    struct gpt_header header;

    memcpy(&header, sector, sizeof(header));
    if (memcmp(header.signature, "EFI PART", 8) != 0 || header.header_bytes < GPT_HEADER_BYTES ||
        header.header_bytes > MIN(bytes, 512u) || header.my_lba != lba ||
        !header_crc_ok(sector, &header)) {
        return false;
    }
    if (header.entry_size < sizeof(struct gpt_entry) || header.entry_size > GPT_MAX_BYTES ||
        header.entry_count == 0 || header.entry_count > GPT_MAX_BYTES / header.entry_size ||
        header.first_usable > header.last_usable) {
        return false;
    }
    table->entries_lba = header.entries_lba;
    table->first_usable = header.first_usable;
    table->last_usable = header.last_usable;
    table->entry_count = header.entry_count;
    table->entry_size = header.entry_size;
    table->entries_crc = header.entries_crc;
    return true;
}

bool gpt_check_entries(const struct gpt_table *table, const uint8_t *entries)
{
    size_t bytes = (size_t)table->entry_count * table->entry_size;

    return gpt_crc32(entries, bytes) == table->entries_crc;
}

/* The first three fields of a GUID are little-endian numbers, the rest are bytes in order. */
static void guid_format(const uint8_t *g, char out[37])
{
    snprintf(out, 37,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x",
             g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13],
             g[14], g[15]);
}

bool gpt_parse_entry(const struct gpt_table *table, const uint8_t *entries, uint32_t index,
                     struct gpt_partition *partition)
{
    static const uint8_t unused[16];
    struct gpt_entry entry;

    memcpy(&entry, entries + (size_t)index * table->entry_size, sizeof(entry));
    if (memcmp(entry.type, unused, sizeof(unused)) == 0 || entry.first_lba > entry.last_lba ||
        entry.first_lba < table->first_usable || entry.last_lba > table->last_usable) {
        return false;
    }
    partition->first_lba = entry.first_lba;
    partition->last_lba = entry.last_lba;
    guid_format(entry.guid, partition->uuid);
    return true;
}
