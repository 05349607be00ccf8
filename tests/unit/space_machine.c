/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/space_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/policy/pager.h"

struct fake_disk disk;
struct store *store;
struct space *space;
int woken;
uint64_t free_at_start;

void wake(struct mm_waiter *from)
{
    assert_int_equal(from->queue, MM_WAITS_NOT);
    woken++;
}

struct mm_waiter waiter = {.wake = wake};

void create_space(const struct table_format *format)
{
    struct space_config config = {.name = "vm", .format = format, .store = store, .shares = 100};

    space = space_create(&config);
    assert_non_null(space);
    assert_true(space_add_memslot(space, gfn(0), PAGES, 0));
}

void destroy_space(void)
{
    waiter_cancel(&waiter);
    space_close(space);
    while (!space_drain(space)) {
        support_store_step(&disk);
    }
    space_free(space);
}

void machine_up(uint64_t slots)
{
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 16, 500); /* no large pages */
    fake_disk_init(&disk, slots + 2, 1);
    store = support_open_store(&disk);
    assert_non_null(store);
    free_at_start = frame_stats_get().free;
    woken = 0;
}

void machine_down(void)
{
    struct store_stats stats;

    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frame_stats_get().free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

enum place_kind kind_of(uint64_t page)
{
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

    return entry_kind(space, table_entry_get(entry), level);
}

uint64_t *memory_of(uint64_t page)
{
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

    assert_int_equal(kind_of(page), PLACE_FRAME);
    assert_int_equal(level, 1);
    return mm_frame_ptr(entry_frame(space, table_entry_get(entry), 1));
}

enum mm_result fault(uint64_t page, unsigned how)
{
    return space_fault(space, gfn(page), how, &waiter);
}

uint64_t *entry_of(uint64_t page)
{
    unsigned level;

    return table_leaf(&space->table, gfn(page), &level);
}

void set_accessed(uint64_t page, bool accessed)
{
    uint64_t bit = space->table.format->accessed_bit;

    *entry_of(page) = (*entry_of(page) & ~bit) | (accessed ? bit : 0);
}

void touch(uint64_t page, uint64_t value)
{
    assert_int_equal(fault(page, ACCESS_WRITE), MM_OK);
    memory_of(page)[0] = value;
    *entry_of(page) |= space->table.format->dirty_bit;
}

void evict_all(void)
{
    for (unsigned i = 0; i < 100; i++) {
        reclaim_batch(space, 64, space_floor(space));
    }
}

void store_page(uint64_t page)
{
    touch(page, page + 1);
    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(page), PLACE_SLOT);
}

struct space_stats stats_now(void)
{
    struct space_stats stats;

    space_get_stats(space, &stats);
    assert_int_equal(stats.resident + stats.hole + stats.pattern + stats.stored + stats.transit,
                     PAGES);
    return stats;
}

void page_comes_back_from_store(void)
{
    store_page(9);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    assert_int_equal(kind_of(9), PLACE_READING);
    assert_int_equal(woken, NOT_WOKEN);
    fake_disk_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_int_equal(fault(9, ACCESS_READ), MM_OK);
    assert_int_equal(memory_of(9)[0], 10);
}

void settle_until(uint64_t page, unsigned how)
{
    enum mm_result result;

    while ((result = fault(page, how)) == MM_WAIT) {
        woken = 0;
        for (unsigned i = 0; woken == 0; i++) {
            assert_true(i < 1000);
            support_clock_advance(10000000);
            fake_disk_step(&disk);
            pager_run();
        }
    }
    assert_int_equal(result, MM_OK);
}

void run_case(test_case *run, const struct table_format *format, uint64_t slots)
{
    machine_up(slots);
    create_space(format);
    run();
    destroy_space();
    machine_down();
}

void run_cases(test_case *const *run, unsigned count)
{
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        for (unsigned i = 0; i < count; i++) {
            run_case(run[i], formats[f], 4096);
        }
    }
}
