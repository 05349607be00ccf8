/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A drive on an IDE channel, in the machine of tests/unit/disk_machine.h: it works when its ports
 * are read and written, and when time passes.
 */
#ifndef SPILLWAY_TESTS_UNIT_ATA_MODEL_H
#define SPILLWAY_TESTS_UNIT_ATA_MODEL_H

#include <stdint.h>

/* The drive's ports instead of the computer's: this is drivers/port.h for who includes it. */
#define SPILLWAY_DRIVERS_PORT_H

uint8_t port_in8(uint16_t port);
uint16_t port_in16(uint16_t port);
void port_out8(uint16_t port, uint8_t value);
void port_out32(uint16_t port, uint32_t value);

#include "drivers/pci.h"

#define BLOCKS 512u

struct ata_model {
    struct pci_device pci;
    uint8_t *disk;
    uint8_t task[2][8]; /* registers of the command block; [1]: what they held before */
    uint8_t control, status, bm_command, bm_status;
    uint32_t table;
    uint16_t identity[256];
    unsigned words_left;  /* of the identity */
    bool pending;         /* a DMA command waits for its transfer */
    bool trims;           /* and it is DATA SET MANAGEMENT */
    bool lose;            /* it never ends */
    uint64_t busy_until;  /* BSY is set until then */
    uint64_t after_ns;    /* BSY stays for so long after each command */
    uint64_t reset_ns;    /* and after a reset */
    uint64_t pulse_began; /* SRST was set at that time */
    unsigned resets;
    unsigned accesses; /* of ports */
};

extern struct ata_model model;

/* For disk_machine_start(): what the drive does when time has passed. */
void ata_model_work(void);
/* A good drive that is ready. */
void ata_model_start(void);
void ata_model_stop(void);

#endif
