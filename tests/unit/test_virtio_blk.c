/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c tests/unit/virtio_blk_model.c drivers/virtio_blk.c
 * drivers/virtio_blk_queue.c drivers/virtio_pci.c drivers/virtio_ring.c drivers/block.c
 * drivers/block_queue.c drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c drivers/gpt.c
 */
/*
 * virtio-blk against the devices of tests/unit/virtio_blk_model.h.  A device that takes its time
 * for a reset, or never ends it, or for which there is no memory: nobody waits for it, and every
 * request ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/block_queue.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/support.h"
#include "tests/unit/virtio_blk_model.h"

#define SECOND   1000000000ull
#define STEP     (SECOND / 50)
#define REQUESTS 32

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
    virtio_blk_model_start(direct, discards);
    support_log_level(-1);
    disk_machine_start(virtio_blk_model_work);
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
    virtio_blk_model_stop();
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
    avail = pointer(virtio_blk_model_common(&model.device[0])->queue_avail);
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
