/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem when the disk, an allocation or the VM itself fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/content/page_io.h"
#include "tests/unit/support_tmem.h"

/* ---- the disk ------------------------------------------------------------------------------- */

static void rule2_write_errors_lose_nothing(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct store_stats figures;

    (void)state;
    support_log_level(LOG_ERROR);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    disk.bad_block = 1 + 5; /* one of the slots of the first cluster of ours */
    disk.fail_write_permille = 300;
    squeeze(10);
    disk.fail_write_permille = 0;
    disk.bad_block = 0;
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(get(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    store_get_stats(store, &figures);
    assert_true(figures.retired > 0);
    support_log_level(LOG_WARN);
}

static void read_error_is_reported_and_never_wrong_data(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    support_log_level(-1);
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    squeeze(20);
    disk.fail_read_permille = 1000;
    assert_int_equal(get(pool, 1, 1, 5), TMEM_BROKEN);
    disk.fail_read_permille = 0;
    assert_int_equal(get(pool, 1, 1, 5), TMEM_BROKEN);
    assert_int_equal(put(pool, 1, 1, 6), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 6), TMEM_OK);
    squeeze(20);
    disk.corrupt_permille = 1000;
    assert_int_equal(get(pool, 1, 1, 6), TMEM_BROKEN);
    disk.corrupt_permille = 0;
    support_log_level(LOG_WARN);
}

static void ignore(struct mm_waiter *unused)
{
    (void)unused;
}

/* What is only read ahead leaves requests to each vCPU that waits for its page; should there be
 * none nevertheless, it waits for one. */
static void reads_wait_when_there_is_no_request(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct mm_waiter waiters[PAGE_IO_RESERVE + 1] = {0};

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    squeeze(20);
    for (uint32_t i = 0; i < 120; i++) {
        struct tmem_handle h = handle(pool, 1, i);

        tmem_prefetch(tmem, &h);
    }
    assert_int_equal(disk.queued, PAGE_IO_REQUESTS - PAGE_IO_RESERVE);
    for (uint32_t i = 0; i <= PAGE_IO_RESERVE; i++) {
        struct tmem_handle h = handle(pool, 1, 120 + i);

        waiters[i].wake = ignore;
        list_init(&waiters[i].link);
        assert_int_equal(tmem_get(tmem, &h, gpa(0), &waiters[i]), TMEM_WAIT);
    }
    assert_int_equal(disk.queued, PAGE_IO_REQUESTS);
    assert_int_equal(waiters[PAGE_IO_RESERVE].queue, MM_WAITS_FRAME);
    assert_int_equal(get(pool, 1, 199, 399), TMEM_OK);
    assert_int_equal(get(pool, 1, 0, 1), TMEM_OK);
    fake_disk_settle(&disk);
    for (uint32_t i = 0; i <= PAGE_IO_RESERVE; i++) {
        assert_int_equal(waiters[i].queue, MM_WAITS_NOT);
        waiter_cancel(&waiters[i]);
    }
}

/* ---- allocations ---------------------------------------------------------------------------- */

static void every_allocation_of_create_may_fail(void **state)
{
    (void)state;
    machine_up();
    for (unsigned n = 1;; n++) {
        uint64_t before = frame_stats_get().free;
        bool made, failed;

        support_fail_alloc(n);
        made = vm_up(&vms[0], QUOTA);
        failed = support_alloc_failed();
        support_fail_alloc(0);
        vm_down(&vms[0]);
        assert_int_equal(frame_stats_get().free, before);
        if (!failed) {
            assert_true(made && n > TMEM_SHARDS);
            break;
        }
        if (n > 200) {
            fail_msg("it never succeeds");
        }
    }
    machine_down();
}

/* ---- the VM --------------------------------------------------------------------------------- */

/* The VM is killed in the middle of all: tear_down() checks that nothing is left. */
static void killed_in_mid_traffic(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), ephemeral = new_pool(0);

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(put(pool, 1, i, i), TMEM_OK);
        assert_int_equal(put(ephemeral, 1, i, i), TMEM_OK);
    }
    tmem_write_out(tmem, 60);
    fake_disk_settle(&disk);
    for (uint32_t i = 0; i < 10; i++) {
        struct tmem_handle h = handle(pool, 1, i);

        tmem_prefetch(tmem, &h);
    }
    tmem_write_out(tmem, 60);
    assert_true(disk.queued > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TMEM_CASE(rule2_write_errors_lose_nothing),
        TMEM_CASE(read_error_is_reported_and_never_wrong_data),
        cmocka_unit_test(every_allocation_of_create_may_fail),
        TMEM_CASE(reads_wait_when_there_is_no_request),
        TMEM_CASE(killed_in_mid_traffic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
