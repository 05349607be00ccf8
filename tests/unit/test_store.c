/* SPDX-License-Identifier: BSD-2-Clause */
/* The store: whose disk it is, slots and clusters; and pattern words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xxhash.h"
#include "mm/content/pattern.h"
#include "mm/content/store_internal.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define BLOCKS 2000u

static struct fake_disk disk;
static int probed;
static struct store *opened;

static void note(void *context, enum store_probe result)
{
    assert_ptr_equal(context, &disk);
    probed = (int)result;
}

static int probe(void)
{
    probed = -1;
    assert_true(store_probe_start(&disk.device, note, &disk));
    fake_disk_settle(&disk);
    return probed;
}

static int format(void)
{
    probed = -1;
    assert_true(store_format_start(&disk.device, note, &disk));
    fake_disk_settle(&disk);
    return probed;
}

static int set_up(void **state)
{
    (void)state;
    support_memory_init(2000);
    fake_disk_init(&disk, BLOCKS, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_disk_free(&disk);
    support_memory_free();
    return 0;
}

static void test_blank_disk(void **state)
{
    (void)state;
    assert_int_equal(probe(), STORE_BLANK);
    assert_null(store_open(&disk.device));
    assert_int_equal(format(), STORE_VALID);
    assert_int_equal(probe(), STORE_VALID);
    opened = store_open(&disk.device);
    assert_non_null(opened);
    store_close(opened);
}

/* One byte anywhere in the first MiB, or in the superblock, and it is not ours. */
static void test_foreign_disk(void **state)
{
    static const uint32_t at[] = {0, 511, 4096, 70000, 1048575};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        disk.data[at[i]] = 1;
        assert_int_equal(probe(), STORE_FOREIGN);
        disk.data[at[i]] = 0;
    }
    disk.data[1048576] = 1; /* behind it nobody looks */
    assert_int_equal(probe(), STORE_BLANK);
}

static void test_damaged_superblock(void **state)
{
    (void)state;
    assert_int_equal(format(), STORE_VALID);
    for (unsigned byte = 0; byte < 200; byte++) {
        disk.data[byte] ^= 4;
        assert_int_equal(probe(), STORE_FOREIGN);
        disk.data[byte] ^= 4;
    }
    disk.data[5000] = 7; /* what was paged out before */
    assert_int_equal(probe(), STORE_VALID);
}

static void test_superblock_of_a_larger_disk(void **state)
{
    struct store_superblock sb;

    (void)state;
    assert_int_equal(format(), STORE_VALID);
    memcpy(&sb, disk.data, sizeof(sb));
    assert_int_equal(sb.blocks, BLOCKS);
    assert_int_equal(sb.block_size, 4096);
    sb.blocks = BLOCKS + 1;
    sb.checksum = XXH64(&sb, 48, 0);
    memcpy(disk.data, &sb, sizeof(sb));
    assert_int_equal(probe(), STORE_FOREIGN);
}

static void test_unreadable_disk(void **state)
{
    (void)state;
    disk.bad_block = 100;
    assert_int_equal(probe(), STORE_UNREADABLE);
}

static void test_read_only_disk(void **state)
{
    (void)state;
    assert_int_equal(format(), STORE_VALID);
    disk.device.read_only = true;
    assert_false(store_format_start(&disk.device, note, &disk));
    assert_null(store_open(&disk.device));
}

/* A test write tells what the device does not. */
static int check(void)
{
    probed = -1;
    assert_true(store_check_start(&disk.device, note, &disk));
    fake_disk_settle(&disk);
    return probed;
}

static void test_unwritable_disk(void **state)
{
    uint8_t *last = disk.data + (BLOCKS - 1) * PAGE_SIZE;

    (void)state;
    assert_int_equal(format(), STORE_VALID);
    assert_int_equal(check(), STORE_VALID);
    assert_memory_equal(last + 100 * (sizeof(STORE_MAGIC) - 1), STORE_MAGIC, 10);
    disk.writes_down = true;
    assert_int_equal(check(), STORE_UNWRITABLE);
    disk.writes_down = false;
    disk.lies = true;
    support_clock_advance(1);
    assert_int_equal(check(), STORE_UNWRITABLE);
    disk.lies = false;
    disk.reads_down = true;
    assert_int_equal(check(), STORE_UNREADABLE);
    disk.reads_down = false;
    assert_int_equal(check(), STORE_VALID);
    assert_int_equal(probe(), STORE_VALID);
}

/* All of its memory comes back. */
static void test_close(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(format(), STORE_VALID);
    before = frame_stats_get().free;
    for (unsigned n = 1;; n++) {
        struct store *store;

        support_fail_alloc(n);
        store = store_open(&disk.device);
        support_fail_alloc(0);
        if (store != NULL) {
            store_close(store);
        }
        assert_int_equal(frame_stats_get().free, before);
        if (store != NULL) {
            assert_true(n > 7);
            return;
        }
    }
}

static void close_opened(void)
{
    store_close(opened);
}

static struct store *open_store(void)
{
    struct store *store;

    assert_int_equal(format(), STORE_VALID);
    store = opened = store_open(&disk.device);
    assert_non_null(store);
    support_before_memory_free(close_opened);
    return store;
}

static void test_slots_of_a_cluster_are_in_order(void **state)
{
    struct store *store = open_store();
    uint32_t cluster = store_cluster_take(store);

    (void)state;
    assert_int_not_equal(cluster, STORE_NONE);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(store_slot_take(store, cluster, i), cluster * STORE_CLUSTER_SLOTS + i);
    }
    /* Taken already: any other. */
    assert_int_not_equal(store_slot_take(store, cluster, 3), cluster * STORE_CLUSTER_SLOTS + 3);
    assert_int_not_equal(store_cluster_take(store), cluster);
}

static void test_every_slot_once(void **state)
{
    struct store *store = open_store();
    struct store_stats stats;
    static bool seen[BLOCKS];
    uint32_t slot, count = 0;

    (void)state;
    memset(seen, 0, sizeof(seen));
    while ((slot = store_slot_take(store, STORE_NONE, 0)) != STORE_NONE) {
        assert_true(slot < BLOCKS - 2 && !seen[slot]);
        seen[slot] = true;
        count++;
    }
    assert_int_equal(count, BLOCKS - 2);
    assert_true(store_is_tight(store));
    assert_int_equal(store_cluster_take(store), STORE_NONE);
    store_slot_retire(store, 77);
    store_slot_give(store, 78);
    assert_int_equal(store_slot_take(store, STORE_NONE, 0), 78);
    assert_int_equal(store_slot_take(store, STORE_NONE, 0), STORE_NONE);
    store_get_stats(store, &stats);
    assert_int_equal(stats.slots, BLOCKS - 2);
    assert_int_equal(stats.slots_used, BLOCKS - 3);
    assert_int_equal(stats.retired, 1);
    for (slot = 0; slot < BLOCKS - 2; slot++) {
        if (slot != 77) {
            store_slot_give(store, slot);
        }
    }
    for (count = 0; store_cluster_take(store) != STORE_NONE; count++) {
    }
    /* Not the one of the retired slot, not the one that the end cuts. */
    assert_int_equal(count, BLOCKS / STORE_CLUSTER_SLOTS - 1);
}

static void test_seal(void **state)
{
    struct store *store = open_store();
    static uint64_t page[512];

    (void)state;
    store_slot_seal(store, 1998, page);
    assert_true(store_slot_verify(store, 1998, page));
    page[511] = 1;
    assert_false(store_slot_verify(store, 1998, page));
}

struct sum {
    uint32_t low, number;
};

static int compare_sums(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;

    return (x->low > y->low) - (x->low < y->low);
}

/* Two pages whose sums have the same lower half are told apart. */
static void checksums_have_64_bits(void **state)
{
    struct store *store = open_store();
    static struct sum sums[300000];
    static uint64_t page[512];
    unsigned alike = 0;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(sums); i++) {
        page[0] = i;
        sums[i] = (struct sum){.low = (uint32_t)XXH64(page, PAGE_SIZE, 0), .number = i};
    }
    qsort(sums, ARRAY_SIZE(sums), sizeof(sums[0]), compare_sums);
    for (uint32_t i = 1; i < ARRAY_SIZE(sums); i++) {
        if (sums[i].low == sums[i - 1].low) {
            alike++;
            page[0] = sums[i].number;
            store_slot_seal(store, 0, page);
            page[0] = sums[i - 1].number;
            assert_false(store_slot_verify(store, 0, page));
        }
    }
    assert_true(alike > 0);
}

static void test_pattern_words(void **state)
{
    static const uint64_t words[] = {0,
                                     1,
                                     ~0ull,
                                     1ull << 53,
                                     ~(1ull << 53),
                                     0xdead00000000beef,
                                     0x0101010101010101,
                                     0xcccccccccccccccc,
                                     0x80000000,
                                     0xffffffff80000000,
                                     1ull << 54,
                                     1ull << 63};
    static const bool fits[] = {true, true, true, true, true,  false,
                                true, true, true, true, false, false};
    static uint64_t page[512];
    uint64_t payload, word;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        page_fill(page, words[i]);
        assert_true(pattern_find(page, &word));
        assert_true(word == words[i]);
        assert_int_equal(pattern_encode(word, &payload), fits[i]);
        if (fits[i]) {
            assert_true(payload <= BITS(55, 0));
            assert_true(pattern_decode(payload) == word);
        }
        for (unsigned at = 0; at < 512; at += 7) {
            page[at] ^= 1ull << (at % 64);
            assert_false(pattern_find(page, &word));
            page[at] = words[i];
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_blank_disk),
        CASE(test_foreign_disk),
        CASE(test_damaged_superblock),
        CASE(test_superblock_of_a_larger_disk),
        CASE(test_unreadable_disk),
        CASE(test_read_only_disk),
        CASE(test_unwritable_disk),
        CASE(test_close),
        CASE(test_slots_of_a_cluster_are_in_order),
        CASE(test_every_slot_once),
        CASE(test_seal),
        CASE(checksums_have_64_bits),
        cmocka_unit_test(test_pattern_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
