/* SPDX-License-Identifier: BSD-2-Clause */
/* The index of disk identity (mm/space/identity.h), one transfer at a time: what finds no room in
 * it, and how it takes disks of any layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/content/store.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define PAGES  256u
#define FRAMES 2400u

static struct fake_disk store_disk, disk;
static struct store *identity;
static struct space *space, *other;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

/* Another VM, which has more memory than the machine. */
static void other_up(void)
{
    struct space_config config = {.name = "other", .format = &fake_format, .shares = 100};

    other = space_create(&config);
    assert_true(space_add_memslot(other, gfn(0), FRAMES, 0));
}

static void other_down(void)
{
    space_close(other);
    while (!space_drain(other)) {
    }
    space_free(other);
}

static void up_with(bool with_store)
{
    struct space_config config = {.name = "vm", .format = &fake_format, .shares = 100};
    struct store *store;

    support_memory_init(FRAMES);
    fake_disk_init(&store_disk, 2 * PAGES, 1);
    store = support_open_store(&store_disk);
    config.store = with_store ? store : NULL;
    fake_disk_init(&disk, PAGES, 1);
    identity = store_open_disk(&disk.device);
    space = space_create(&config);
    assert_true(space_add_memslot(space, gfn(0), PAGES, 0));
    assert_int_equal(space_add_disk(space, identity), 0);
    other_up();
}

static void up(void)
{
    up_with(true);
}

static void down(void)
{
    other_down();
    space_close(space);
    while (!space_drain(space)) {
        support_store_step(&store_disk);
    }
    space_free(space);
    store_close(identity);
    fake_disk_free(&disk);
    fake_disk_free(&store_disk);
    support_memory_free();
}

/* The page is written whole to the block, or read from it. */
static void transfer(unsigned page, uint64_t block, bool to_disk)
{
    const struct space_block at = {.block = block};
    struct mm_waiter waiter = {.wake = wake};
    pfn_t frame;
    gfn_t lost;

    list_init(&waiter.link);
    if (to_disk) {
        assert_int_equal(space_disk_overwrite(space, 0, block, 1, &waiter, &lost), MM_OK);
    }
    assert_int_equal(space_pin(space, gfn(page),
                               SPACE_PIN_COPY | (to_disk ? ACCESS_READ : ACCESS_WRITE), &frame,
                               &waiter),
                     MM_OK);
    space_watch(space);
    if (!to_disk) {
        memset(mm_frame_ptr(frame), (int)(page % 200 + 1), PAGE_SIZE);
        *(uint8_t *)mm_frame_ptr(frame) = 0; /* not one word: else it needs no disk */
    }
    space_unpin_pages(space, &(gfn_t){page}, 1, !to_disk, &at);
}

static enum place_kind leaves_to(unsigned page)
{
    unsigned level;

    space_evict(space, gfn(page));
    support_store_settle(&store_disk);
    return entry_kind(space, table_entry_get(table_leaf(&space->table, gfn(page), &level)), 1);
}

/*
 * Sixteen pages are copies of one block, which is all that a bucket takes.  The seventeenth is not,
 * and neither is it of the block that it was a copy of until then, though that has not changed.
 */
static void no_room_in_the_index(void **state)
{
    unsigned neighbour;

    (void)state;
    up();
    for (unsigned page = 0; page < IDENTITY_CHAIN_MAX; page++) {
        transfer(page, 7, false);
    }
    transfer(20, 7 + 64, false);
    transfer(20, 7, false);
    assert_int_equal(leaves_to(20), PLACE_SLOT); /* read: it has changed */
    /* Written: another block with the same bucket. */
    for (neighbour = 1; neighbour < 1000; neighbour++) {
        transfer(21, 7 + 64 * 2000, false);
        transfer(21, 7 + 64 * neighbour, true);
        if (leaves_to(21) == PLACE_SLOT) {
            break;
        }
        assert_int_equal(leaves_to(21), PLACE_DISK);
        assert_int_equal(space_discard(space, &(struct gfn_range){gfn(21), 1}, 1), 1);
    }
    assert_true(neighbour > 1 && neighbour < 1000);
    assert_int_equal(leaves_to(0), PLACE_DISK);
    down();
}

/* The first blocks of ext4's block groups; of a disk of 8 TiB at the end. */
static void blocks_far_apart(void **state)
{
    static const uint64_t strides[] = {1, 64, 1024, 32768, 65536, 8388608};
    unsigned good = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(strides); i++) {
        up();
        for (unsigned page = 0; page < PAGES; page++) {
            transfer(page, page * strides[i], false);
        }
        for (unsigned page = 0; page < PAGES; page++) {
            good += leaves_to(page) == PLACE_DISK;
        }
        assert_int_equal(good, (i + 1) * PAGES);
        down();
    }
}

static enum place_kind read_leaves_to(unsigned page)
{
    enum place_kind place;

    transfer(page, page, false);
    place = leaves_to(page);
    assert_int_equal(space_discard(space, &(struct gfn_range){gfn(page), 1}, 1), 1);
    return place;
}

/* Where nothing ever has to leave, nothing is noted: whoever starts later changes that, and so does
 * a max. */
static void memory_that_suffices(void **state)
{
    (void)state;
    up();
    other_down();
    assert_int_equal(read_leaves_to(3), PLACE_SLOT);
    other_up();
    assert_int_equal(read_leaves_to(3), PLACE_DISK);
    other_down();
    assert_int_equal(read_leaves_to(3), PLACE_SLOT);
    space_set_limits(space, 0, PAGES, 100);
    assert_int_equal(read_leaves_to(3), PLACE_SLOT);
    space_set_limits(space, 0, PAGES - 1, 100);
    assert_int_equal(read_leaves_to(3), PLACE_DISK);
    other_up();
    down();
}

/* A page of a large one, while there is memory for everybody still, is a copy as well. */
static void read_into_a_large_page(void **state)
{
    (void)state;
    up();
    assert_true(space_add_memslot(space, gfn(512), 512, 0));
    for (unsigned page = 512; page < 520; page++) {
        assert_int_equal(read_leaves_to(page), PLACE_DISK);
    }
    assert_true(space->large_maps > 0);
    down();
}

/* ---- what reclaim takes first --------------------------------------------------------------- */

#define COPIES           6u
#define NEIGHBOURS_APART 16u /* pages that do not leave together */
#define OWN              128u

static uint64_t *entry_of(unsigned page)
{
    unsigned level;

    return table_leaf(&space->table, gfn(page), &level);
}

static void use(unsigned page)
{
    *entry_of(page) |= space->table.format->accessed_bit;
}

static void guest_writes(unsigned page)
{
    struct mm_waiter waiter = {.wake = wake};
    uint64_t *word;

    list_init(&waiter.link);
    assert_int_equal(space_fault(space, gfn(page), ACCESS_WRITE, &waiter), MM_OK);
    word = mm_frame_ptr(entry_frame(space, *entry_of(page), 1));
    word[0] = page + 1;
    *entry_of(page) |= space->table.format->dirty_bit;
}

static void scan(void)
{
    while (aging_step(space)) {
    }
}

/* Some pages from 0 on, which come from the disk, and as many from OWN on, which the guest has
 * written; all as old, and none used since. */
static void some_of_both(bool with_store)
{
    up_with(with_store);
    for (unsigned i = 0; i < PAGES * PAGE_SIZE; i++) {
        disk.data[i] = (uint8_t)(i * 7);
    }
    for (unsigned i = 0; i < COPIES; i++) {
        transfer(i * NEIGHBOURS_APART, i * NEIGHBOURS_APART, false);
        guest_writes(OWN + i * NEIGHBOURS_APART);
    }
    for (unsigned i = 0; i < 4; i++) {
        scan();
    }
}

static unsigned still_there(unsigned first)
{
    unsigned there = 0;

    for (unsigned i = 0; i < COPIES; i++) {
        there += entry_kind(space, *entry_of(first + i * NEIGHBOURS_APART), 1) == PLACE_FRAME;
    }
    return there;
}

static void copies_leave_first(void **state)
{
    (void)state;
    some_of_both(true);
    assert_int_equal(reclaim_batch(space, COPIES, 0), COPIES);
    assert_int_equal(still_there(0), 0);
    assert_int_equal(still_there(OWN), COPIES);
    assert_int_equal(reclaim_batch(space, COPIES, 0), COPIES); /* there are no others */
    assert_int_equal(still_there(OWN), 0);
    support_store_settle(&store_disk);
    down();
}

/* Programs that run, beside memory that nobody uses. */
static void hot_copies_do_not_leave(void **state)
{
    (void)state;
    some_of_both(true);
    for (unsigned i = 0; i < COPIES; i++) {
        use(i * NEIGHBOURS_APART);
    }
    scan();
    assert_int_equal(reclaim_batch(space, COPIES, 0), COPIES);
    assert_int_equal(still_there(0), COPIES);
    support_store_settle(&store_disk);
    down();
}

/* Without a store they are all that can leave, though all are in use, whenever they are. */
static void hot_copies_are_all_there_is(void **state)
{
    unsigned left = 0;

    (void)state;
    some_of_both(false);
    for (unsigned round = 0; round < 2 && left == 0; round++) {
        for (unsigned i = 0; i < COPIES; i++) {
            use(i * NEIGHBOURS_APART);
        }
        scan();
        for (unsigned i = 0; i < COPIES; i++) {
            use(i * NEIGHBOURS_APART);
        }
        left = reclaim_batch(space, 1, 0);
    }
    assert_int_equal(left, 1);
    assert_int_equal(still_there(0), COPIES - 1);
    assert_int_equal(still_there(OWN), COPIES);
    down();
}

/* What the guest has written to, or what the disk may still lose, is no copy. */
static void changed_copies_are_none(void **state)
{
    (void)state;
    some_of_both(true);
    *entry_of(0) |= space->table.format->dirty_bit;
    assert_int_equal(reclaim_batch(space, COPIES - 1, 0), COPIES - 1);
    assert_int_equal(still_there(0), 1);
    assert_int_equal(entry_kind(space, *entry_of(0), 1), PLACE_FRAME);
    assert_int_equal(still_there(OWN), COPIES);
    assert_int_equal(frame_get(entry_frame(space, *entry_of(0), 1))->kind, GENERATION_OWN);
    support_store_settle(&store_disk);
    down();
}

/* Those that come back too soon have been dropped for nothing. */
static void refaults_change_it(void **state)
{
    struct mm_waiter waiter = {.wake = wake};

    (void)state;
    list_init(&waiter.link);
    some_of_both(true);
    for (unsigned round = 0; round < 40; round++) {
        (void)reclaim_batch(space, COPIES, 0);
        if (still_there(0) == COPIES) {
            break;
        }
        for (unsigned i = 0; i < COPIES; i++) {
            while (space_fault(space, gfn(i * NEIGHBOURS_APART), ACCESS_READ, &waiter) == MM_WAIT) {
                support_store_settle(&disk);
            }
        }
        waiter_end_turn(&waiter);
        scan();
        scan();
    }
    assert_int_equal(still_there(0), COPIES);
    assert_int_equal(still_there(OWN), 0);
    support_store_settle(&store_disk);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_in_the_index),        cmocka_unit_test(blocks_far_apart),
        cmocka_unit_test(memory_that_suffices),        cmocka_unit_test(read_into_a_large_page),
        cmocka_unit_test(copies_leave_first),          cmocka_unit_test(hot_copies_do_not_leave),
        cmocka_unit_test(hot_copies_are_all_there_is), cmocka_unit_test(changed_copies_are_none),
        cmocka_unit_test(refaults_change_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
