/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/identity_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "mm/content/store.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/policy/pager.h"
#include "tests/unit/support.h"

struct identity_guest identity_guest;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

/* ---- the one timer that there is ---- */

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->fire = fire;
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    (void)timer;
    (void)deadline_ns;
    identity_guest.timer_set = true;
}

void timer_cancel_sync(struct timer *timer)
{
    (void)timer;
    identity_guest.timer_set = false;
}

/* ---- the machine ---- */

static void flush_tlbs(struct space *space)
{
    (void)space;
    memset(identity_guest.tlb, 0, sizeof(identity_guest.tlb));
}

void identity_guest_turn(void)
{
    if (identity_guest.timer_set) {
        identity_guest.timer_set = false;
        identity_guest.vdisk.timer.fire(&identity_guest.vdisk.timer);
    }
    if (support_random_below(2) == 0) {
        uint64_t failed = identity_guest.disk.failed_writes;

        fake_disk_step(&identity_guest.disk);
        if (identity_guest.disk.failed_writes !=
            failed) { /* a flush perhaps: all of the disk has changed */
            identity_guest.disk_has_changed();
        }
    }
    if (support_random_below(2) == 0) {
        support_store_step(&identity_guest.store_disk);
    }
    if (support_random_below(6) == 0) {
        space_evict(identity_guest.space, gfn(support_random_below(GUEST_PAGES)));
    }
    support_clock_advance(100000);
    pager_run();
}

/* The CPU's own walk: A, and D if it writes.  False: it faults. */
static bool walk(unsigned cpu, unsigned page, bool write)
{
    const struct table_format *format = identity_guest.space->table.format;
    unsigned level;
    uint64_t *entry = table_leaf(&identity_guest.space->table, gfn(page), &level);
    uint64_t value = table_entry_get(entry);

    if (format->classify(value, level) != ENTRY_LEAF) {
        return false;
    }
    table_entry_add(entry, format->accessed_bit | (write ? format->dirty_bit : 0));
    identity_guest.tlb[cpu][page].valid = true;
    identity_guest.tlb[cpu][page].dirty = format->flags(table_entry_get(entry)) & LEAF_DIRTY;
    identity_guest.tlb[cpu][page].frame =
        pfn(format->pfn(value, level).v + (page & (table_level_pages(level) - 1)));
    return true;
}

uint8_t *identity_guest_translate(unsigned cpu, unsigned page, bool write)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    for (unsigned turns = 0;; turns++) {
        enum mm_result result;

        assert_true(turns < 100000);
        if ((identity_guest.tlb[cpu][page].valid &&
             (!write || identity_guest.tlb[cpu][page].dirty)) ||
            walk(cpu, page, write)) {
            waiter_end_turn(&waiter);
            waiter_cancel(&waiter);
            return mm_frame_ptr(identity_guest.tlb[cpu][page].frame);
        }
        result = space_fault(identity_guest.space, gfn(page), write ? ACCESS_WRITE : ACCESS_READ,
                             &waiter);
        assert_true(result == MM_OK || result == MM_WAIT);
        if (turns == 99990) {
            setenv("DBGV", "1", 1);
        }
        if (result == MM_WAIT) {
            identity_guest_turn();
        }
        if (turns == 99990) {
            setenv("DBGV", "1", 1);
        }
    }
}

void identity_guest_put(gpa_t at, const void *bytes, size_t count)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_write(identity_guest.space, at, bytes, count, &waiter) != MM_OK) {
        identity_guest_turn();
    }
    waiter_end_turn(&waiter);
    waiter_cancel(&waiter);
}

void identity_guest_fill(gfn_t page, uint64_t word, bool *done)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_overwrite(identity_guest.space, page, word, &waiter, done) != MM_OK) {
        identity_guest_turn();
    }
    waiter_end_turn(&waiter);
    waiter_cancel(&waiter);
}

/* ---- up and down ---- */

void identity_guest_up(const struct table_format *format, const struct vdisk_host *host)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    memset(&identity_guest, 0, sizeof(identity_guest));
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 10, 16);
    support_on_shootdown(flush_tlbs);
    fake_disk_init(&identity_guest.store_disk, STORE_BLOCKS, 1);
    config.store = support_open_store(&identity_guest.store_disk);
    fake_disk_init(&identity_guest.disk, BLOCKS, support_random());
    identity_guest.disk.device.discard_max = 200;
    for (uint64_t i = 0; i < BLOCKS * PAGE_SIZE; i += 8) {
        uint64_t value = support_random();

        memcpy(identity_guest.disk.data + i, &value, 8);
    }
    identity_guest.disk.stable = malloc(BLOCKS * PAGE_SIZE);
    memcpy(identity_guest.disk.stable, identity_guest.disk.data, BLOCKS * PAGE_SIZE);
    identity_guest.identity = store_open_disk(&identity_guest.disk.device);
    identity_guest.space = space_create(&config);
    assert_true(space_add_memslot(identity_guest.space, gfn(0), GUEST_PAGES, 0));
    assert_true(vdisk_init(&identity_guest.vdisk, &identity_guest.disk.device, false,
                           identity_guest.space, host, &identity_guest));
    assert_int_equal(identity_guest.vdisk.identity.number, 0);
}

void identity_guest_down(void)
{
    assert_true(vdisk_give_up(&identity_guest.vdisk));
    vdisk_destroy(&identity_guest.vdisk);
    space_close(identity_guest.space);
    while (!space_drain(identity_guest.space)) {
        support_store_step(&identity_guest.store_disk);
        fake_disk_step(&identity_guest.disk);
    }
    space_free(identity_guest.space);
    store_close(identity_guest.identity);
    free(identity_guest.disk.stable);
    fake_disk_free(&identity_guest.disk);
    fake_disk_free(&identity_guest.store_disk);
    support_memory_free();
}
