/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How disk drivers and drivers/block.c meet.  base/block.h is the users' side.
 */
#ifndef SPILLWAY_DRIVERS_BLOCK_H
#define SPILLWAY_DRIVERS_BLOCK_H

#include "base/block.h"
#include "base/types.h"

/* No answer for this long: abort the command, or reset the device. */
#define BLOCK_COMMAND_TIMEOUT_NS 10000000000ull
/* How often in-flight commands are looked at for that. */
#define BLOCK_TIMEOUT_CHECK_NS 500000000ull
/* How often a command is issued again after a reset or an error that may pass. */
#define BLOCK_RETRIES 2

/* Sectors of one BLOCK_DISCARD at most, whatever the hardware says: it has to end in time. */
#define BLOCK_DISCARD_MAX 0x400000u

/* Far more than anybody has: a controller that lists namespaces without end shall not stop us. */
#define BLOCK_MAX_DISKS 4096

/*
 * Adds a whole disk, named `prefix` and the number of disks with that prefix.  The device has
 * its ops, blocks, read_only, driver and shares_poll set and stays for ever.  At boot, from a probe
 * function.  False: there are BLOCK_MAX_DISKS already; the caller says which one is left out.
 */
bool block_add_disk(struct block_device *device, const char *prefix);

/* Each finds its devices on the PCI bus and adds their disks; called by block_init. */
void nvme_probe(void);
void virtio_blk_probe(void);
void ata_probe(void);

#endif
