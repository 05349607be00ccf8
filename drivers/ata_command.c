/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/ata_command.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

enum {
    ATA_READ_DMA = 0xc8,
    ATA_READ_DMA_EXT = 0x25,
    ATA_WRITE_DMA = 0xca,
    ATA_WRITE_DMA_EXT = 0x35,
    ATA_FLUSH = 0xe7,
    ATA_FLUSH_EXT = 0xea,
};

#define DEVICE_LBA 0xe0 /* LBA bit, and two bits that are obsolete but set */

/* IDENTIFY DEVICE words: ATA/ATAPI-7 Volume 1, 6.17 "IDENTIFY DEVICE". */
enum {
    ID_MODEL = 27,
    ID_CAPABILITIES = 49,
    ID_SECTORS28 = 60,
    ID_COMMANDS = 83,
    ID_SECTORS48 = 100,
    ID_SECTOR_SIZE = 106,
    ID_SECTOR_WORDS = 117,
};
#define CAPABILITY_DMA BIT(8)
#define CAPABILITY_LBA BIT(9)
#define COMMANDS_LBA48 BIT(10)
#define SIZE_VALID     BITS(15, 14) /* 01: the word means something */
#define SIZE_LONG      BIT(12)
#define SECTOR_WORDS   256

unsigned ata_prd_build(struct ata_prd *table, const struct ata_piece *piece, unsigned count)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        struct ata_prd *last = n ? &table[n - 1] : NULL;
        uint32_t address = piece[i].address;

        if (last && address == piece[i - 1].address + piece[i - 1].bytes &&
            (address & 0xffff) != 0) {
            /* Wraps to 0 at 64 KiB, which is how the controller writes that. */
            last->bytes = (uint16_t)(last->bytes + piece[i].bytes);
            continue;
        }
        table[n++] = (struct ata_prd){address, (uint16_t)piece[i].bytes, 0};
    }
    table[n - 1].flags = ATA_PRD_LAST;
    return n;
}

void ata_taskfile_build(struct ata_taskfile *out, enum block_op op, bool lba48, uint64_t sector,
                        uint32_t sectors)
{
    memset(out, 0, sizeof(*out));
    out->lba48 = lba48;
    out->device = DEVICE_LBA;
    if (op == BLOCK_FLUSH) {
        out->command = lba48 ? ATA_FLUSH_EXT : ATA_FLUSH;
        return;
    }
    out->lba = sector;
    out->sectors = (uint16_t)sectors;
    if (lba48) {
        out->command = op == BLOCK_READ ? ATA_READ_DMA_EXT : ATA_WRITE_DMA_EXT;
    } else {
        /* Bits 27:24 of the address are in the device register; 256 sectors are written as 0. */
        out->command = op == BLOCK_READ ? ATA_READ_DMA : ATA_WRITE_DMA;
        out->device |= (uint8_t)FIELD_GET(BITS(27, 24), out->lba);
        out->sectors &= 0xff;
    }
}

/* ATA strings have the first character of each word in its high byte. */
static void parse_model(char out[41], const uint16_t *words)
{
    size_t length = 40;

    for (unsigned i = 0; i < 20; i++) {
        out[2 * i] = (char)(words[i] >> 8);
        out[2 * i + 1] = (char)words[i];
    }
    while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == '\0')) {
        length--;
    }
    out[length] = '\0';
}

void ata_identity_parse(struct ata_identity *out, const uint16_t words[256])
{
    uint16_t capabilities = words[ID_CAPABILITIES], size = words[ID_SECTOR_SIZE];
    uint32_t sector_words = SECTOR_WORDS;

    memset(out, 0, sizeof(*out));
    parse_model(out->model, words + ID_MODEL);
    if (FIELD_GET(SIZE_VALID, size) == 1 && (size & SIZE_LONG)) {
        sector_words = words[ID_SECTOR_WORDS] | (uint32_t)words[ID_SECTOR_WORDS + 1] << 16;
    }
    out->lba48 = (words[ID_COMMANDS] & COMMANDS_LBA48) != 0;
    out->sectors = words[ID_SECTORS28] | (uint64_t)words[ID_SECTORS28 + 1] << 16;
    if (out->lba48) {
        uint64_t wide = words[ID_SECTORS48] | (uint64_t)words[ID_SECTORS48 + 1] << 16 |
                        (uint64_t)words[ID_SECTORS48 + 2] << 32 |
                        (uint64_t)words[ID_SECTORS48 + 3] << 48;
        out->sectors = MAX(out->sectors, wide);
    }
    out->usable = (capabilities & CAPABILITY_DMA) && (capabilities & CAPABILITY_LBA) &&
                  sector_words == SECTOR_WORDS && out->sectors >= ATA_SECTORS_PER_BLOCK;
}

/* ATA/ATAPI-7 Volume 1, 6.x "Error outputs"; bit 0 first. */
void ata_error_describe(uint8_t error, char *out, size_t size)
{
    static const char *const bits[] = {"AMNF", "TK0NF", "ABRT", "MCR", "IDNF", "MC", "UNC", "ICRC"};
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        if ((error & BIT(i)) && used + 8 < size) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", bits[i]);
        }
    }
}
