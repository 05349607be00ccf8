/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_guest.c */
/*
 * A guest's disk (hv/vdev/disk/), request by request: what is refused, ranges of zeroes and
 * discarded ones, flushes, its id, and a page of the guest that is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/disk/vdisk.h"
#include "tests/unit/disk_guest.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

static struct vdisk_request *simple(enum vdisk_op op, uint64_t sector, uint64_t at, uint32_t bytes)
{
    struct vdisk_request *request = vdisk_take(&disk_guest.vdisk);

    assert_non_null(request);
    request->op = op;
    request->sector = sector;
    request->count = bytes != 0;
    request->answers = true; /* where nothing is: nobody sees it */
    request->answer = gpa((uint64_t)GUEST_PAGES * PAGE_SIZE);
    request->segment[0] = (struct vdisk_segment){gpa(at), bytes};
    request->token[0] = 0;
    disk_guest.lane[0].request = request;
    return request;
}

static enum vdisk_status result_of(struct vdisk_request *request)
{
    uint64_t before[3];

    memcpy(before, disk_guest.done, sizeof(before));
    vdisk_submit(&disk_guest.vdisk, request);
    assert_memory_equal(before, disk_guest.done, sizeof(before)); /* not from there */
    disk_guest_settle();
    for (unsigned i = 0; i < 3; i++) {
        if (disk_guest.done[i] != before[i]) {
            return (enum vdisk_status)i;
        }
    }
    fail_msg("no answer");
    return VDISK_OK;
}

/* What a guest may ask for that cannot be. */
static void guest_disk_refused(void **state)
{
    static const struct {
        enum vdisk_op op;
        uint64_t sector, at;
        uint32_t bytes;
        enum vdisk_status want;
    } cases[] = {
        {VDISK_READ, DISK_BLOCKS * 8 - 1, 0, 512, VDISK_OK},
        {VDISK_READ, DISK_BLOCKS * 8 - 1, 0, 1024, VDISK_IOERR},
        {VDISK_READ, DISK_BLOCKS * 8, 0, 512, VDISK_IOERR},
        {VDISK_READ, ~0ull, 0, 512, VDISK_IOERR},
        {VDISK_READ, ~0ull - 7, 0, 8192, VDISK_IOERR},
        {VDISK_READ, 0, 0, 100, VDISK_IOERR},
        {VDISK_WRITE, 0, 0, 513, VDISK_IOERR},
        {VDISK_READ, 0, GUEST_PAGES * PAGE_SIZE, 512, VDISK_IOERR},
        {VDISK_READ, 0, GUEST_PAGES * PAGE_SIZE - 512, 1024, VDISK_IOERR},
        {VDISK_READ, 0, ~0ull - 511, 512, VDISK_IOERR},
        {VDISK_READ, 0, ~0ull - 511, 4096, VDISK_IOERR},
        {VDISK_WRITE, 0, 1ull << 51, 4096, VDISK_IOERR},
        {VDISK_WRITE, 0, (1ull << 51) + 1, 4096, VDISK_IOERR},
        {VDISK_READ, 0, 0, 0xfffffe00u, VDISK_IOERR},
        {VDISK_ZERO, 0, 0, 15, VDISK_IOERR},
        {VDISK_ZERO, 0, 0, 16 * 16, VDISK_OK}, /* of nothing: the page is blank */
        {VDISK_ZERO, 0, 0, 17 * 16, VDISK_IOERR},
        {VDISK_ZERO, 0, 0, 0xfffffff0u, VDISK_IOERR},
        {VDISK_DISCARD, 0, 0, 16 * 16, VDISK_OK},
        {VDISK_DISCARD, 0, 0, 17 * 16, VDISK_IOERR},
        {VDISK_DISCARD, 0, 0, 17, VDISK_IOERR},
        {VDISK_DISCARD, 0, 0, 0, VDISK_OK},
        {VDISK_DISCARD, 0, GUEST_PAGES * PAGE_SIZE - 8, 16, VDISK_IOERR},
        {VDISK_READ, 0, 0, 0, VDISK_OK},
        {VDISK_WRITE, 0, 0, 0, VDISK_OK},
        {VDISK_ZERO, 0, 0, 0, VDISK_OK},
        {VDISK_UNKNOWN, 0, 0, 512, VDISK_UNSUPP},
        {VDISK_FAIL, 0, 0, 512, VDISK_IOERR},
    };

    (void)state;
    support_seed(6);
    disk_guest_up(&fake_format, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            result_of(simple(cases[i].op, cases[i].sector, cases[i].at, cases[i].bytes)),
            cases[i].want);
    }
    disk_guest_down();
}

static void guest_disk_zero_ranges(void **state)
{
    static const struct {
        struct vdisk_range range;
        enum vdisk_status want;
    } cases[] = {
        {{0, 8, 0}, VDISK_OK},
        {{DISK_BLOCKS * 8 - 1, 1, VDISK_RANGE_UNMAP}, VDISK_OK},
        {{DISK_BLOCKS * 8 - 1, 2, 0}, VDISK_IOERR},
        {{~0ull, 1, 0}, VDISK_IOERR},
        {{0, ~0u, 0}, VDISK_IOERR},
        {{0, 8, 2}, VDISK_UNSUPP},
        {{0, 0, 0}, VDISK_OK},
    };

    (void)state;
    support_seed(7);
    disk_guest_up(&fake_format, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        disk_guest_put(0, &cases[i].range, sizeof(cases[i].range));
        assert_int_equal(result_of(simple(VDISK_ZERO, 0, 0, 16)), cases[i].want);
    }
    disk_guest.vdisk.read_only = true;
    assert_int_equal(result_of(simple(VDISK_ZERO, 0, 0, 16)), VDISK_IOERR);
    assert_int_equal(result_of(simple(VDISK_WRITE, 0, 0, 512)), VDISK_IOERR);
    assert_int_equal(result_of(simple(VDISK_READ, 0, 0, 512)), VDISK_OK);
    disk_guest_down();
}

/* No more than is named, in pieces that the disk takes; what cannot be changes nothing. */
static void guest_disk_discard_ranges(void **state)
{
    static const struct {
        struct vdisk_range range;
        enum vdisk_status want;
        unsigned pieces;
    } cases[] = {
        {{0, 8, 0}, VDISK_OK, 1},
        {{8, 40, 0}, VDISK_OK, 1},
        {{8, 41, 0}, VDISK_OK, 2},
        {{3, 700, 0}, VDISK_OK, 18},
        {{DISK_BLOCKS * 8 - 1, 1, 0}, VDISK_OK, 1},
        {{DISK_BLOCKS * 8 - 1, 2, 0}, VDISK_IOERR, 0},
        {{~0ull, 1, 0}, VDISK_IOERR, 0},
        {{0, ~0u, 0}, VDISK_IOERR, 0},
        {{0, 8, VDISK_RANGE_UNMAP}, VDISK_UNSUPP, 0},
        {{0, 8, 2}, VDISK_UNSUPP, 0},
        {{0, 0, 0}, VDISK_OK, 0},
    };
    const size_t bytes = (size_t)DISK_BLOCKS * PAGE_SIZE;
    uint8_t *before = malloc(bytes);

    (void)state;
    support_seed(11);
    disk_guest_up(&fake_format, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct vdisk_range *range = &cases[i].range;
        uint64_t discards = disk_guest.disk.discards;

        disk_guest_fill(disk_guest.disk.data, bytes);
        memcpy(before, disk_guest.disk.data, bytes);
        disk_guest_put(0, range, sizeof(*range));
        assert_int_equal(result_of(simple(VDISK_DISCARD, 0, 0, 16)), cases[i].want);
        assert_int_equal(disk_guest.disk.discards - discards, cases[i].pieces);
        if (cases[i].want == VDISK_OK) {
            memset(before + range->sector * 512, FAKE_DISK_DISCARDED, range->sectors * 512ul);
        }
        assert_memory_equal(disk_guest.disk.data, before, bytes);
    }
    disk_guest_put(0, &cases[0].range, 16);
    disk_guest.vdisk.read_only = true;
    assert_false(vdisk_discards(&disk_guest.vdisk));
    assert_int_equal(result_of(simple(VDISK_DISCARD, 0, 0, 16)), VDISK_IOERR);
    disk_guest.vdisk.read_only = false;
    disk_guest.disk.device.discard_max = 0;
    assert_false(vdisk_discards(&disk_guest.vdisk));
    assert_int_equal(result_of(simple(VDISK_DISCARD, 0, 0, 16)), VDISK_UNSUPP);
    assert_memory_equal(disk_guest.disk.data, before, bytes);
    free(before);
    disk_guest_down();
}

static void test_get_id(void **state)
{
    char name[64];

    (void)state;
    support_seed(8);
    disk_guest_up(&fake_format, 1);
    memset(name, 'x', sizeof(name));
    disk_guest_put(PAGE_SIZE - 3, name, sizeof(name));
    assert_int_equal(result_of(simple(VDISK_GET_ID, 0, PAGE_SIZE - 3, 40)), VDISK_OK);
    disk_guest_get(PAGE_SIZE - 3, name, sizeof(name));
    assert_string_equal(name, "nvme1p2");
    assert_int_equal(name[VDISK_ID_BYTES - 1], 0);
    assert_int_equal(name[VDISK_ID_BYTES], 'x');
    disk_guest_down();
}

/* FLUSH saves what has been written; without a cache each write is saved when it is done. */
static void guest_disk_flush(void **state)
{
    (void)state;
    support_seed(9);
    disk_guest_up(&fake_format, 1);
    disk_guest.disk.stable = calloc(DISK_BLOCKS, PAGE_SIZE);
    disk_guest_put(0, "one", 4);
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_OK);
    assert_int_equal(disk_guest.disk.stable[8 * 512], 0);
    assert_int_equal(result_of(simple(VDISK_FLUSH, 0, 0, 0)), VDISK_OK);
    assert_string_equal((char *)disk_guest.disk.stable + 8 * 512, "one");
    vdisk_set_write_through(&disk_guest.vdisk, true);
    disk_guest_put(0, "two", 4);
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_OK);
    assert_string_equal((char *)disk_guest.disk.stable + 8 * 512, "two");
    disk_guest.disk.fail_write_in = 2; /* the flush */
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_IOERR);
    disk_guest_run(200);
    free(disk_guest.disk.stable);
    disk_guest.disk.stable = NULL;
    disk_guest_down();
}

/* A page of the guest's that the store has lost is the VM's end, and the request's. */
static void test_lost_page(void **state)
{
    (void)state;
    support_seed(10);
    disk_guest_up(&fake_format, 1);
    disk_guest_fill(disk_guest.lane[0].memory, LANE_BYTES);
    disk_guest_copy(0, disk_guest.lane[0].memory, true);
    while (!space_evict(disk_guest.space, gfn(3))) {
        disk_guest_turn();
    }
    disk_guest.store_disk.corrupt_permille = 1000;
    support_log_level(-1);
    assert_int_equal(result_of(simple(VDISK_WRITE, 0, 0, 8 * 4096)), VDISK_IOERR);
    assert_int_equal(disk_guest.lost, 1);
    disk_guest.store_disk.corrupt_permille = 0;
    disk_guest_down();
    support_log_level(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_disk_refused),        cmocka_unit_test(guest_disk_zero_ranges),
        cmocka_unit_test(guest_disk_discard_ranges), cmocka_unit_test(test_get_id),
        cmocka_unit_test(guest_disk_flush),          cmocka_unit_test(test_lost_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
