/* SPDX-License-Identifier: BSD-2-Clause */
/* What a CPU writes through an old translation, until the shootdown of an eviction, is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define FRAMES 256u
#define SLOTS  1024u
#define WORDS  (PAGE_SIZE / sizeof(uint64_t))

static struct fake_disk disk;
static struct store *store;
static struct space *space;
static uint64_t *stale; /* where the old translation leads; NULL: nobody has one */

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static struct mm_waiter waiter = {.wake = wake};

/* The CPU's last write before it forgets the translation. */
static void last_write(struct space *of)
{
    (void)of;
    if (stale != NULL) {
        stale[7] = 0x5eed;
    }
}

static void machine_up(const struct table_format *format)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    support_memory_init(FRAMES);
    fake_disk_init(&disk, SLOTS + 2, 1);
    store = config.store = support_open_store(&disk);
    space = space_create(&config);
    assert_non_null(space);
    assert_true(space_add_memslot(space, gfn(0), 16, 0));
    support_on_shootdown(last_write);
}

static void machine_down(void)
{
    space_close(space);
    while (!space_drain(space)) {
        support_store_step(&disk);
    }
    space_free(space);
    fake_disk_free(&disk);
    support_memory_free();
}

/* A page that was written to leaves; the CPU that wrote does so once more meanwhile. */
static void evict(uint64_t word, bool repeated)
{
    uint64_t page[WORDS], entry;
    unsigned level;

    for (unsigned i = 0; i < WORDS; i++) {
        page[i] = repeated ? word : word + i;
    }
    assert_int_equal(space_write(space, gpa(0), page, PAGE_SIZE, &waiter), MM_OK);
    entry = table_entry_get(table_leaf(&space->table, gfn(0), &level));
    stale = mm_frame_ptr(entry_frame(space, entry, level));
    for (unsigned i = 0; i < 4 && space->where[PLACE_FRAME] != 0; i++) {
        reclaim_batch(space, 16, 0);
        stale = space->where[PLACE_FRAME] != 0 ? stale : NULL;
    }
    stale = NULL;
    fake_disk_settle(&disk);
    assert_int_equal(space->where[PLACE_FRAME], 0);
    page[7] = 0x5eed;
    uint64_t content[WORDS];

    while (space_read(space, gpa(0), content, PAGE_SIZE, &waiter) == MM_WAIT) {
        fake_disk_settle(&disk);
    }
    assert_memory_equal(content, page, PAGE_SIZE);
}

static void test_write_before_the_shootdown_is_kept(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};

    (void)state;
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        for (unsigned repeated = 0; repeated < 2; repeated++) {
            machine_up(formats[i]);
            evict(repeated ? 0 : 99, repeated);
            machine_down();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_before_the_shootdown_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
