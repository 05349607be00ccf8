/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Legacy IDE channels with bus-master DMA (PIIX3 and its kin): structures shared by
 * ata.c (probe) and ata_channel.c (requests).
 *
 * One command is in flight per channel; its two drives share the channel's queue.
 * Locks: the queue's lock protects the whole channel.
 */
#ifndef SPILLWAY_DRIVERS_ATA_H
#define SPILLWAY_DRIVERS_ATA_H

#include "drivers/ata_command.h"
#include "drivers/block_queue.h"
#include "drivers/pci.h"

/* Offsets from the command block's port. */
enum {
    ATA_DATA = 0,
    ATA_ERROR = 1,
    ATA_FEATURES = 1,
    ATA_COUNT = 2,
    ATA_LBA0 = 3,
    ATA_LBA1 = 4,
    ATA_LBA2 = 5,
    ATA_DEVICE = 6,
    ATA_STATUS = 7,
    ATA_COMMAND = 7,
};

#define ATA_STATUS_ERR   0x01
#define ATA_STATUS_DRQ   0x08
#define ATA_STATUS_DF    0x20
#define ATA_STATUS_BSY   0x80
#define ATA_CONTROL_NIEN 0x02
#define ATA_CONTROL_SRST 0x04
#define ATA_DEVICE_SLAVE 0x10

/*
 * What a channel is at.  Nobody waits for the hardware: block_poll() of whichever CPU comes by
 * looks once and goes on.
 *
 *   IDLE --> READYING --drive is ready--> ACTIVE --answer--> IDLE
 *                 '-------- late ------------'--> RESET
 *
 *   RESET --5 us--> RESETTING --BSY is gone--> READYING, or IDLE if `slice` was tried often enough
 *                        '------- late ------> DEAD
 *
 * Why each wait ends: every state but IDLE and DEAD has a deadline, or a time at which it is over,
 * and polls come as long as a request is outstanding.  `slice` ends on the way to IDLE or DEAD, and
 * in DEAD all that waits or comes fails.
 */
enum ata_state {
    ATA_IDLE,
    ATA_READYING,  /* `slice` is to be issued when its drive shows neither BSY nor DRQ */
    ATA_ACTIVE,    /* `slice` is in the hardware */
    ATA_RESET,     /* SRST is set */
    ATA_RESETTING, /* waiting for BSY to go away after a soft reset */
    ATA_DEAD,      /* it did not: all requests fail */
};

/* Pages of one command that may lie above 4 GiB, where a PRD does not reach. */
#define ATA_BOUNCE_PAGES 8u

struct ata_channel;

struct ata_drive {
    struct block_device device;
    struct ata_channel *channel;
    uint8_t select; /* 0 or ATA_DEVICE_SLAVE */
    bool lba48;
};

struct ata_channel {
    struct block_queue requests; /* its lock protects all below */
    char name[16];               /* of the controller, in the log: "ata 00:01.1" */
    struct pci_device *pci;
    uint16_t command;    /* port of the command block */
    uint16_t control;    /* port of device control and alternate status */
    uint16_t bus_master; /* port of the bus-master registers of this channel */
    enum ata_state state;
    bool retry; /* `slice` is to be issued again when the reset is over */
    struct block_slice slice;
    uint8_t retries;
    uint64_t deadline; /* of the state; platform_clock_ns */
    uint64_t look_at;  /* not before this time in RESET and RESETTING */
    struct ata_prd *prds;
    hpa_t prds_address;
    uint8_t *bounce; /* ATA_BOUNCE_PAGES pages below 4 GiB for frames that are not */
    hpa_t bounce_address;
    _Atomic uint64_t interrupts; /* noted by the handler */
    struct ata_drive drive[2];
};

/* A register (ATA_*) of the command block. */
uint8_t ata_read(const struct ata_channel *ch, unsigned offset);
void ata_write(const struct ata_channel *ch, unsigned offset, uint8_t value);
/* Status without acknowledging the interrupt. */
uint8_t ata_alternate_status(const struct ata_channel *ch);
/* The 400 ns that a drive may take to show BSY after a command or a change of drive. */
void ata_settle(const struct ata_channel *ch);

extern const struct block_ops ata_block_ops;

#endif
