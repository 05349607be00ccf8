/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/support_tmem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/policy/pager.h"

struct fake_disk disk;
struct store *store;
struct machine_vm vms[VMS];
struct space *space;
struct tmem *tmem;

static uint64_t free_at_start;
static unsigned woken;

static void wake(struct mm_waiter *w)
{
    assert_int_equal(w->queue, MM_WAITS_NOT);
    woken++;
}

struct mm_waiter waiter = {.wake = wake};

/* ---- the machine ---------------------------------------------------------------------------- */

bool vm_up(struct machine_vm *vm, uint64_t quota)
{
    struct space_config config = {
        .name = "vm", .format = &fake_format, .store = store, .shares = 100};

    vm->tmem = NULL;
    vm->space = space_create(&config);
    if (vm->space == NULL || !space_add_memslot(vm->space, gfn(0), PAGES, 0)) {
        return false;
    }
    struct tmem_config tmem_config = {.name = "vm",
                                      .space = vm->space,
                                      .store = store,
                                      .quota = quota,
                                      .ephemeral_max = EPHEMERAL_MAX,
                                      .shares = 100,
                                      .seed = 42};

    vm->tmem = tmem_create(&tmem_config);
    return vm->tmem != NULL;
}

void vm_down(struct machine_vm *vm)
{
    if (vm->tmem != NULL) {
        tmem_close(vm->tmem);
        while (!tmem_drain(vm->tmem)) {
            support_store_step(&disk);
        }
    }
    if (vm->space != NULL) {
        space_close(vm->space);
        while (!space_drain(vm->space)) {
            support_store_step(&disk);
        }
    }
    if (vm->tmem != NULL) {
        tmem_free(vm->tmem);
    }
    if (vm->space != NULL) {
        space_free(vm->space);
    }
    vm->tmem = NULL;
    vm->space = NULL;
}

void watermarks_off(void)
{
    frame_alloc_set_watermarks(4, 16, 64);
}

void machine_up(void)
{
    support_memory_init(FRAMES);
    watermarks_off();
    fake_disk_init(&disk, SLOTS + 2, 1);
    store = support_open_store(&disk);
    assert_non_null(store);
    free_at_start = frame_stats_get().free;
    woken = 0;
}

void machine_down(void)
{
    struct store_stats stats;
    struct frame_stats frames = frame_stats_get();

    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frames.tmem, 0);
    assert_int_equal(frames.free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

int support_tmem_set_up(void **state)
{
    (void)state;
    machine_up();
    for (unsigned i = 0; i < VMS; i++) {
        assert_true(vm_up(&vms[i], QUOTA));
    }
    space = vms[0].space;
    tmem = vms[0].tmem;
    return 0;
}

int support_tmem_tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VMS; i++) {
        vm_down(&vms[i]);
    }
    machine_down();
    return 0;
}

void squeeze(unsigned steps)
{
    frame_alloc_set_watermarks(4, FRAMES, FRAMES);
    while (steps-- > 0) {
        support_clock_advance(10000000);
        pager_run();
        support_store_settle(&disk);
    }
    watermarks_off();
}

/* ---- operations that wait ------------------------------------------------------------------- */

void make_page(uint64_t seed, uint64_t *page)
{
    for (unsigned i = 0; i < WORDS; i++) {
        page[i] = seed % 4 == 0 ? seed : seed * 0x9e3779b97f4a7c15ull * (i + 1);
    }
}

void wait_woken(void)
{
    for (unsigned i = 0; woken == 0; i++) {
        assert_true(i < 10000);
        support_clock_advance(1000000);
        pager_run();
        fake_disk_step(&disk);
    }
    woken = 0;
}

void guest_write(uint64_t page, const void *content)
{
    while (space_write(space, gpa(page * PAGE_SIZE), content, PAGE_SIZE, &waiter) == MM_WAIT) {
        wait_woken();
    }
}

static void guest_read(uint64_t page, void *content)
{
    while (space_read(space, gpa(page * PAGE_SIZE), content, PAGE_SIZE, &waiter) == MM_WAIT) {
        wait_woken();
    }
}

struct tmem_handle handle(uint32_t pool, uint64_t object, uint32_t index)
{
    return (struct tmem_handle){
        .object = {object, ~object, object << 32}, .pool = pool, .index = index};
}

enum tmem_result put_from(uint32_t pool, uint64_t object, uint32_t index, uint64_t page)
{
    struct tmem_handle h = handle(pool, object, index);
    enum tmem_result result;

    while ((result = tmem_put(tmem, &h, gpa(page * PAGE_SIZE), &waiter)) == TMEM_WAIT) {
        wait_woken();
    }
    waiter_end_turn(&waiter);
    return result;
}

enum tmem_result put(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed)
{
    uint64_t content[WORDS];

    make_page(seed, content);
    guest_write(1, content);
    return put_from(pool, object, index, 1);
}

enum tmem_result get(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed)
{
    struct tmem_handle h = handle(pool, object, index);
    uint64_t content[WORDS], expected[WORDS];
    enum tmem_result result;

    while ((result = tmem_get(tmem, &h, gpa(2 * PAGE_SIZE), &waiter)) == TMEM_WAIT) {
        wait_woken();
    }
    waiter_end_turn(&waiter);
    if (result == TMEM_OK) {
        make_page(seed, expected);
        guest_read(2, content);
        assert_memory_equal(content, expected, PAGE_SIZE);
    }
    return result;
}

uint32_t new_pool(uint32_t flags)
{
    uint32_t id;

    assert_int_equal(tmem_pool_create(tmem, flags, &id), TMEM_OK);
    return id;
}

enum tmem_result destroy_of(struct tmem *of, uint32_t pool)
{
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_pool_destroy(of, pool, &position)) == TMEM_AGAIN) {
    }
    return result;
}

enum tmem_result destroy(uint32_t pool)
{
    return destroy_of(tmem, pool);
}

enum tmem_result flush_pool(uint32_t pool)
{
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_pool_flush(tmem, pool, &position)) == TMEM_AGAIN) {
    }
    return result;
}

enum tmem_result flush_object(uint32_t pool, uint64_t object)
{
    struct tmem_handle h = handle(pool, object, 0);
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_object_flush(tmem, &h, &position)) == TMEM_AGAIN) {
    }
    return result;
}

enum tmem_result flush(uint32_t pool, uint64_t object, uint32_t index)
{
    struct tmem_handle h = handle(pool, object, index);

    return tmem_page_flush(tmem, &h);
}

struct tmem_stats stats_now(void)
{
    struct tmem_stats stats;

    tmem_get_stats(tmem, &stats);
    return stats;
}

enum place_kind where(uint32_t pool, uint64_t object, uint32_t index)
{
    struct tmem_handle h = handle(pool, object, index);
    uint64_t hash = tmem_hash(tmem, &h);
    struct tmem_page *page = tmem_find(tmem_shard_of(tmem, hash), hash, &h);

    assert_non_null(page);
    return tmem_page_place(page).kind;
}
