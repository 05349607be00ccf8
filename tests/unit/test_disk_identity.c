/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/identity_guest.c */
/*
 * Disk identity (mm/space/identity.h) under everything at once: two CPUs whose TLBs keep what they
 * have until a shootdown, a guest disk with requests in flight to the same pages and blocks, a
 * device that holds pages, the hypervisor's own writes, pages that are given back, a disk that
 * fails and whose cache forgets.  Memory is half of what the guest has, and pages leave all the
 * time.
 *
 * The model is the memory of the guest.  The disk itself says what is on it.  Where a transfer
 * raced with something, either outcome is right: then the page says what it is, at the moment when
 * the transfer ends, and must not change from then on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "mm/content/store_internal.h"
#include "mm/env.h"
#include "tests/unit/identity_guest.h"
#include "tests/unit/support.h"

struct slot {
    struct vdisk_request *request; /* NULL: none */
    unsigned page, pages;
    bool raced[BLOCKS]; /* READ: page i of it */
};

static struct slot slots[SLOTS];
static uint64_t raced, fills, done[3];
static bool lost;

static uint8_t memory[PAGES][PAGE_SIZE];

/* ---- what is in flight ---- */

static bool reads_into(const struct slot *slot, unsigned page)
{
    return slot->request != NULL && slot->request->op == VDISK_READ &&
           page - slot->page < slot->pages;
}

/* What is on the page, or comes into it, is nobody's guess any more. */
static void touch(unsigned page)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (reads_into(&slots[i], page)) {
            slots[i].raced[page - slots[i].page] = true;
        }
    }
}

static bool is_read_into(unsigned page)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (reads_into(&slots[i], page)) {
            return true;
        }
    }
    return false;
}

/* Sectors [from, end) change: what is read from there races. */
static void touch_disk(uint64_t from, uint64_t end)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &slots[i];

        for (unsigned p = 0;
             slot->request != NULL && slot->request->op == VDISK_READ && p < slot->pages; p++) {
            uint64_t first = slot->request->sector + p * (uint64_t)BLOCK_SECTORS;

            slot->raced[p] |= first < end && from < first + BLOCK_SECTORS;
        }
    }
}

static bool writes_there(const struct slot *slot, uint64_t from, uint64_t end)
{
    const struct vdisk_request *request = slot->request;
    uint64_t sectors;

    if (request == NULL || request->op == VDISK_READ || request->op == VDISK_FLUSH) {
        return false;
    }
    sectors = request->op == VDISK_WRITE ? slot->pages * (uint64_t)BLOCK_SECTORS : BLOCKS * 8;
    return request->sector < end && from < request->sector + sectors;
}

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

/* ---- the guest ---- */

static void guest_writes(unsigned page)
{
    unsigned at = (unsigned)support_random_below(PAGE_SIZE / 8) * 8;
    uint64_t value = support_random();

    memcpy(identity_guest_translate((unsigned)support_random_below(CPUS), page, true) + at, &value,
           8);
    memcpy(memory[page] + at, &value, 8);
    touch(page);
}

static void guest_reads(unsigned page)
{
    const uint8_t *bytes =
        identity_guest_translate((unsigned)support_random_below(CPUS), page, false);

    if (!is_read_into(page)) {
        assert_memory_equal(bytes, memory[page], PAGE_SIZE);
    }
}

static void hypervisor_writes(unsigned page)
{
    unsigned at = (unsigned)support_random_below(PAGE_SIZE / 8) * 8;
    uint64_t value = support_random();

    identity_guest_put(gpa(page * PAGE_SIZE + at), &value, 8);
    memcpy(memory[page] + at, &value, 8);
    touch(page);
}

/* By a string instruction; nothing, if the page is not on a disk. */
static void guest_fills(unsigned page)
{
    uint64_t value = support_random();
    bool filled;

    identity_guest_fill(gfn(page), value, &filled);
    for (unsigned at = 0; filled && at < PAGE_SIZE; at += sizeof(value)) {
        memcpy(memory[page] + at, &value, sizeof(value));
    }
    if (filled) {
        touch(page);
        fills++;
    }
}

static void guest_gives_back(unsigned page)
{
    const struct gfn_range range = {gfn(page), 1};

    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].request != NULL && page - slots[i].page < slots[i].pages) {
            return;
        }
    }
    if (space_discard(identity_guest.space, &range, 1) == 1) {
        memset(memory[page], 0, PAGE_SIZE);
    }
}

/* A device that takes a page for long, writes to it, and gives it back. */
static void device_uses(unsigned page)
{
    struct mm_waiter waiter = {.wake = wake};

    if (identity_guest.held[page]) {
        uint8_t *byte =
            (uint8_t *)mm_frame_ptr(identity_guest.held_at[page]) + support_random_below(PAGE_SIZE);

        *byte ^= 0x5a;
        memory[page][byte - (uint8_t *)mm_frame_ptr(identity_guest.held_at[page])] = *byte;
        touch(page);
        if (support_random_below(2) == 0) {
            identity_guest.held[page] = false;
            space_unpin(identity_guest.space, gfn(page), true);
        }
        return;
    }
    list_init(&waiter.link);
    while (space_pin(identity_guest.space, gfn(page),
                     ACCESS_READ | ACCESS_WRITE | SPACE_PIN_LASTING, &identity_guest.held_at[page],
                     &waiter) != MM_OK) {
        identity_guest_turn();
    }
    waiter_end_turn(&waiter);
    waiter_cancel(&waiter);
    identity_guest.held[page] = true;
}

/* ---- requests ---- */

/* One that a request is about, as often as not. */
static unsigned some_page(void)
{
    const struct slot *slot = &slots[support_random_below(SLOTS)];

    return slot->request != NULL && slot->pages != 0 && support_random_below(2) == 0
               ? slot->page + (unsigned)support_random_below(slot->pages)
               : (unsigned)support_random_below(PAGES);
}

static void make_data(struct slot *slot, struct vdisk_request *request, enum vdisk_op op)
{
    bool odd = support_random_below(4) == 0; /* not whole blocks */

    slot->pages = 1 + (unsigned)support_random_below(support_random_below(3) == 0 ? 24 : 4);
    slot->page = some_page();
    slot->page = MIN(slot->page, PAGES - slot->pages);
    request->op = op;
    request->sector = support_random_below(BLOCKS - slot->pages) * BLOCK_SECTORS;
    request->sector += odd ? support_random_below(BLOCK_SECTORS) : 0;
    request->count = 0;
    for (unsigned i = 0; i < slot->pages; i++) {
        request->segment[request->count++] =
            (struct vdisk_segment){gpa((slot->page + i) * PAGE_SIZE), PAGE_SIZE};
    }
}

static void make_range(struct slot *slot, struct vdisk_request *request, enum vdisk_op op)
{
    struct vdisk_range range = {.sector = support_random_below(BLOCKS * 8 - 100),
                                .sectors = 1 + (uint32_t)support_random_below(100)};

    identity_guest_put(RANGE_AT(slot - slots), &range, sizeof(range));
    request->op = op;
    request->sector = 0;
    request->count = 1;
    request->segment[0] = (struct vdisk_segment){RANGE_AT(slot - slots), sizeof(range)};
    slot->pages = 0;
}

/* What races with what is in flight already. */
static void note_races(struct slot *slot, const struct vdisk_request *request)
{
    uint64_t end = request->sector + slot->pages * (uint64_t)BLOCK_SECTORS;

    memset(slot->raced, 0, sizeof(slot->raced));
    if (request->op == VDISK_READ) {
        for (unsigned i = 0; i < slot->pages; i++) {
            uint64_t from = request->sector + i * (uint64_t)BLOCK_SECTORS;

            slot->raced[i] = is_read_into(slot->page + i) || identity_guest.held[slot->page + i];
            touch(slot->page + i);
            for (unsigned s = 0; s < SLOTS; s++) {
                slot->raced[i] |= writes_there(&slots[s], from, from + BLOCK_SECTORS);
            }
        }
    } else if (request->op == VDISK_WRITE) {
        touch_disk(request->sector, end);
    } else if (request->op != VDISK_FLUSH) {
        touch_disk(0, BLOCKS * BLOCK_SECTORS);
    }
}

static void submit(struct slot *slot)
{
    struct vdisk_request *request = vdisk_take(&identity_guest.vdisk);
    unsigned kind = (unsigned)support_random_below(20);

    assert_non_null(request);
    request->token[0] = (uint32_t)(slot - slots);
    request->answers = false;
    if (kind < 2) {
        request->op = VDISK_FLUSH;
        request->count = slot->pages = 0;
    } else if (kind < 4) {
        make_range(slot, request, kind == 2 ? VDISK_ZERO : VDISK_DISCARD);
    } else {
        make_data(slot, request, kind < 13 ? VDISK_READ : VDISK_WRITE);
    }
    note_races(slot, request);
    slot->request = request;
    vdisk_submit(&identity_guest.vdisk, request);
}

/* The page as it is, wherever: nothing runs meanwhile. */
static bool peek(unsigned page)
{
    unsigned level;
    uint64_t value = table_entry_get(table_leaf(&identity_guest.space->table, gfn(page), &level));
    struct place at = entry_place(identity_guest.space, value, level);

    if (at.kind == PLACE_FRAME || at.kind == PLACE_WRITING) {
        uint64_t inside = at.kind == PLACE_FRAME ? page & (table_level_pages(level) - 1) : 0;

        memcpy(memory[page], mm_frame_ptr(pfn(place_frame(at).v + inside)), PAGE_SIZE);
        return true;
    }
    return false;
}

static void disk_has_changed(void)
{
    touch_disk(0, BLOCKS * BLOCK_SECTORS);
}

static void read_is_done(struct slot *slot, const struct vdisk_request *request)
{
    for (unsigned i = 0; i < slot->pages; i++) {
        unsigned page = slot->page + i;

        if (is_read_into(page)) {
            continue; /* that one's end says it */
        }
        if (request->status != VDISK_OK || slot->raced[i]) {
            raced++;
            if (!peek(page)) { /* gone already: it comes back as it is, at the disk's cost */
                memcpy(memory[page], identity_guest_translate(0, page, false), PAGE_SIZE);
            }
        } else {
            memcpy(memory[page], identity_guest.disk.data + request->sector * 512 + i * PAGE_SIZE,
                   PAGE_SIZE);
        }
    }
}

static void note_done(void *owner, struct vdisk_request *request)
{
    struct slot *slot = &slots[request->token[0]];

    (void)owner;
    slot->request = NULL;
    done[request->status]++;
    if (request->op == VDISK_READ) {
        read_is_done(slot, request);
    }
    vdisk_give(&identity_guest.vdisk, request);
}

static void note_lost(void *owner, gfn_t page)
{
    (void)owner;
    (void)page;
    lost = true;
}

static void note_idle(void *owner)
{
    (void)owner;
}

static const struct vdisk_host host = {.done = note_done, .lost = note_lost, .idle = note_idle};

static void settle(void)
{
    for (unsigned turns = 0; identity_guest.vdisk.open != 0; turns++) {
        assert_true(turns < 1000000);
        identity_guest_turn();
    }
    for (unsigned page = 0; page < PAGES; page++) {
        if (identity_guest.held[page]) {
            identity_guest.held[page] = false;
            space_unpin(identity_guest.space, gfn(page), true);
        }
        guest_reads(page);
    }
}

static void act(void)
{
    unsigned page = some_page();
    unsigned kind = (unsigned)support_random_below(100);

    if (kind < 25) {
        guest_writes(page);
    } else if (kind < 50) {
        guest_reads(page);
    } else if (kind < 53) {
        guest_fills(page);
    } else if (kind < 55) {
        hypervisor_writes(page);
    } else if (kind < 57) {
        guest_gives_back(page);
    } else if (kind < 60) {
        device_uses(page % 32);
    } else if (kind < 75) {
        struct slot *slot = &slots[support_random_below(SLOTS)];

        if (slot->request == NULL) {
            submit(slot);
        }
    } else {
        identity_guest_turn();
    }
}

/* ---- tests ---- */

static void run(const struct table_format *format, unsigned acts, bool fails)
{
    struct space_stats stats;

    memset(memory, 0, sizeof(memory));
    memset(slots, 0, sizeof(slots));
    memset(done, 0, sizeof(done));
    raced = 0;
    fills = 0;
    identity_guest_up(format, &host);
    identity_guest.disk_has_changed = disk_has_changed;
    if (fails) {
        identity_guest.disk.forgets = true;
        identity_guest.disk.fail_read_permille = 20;
        identity_guest.disk.fail_write_permille = 60;
        identity_guest.store_disk.fail_write_permille = 60;
    }
    for (unsigned i = 0; i < acts; i++) {
        act();
    }
    settle();
    space_get_stats(identity_guest.space, &stats);
    print_message("%lu done, %lu failed, %lu pages raced; %lu drops, %lu reads, %lu outs, "
                  "%lu taken back, %lu filled, tight %u times\n",
                  (unsigned long)done[0], (unsigned long)done[1], (unsigned long)raced,
                  (unsigned long)stats.disk_drops, (unsigned long)stats.disk_reads,
                  (unsigned long)stats.page_outs, (unsigned long)identity_guest.space->taken_back,
                  (unsigned long)fills, store_tightened(identity_guest.space->owner.store));
    assert_true(stats.disk_drops > acts / 60 && stats.disk_reads > acts / 120);
    assert_true(raced > acts / 200 && fills > acts / 500 && !lost);
    assert_true(fails ? done[1] > acts / 500 : done[1] == 0);
    identity_guest_down();
}

static void identity_random(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};

    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        run(formats[i], 100000, false);
    }
}

/* Requests fail, and with each flush that fails all is gone that had not been flushed. */
static void identity_on_a_disk_that_forgets(void **state)
{
    (void)state;
    support_seed(2);
    run(&fake_format, 200000, true);
}

static void transfer(enum vdisk_op op, unsigned page, uint64_t block, unsigned pages)
{
    struct vdisk_request *request = vdisk_take(&identity_guest.vdisk);

    *request = (struct vdisk_request){
        .link = request->link, .op = op, .sector = block * BLOCK_SECTORS, .count = 1};
    request->segment[0] = (struct vdisk_segment){gpa(page * PAGE_SIZE), pages * PAGE_SIZE};
    slots[0] = (struct slot){.request = request, .page = page, .pages = pages};
    vdisk_submit(&identity_guest.vdisk, request);
    settle();
}

/* Does it leave to its block, once nothing of it is on its way? */
static bool is_dropped(unsigned page)
{
    unsigned level;

    for (unsigned i = 0; i < 1000 && !space_evict(identity_guest.space, gfn(page)); i++) {
        identity_guest_turn();
    }
    return entry_kind(identity_guest.space,
                      table_entry_get(table_leaf(&identity_guest.space->table, gfn(page), &level)),
                      1) == PLACE_DISK;
}

/* One read of blocks of which a flush has covered the first ones only. */
static void identity_of_blocks_that_differ(void **state)
{
    (void)state;
    memset(memory, 0, sizeof(memory));
    memset(slots, 0, sizeof(slots));
    identity_guest_up(&fake_format, &host);
    guest_writes(100);
    transfer(VDISK_WRITE, 100, 64, 1);
    transfer(VDISK_READ, 0, 62, 4);
    assert_true(is_dropped(0));
    assert_true(is_dropped(1));
    assert_false(is_dropped(2));
    assert_false(is_dropped(3)); /* it is told by groups */
    transfer(VDISK_FLUSH, 0, 0, 0);
    transfer(VDISK_READ, 0, 62, 4);
    for (unsigned page = 0; page < 4; page++) {
        assert_true(is_dropped(page));
    }
    identity_guest_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_of_blocks_that_differ),
        cmocka_unit_test(identity_random),
        cmocka_unit_test(identity_on_a_disk_that_forgets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
