/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/ata_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/ata.h"
#include "drivers/block.h"
#include "drivers/platform.h"
#include "tests/unit/disk_machine.h"

#define IDENTIFY_DEVICE     0xec
#define DATA_SET_MANAGEMENT 0x06
#define BM_COMMAND          0
#define BM_STATUS           2
#define BM_TABLE            4
#define BM_COMMAND_START    0x01
#define BM_COMMAND_READ     0x08
#define BM_STATUS_IRQ       0x04

#define COMMAND_PORT 0x1f0
#define CONTROL_PORT 0x3f6
#define BM_PORT      0xc000

struct ata_model model;

/* ---- the drive: ATA/ATAPI-7 and the Bus Master IDE interface, as far as the driver goes ---- */

static uint8_t status(void)
{
    return platform_clock_ns() < model.busy_until ? ATA_STATUS_BSY : model.status;
}

static uint64_t task_lba(void)
{
    return (uint64_t)model.task[1][ATA_LBA2] << 40 | (uint64_t)model.task[1][ATA_LBA1] << 32 |
           (uint64_t)model.task[1][ATA_LBA0] << 24 | (uint64_t)model.task[0][ATA_LBA2] << 16 |
           (uint64_t)model.task[0][ATA_LBA1] << 8 | model.task[0][ATA_LBA0];
}

static void command(uint8_t value)
{
    assert_int_equal(status() & ATA_STATUS_BSY, 0);
    if (value == IDENTIFY_DEVICE) {
        model.status = 0x50 | ATA_STATUS_DRQ;
        model.words_left = 256;
        return;
    }
    model.trims = value == DATA_SET_MANAGEMENT;
    model.pending = true;
    model.busy_until = UINT64_MAX;
}

/* Moves what the PRD table says. */
static void transfer_all(void)
{
    uint8_t *at = model.disk + task_lba() * 512;
    const struct ata_prd *prd = disk_machine_low(model.table);

    for (;; prd++) {
        size_t bytes = prd->bytes ? prd->bytes : 65536;
        uint8_t *memory = disk_machine_low(prd->address);

        if (model.bm_command & BM_COMMAND_READ) {
            memcpy(memory, at, bytes);
        } else {
            memcpy(at, memory, bytes);
        }
        at += bytes;
        if (prd->flags & ATA_PRD_LAST) {
            return;
        }
    }
}

/* DATA SET MANAGEMENT: what the ranges of one block say. */
static void trim_all(void)
{
    const struct ata_prd *prd = disk_machine_low(model.table);
    const uint64_t *range = disk_machine_low(prd->address);

    assert_int_equal(model.task[0][ATA_FEATURES], 1);
    assert_int_equal(model.task[1][ATA_FEATURES], 0);
    assert_int_equal(model.task[0][ATA_COUNT], 1);
    assert_int_equal(model.task[1][ATA_COUNT], 0);
    assert_int_equal(prd->bytes, 512);
    assert_int_equal(prd->flags, ATA_PRD_LAST);
    assert_int_equal(model.bm_command & BM_COMMAND_READ, 0);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t lba = range[i] & ((1ull << 48) - 1), sectors = range[i] >> 48;

        assert_true(lba + sectors <= BLOCKS * 8);
        memset(model.disk + lba * 512, 0xdd, sectors * 512);
    }
}

void ata_model_work(void)
{
    if (!model.pending || model.lose || !(model.bm_command & BM_COMMAND_START)) {
        return;
    }
    if (model.trims) {
        trim_all();
    } else {
        transfer_all();
    }
    model.pending = false;
    model.status = 0x50;
    model.busy_until = 0;
    model.bm_status |= BM_STATUS_IRQ;
}

static void control(uint8_t value)
{
    uint64_t now = platform_clock_ns();

    if ((value & ATA_CONTROL_SRST) && !(model.control & ATA_CONTROL_SRST)) {
        model.pulse_began = now;
        model.pending = false;
        model.busy_until = UINT64_MAX;
    } else if (!(value & ATA_CONTROL_SRST) && (model.control & ATA_CONTROL_SRST)) {
        assert_true(now >= model.pulse_began + 5000);
        model.busy_until = now + model.reset_ns;
        model.status = 0x50;
        model.resets++;
    }
    model.control = value;
}

uint8_t port_in8(uint16_t port)
{
    model.accesses++;
    if (port == CONTROL_PORT) {
        return status();
    }
    if (port >= COMMAND_PORT && port < COMMAND_PORT + 8) {
        return port == COMMAND_PORT + ATA_STATUS ? status() : 0;
    }
    if (port == BM_PORT + BM_STATUS) {
        return model.bm_status;
    }
    return 0xff; /* the other channel is not there */
}

uint16_t port_in16(uint16_t port)
{
    assert_int_equal(port, COMMAND_PORT + ATA_DATA);
    assert_true(model.words_left != 0);
    if (--model.words_left == 0) {
        model.status = 0x50;
        return model.identity[255];
    }
    return model.identity[255 - model.words_left];
}

void port_out8(uint16_t port, uint8_t value)
{
    model.accesses++;
    if (port == CONTROL_PORT) {
        control(value);
    } else if (port == COMMAND_PORT + ATA_COMMAND) {
        command(value);
    } else if (port > COMMAND_PORT && port < COMMAND_PORT + 8) {
        model.task[1][port - COMMAND_PORT] = model.task[0][port - COMMAND_PORT];
        model.task[0][port - COMMAND_PORT] = value;
    } else if (port == BM_PORT + BM_COMMAND) {
        model.bm_command = value;
    } else if (port == BM_PORT + BM_STATUS) {
        if (model.bm_status & BM_STATUS_IRQ) {
            model.busy_until = platform_clock_ns() + model.after_ns; /* the answer was taken */
        }
        model.bm_status = 0;
    }
}

void port_out32(uint16_t port, uint32_t value)
{
    assert_int_equal(port, BM_PORT + BM_TABLE);
    model.accesses++;
    model.table = value;
}

/* ---- PCI ---- */

void nvme_probe(void)
{
}

void virtio_blk_probe(void)
{
}

unsigned pci_init(void)
{
    return 1;
}

struct pci_device *pci_next(struct pci_device *previous)
{
    return previous ? NULL : &model.pci;
}

struct pci_bar pci_bar_read(const struct pci_device *dev, unsigned index)
{
    (void)dev;
    (void)index;
    return (struct pci_bar){BM_PORT, 16, true};
}

void pci_enable(const struct pci_device *dev)
{
    (void)dev;
}

void ata_model_start(void)
{
    memset(&model, 0, sizeof(model));
    model.disk = calloc(BLOCKS, 4096);
    assert_non_null(model.disk);
    model.pci.class_code = 0x010180;
    model.status = 0x50;
    model.identity[49] = 0x300;
    model.identity[83] = 0x400;
    model.identity[100] = BLOCKS * 8;
    model.identity[169] = 1;
}

void ata_model_stop(void)
{
    free(model.disk);
}
