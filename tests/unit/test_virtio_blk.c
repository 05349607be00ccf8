/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c drivers/virtio_blk.c drivers/virtio_blk_queue.c
 * drivers/virtio_pci.c drivers/virtio_ring.c drivers/block.c drivers/block_queue.c
 * drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c drivers/gpt.c */
/*
 * virtio-blk against devices whose registers are plain memory: they see what the driver has written
 * when time passes.  A device that takes its time for a reset, or never ends it, or for which there
 * is no memory: nobody waits for it, and every request ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/block_queue.h"
#include "drivers/platform.h"
#include "drivers/virtio_blk.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/support.h"

#define DEVICES  2
#define BLOCKS   256u
#define RING     64u
#define SECOND   1000000000ull
#define STEP     (SECOND / 50)
#define REQUESTS 32

#define STATUS_RUNNING 0x0fu /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */

struct device {
    _Alignas(
        4096) uint8_t bar[4096]; /* common, notify, device configuration at multiples of 1 KiB */
    uint8_t config[256];
    uint8_t disk[BLOCKS * 4096];
    bool live;
    uint64_t reset_at; /* when the reset that is under way ends; 0: none is */
    uint16_t seen;     /* of the available ring */
    uint16_t used;
};

static struct {
    struct device *device;
    struct pci_device pci[DEVICES];
    bool direct;         /* no indirect descriptors are offered */
    uint32_t discards;   /* sectors of one; 0: it has none */
    bool lose;           /* requests are taken and never answered */
    uint64_t reset_ns;   /* a reset takes so long */
    bool reset_too_soon; /* the driver went on before the reset was over */
    unsigned resets, masters_off;
} model;

/* ---- PCI ---- */

void nvme_probe(void)
{
}

void ata_probe(void)
{
}

unsigned pci_init(void)
{
    return DEVICES;
}

struct pci_device *pci_next(struct pci_device *previous)
{
    struct pci_device *next = previous ? previous + 1 : model.pci;

    return next < model.pci + DEVICES ? next : NULL;
}

static struct device *device_of(const struct pci_device *dev)
{
    return &model.device[dev - model.pci];
}

uint8_t pci_read8(const struct pci_device *dev, unsigned offset)
{
    return device_of(dev)->config[offset];
}

uint32_t pci_read32(const struct pci_device *dev, unsigned offset)
{
    uint32_t value;

    memcpy(&value, device_of(dev)->config + offset, sizeof(value));
    return value;
}

/* Three of them, 32 bytes each. */
unsigned pci_find_capability(const struct pci_device *dev, uint8_t id, unsigned previous)
{
    (void)dev;
    (void)id;
    return previous == 0 ? 0x40 : previous < 0x80 ? previous + 0x20 : 0;
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    struct device *d = device_of(dev);

    return index == 0 && offset + bytes <= sizeof(d->bar) ? d->bar + offset : NULL;
}

void pci_enable(const struct pci_device *dev)
{
    (void)dev;
}

void pci_master_disable(const struct pci_device *dev)
{
    (void)dev;
    model.masters_off++;
}

bool pci_msix_enable(struct pci_device *dev)
{
    (void)dev;
    return false;
}

bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector)
{
    (void)dev;
    (void)entry;
    (void)vector;
    return false;
}

/* ---- the device: VIRTIO 1.1, 4.1.4 and 5.2 ---- */

static volatile struct virtio_common *common_of(struct device *d)
{
    return (volatile struct virtio_common *)(void *)d->bar;
}

static void *pointer(const volatile uint32_t pair[2])
{
    return (void *)(uintptr_t)(pair[0] | (uint64_t)pair[1] << 32);
}

static void perform(struct device *d, const struct virtio_descriptor *table, unsigned count)
{
    const struct virtio_blk_header *header = (const void *)(uintptr_t)table[0].address;
    uint8_t *at = d->disk + header->sector * 512;

    if (header->type == 11) {
        const struct virtio_blk_range *range = (const void *)(uintptr_t)table[1].address;

        assert_true(count == 3 && table[1].bytes == 16 && header->sector == 0);
        assert_int_equal(range->flags, 0);
        memset(d->disk + range->sector * 512, 0xdd, range->sectors * 512ul);
        count = 2;
        table++; /* its status is behind the range */
    }
    for (unsigned i = 1; i + 1 < count; i++) {
        void *memory = (void *)(uintptr_t)table[i].address;

        if (header->type == 0) {
            memcpy(memory, at, table[i].bytes);
        } else {
            memcpy(at, memory, table[i].bytes);
        }
        at += table[i].bytes;
    }
    *(uint8_t *)(uintptr_t)table[count - 1].address = 0;
}

/* The request whose chain begins at `head`: in a table of its own, or in the ring. */
static void perform_chain(struct device *d, const struct virtio_descriptor *ring, uint16_t head)
{
    struct virtio_descriptor table[RING];
    unsigned count = 0;

    if (ring[head].flags & VIRTIO_DESC_INDIRECT) {
        perform(d, (const void *)(uintptr_t)ring[head].address,
                ring[head].bytes / sizeof(struct virtio_descriptor));
        return;
    }
    do {
        table[count] = ring[head];
        head = ring[head].next;
    } while (table[count++].flags & VIRTIO_DESC_NEXT);
    perform(d, table, count);
}

static void device_serve(struct device *d)
{
    volatile struct virtio_common *common = common_of(d);
    struct virtio_descriptor *descriptors = pointer(common->queue_descriptors);
    struct virtio_avail *avail = pointer(common->queue_avail);
    struct virtio_used *used = pointer(common->queue_used);

    if ((uint16_t)(avail->index - d->seen) > RING) {
        model.reset_too_soon = true; /* the ring was emptied, and we do not know of it */
        return;
    }
    while (d->seen != avail->index) {
        uint16_t head = avail->ring[d->seen++ % RING];

        if (model.lose) {
            continue;
        }
        perform_chain(d, descriptors, head);
        used->ring[d->used++ % RING].id = head;
        used->index = d->used;
    }
}

/* Status reads as it was until the reset is over, whatever the driver has written. */
static void device_work(struct device *d)
{
    volatile struct virtio_common *common = common_of(d);

    if (d->live && common->status == 0) {
        d->live = false;
        d->reset_at = platform_clock_ns() + model.reset_ns;
        model.resets++;
        common->status = STATUS_RUNNING;
    }
    if (d->reset_at != 0) {
        if (platform_clock_ns() < d->reset_at) {
            return;
        }
        d->reset_at = 0;
        d->seen = d->used = 0;
        common->status = 0;
    }
    d->live = common->status == STATUS_RUNNING;
    if (d->live) {
        device_serve(d);
    }
}

static void work(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        device_work(&model.device[i]);
    }
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* The same word is read for both halves of the features: INDIRECT and FLUSH below, VERSION_1 above.
 */
static void device_init(unsigned number)
{
    struct device *d = &model.device[number];
    static const uint8_t types[] = {1, 2, 4};

    model.pci[number].vendor = VIRTIO_VENDOR;
    model.pci[number].device = 0x1042;
    model.pci[number].slot = (uint8_t)(number + 2);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *cap = d->config + 0x40 + 0x20 * i;

        cap[3] = types[i];
        put32(cap + 8, 1024 * i);
        put32(cap + 12, 1024);
    }
    common_of(d)->device_feature =
        (uint32_t)(BIT(0) | VIRTIO_BLK_F_FLUSH | (model.direct ? 0 : VIRTIO_F_INDIRECT));
    common_of(d)->queues = 1;
    common_of(d)->queue_size = RING;
    put32(d->bar + 2048, BLOCKS * 8);
    if (model.discards) {
        common_of(d)->device_feature |= (uint32_t)VIRTIO_BLK_F_DISCARD;
    }
    put32(d->bar + 2048 + 36, model.discards);
    put32(d->bar + 2048 + 44, 16);
}

/* ---- requests ---- */

static struct {
    struct block_request request[REQUESTS];
    bool done[REQUESTS];
    enum block_status status[REQUESTS];
    unsigned submitted, ended;
    unsigned boot_delays;
} t;

static _Alignas(4096) uint8_t pages[REQUESTS][4096];

static void note_done(struct block_request *request, enum block_status status)
{
    unsigned i = (unsigned)(request - t.request);

    assert_false(t.done[i]);
    t.done[i] = true;
    t.status[i] = status;
    t.ended++;
}

static void boot_discards(unsigned fail, bool direct, uint32_t discards)
{
    memset(&t, 0, sizeof(t));
    memset(&model, 0, sizeof(model));
    model.direct = direct;
    model.discards = discards;
    model.device = aligned_alloc(4096, DEVICES * sizeof(*model.device));
    assert_non_null(model.device);
    memset(model.device, 0, DEVICES * sizeof(*model.device));
    for (unsigned i = 0; i < DEVICES; i++) {
        device_init(i);
    }
    support_log_level(-1);
    disk_machine_start(work);
    disk_machine_fail_dma(fail, false);
    block_init();
    t.boot_delays = disk_machine_delays();
}

static void boot_model(unsigned fail, bool direct)
{
    boot_discards(fail, direct, 0);
}

/* The `fail`-th allocation of memory fails; 0: none. */
static void boot(unsigned fail)
{
    boot_model(fail, false);
}

static void finish(void)
{
    assert_int_equal(t.ended, t.submitted);
    assert_int_equal(block_queue_outstanding(), 0);
    assert_false(model.reset_too_soon);
    disk_machine_stop();
    free(model.device);
    support_log_level(LOG_WARN);
}

static void submit(struct block_device *disk, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = t.submitted++;
        struct block_request *r = &t.request[number];

        assert_true(number < REQUESTS);
        r->op = number % 2 ? BLOCK_WRITE : BLOCK_READ;
        r->block = number;
        r->pages = 1;
        r->page[0] = pfn((uintptr_t)pages[number] >> PAGE_SHIFT);
        r->done = note_done;
        memset(pages[number], (int)number + 1, 4096);
        block_submit(disk, r);
    }
}

/* Polls for so long, never waiting; how many requests ended meanwhile. */
static unsigned pass(uint64_t ns)
{
    unsigned before = t.ended;

    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        block_poll();
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

static void submit_discard(struct block_device *disk, uint64_t sector, uint32_t sectors)
{
    struct block_request *r = &t.request[t.submitted++];

    *r = (struct block_request){.op = BLOCK_DISCARD,
                                .block = sector / 8,
                                .sector = (uint8_t)(sector % 8),
                                .sectors = sectors,
                                .done = note_done};
    block_submit(disk, r);
}

/* With chains in tables of their own and in the ring; the limits are the device's. */
static void test_discard(void **state)
{
    (void)state;
    for (unsigned direct = 0; direct < 2; direct++) {
        struct block_device *disk;

        boot_discards(0, direct, 50);
        disk = block_find("vd0");
        assert_int_equal(disk->discard_max, 50);
        assert_int_equal(disk->discard_align, 16);
        memset(model.device[0].disk, 0x5a, BLOCKS * 4096);
        submit_discard(disk, 11, 50);
        assert_int_equal(pass(SECOND), 1);
        expect_all(BLOCK_OK);
        for (unsigned s = 0; s < BLOCKS * 8; s++) {
            assert_int_equal(model.device[0].disk[s * 512], s >= 11 && s < 61 ? 0xdd : 0x5a);
        }
        submit_discard(disk, 11, 51);
        assert_int_equal(pass(SECOND), 1);
        assert_int_equal(t.status[1], BLOCK_RANGE);
        finish();
    }
    boot(0);
    assert_int_equal(block_find("vd0")->discard_max, 0);
    finish();
}

static void test_reset_of_5_seconds(void **state)
{
    (void)state;
    boot(0);
    model.reset_ns = 5 * SECOND;
    model.lose = true;
    submit(block_find("vd0"), 8);
    assert_int_equal(pass(9 * SECOND), 0);
    model.lose = false;
    assert_int_equal(pass(2 * SECOND), 0); /* it has begun by now */
    assert_int_equal(model.resets, 1);
    submit(block_find("vd0"), 8);
    submit(block_find("vd1"), 8);
    assert_int_equal(pass(2 * SECOND), 8); /* of the other disk */
    assert_int_equal(pass(3 * SECOND), 16);
    expect_all(BLOCK_OK);
    for (unsigned i = 1; i < 16; i += 2) {
        assert_memory_equal(model.device[0].disk + i * 4096, pages[i], 4096);
    }
    assert_int_equal(model.resets, 1);
    finish();
}

static void test_device_that_never_ends_its_reset(void **state)
{
    (void)state;
    boot(0);
    model.reset_ns = 3600 * SECOND;
    model.lose = true;
    submit(block_find("vd0"), 8);
    assert_int_equal(pass(12 * SECOND), 0);
    submit(block_find("vd0"), 8);
    assert_int_equal(pass(7 * SECOND), 0);
    assert_int_equal(pass(3 * SECOND), 16);
    expect_all(BLOCK_TIMEOUT);
    assert_int_equal(model.masters_off, 1);
    submit(block_find("vd0"), 8);
    assert_int_equal(pass(STEP), 8); /* at once */
    expect_all(BLOCK_TIMEOUT);
    finish();
}

static void test_memory_fails_once(void **state)
{
    static const char *const names[] = {"vd0", "vd1"};
    unsigned n = 1, lost = 0;

    (void)state;
    for (;; n++) {
        unsigned disks = 0;

        support_log_watch("memory");
        boot(n);
        for (unsigned i = 0; i < DEVICES; i++) {
            struct block_device *disk = block_find(names[i]);

            if (disk) {
                disks++;
                submit(disk, 4);
            }
        }
        pass(SECOND);
        expect_all(BLOCK_OK);
        lost += DEVICES - disks;
        if (disk_machine_dma_failures() == 0) {
            assert_int_equal(disks, DEVICES);
            break;
        }
        /* The first is tried again when it is needed. */
        assert_true(disks >= DEVICES - 1 && support_log_seen() >= (n != 1));
        finish();
    }
    finish();
    assert_int_equal(lost, 2 * DEVICES); /* each device and its queue */
}

/* Each request of a page needs three descriptors of the ring itself: what has no room waits, also
 * behind a reset. */
static void test_ring_is_full(void **state)
{
    const unsigned at_once = RING / 3;
    const struct virtio_avail *avail;
    unsigned before;

    (void)state;
    boot_model(0, true);
    avail = pointer(common_of(&model.device[0])->queue_avail);
    before = avail->index;
    model.lose = true;
    submit(block_find("vd0"), REQUESTS);
    assert_int_equal(avail->index, before + at_once);
    assert_int_equal(pass(11 * SECOND), 0);
    assert_int_equal(model.resets, 1);
    assert_int_equal(avail->index, at_once);
    model.lose = false;
    assert_int_equal(pass(12 * SECOND), REQUESTS);
    expect_all(BLOCK_OK);
    for (unsigned i = 1; i < REQUESTS; i += 2) {
        assert_memory_equal(model.device[0].disk + i * 4096, pages[i], 4096);
    }
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_reset_of_5_seconds),
        cmocka_unit_test(test_device_that_never_ends_its_reset),
        cmocka_unit_test(test_memory_fails_once),
        cmocka_unit_test(test_ring_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
