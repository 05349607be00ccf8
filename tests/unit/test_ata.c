/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c drivers/ata_command.c drivers/block.c drivers/block_queue.c
 * drivers/page_pool.c drivers/gpt.c */
/*
 * The ATA driver against one IDE channel with one drive.  A drive that is slow to be ready, that
 * loses a command, that takes its time for a reset or never ends it: no poll waits for it, which is
 * to say that none reads or writes more than a few ports, and every request ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The drive's ports instead of the computer's: this is drivers/port.h for the two files below. */
#define SPILLWAY_DRIVERS_PORT_H
static uint8_t port_in8(uint16_t port);
static uint16_t port_in16(uint16_t port);
static void port_out8(uint16_t port, uint8_t value);
static void port_out32(uint16_t port, uint32_t value);

#include "drivers/ata.c"
#include "drivers/ata_channel.c"

#include "tests/unit/disk_machine.h"
#include "tests/unit/support.h"

#define BLOCKS   512u
#define SECOND   1000000000ull
#define STEP     (SECOND / 100)
#define REQUESTS 16
#define ACCESSES 60 /* of ports, in one poll: enough to issue a command */

#define COMMAND_PORT 0x1f0
#define CONTROL_PORT 0x3f6
#define BM_PORT      0xc000

static struct {
    struct pci_device pci;
    uint8_t *disk;
    uint8_t task[2][8]; /* registers of the command block; [1]: what they held before */
    uint8_t control, status, bm_command, bm_status;
    uint32_t table;
    uint16_t identity[256];
    unsigned words_left;  /* of the identity */
    bool pending;         /* a DMA command waits for its transfer */
    bool lose;            /* it never ends */
    uint64_t busy_until;  /* BSY is set until then */
    uint64_t after_ns;    /* BSY stays for so long after each command */
    uint64_t reset_ns;    /* and after a reset */
    uint64_t pulse_began; /* SRST was set at that time */
    unsigned resets;
    unsigned accesses; /* of ports */
} model;

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
    if (value == ATA_IDENTIFY) {
        model.status = 0x50 | ATA_STATUS_DRQ;
        model.words_left = 256;
        return;
    }
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

static void work(void)
{
    if (!model.pending || model.lose || !(model.bm_command & BM_COMMAND_START)) {
        return;
    }
    transfer_all();
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

static uint8_t port_in8(uint16_t port)
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

static uint16_t port_in16(uint16_t port)
{
    assert_int_equal(port, COMMAND_PORT + ATA_DATA);
    assert_true(model.words_left != 0);
    if (--model.words_left == 0) {
        model.status = 0x50;
        return model.identity[255];
    }
    return model.identity[255 - model.words_left];
}

static void port_out8(uint16_t port, uint8_t value)
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

static void port_out32(uint16_t port, uint32_t value)
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

/* ---- requests ---- */

static struct {
    struct block_request request[REQUESTS];
    bool done[REQUESTS];
    enum block_status status[REQUESTS];
    unsigned submitted, ended;
    unsigned boot_delays, most_accesses;
} t;

static _Alignas(4096) uint8_t pages[REQUESTS][BLOCK_MAX_PAGES][4096];

static void note_done(struct block_request *request, enum block_status status)
{
    unsigned i = (unsigned)(request - t.request);

    assert_false(t.done[i]);
    t.done[i] = true;
    t.status[i] = status;
    t.ended++;
}

/* The `fail`-th allocation of memory fails; 0: none. */
static void boot_with(unsigned fail)
{
    memset(&t, 0, sizeof(t));
    memset(&model, 0, sizeof(model));
    model.disk = calloc(BLOCKS, 4096);
    assert_non_null(model.disk);
    model.pci.class_code = 0x010180;
    model.status = 0x50;
    model.identity[49] = 0x300;
    model.identity[83] = 0x400;
    model.identity[100] = BLOCKS * 8;
    support_log_level(-1);
    disk_machine_start(work);
    disk_machine_fail_dma(fail, false);
    block_init();
    t.boot_delays = disk_machine_delays();
}

static void boot(void)
{
    boot_with(0);
    assert_non_null(block_find("ata0"));
    assert_int_equal(block_find("ata0")->blocks, BLOCKS);
}

static void finish(void)
{
    assert_int_equal(t.ended, t.submitted);
    assert_int_equal(block_queue_outstanding(), 0);
    disk_machine_stop();
    free(model.disk);
    support_log_level(LOG_WARN);
}

static void submit(unsigned count, uint32_t many)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = t.submitted++;
        struct block_request *r = &t.request[number];

        assert_true(number < REQUESTS);
        r->op = number % 2 ? BLOCK_WRITE : BLOCK_READ;
        r->block = number / 2 * BLOCK_MAX_PAGES;
        r->pages = many;
        r->done = note_done;
        for (uint32_t p = 0; p < many; p++) {
            r->page[p] = pfn((uintptr_t)pages[number][p] >> PAGE_SHIFT);
            memset(pages[number][p], (int)(number * BLOCK_MAX_PAGES + p), 4096);
        }
        block_submit(block_find("ata0"), r);
    }
}

/* Polls for so long, never waiting; how many requests ended meanwhile. */
static unsigned pass(uint64_t ns)
{
    unsigned before = t.ended;

    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        model.accesses = 0;
        block_poll();
        t.most_accesses = MAX(t.most_accesses, model.accesses);
        assert_true(model.accesses <= ACCESSES);
        assert_int_equal(disk_machine_delays(), t.boot_delays);
    }
    return t.ended - before;
}

static void expect_all(enum block_status status)
{
    assert_int_equal(t.ended, t.submitted);
    for (unsigned i = 0; i < t.submitted; i++) {
        assert_int_equal(t.status[i], status);
    }
}

/* Host memory lies above 4 GiB: all goes through the bounce pages, ATA_BOUNCE_PAGES at a time. */
static void test_large_requests_through_few_bounce_pages(void **state)
{
    (void)state;
    boot();
    memset(model.disk, 0xab, 64 * 4096);
    submit(2, BLOCK_MAX_PAGES);
    assert_int_equal(pass(SECOND), 2);
    expect_all(BLOCK_OK);
    for (unsigned p = 0; p < BLOCK_MAX_PAGES; p++) {
        assert_int_equal(pages[0][p][77], 0xab);
        assert_memory_equal(model.disk + p * 4096, pages[1][p], 4096);
    }
    print_message("at most %u port accesses a poll\n", t.most_accesses);
    finish();
}

/* One request of sectors, which begins inside of a block and of a page and ends inside of a page.
 */
static void submit_sectors(enum block_op op, uint32_t many)
{
    unsigned number = t.submitted++;
    struct block_request *r = &t.request[number];

    *r = (struct block_request){
        .op = op, .block = 3, .pages = many, .sector = 5, .offset = 2, .cut = 3, .done = note_done};
    for (uint32_t p = 0; p < many; p++) {
        r->page[p] = pfn((uintptr_t)pages[number][p] >> PAGE_SHIFT);
        memset(pages[number][p], (int)(0x10 + p), 4096);
    }
    block_submit(block_find("ata0"), r);
}

/* Nothing before, nothing behind them is touched, on the disk and in memory. */
static void test_sectors(void **state)
{
    const uint32_t many = ATA_BOUNCE_PAGES + 2, bytes = (many * 8 - 2 - 3) * 512;
    uint8_t *at;

    (void)state;
    boot();
    at = model.disk + 3 * 4096 + 5 * 512;
    for (unsigned i = 0; i < 64 * 4096; i++) {
        model.disk[i] = (uint8_t)(i >> 9);
    }
    submit_sectors(BLOCK_READ, many);
    assert_int_equal(pass(SECOND), 1);
    assert_memory_equal((uint8_t *)pages[0] + 2 * 512, at, bytes);
    assert_int_equal(pages[0][0][2 * 512 - 1], 0x10);
    assert_int_equal(pages[0][many - 1][4096 - 3 * 512], 0x10 + many - 1);
    submit_sectors(BLOCK_WRITE, many);
    assert_int_equal(pass(SECOND), 1);
    assert_memory_equal(at, (uint8_t *)pages[1] + 2 * 512, bytes);
    assert_int_equal(at[-1], (uint8_t)((3 * 8 + 5) - 1));
    assert_int_equal(at[bytes], (uint8_t)(3 * 8 + 5 + bytes / 512));
    expect_all(BLOCK_OK);
    finish();
}

static void test_drive_that_is_slow_to_be_ready(void **state)
{
    (void)state;
    boot();
    model.after_ns = 5 * STEP;
    submit(6, 1);
    assert_int_equal(pass(SECOND), 6);
    expect_all(BLOCK_OK);
    assert_int_equal(model.resets, 0);
    finish();
}

static void test_reset_of_3_seconds(void **state)
{
    (void)state;
    boot();
    model.reset_ns = 3 * SECOND;
    model.lose = true;
    submit(2, 1);
    assert_int_equal(pass(9 * SECOND), 0);
    model.lose = false;
    model.pending = false; /* it is lost all the same */
    submit(2, 1);
    assert_int_equal(pass(3 * SECOND), 0);
    assert_int_equal(model.resets, 1);
    submit(2, 1);
    assert_int_equal(pass(2 * SECOND), 6);
    expect_all(BLOCK_OK);
    finish();
}

static void test_drive_that_never_ends_its_reset(void **state)
{
    (void)state;
    boot();
    model.reset_ns = 3600 * SECOND;
    model.lose = true;
    submit(4, 1);
    assert_int_equal(pass(12 * SECOND), 0);
    submit(4, 1);
    assert_int_equal(pass(4 * SECOND), 8);
    expect_all(BLOCK_TIMEOUT);
    submit(4, 1);
    assert_int_equal(pass(STEP), 4); /* at once */
    expect_all(BLOCK_TIMEOUT);
    finish();
}

/* After what block_init() takes: the first channel, what it needs below 4 GiB, the second channel.
 */
static void test_memory_fails_once(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 6; n++) {
        bool lost = n == 3 || n == 4;

        support_log_watch("left out, its disks are not used");
        boot_with(n);
        assert_int_equal(support_log_seen(), n >= 3 && n <= 5);
        assert_true((block_find("ata0") == NULL) == lost);
        assert_int_equal(disk_machine_dma_failures(), n < 6);
        if (!lost) {
            submit(2, 1);
            assert_int_equal(pass(SECOND), 2);
            expect_all(BLOCK_OK);
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_requests_through_few_bounce_pages),
        cmocka_unit_test(test_sectors),
        cmocka_unit_test(test_drive_that_is_slow_to_be_ready),
        cmocka_unit_test(test_reset_of_3_seconds),
        cmocka_unit_test(test_drive_that_never_ends_its_reset),
        cmocka_unit_test(test_memory_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
