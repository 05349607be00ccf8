/* SPDX-License-Identifier: BSD-2-Clause */
/* ATA probe: IDE controllers, channels, drives. */
#include "drivers/ata.h"

#include <stdio.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"

#define IDE_CLASS           0x0101u /* mass storage, IDE; the interface byte says more */
#define IDE_NATIVE(channel) (1u << (2 * (channel)))
#define IDE_BUS_MASTER      0x80u
#define IDE_BAR_BUS_MASTER  4

#define ATA_IDENTIFY        0xec
#define IDENTIFY_WORDS      256
#define IDENTIFY_TIMEOUT_US 2000000u
#define POLL_US             10u
#define STATUS_FLOATING     0xff

/* The part of a channel's memory that must lie below 4 GiB: a page with the PRD table, the bounce
 * pages. */
#define LOW_BYTES ((1 + ATA_BOUNCE_PAGES) * PAGE_SIZE)
_Static_assert(BLOCK_MAX_PAGES * sizeof(struct ata_prd) <= PAGE_SIZE, "PRD table");
_Static_assert(sizeof(struct ata_channel) <= PAGE_SIZE, "a channel fits its page");

/* PCI IDE Controller Specification 1.0, 2.1 "Compatibility mode". */
static const struct {
    uint16_t command;
    uint16_t control;
    uint8_t irq;
} legacy[2] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};

/* Note it: the main loop looks at the channel soon after. */
static void ata_interrupt(void *owner)
{
    struct ata_channel *ch = owner;

    atomic_fetch_add_explicit(&ch->interrupts, 1, memory_order_relaxed);
}

/* Waits for BSY to clear and one of `want` to be set.  False: error, time-out, nobody there. */
static bool identify_wait(const struct ata_channel *ch, uint8_t want)
{
    for (unsigned waited = 0; waited < IDENTIFY_TIMEOUT_US; waited += POLL_US) {
        uint8_t status = ata_alternate_status(ch);

        if (status == 0 || status == STATUS_FLOATING) {
            return false;
        }
        if (!(status & ATA_STATUS_BSY)) {
            return (status & want) == want && !(status & (ATA_STATUS_ERR | ATA_STATUS_DF));
        }
        platform_delay_us(POLL_US);
    }
    return false;
}

/* IDENTIFY DEVICE by programmed I/O.  An ATAPI device answers it with an error: skipped. */
static bool drive_identify(const struct ata_channel *ch, uint8_t select,
                           struct ata_identity *identity)
{
    uint16_t words[IDENTIFY_WORDS];

    ata_write(ch, ATA_DEVICE, 0xe0 | select);
    ata_settle(ch);
    if (ata_alternate_status(ch) == STATUS_FLOATING) {
        return false;
    }
    ata_write(ch, ATA_COUNT, 0);
    ata_write(ch, ATA_LBA0, 0);
    ata_write(ch, ATA_LBA1, 0);
    ata_write(ch, ATA_LBA2, 0);
    ata_write(ch, ATA_COMMAND, ATA_IDENTIFY);
    ata_settle(ch);
    if (!identify_wait(ch, ATA_STATUS_DRQ)) {
        ata_read(ch, ATA_STATUS);
        return false;
    }
    for (unsigned i = 0; i < IDENTIFY_WORDS; i++) {
        words[i] = port_in16((uint16_t)(ch->command + ATA_DATA));
    }
    ata_read(ch, ATA_STATUS);
    ata_identity_parse(identity, words);
    return true;
}

static bool drive_probe(struct ata_channel *ch, unsigned index)
{
    struct ata_drive *drive = &ch->drive[index];
    struct ata_identity identity;

    drive->select = index ? ATA_DEVICE_SLAVE : 0;
    if (!drive_identify(ch, drive->select, &identity)) {
        return false;
    }
    if (!identity.usable) {
        log_warn("%s: %s: no LBA, no DMA or not 512 bytes a sector: not used", ch->name,
                 identity.model);
        return false;
    }
    drive->channel = ch;
    drive->lba48 = identity.lba48;
    drive->device.ops = &ata_block_ops;
    drive->device.driver = drive;
    drive->device.blocks = identity.sectors / ATA_SECTORS_PER_BLOCK;
    drive->device.unit = 1;
    log_info("%s: %s, %s", ch->name, identity.model, identity.lba48 ? "LBA48" : "LBA28");
    return true;
}

/* BAR `index` of a channel in native mode, or the port that all PCs have. */
static uint16_t channel_port(struct pci_device *pci, bool native, unsigned index, uint16_t fixed)
{
    return native ? (uint16_t)pci_bar_read(pci, index).address : fixed;
}

/* PRD table and bounce pages.  False: there is no memory for them. */
static bool channel_alloc(struct ata_channel *ch)
{
    hpa_t low;
    uint8_t *base = platform_dma_alloc_low(LOW_BYTES, &low);

    if (!base) {
        return false;
    }
    ch->prds = (struct ata_prd *)(void *)base;
    ch->prds_address = low;
    ch->bounce = base + PAGE_SIZE;
    ch->bounce_address = hpa(low.v + PAGE_SIZE);
    return true;
}

static void channel_ports(struct ata_channel *ch, unsigned index, bool native, uint16_t bus_master)
{
    ch->command = channel_port(ch->pci, native, 2 * index, legacy[index].command);
    /* In native mode the control block has four ports, of which the third is ours. */
    ch->control = native ? (uint16_t)(channel_port(ch->pci, native, 2 * index + 1, 0) + 2)
                         : legacy[index].control;
    ch->bus_master = (uint16_t)(bus_master + 8 * index);
}

/* The channel works: an interrupt, and its disks. */
static void channel_add(struct ata_channel *ch, unsigned index, bool native, const bool present[2])
{
    bool first = true;
    int vector = native ? -1 : platform_irq_alloc(0, ata_interrupt, ch);

    if (vector < 0 || !platform_irq_route_isa(legacy[index].irq, vector)) {
        log_warn("%s: channel %u has no interrupt, polling", ch->name, index);
    }
    port_out8(ch->control, 0);
    for (unsigned i = 0; i < 2; i++) {
        if (!present[i]) {
            continue;
        }
        ch->drive[i].device.shares_poll = !first;
        if (block_add_disk(&ch->drive[i].device, "ata")) {
            first = false;
        } else {
            log_error("%s: channel %u: too many disks: drive %u is left out", ch->name, index, i);
        }
    }
}

static void channel_probe(struct pci_device *pci, unsigned index, uint16_t bus_master)
{
    hpa_t memory;
    bool native = (pci->class_code & IDE_NATIVE(index)) != 0;
    struct ata_channel *ch = platform_dma_alloc(sizeof(*ch), &memory);

    if (!ch) {
        log_error(
            "ata %02x:%02x.%x: channel %u: no memory (%u KiB): left out, its disks are not used",
            pci->bus, pci->slot, pci->function, index, (unsigned)(PAGE_SIZE >> 10));
        return;
    }
    block_queue_init(&ch->requests);
    ch->pci = pci;
    snprintf(ch->name, sizeof(ch->name), "ata %02x:%02x.%x", pci->bus, pci->slot, pci->function);
    channel_ports(ch, index, native, bus_master);
    port_out8(ch->control, ATA_CONTROL_NIEN);
    bool present[2] = {drive_probe(ch, 0), drive_probe(ch, 1)};

    if ((present[0] || present[1]) && channel_alloc(ch)) {
        channel_add(ch, index, native, present);
        return;
    }
    if (present[0] || present[1]) {
        log_error(
            "%s: channel %u: no memory below 4 GiB (%u KiB): left out, its disks are not used",
            ch->name, index, (unsigned)(LOW_BYTES >> 10));
    }
    platform_dma_free(memory, sizeof(*ch));
}

static void controller_probe(struct pci_device *pci)
{
    struct pci_bar bar = pci_bar_read(pci, IDE_BAR_BUS_MASTER);

    if (!(pci->class_code & IDE_BUS_MASTER) || !bar.is_io || bar.size < 16) {
        log_warn("ata: %02x:%02x.%x has no bus-master DMA: not used", pci->bus, pci->slot,
                 pci->function);
        return;
    }
    pci_enable(pci);
    for (unsigned i = 0; i < 2; i++) {
        channel_probe(pci, i, (uint16_t)bar.address);
    }
}

void ata_probe(void)
{
    for (struct pci_device *pci = pci_next(NULL); pci; pci = pci_next(pci)) {
        if (pci->class_code >> 8 == IDE_CLASS) {
            controller_probe(pci);
        }
    }
}
