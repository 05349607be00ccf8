/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/promise_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/support.h"

struct fake_disk disk;
struct store *store;
struct admission_demand promised;
uint64_t pool;
unsigned outage_left; /* ms */

void machine_up(void)
{
    uint64_t frames = 500 + below(below(2) ? 600 : 3000);
    uint64_t slots = below(6) == 0 ? 0 : 50 + below(below(2) ? 600 : 4000);

    support_memory_init(frames);
    frame_alloc_set_watermarks(12, 24, 40);
    store = NULL;
    model_may_lose = false;
    if (slots != 0) {
        fake_disk_init(&disk, slots + 2, 1 + below(UINT32_MAX));
        store = support_open_store(&disk);
        assert_non_null(store);
        if (below(5) == 0) {
            disk.fail_read_permille = (unsigned)below(300);
            disk.fail_write_permille = (unsigned)below(300);
            model_may_lose = true;
        }
    }
    outage_left = 0;
    promised = (struct admission_demand){0};
    pool = frame_stats_get().frames - frame_stats_get().meta;
}

struct admission_supply supply_now(void)
{
    struct admission_supply supply = {.pool = pool, .kept = frame_alloc_high() + ADMISSION_ROOM};
    struct store_stats stats;

    if (store != NULL) {
        store_get_stats(store, &stats);
        supply.slots = stats.slots - stats.retired;
    }
    return supply;
}

void disk_turn(void)
{
    if (store == NULL) {
        return;
    }
    if (outage_left > 0 && --outage_left == 0) {
        disk.reads_down = disk.writes_down = false;
    }
    if (outage_left == 0 && below(20000) == 0) {
        outage_left = 1 + (unsigned)below(OUTAGE_MAX_MS);
        disk.reads_down = below(2);
        disk.writes_down = !disk.reads_down || below(2);
    }
    fake_disk_step(&disk);
    if (below(2)) {
        fake_disk_step(&disk);
    }
}

void machine_down(void)
{
    struct store_stats stats;

    assert_int_equal(frame_stats_get().guest + frame_stats_get().tmem, 0);
    assert_int_equal(frame_stats_get().frames - frame_stats_get().meta, pool);
    if (store != NULL) {
        store_get_stats(store, &stats);
        assert_int_equal(stats.slots_used, 0);
        disk.reads_down = disk.writes_down = false;
        support_store_settle(&disk);
    }
    support_memory_free();
    if (store != NULL) {
        fake_disk_free(&disk);
    }
}
