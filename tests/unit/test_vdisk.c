/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_guest.c */
/*
 * A guest's disk (hv/vdev/disk/) under random requests (tests/unit/disk_guest.h): with blocks of
 * 512 and 4096 bytes, with failures, with resets and ends of the VM in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/disk/vdisk.h"
#include "tests/unit/disk_guest.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

static void guest_disk_random(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};

    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        struct vdisk_stats stats;
        struct space_stats memory;

        disk_guest_up(formats[i], 1);
        disk_guest_run(600);
        vdisk_get_stats(&disk_guest.vdisk, &stats);
        assert_int_equal(
            disk_guest.done[VDISK_IOERR] + disk_guest.done[VDISK_UNSUPP] + stats.errors, 0);
        assert_true(disk_guest.done[VDISK_OK] > 300 && stats.bounced > 20 &&
                    disk_guest.disk.discards > 50);
        space_get_stats(disk_guest.space, &memory);
        assert_true(memory.disk_drops > 300 && memory.disk_reads > 300);
        assert_true(stats.read_sectors >= stats.reads && stats.written_sectors >= stats.writes);
        print_message("%lu done, %lu pieces bounced, %lu pages dropped for a block\n",
                      (unsigned long)disk_guest.done[VDISK_OK], (unsigned long)stats.bounced,
                      (unsigned long)memory.disk_drops);
        disk_guest_down();
    }
}

/* A disk whose blocks are 4 KiB takes requests of whole ones, wherever they are in memory. */
static void test_blocks_of_4k(void **state)
{
    (void)state;
    support_seed(2);
    disk_guest_up(&fake_format, BLOCK_SECTORS);
    disk_guest_run(300);
    assert_true(disk_guest.done[VDISK_OK] > 50 && disk_guest.done[VDISK_IOERR] > 50);
    disk_guest_down();
}

/* Requests that fail say so, and are the only ones. */
static void test_errors(void **state)
{
    (void)state;
    support_seed(3);
    disk_guest_up(&fake_format, 1);
    disk_guest.disk.fail_read_permille = disk_guest.disk.fail_write_permille = 60;
    disk_guest_run(600);
    assert_true(disk_guest.done[VDISK_OK] > 100 && disk_guest.done[VDISK_IOERR] > 30);
    print_message("%lu done, %lu failed\n", (unsigned long)disk_guest.done[VDISK_OK],
                  (unsigned long)disk_guest.done[VDISK_IOERR]);
    disk_guest_down();
}

/* Given up in the middle: done() is not called, nothing is in flight when it is idle, and the
 * memory is the guest's alone again. */
static void guest_disk_reset_in_the_middle(void **state)
{
    (void)state;
    support_seed(4);
    disk_guest_up(&fake_format, 1);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t done;

        for (unsigned lane = 0; lane < LANES; lane++) {
            if (disk_guest.lane[lane].request == NULL) {
                disk_guest_start(lane);
            }
        }
        for (uint64_t n = support_random_below(60); n > 0; n--) {
            disk_guest_turn();
        }
        done = disk_guest.done[0] + disk_guest.done[1];
        disk_guest_give_up();
        assert_int_equal(disk_guest.done[0] + disk_guest.done[1], done);
        for (unsigned lane = 0; lane < LANES; lane++) {
            disk_guest.lane[lane].known =
                disk_guest.lane[lane].request == NULL && disk_guest.lane[lane].known;
            disk_guest.lane[lane].request = NULL;
        }
    }
    disk_guest_run(100); /* and it goes on as if nothing had been */
    disk_guest_down();
}

/* The VM ends while pages are DMA targets: they are not freed before. */
static void guest_disk_end_in_the_middle(void **state)
{
    (void)state;
    support_seed(5);
    for (unsigned round = 0; round < 40; round++) {
        disk_guest_up(&ept_format, 1);
        for (unsigned lane = 0; lane < LANES; lane++) {
            disk_guest_start(lane);
        }
        for (uint64_t n = support_random_below(40); n > 0; n--) {
            disk_guest_turn();
        }
        disk_guest.idle = vdisk_give_up(&disk_guest.vdisk);
        disk_guest.closed = true;
        space_close(disk_guest.space); /* in the wrong order: nothing is freed all the same */
        while (disk_guest.vdisk.pins != 0) {
            assert_false(space_drain(disk_guest.space));
            fake_disk_step(&disk_guest.disk);
        }
        disk_guest_down(); /* counts frames; the fake disk panics at a frame that nobody owns */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_disk_random),
        cmocka_unit_test(test_blocks_of_4k),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(guest_disk_reset_in_the_middle),
        cmocka_unit_test(guest_disk_end_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
