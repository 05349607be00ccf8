/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disk identity (docs/disk-identity.md): two VMs with a disk of their own and one that they share,
 * CPUs with TLBs that write at any moment, pages that leave all the time, requests that touch the
 * same blocks and the same pages at the same time.  Plain arrays say what each page must hold.
 *
 * What a disk holds is the fake disk's own array.  A page that is read into while somebody else
 * writes to it, or to its block, may hold anything: what it holds when the last request has ended
 * is what it must hold from then on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/disk/vdisk.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define VMS       2u
#define CPUS      2u /* of each */
#define TLB       8u
#define PAGES     96u   /* that the model knows */
#define RANGES    PAGES /* the page with what ZERO asks for */
#define BLOCKS    48u
#define SECTORS   (BLOCKS * BLOCK_SECTORS)
#define FLIGHTS   24u
#define SHARED    VMS  /* number of the disk that both have */
#define FREE_LEFT 150u /* frames for all pages, and what a CPU caches */

struct translation {
    bool valid, dirty;
    unsigned page;
    pfn_t frame;
};

struct page {
    uint8_t bytes[PAGE_SIZE];
    unsigned reads;   /* requests that read into it */
    unsigned writes;  /* that write it to a disk */
    bool raced;       /* in one of them nobody knows what it will hold */
    bool changed;     /* while it is written to a disk */
    bool must_settle; /* read what it holds: no request is left */
};

struct vm {
    struct space *space;
    struct vdisk own, shared;
    struct page page[PAGES];
    struct translation tlb[CPUS][TLB];
};

struct flight {
    bool used;
    struct vm *vm;
    unsigned disk;
    enum vdisk_op op;
    uint64_t sector, sectors;
    bool raced; /* another one touches its blocks, and one of them writes */
    unsigned count;
    struct vdisk_segment segment[VDISK_SEGMENTS];
};

static struct {
    struct fake_disk store_disk, disk[VMS + 1];
    struct store *store;
    struct vm vm[VMS];
    struct flight flight[FLIGHTS];
    struct timer *timers[2 * VMS];
    unsigned timer_count;
    uint64_t done, failed, raced_pages, settled_late, late_writes, compared;
    unsigned lost, idle;
    bool calm; /* no page leaves unless the test says so */
    pfn_t ballast[1024];
    unsigned ballast_count;
    uint64_t free_at_start;
} t;

/* ---- timers ---- */

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->fire = fire;
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    (void)deadline_ns;
    for (unsigned i = 0; i < t.timer_count; i++) {
        if (t.timers[i] == timer) {
            return;
        }
    }
    assert_true(t.timer_count < ARRAY_SIZE(t.timers));
    t.timers[t.timer_count++] = timer;
}

void timer_cancel_sync(struct timer *timer)
{
    for (unsigned i = 0; i < t.timer_count; i++) {
        if (t.timers[i] == timer) {
            t.timers[i] = t.timers[--t.timer_count];
            return;
        }
    }
}

static void run_timer(void)
{
    if (t.timer_count != 0) {
        struct timer *timer = t.timers[support_random_below(t.timer_count)];

        timer_cancel_sync(timer);
        timer->fire(timer);
    }
}

/* ---- CPUs ---- */

static void wrote(struct page *page, unsigned at, const void *bytes, size_t count)
{
    page->raced |= page->reads != 0;
    page->changed |= page->writes != 0;
    memcpy(page->bytes + at, bytes, count);
}

/* Through what the CPU has cached as dirty: no table is looked at. */
static void write_cached(struct vm *vm, const struct translation *entry)
{
    uint64_t value = support_random();
    unsigned at = (unsigned)support_random_below(PAGE_SIZE / 8) * 8;

    memcpy((uint8_t *)mm_frame_ptr(entry->frame) + at, &value, 8);
    wrote(&vm->page[entry->page], at, &value, 8);
}

/* CPUs inside the guest go on until the kick. */
static void shootdown(struct space *space)
{
    for (unsigned i = 0; i < VMS; i++) {
        struct vm *vm = &t.vm[i];

        for (unsigned n = 0; vm->space == space && n < CPUS * TLB; n++) {
            struct translation *entry = &vm->tlb[n / TLB][n % TLB];

            if (entry->valid && entry->dirty && support_random_below(2) == 0) {
                write_cached(vm, entry);
                t.late_writes++;
            }
            entry->valid = false;
        }
    }
    atomic_fetch_add(space_flush_gen(space), 1);
}

static bool walk(struct space *space, gfn_t page, bool write, pfn_t *frame)
{
    const struct table_format *format = space->table.format;
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);

    if (format->classify(*entry, level) != ENTRY_LEAF) {
        return false;
    }
    *entry |= format->accessed_bit | (write ? format->dirty_bit : 0);
    *frame = pfn(format->pfn(*entry, level).v + page.v % table_level_pages(level));
    return true;
}

/* ---- the machine ---- */

static void turn(void)
{
    run_timer();
    for (unsigned i = 0; i <= VMS; i++) {
        if (support_random_below(5) == 0) {
            fake_disk_step(&t.disk[i]);
        }
    }
    if (support_random_below(2) == 0) {
        support_store_step(&t.store_disk);
    }
    if (!t.calm && support_random_below(3) == 0) {
        space_evict(t.vm[support_random_below(VMS)].space, gfn(support_random_below(PAGES)));
    }
    support_clock_advance(3000000);
    pager_run();
}

static bool woken;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    woken = true;
}

static enum mm_result touch(struct vm *vm, unsigned page, bool write, struct mm_waiter *waiter,
                            pfn_t *frame)
{
    while (!walk(vm->space, gfn(page), write, frame)) {
        enum mm_result result =
            space_fault(vm->space, gfn(page), write ? ACCESS_WRITE : ACCESS_READ, waiter);

        if (result != MM_OK) {
            return result;
        }
    }
    return MM_OK;
}

/* By a CPU of the guest: its frame, with a translation; waits as long as it takes. */
static uint8_t *access(struct vm *vm, unsigned cpu, unsigned page, bool write)
{
    struct mm_waiter waiter = {.wake = wake};
    struct translation *entry;
    pfn_t frame;

    for (unsigned i = 0; i < TLB; i++) {
        entry = &vm->tlb[cpu][i];
        if (entry->valid && entry->page == page && (entry->dirty || !write)) {
            return mm_frame_ptr(entry->frame); /* no table is looked at */
        }
    }
    list_init(&waiter.link);
    for (unsigned turns = 0; touch(vm, page, write, &waiter, &frame) != MM_OK; turns++) {
        assert_true(turns < 200000);
        turn();
    }
    waiter_cancel(&waiter);
    for (unsigned i = 0; i < TLB; i++) {
        vm->tlb[cpu][i].valid &= vm->tlb[cpu][i].page != page;
    }
    entry = &vm->tlb[cpu][support_random_below(TLB)];
    *entry = (struct translation){.valid = true, .dirty = write, .page = page, .frame = frame};
    return mm_frame_ptr(frame);
}

static void compare(const struct vm *vm, unsigned page, const uint8_t *now)
{
    const struct page *p = &vm->page[page];

    if (p->reads != 0 || p->must_settle) {
        return;
    }
    t.compared++;
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        if (now[i] != p->bytes[i]) {
            fail_msg("vm %u page %u byte %u: 0x%x, expected 0x%x", (unsigned)(vm - t.vm), page, i,
                     now[i], p->bytes[i]);
        }
    }
}

static void look(struct vm *vm, unsigned page)
{
    compare(vm, page, access(vm, (unsigned)support_random_below(CPUS), page, false));
}

static void cpu_write(struct vm *vm, unsigned page)
{
    unsigned cpu = (unsigned)support_random_below(CPUS);
    uint64_t value = support_random();
    unsigned at = (unsigned)support_random_below(PAGE_SIZE / 8) * 8;

    memcpy(access(vm, cpu, page, true) + at, &value, 8);
    wrote(&vm->page[page], at, &value, 8);
}

/* By the hypervisor. */
static void hv_copy(struct vm *vm, uint64_t at, void *bytes, size_t count, bool write)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    for (unsigned turns = 0;; turns++) {
        enum mm_result result = write ? space_write(vm->space, gpa(at), bytes, count, &waiter)
                                      : space_read(vm->space, gpa(at), bytes, count, &waiter);

        if (result == MM_OK) {
            break;
        }
        assert_int_equal(result, MM_WAIT);
        assert_true(turns < 200000);
        turn();
    }
    waiter_cancel(&waiter);
}

static void fill_random(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        uint64_t value = support_random();

        memcpy(bytes + i, &value, 8);
    }
}

static void hv_write(struct vm *vm, unsigned page, bool whole)
{
    static uint8_t bytes[PAGE_SIZE];
    unsigned count = whole ? (unsigned)PAGE_SIZE : 16;
    unsigned at = whole ? 0 : (unsigned)support_random_below(PAGE_SIZE / 16) * 16;

    fill_random(bytes, count);
    hv_copy(vm, page * PAGE_SIZE + at, bytes, count, true);
    wrote(&vm->page[page], at, bytes, count);
}

static void discard(struct vm *vm, unsigned page)
{
    struct page *p = &vm->page[page];
    struct gfn_range range = {gfn(page), 1};

    if (p->reads + p->writes == 0 && space_discard(vm->space, &range, 1) == 1) {
        memset(p->bytes, 0, PAGE_SIZE);
        p->must_settle = false;
    }
}

/* ---- requests ---- */

static bool blocks_overlap(const struct flight *a, const struct flight *b)
{
    uint64_t a_first = a->sector / 8, a_last = (a->sector + a->sectors - 1) / 8;
    uint64_t b_first = b->sector / 8, b_last = (b->sector + b->sectors - 1) / 8;

    return a_first <= b_last && b_first <= a_last;
}

static bool writes(const struct flight *f)
{
    return f->op == VDISK_WRITE || f->op == VDISK_ZERO;
}

static void note_races(struct flight *f)
{
    for (unsigned i = 0; i < FLIGHTS && f->sectors != 0; i++) {
        struct flight *other = &t.flight[i];

        if (other->used && other != f && other->disk == f->disk && other->sectors != 0 &&
            (writes(f) || writes(other)) && blocks_overlap(f, other)) {
            f->raced = other->raced = true;
        }
    }
}

/* Calls for each page that the request touches. */
static void each_page(struct flight *f, void (*call)(struct flight *f, struct page *page))
{
    for (unsigned i = 0; i < f->count && f->op != VDISK_ZERO; i++) {
        uint64_t first = f->segment[i].address.v / PAGE_SIZE;
        uint64_t end = (f->segment[i].address.v + f->segment[i].bytes + PAGE_SIZE - 1) / PAGE_SIZE;

        for (uint64_t page = first; page < end && f->segment[i].bytes != 0; page++) {
            call(f, &f->vm->page[page]);
        }
    }
}

static void enter_page(struct flight *f, struct page *page)
{
    if (f->op == VDISK_READ) {
        page->raced |= page->reads + page->writes != 0;
        page->reads++;
        page->changed |= page->writes != 0;
    } else {
        page->writes++;
        page->raced |= page->reads != 0;
        page->changed |= page->reads != 0 || page->must_settle;
    }
}

/* A page that is raced is settled when nobody reads into it any more. */
static void leave_page(struct flight *f, struct page *page)
{
    if (f->op == VDISK_WRITE) {
        page->changed &= --page->writes != 0;
        return;
    }
    page->raced |= f->raced;
    if (--page->reads == 0) {
        page->must_settle |= page->raced;
        t.raced_pages += page->raced;
        page->raced = false;
    }
}

/* What it holds, whatever that is, stays. */
static void settle_page(struct vm *vm, unsigned page, bool may_wait)
{
    struct mm_waiter waiter = {.wake = wake};
    struct page *p = &vm->page[page];

    if (!p->must_settle || p->reads != 0) {
        return;
    }
    list_init(&waiter.link);
    if (may_wait) {
        hv_copy(vm, page * PAGE_SIZE, p->bytes, PAGE_SIZE, false);
        t.settled_late++;
    } else if (space_read(vm->space, gpa(page * PAGE_SIZE), p->bytes, PAGE_SIZE, &waiter) !=
               MM_OK) {
        waiter_cancel(&waiter);
        return;
    }
    p->must_settle = p->reads != 0;
}

static void settle_pages(bool may_wait)
{
    for (unsigned i = 0; i < VMS * PAGES; i++) {
        settle_page(&t.vm[i / PAGES], i % PAGES, may_wait);
    }
}

/* Into the model, or compared with the disk. */
static void move(struct flight *f)
{
    const uint8_t *at = t.disk[f->disk].data + f->sector * 512;

    for (unsigned i = 0; i < f->count; i++) {
        for (uint32_t done = 0; done < f->segment[i].bytes; done++, at++) {
            uint64_t address = f->segment[i].address.v + done;

            struct page *page = &f->vm->page[address / PAGE_SIZE];
            uint8_t *memory = &page->bytes[address % PAGE_SIZE];

            if (f->op == VDISK_READ) {
                *memory = *at;
            } else if (*memory != *at && !page->changed) {
                fail_msg("disk %u sector %lu, %lu: segment %u of %u at 0x%lx byte %u: 0x%x, "
                         "expected 0x%x",
                         f->disk, (unsigned long)f->sector, (unsigned long)f->sectors, i, f->count,
                         (unsigned long)f->segment[i].address.v, done, *at, *memory);
            }
        }
    }
}

static void check_zeroes(const struct flight *f)
{
    for (uint64_t i = 0; i < f->sectors * 512; i++) {
        assert_int_equal(t.disk[f->disk].data[f->sector * 512 + i], 0);
    }
}

static void note_done(void *owner, struct vdisk_request *request)
{
    struct vdisk *disk = owner;
    struct flight *f = &t.flight[request->token[0]];

    assert_true(f->used);
    t.done++;
    if (request->status != VDISK_OK) {
        t.failed++;
        f->raced = true;
    }
    if ((f->op == VDISK_READ || f->op == VDISK_WRITE) && !f->raced) {
        move(f);
    } else if (f->op == VDISK_ZERO && !f->raced) {
        check_zeroes(f);
    }
    each_page(f, leave_page);
    f->used = false;
    vdisk_give(disk, request);
    settle_pages(false);
}

static void note_lost(void *owner, gfn_t page)
{
    (void)owner;
    (void)page;
    t.lost++;
}

static void note_idle(void *owner)
{
    (void)owner;
    t.idle++;
}

static const struct vdisk_host host = {.done = note_done, .lost = note_lost, .idle = note_idle};

static struct flight *free_flight(unsigned most)
{
    struct flight *free = NULL;
    unsigned used = 0;

    for (unsigned i = 0; i < FLIGHTS; i++) {
        used += t.flight[i].used;
        free = t.flight[i].used ? free : &t.flight[i];
    }
    return used < most ? free : NULL;
}

static struct vdisk *disk_of(const struct flight *f)
{
    return f->disk == SHARED ? &f->vm->shared : &f->vm->own;
}

static void submit(struct flight *f)
{
    struct vdisk_request *request = vdisk_take(disk_of(f));

    assert_non_null(request);
    request->op = f->op;
    request->sector = f->sector;
    request->count = f->count;
    request->answers = false;
    request->token[0] = (uint32_t)(f - t.flight);
    memcpy(request->segment, f->segment, sizeof(f->segment));
    f->used = true;
    f->raced = false;
    note_races(f);
    each_page(f, enter_page);
    vdisk_submit(disk_of(f), request);
}

/* Whole pages, anywhere; or any bytes of some pages. */
static void choose_memory(struct flight *f, bool odd)
{
    uint64_t left = f->sectors * 512;
    unsigned page = (unsigned)support_random_below(PAGES);

    if (odd) {
        f->count = 1;
        f->segment[0] = (struct vdisk_segment){
            gpa(support_random_below((PAGES * PAGE_SIZE - left) / 256) * 256), (uint32_t)left};
        return;
    }
    for (f->count = 0; left != 0; page = (page + (support_random_below(4) == 0 ? 7 : 1)) % PAGES) {
        uint32_t bytes = (uint32_t)MIN(left, PAGE_SIZE);

        f->segment[f->count++] = (struct vdisk_segment){gpa(page * PAGE_SIZE), bytes};
        left -= bytes;
    }
}

static void choose_blocks(struct flight *f, bool odd)
{
    f->sectors = 8 * (1 + support_random_below(support_random_below(6) == 0 ? 20 : 5));
    f->sector = support_random_below(BLOCKS - f->sectors / 8 + 1) * 8;
    if (odd) {
        f->sectors -= support_random_below(8);
        f->sector += support_random_below(SECTORS - f->sector - f->sectors + 1) % 8;
    }
}

static void make_zero(struct flight *f)
{
    struct vdisk_range range = {f->sector, (uint32_t)f->sectors, 0};

    hv_copy(f->vm, RANGES * PAGE_SIZE, &range, sizeof(range), true);
    f->count = 1;
    f->segment[0] = (struct vdisk_segment){gpa(RANGES * PAGE_SIZE), sizeof(range)};
}

/* Is there one whose range has not been read yet? */
static bool zero_in_flight(const struct vm *vm)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        if (t.flight[i].used && t.flight[i].vm == vm && t.flight[i].op == VDISK_ZERO) {
            return true;
        }
    }
    return false;
}

static void start(unsigned most)
{
    struct flight *f = free_flight(most);
    unsigned kind = (unsigned)support_random_below(20), vm = (unsigned)support_random_below(VMS);
    bool odd = support_random_below(5) == 0;

    if (f == NULL) {
        return;
    }
    f->vm = &t.vm[vm];
    f->disk = support_random_below(3) == 0 ? SHARED : vm;
    f->op = kind == 0 ? VDISK_FLUSH : kind < 11 || f->disk == SHARED ? VDISK_READ : VDISK_WRITE;
    if (kind == 1 && f->disk != SHARED && !zero_in_flight(f->vm)) {
        f->op = VDISK_ZERO;
    }
    f->count = 0;
    f->sector = f->sectors = 0;
    if (f->op != VDISK_FLUSH) {
        choose_blocks(f, odd);
        if (f->op == VDISK_ZERO) {
            make_zero(f);
        } else {
            choose_memory(f, odd && support_random_below(2) == 0);
        }
    }
    submit(f);
}

/* ---- up and down ---- */

static void take_ballast(void)
{
    while (frame_stats_get().free > FREE_LEFT) {
        assert_true(t.ballast_count < ARRAY_SIZE(t.ballast));
        assert_true(frame_alloc(0, ALLOC_META, 0, &t.ballast[t.ballast_count++]));
    }
}

static void up_vm(struct vm *vm, const struct table_format *format, unsigned number)
{
    struct space_config config = {
        .name = number == 0 ? "one" : "two", .format = format, .store = t.store, .shares = 100};

    vm->space = space_create(&config);
    assert_non_null(vm->space);
    assert_true(space_add_memslot(vm->space, gfn(0), PAGES + 1, 0));
    assert_true(vdisk_init(&vm->own, &t.disk[number].device, false, vm->space, &host, &vm->own));
    assert_true(
        vdisk_init(&vm->shared, &t.disk[SHARED].device, true, vm->space, &host, &vm->shared));
}

static void up(const struct table_format *format)
{
    memset(&t, 0, sizeof(t));
    support_memory_init(600);
    support_on_shootdown(shootdown);
    frame_alloc_set_watermarks(4, 12, 24);
    fake_disk_init(&t.store_disk, 4 * VMS * PAGES, 1);
    t.store = support_open_store(&t.store_disk);
    for (unsigned i = 0; i <= VMS; i++) {
        fake_disk_init(&t.disk[i], BLOCKS, support_random());
        fill_random(t.disk[i].data, BLOCKS * PAGE_SIZE);
        snprintf(t.disk[i].device.name, sizeof(t.disk[i].device.name), "vd%u", i);
    }
    t.free_at_start = frame_stats_get().free;
    for (unsigned i = 0; i < VMS; i++) {
        up_vm(&t.vm[i], format, i);
    }
}

static bool any_flight(void)
{
    return free_flight(1) == NULL;
}

static void finish(void)
{
    for (unsigned turns = 0; any_flight(); turns++) {
        assert_true(turns < 1000000);
        turn();
    }
    settle_pages(true);
}

static void down(void)
{
    struct store_stats stats;

    while (t.timer_count != 0 || any_flight()) {
        turn();
    }
    support_on_shootdown(NULL);
    for (unsigned i = 0; i < VMS; i++) { /* nobody evicts from a space that is gone */
        space_close(t.vm[i].space);
        assert_true(vdisk_give_up(&t.vm[i].own) && vdisk_give_up(&t.vm[i].shared));
    }
    for (unsigned i = 0; i < VMS; i++) {
        vdisk_destroy(&t.vm[i].own);
        vdisk_destroy(&t.vm[i].shared);
        while (!space_drain(t.vm[i].space)) {
            support_store_step(&t.store_disk);
            for (unsigned d = 0; d <= VMS; d++) {
                fake_disk_step(&t.disk[d]);
            }
            pager_run();
        }
        space_free(t.vm[i].space);
    }
    while (t.ballast_count > 0) {
        frame_free(t.ballast[--t.ballast_count]);
    }
    store_get_stats(t.store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frame_stats_get().free, t.free_at_start);
    for (unsigned i = 0; i <= VMS; i++) {
        fake_disk_free(&t.disk[i]);
    }
    fake_disk_free(&t.store_disk);
    support_memory_free();
}

/* ---- random ---- */

static void one_operation(unsigned most)
{
    struct vm *vm = &t.vm[support_random_below(VMS)];
    unsigned page = (unsigned)support_random_below(PAGES);

    settle_pages(true);
    switch (support_random_below(16)) {
    case 0:
        cpu_write(vm, page);
        break;
    case 1:
        hv_write(vm, page, support_random_below(2) == 0);
        break;
    case 2:
        discard(vm, page);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        start(most);
        break;
    default:
        look(vm, page);
        break;
    }
}

static struct space_stats stats_of(const struct vm *vm)
{
    struct space_stats stats;

    space_get_stats(vm->space, &stats);
    return stats;
}

static void run(unsigned steps, unsigned most)
{
    for (unsigned i = 0; i < steps; i++) {
        one_operation(most);
        for (uint64_t n = support_random_below(4); n > 0; n--) {
            turn();
        }
        if (i % 300 == 299) {
            finish();
            for (unsigned page = 0; page < PAGES; page++) {
                look(&t.vm[i / 300 % VMS], page);
            }
        }
    }
    finish();
    for (unsigned i = 0; i < VMS * PAGES; i++) {
        look(&t.vm[i / PAGES], i % PAGES);
    }
}

static void report(uint64_t drops_at_least)
{
    struct space_stats one = stats_of(&t.vm[0]), two = stats_of(&t.vm[1]);

    print_message(
        "%lu requests, %lu failed; %lu + %lu drops, %lu + %lu disk reads, %lu false reads "
        "avoided; %lu raced pages (%lu late), %lu late writes, %lu pages compared\n",
        (unsigned long)t.done, (unsigned long)t.failed, (unsigned long)one.disk_drops,
        (unsigned long)two.disk_drops, (unsigned long)one.disk_reads, (unsigned long)two.disk_reads,
        (unsigned long)(one.false_reads_avoided + two.false_reads_avoided),
        (unsigned long)t.raced_pages, (unsigned long)t.settled_late, (unsigned long)t.late_writes,
        (unsigned long)t.compared);
    assert_int_equal(one.memory, one.resident + one.hole + one.pattern + one.compressed +
                                     one.stored + one.disk + one.transit);
    assert_int_equal(t.lost, 0);
    if (drops_at_least == 0) { /* a flush that fails early leaves little */
        assert_true(one.disk_drops + two.disk_drops > 0);
        return;
    }
    assert_true(one.disk_drops > drops_at_least && two.disk_drops > drops_at_least);
    assert_true(one.disk_reads > drops_at_least / 2 && two.disk_reads > drops_at_least / 2);
}

static unsigned steps_wanted(unsigned fallback)
{
    const char *text = getenv("MODEL_STEPS");

    return text == NULL ? fallback : (unsigned)strtoul(text, NULL, 0);
}

static void identity_random(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};

    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(formats); i++) {
        up(formats[i / 2]);
        take_ballast();
        run(steps_wanted(4000), i % 2 == 0 ? 2 : 16);
        report(200);
        assert_int_equal(t.failed, 0);
        down();
    }
}

/* A read that fails is tried again; what a guest's request has moved then is not known. */
static void identity_with_failing_reads(void **state)
{
    (void)state;
    support_seed(2);
    up(&ept_format);
    take_ballast();
    for (unsigned i = 0; i <= VMS; i++) {
        t.disk[i].fail_read_permille = 100;
    }
    run(steps_wanted(4000), 4);
    report(100);
    assert_true(t.failed > 20);
    down();
}

static void identity_with_failing_writes(void **state)
{
    (void)state;
    support_seed(3);
    uint64_t failed = 0;

    for (unsigned round = 0; round < 6; round++) { /* a flush that fails ends it for that disk */
        up(&npt_format);
        take_ballast();
        for (unsigned i = 0; i <= VMS; i++) {
            t.disk[i].fail_write_permille = 50;
        }
        run(steps_wanted(1000), 4);
        report(0);
        failed += t.failed;
        down();
    }
    assert_true(failed > 20);
}

/* Each allocation of a frame fails once: nothing is lost and nothing is wrong. */
static void identity_with_failing_allocations(void **state)
{
    (void)state;
    support_seed(4);
    up(&fake_format);
    for (unsigned n = 1; n < 400; n++) {
        support_fail_alloc(1 + (unsigned)support_random_below(4));
        run(6, 4);
    }
    support_fail_alloc(0);
    report(20);
    down();
}

/* ---- one at a time ---- */

static struct flight *request(enum vdisk_op op, unsigned disk, uint64_t block, unsigned page,
                              unsigned pages)
{
    struct flight *f = free_flight(FLIGHTS);

    f->vm = &t.vm[0];
    f->disk = disk;
    f->op = op;
    f->sector = block * 8;
    f->sectors = pages * 8;
    f->count = pages;
    for (unsigned i = 0; i < pages; i++) {
        f->segment[i] = (struct vdisk_segment){gpa((page + i) * PAGE_SIZE), (uint32_t)PAGE_SIZE};
    }
    submit(f);
    return f;
}

/* The disks alone go on: no page leaves but by evict(). */
static void end_requests(void)
{
    for (unsigned turns = 0; any_flight(); turns++) {
        assert_true(turns < 1000);
        fake_disk_settle(&t.disk[0]);
        fake_disk_settle(&t.disk[SHARED]);
        support_store_settle(&t.store_disk);
        run_timer();
    }
}

static enum place_kind evict(unsigned page)
{
    unsigned level;

    while (!space_evict(t.vm[0].space, gfn(page))) {
        support_store_settle(&t.store_disk);
    }
    return entry_kind(t.vm[0].space,
                      table_entry_get(table_leaf(&t.vm[0].space->table, gfn(page), &level)), 1);
}

static uint64_t written(void)
{
    struct store_stats stats;

    store_get_stats(t.store, &stats);
    return stats.written_pages;
}

static void begin(uint64_t seed)
{
    support_seed(seed);
    up(&ept_format);
    t.calm = true;
    for (unsigned page = 0; page < 24; page++) { /* of its own, dirty */
        hv_write(&t.vm[0], page, true);
        access(&t.vm[0], 0, page, true)[0] ^= 1;
        t.vm[0].page[page].bytes[0] ^= 1;
    }
}

static void identity_read_drop_read(void **state)
{
    (void)state;
    begin(10);
    request(VDISK_READ, 0, 3, 4, 8);
    end_requests();
    for (unsigned page = 4; page < 12; page++) {
        assert_int_equal(evict(page), PLACE_DISK);
    }
    assert_int_equal(written(), 0);
    assert_int_equal(stats_of(&t.vm[0]).disk, 8);
    for (unsigned page = 4; page < 12; page++) {
        look(&t.vm[0], page);
    }
    assert_int_equal(stats_of(&t.vm[0]).disk_reads, 8);
    assert_int_equal(evict(5), PLACE_DISK); /* still */
    cpu_write(&t.vm[0], 6);
    assert_int_equal(evict(6), PLACE_SLOT);
    look(&t.vm[0], 6);
    request(VDISK_READ, 0, 20, 5, 1); /* over one that is away */
    end_requests();
    assert_int_equal(stats_of(&t.vm[0]).false_reads_avoided, 1);
    down();
}

static void identity_write_drop_read(void **state)
{
    (void)state;
    begin(11);
    request(VDISK_WRITE, 0, 3, 4, 3);
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    hv_write(&t.vm[0], 5, false);
    assert_int_equal(evict(5), PLACE_SLOT);
    look(&t.vm[0], 4);
    look(&t.vm[0], 5);
    down();
}

/* Blocks are written whose pages are away, or in memory and clean: by a write of whole pages, of
 * odd sectors, of zeroes. */
static void identity_ends_before_a_write(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        begin(12 + kind);
        request(VDISK_READ, 0, 3, 4, 4);
        end_requests();
        evict(4);
        evict(5); /* 6 and 7 stay */
        struct flight *f = request(VDISK_READ, 0, 40, 20, 1);

        end_requests();
        f->vm = &t.vm[0];
        f->disk = 0;
        f->sector = kind == 1 ? 3 * 8 + 5 : 3 * 8;
        f->sectors = kind == 1 ? 8 * 3 - 7 : 8 * 4;
        f->op = kind == 2 ? VDISK_ZERO : VDISK_WRITE;
        f->count = 1;
        f->segment[0] = (struct vdisk_segment){gpa(10 * PAGE_SIZE + (kind == 1 ? 256 : 0)),
                                               (uint32_t)f->sectors * 512};
        if (kind == 2) {
            make_zero(f);
        }
        submit(f);
        for (unsigned turns = 0; any_flight(); turns++) {
            assert_true(turns < 1000);
            run_timer();
            fake_disk_settle(&t.disk[0]);
        }
        assert_int_equal(evict(7), kind == 1 ? PLACE_DISK : PLACE_SLOT);
        for (unsigned page = 4; page < 8; page++) {
            look(&t.vm[0], page);
            if (page < 6) {
                assert_int_equal(evict(page), PLACE_SLOT);
                look(&t.vm[0], page);
            }
        }
        down();
    }
}

/* The guest writes to the page while it is being read, through a translation that has D already. */
static void identity_not_if_written_during_the_read(void **state)
{
    struct vm *vm = &t.vm[0];

    (void)state;
    begin(15);
    cpu_write(vm, 4); /* D is set */
    request(VDISK_READ, 0, 3, 4, 2);
    cpu_write(vm, 5); /* and sets D meanwhile */
    fake_disk_settle(&t.disk[0]);
    end_requests();
    settle_pages(true);
    assert_int_equal(evict(4), PLACE_DISK);
    assert_int_equal(evict(5), PLACE_SLOT);
    look(vm, 4);
    look(vm, 5);

    /* Behind the read: D was clear, so it shows. */
    request(VDISK_READ, 0, 10, 6, 1);
    end_requests();
    access(vm, 0, 6, true)[7] ^= 0x55;
    vm->page[6].bytes[7] ^= 0x55;
    assert_int_equal(evict(6), PLACE_SLOT);
    look(vm, 6);
    down();
}

/* By the hypervisor, which sets no D; by another pin; by a second request to the same page. */
static void identity_not_if_somebody_else_wrote(void **state)
{
    struct mm_waiter waiter = {.wake = wake};
    struct vm *vm = &t.vm[0];
    pfn_t frame;

    (void)state;
    list_init(&waiter.link);
    begin(16);
    request(VDISK_READ, 0, 3, 4, 4);
    hv_write(vm, 4, false);
    assert_int_equal(space_pin(vm->space, gfn(5), ACCESS_WRITE, &frame, &waiter), MM_OK);
    space_unpin(vm->space, gfn(5), true);
    assert_int_equal(space_pin(vm->space, gfn(6), ACCESS_WRITE, &frame, &waiter), MM_OK);
    request(VDISK_READ, 0, 30, 7, 1);
    end_requests();
    settle_pages(true);
    space_unpin(vm->space, gfn(6), true);
    for (unsigned page = 4; page < 8; page++) {
        assert_int_equal(evict(page), PLACE_SLOT);
        look(vm, page);
    }
    down();
}

/* Two that touch the same block at the same time, one of which writes. */
static void identity_not_if_the_block_is_written_meanwhile(void **state)
{
    (void)state;
    begin(17);
    request(VDISK_READ, 0, 3, 4, 1);
    request(VDISK_WRITE, 0, 3, 5, 1);
    request(VDISK_WRITE, 0, 8, 6, 1);
    request(VDISK_WRITE, 0, 8, 7, 1);
    end_requests();
    settle_pages(true);
    for (unsigned page = 4; page < 8; page++) {
        assert_int_equal(evict(page), PLACE_SLOT);
        look(&t.vm[0], page);
    }
    down();
}

static void identity_not_of_failed_requests(void **state)
{
    (void)state;
    begin(18);
    t.disk[0].fail_read_in = t.disk[0].fail_write_in = 1;
    request(VDISK_READ, 0, 3, 4, 1);
    end_requests();
    request(VDISK_WRITE, 0, 4, 5, 1);
    end_requests();
    settle_pages(true);
    assert_int_equal(t.failed, 2);
    assert_int_equal(evict(4), PLACE_SLOT);
    assert_int_equal(evict(5), PLACE_SLOT);
    look(&t.vm[0], 4);
    look(&t.vm[0], 5);
    down();
}

/* What was written may be gone: what is in memory is not dropped. */
static void identity_ends_with_a_failed_flush(void **state)
{
    struct flight *f;

    (void)state;
    begin(19);
    request(VDISK_WRITE, 0, 3, 4, 2);
    end_requests();
    t.disk[0].fail_write_in = 1;
    f = request(VDISK_FLUSH, 0, 0, 0, 0);
    (void)f;
    end_requests();
    assert_int_equal(evict(4), PLACE_SLOT);
    request(VDISK_WRITE, 0, 3, 4, 1);
    end_requests();
    assert_int_equal(evict(4), PLACE_SLOT);
    request(VDISK_READ, SHARED, 3, 6, 1); /* of the other disk nothing is known */
    end_requests();
    assert_int_equal(evict(6), PLACE_DISK);
    down();
}

/* The disk gives other bytes than were dropped: the page is lost, and never wrong. */
static void identity_lost_if_the_disk_has_changed(void **state)
{
    struct mm_waiter waiter = {.wake = wake};
    enum mm_result result;

    (void)state;
    begin(20);
    list_init(&waiter.link);
    request(VDISK_READ, 0, 3, 4, 1);
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    t.disk[0].data[3 * PAGE_SIZE + 99] ^= 1;
    support_log_level(-1);
    support_log_watch("block 3 of vd0");
    while ((result = space_fault(t.vm[0].space, gfn(4), ACCESS_READ, &waiter)) == MM_WAIT) {
        fake_disk_settle(&t.disk[0]);
        support_clock_advance(1000000000);
        pager_run();
    }
    assert_int_equal(result, MM_LOST);
    assert_int_equal(support_log_seen(), 1);
    support_log_level(1);
    waiter_cancel(&waiter);
    down();
}

/* A disk that is away for a while costs time; for long, the page. */
static void identity_waits_for_the_disk(void **state)
{
    struct mm_waiter waiter = {.wake = wake};
    enum mm_result result = MM_WAIT;
    unsigned seconds;

    (void)state;
    begin(21);
    list_init(&waiter.link);
    request(VDISK_READ, 0, 3, 4, 2);
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    assert_int_equal(evict(5), PLACE_DISK);
    t.disk[0].reads_down = true;
    for (seconds = 0; seconds < 20; seconds++) {
        assert_int_equal(space_fault(t.vm[0].space, gfn(4), ACCESS_READ, &waiter), MM_WAIT);
        fake_disk_settle(&t.disk[0]);
        support_clock_advance(1000000000);
        pager_run();
    }
    t.disk[0].reads_down = false;
    look(&t.vm[0], 4);
    look(&t.vm[0], 5);
    assert_int_equal(evict(4), PLACE_DISK);
    t.disk[0].reads_down = true;
    support_log_level(-1);
    for (seconds = 0; result == MM_WAIT; seconds++) {
        assert_true(seconds < 60);
        result = space_fault(t.vm[0].space, gfn(4), ACCESS_READ, &waiter);
        fake_disk_settle(&t.disk[0]);
        support_clock_advance(1000000000);
        pager_run();
    }
    assert_int_equal(result, MM_LOST);
    assert_true(seconds > 25);
    support_log_level(1);
    waiter_cancel(&waiter);
    down();
}

/* Both have read the same blocks of a disk that neither may write. */
static void identity_of_a_shared_disk(void **state)
{
    (void)state;
    begin(22);
    for (unsigned vm = 0; vm < VMS; vm++) {
        struct flight *f = free_flight(FLIGHTS);

        *f = (struct flight){.vm = &t.vm[vm],
                             .disk = SHARED,
                             .op = VDISK_READ,
                             .sector = 16,
                             .sectors = 8,
                             .count = 1,
                             .segment = {{gpa((4 + vm) * PAGE_SIZE), (uint32_t)PAGE_SIZE}}};
        submit(f);
    }
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    assert_true(space_evict(t.vm[1].space, gfn(5)));
    assert_int_equal(stats_of(&t.vm[1]).disk, 1);
    look(&t.vm[0], 4);
    look(&t.vm[1], 5);
    assert_int_equal(stats_of(&t.vm[0]).disk_reads + stats_of(&t.vm[1]).disk_reads, 2);
    assert_int_equal(written(), 0);
    down();
}

/* A page with a copy in the store, changed since, and then moved to a disk in vain: the copy is
 * old. */
static void identity_dirty_stays_dirty(void **state)
{
    (void)state;
    begin(23);
    assert_int_equal(evict(4), PLACE_SLOT);
    look(&t.vm[0], 4); /* it keeps its slot */
    cpu_write(&t.vm[0], 4);
    t.disk[0].fail_write_in = 1;
    request(VDISK_WRITE, 0, 3, 4, 1);
    end_requests();
    assert_int_equal(evict(4), PLACE_SLOT);
    look(&t.vm[0], 4);
    down();
}

/* A page that is taken back on its way to the store has a slot that is still being written. */
static void identity_not_while_it_is_paged_out(void **state)
{
    struct space *space;

    (void)state;
    begin(24);
    space = t.vm[0].space;
    assert_false(space_evict(space, gfn(4)));
    request(VDISK_WRITE, 0, 3, 4, 1); /* takes it back */
    for (unsigned turns = 0; any_flight(); turns++) {
        assert_true(turns < 100);
        fake_disk_settle(&t.disk[0]);
        run_timer();
    }
    support_store_settle(&t.store_disk);
    look(&t.vm[0], 4);
    assert_int_equal(evict(4), PLACE_SLOT);
    look(&t.vm[0], 4);
    down();
}

/* Two pages have read the same block; both are away when it is written. */
static void identity_ends_for_all_pages(void **state)
{
    (void)state;
    begin(25);
    request(VDISK_READ, 0, 3, 4, 1);
    end_requests();
    request(VDISK_READ, 0, 3, 5, 1);
    end_requests();
    request(VDISK_READ, 0, 3, 6, 1);
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    assert_int_equal(evict(5), PLACE_DISK);
    request(VDISK_WRITE, 0, 3, 10, 1);
    end_requests();
    for (unsigned page = 4; page < 7; page++) {
        assert_int_equal(evict(page), PLACE_SLOT);
        look(&t.vm[0], page);
    }
    down();
}

/* A page that was read because its block is to be written leaves before that goes on: it goes to
 * the store, so the write does not wait for it again. */
static void identity_once_read_for_a_write(void **state)
{
    (void)state;
    begin(26);
    request(VDISK_READ, 0, 3, 4, 1);
    end_requests();
    assert_int_equal(evict(4), PLACE_DISK);
    request(VDISK_WRITE, 0, 3, 10, 1);
    assert_int_equal(stats_of(&t.vm[0]).disk_reads, 1);
    fake_disk_settle(&t.disk[0]);
    assert_int_equal(evict(4), PLACE_SLOT);
    end_requests();
    assert_int_equal(stats_of(&t.vm[0]).disk_reads, 1);
    look(&t.vm[0], 4);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_read_drop_read),
        cmocka_unit_test(identity_write_drop_read),
        cmocka_unit_test(identity_ends_before_a_write),
        cmocka_unit_test(identity_not_if_written_during_the_read),
        cmocka_unit_test(identity_not_if_somebody_else_wrote),
        cmocka_unit_test(identity_not_if_the_block_is_written_meanwhile),
        cmocka_unit_test(identity_not_of_failed_requests),
        cmocka_unit_test(identity_ends_with_a_failed_flush),
        cmocka_unit_test(identity_lost_if_the_disk_has_changed),
        cmocka_unit_test(identity_waits_for_the_disk),
        cmocka_unit_test(identity_of_a_shared_disk),
        cmocka_unit_test(identity_dirty_stays_dirty),
        cmocka_unit_test(identity_not_while_it_is_paged_out),
        cmocka_unit_test(identity_ends_for_all_pages),
        cmocka_unit_test(identity_once_read_for_a_write),
        cmocka_unit_test(identity_random),
        cmocka_unit_test(identity_with_failing_reads),
        cmocka_unit_test(identity_with_failing_writes),
        cmocka_unit_test(identity_with_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
