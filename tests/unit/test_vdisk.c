/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's disk (hv/vdev/disk/) on a fake disk, in a guest whose memory is twice what there is and
 * whose pages leave all the time: random requests against plain arrays of what disk and memory must
 * hold, failures, resets and ends of the VM in the middle.
 *
 * Each request in flight has a lane of its own, a stretch of the disk and one of guest memory; so
 * what comes out does not depend on their order.
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
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define LANES        20u
#define LANE_PAGES   24u /* of memory */
#define LANE_BLOCKS  24u /* of the disk */
#define LANE_BYTES   (LANE_PAGES * PAGE_SIZE)
#define DISK_BLOCKS  (LANES * LANE_BLOCKS)
#define ANSWER_PAGE  (LANES * LANE_PAGES) /* and behind: the bytes of their status */
#define GUEST_PAGES  (ANSWER_PAGE + LANES)
#define FRAMES       420u /* the store's and the tables' included */
#define LANE_SECTORS (LANE_BLOCKS * BLOCK_SECTORS)

struct lane {
    struct vdisk_request *request; /* NULL: none */
    bool known;                    /* what its stretch of the disk holds */
    int answered;                  /* the status that is in its byte; -1: none */
    uint8_t memory[LANE_BYTES], disk[LANE_BLOCKS * PAGE_SIZE];
};

static struct {
    struct fake_disk store_disk, disk;
    struct store *store;
    struct space *space;
    struct vdisk vdisk;
    struct lane lane[LANES];
    uint64_t free_at_start;
    uint64_t done[3];
    bool timer_set, closed, idle;
    uint64_t idle_calls;
    unsigned lost;
} t;

static bool woken;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    woken = true;
}

/* ---- the one timer that there is ---- */

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->fire = fire;
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    (void)deadline_ns;
    assert_ptr_equal(timer, &t.vdisk.timer);
    t.timer_set = true;
}

void timer_cancel_sync(struct timer *timer)
{
    (void)timer;
    t.timer_set = false;
}

static void run_timer(void)
{
    if (t.timer_set) {
        t.timer_set = false;
        t.vdisk.timer.fire(&t.vdisk.timer);
    }
}

/* ---- the machine ---- */

static void some_page_leaves(void)
{
    space_evict(t.space, gfn(support_random_below(GUEST_PAGES)));
}

/* One round of a CPU's main loop. */
static void turn(void)
{
    run_timer();
    if (support_random_below(2) == 0) {
        fake_disk_step(&t.disk);
    }
    if (support_random_below(2) == 0) {
        support_store_step(&t.store_disk);
    }
    if (support_random_below(4) == 0) {
        some_page_leaves();
    }
    support_clock_advance(100000);
    pager_run();
}

/* By the guest's own CPU: copies to or from a lane's memory, waiting as long as it takes. */
static void guest_copy(unsigned lane, void *bytes, bool to_guest)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    for (unsigned i = 0; i < LANE_PAGES; i++) {
        gpa_t at = gpa((lane * (uint64_t)LANE_PAGES + i) * PAGE_SIZE);
        uint8_t *page = (uint8_t *)bytes + i * PAGE_SIZE;
        unsigned turns = 0;

        for (;;) {
            enum mm_result result = to_guest ? space_write(t.space, at, page, PAGE_SIZE, &waiter)
                                             : space_read(t.space, at, page, PAGE_SIZE, &waiter);

            if (result == MM_OK) {
                waiter_end_turn(&waiter);
                break;
            }
            assert_int_equal(result, MM_WAIT);
            turn();
            assert_true(++turns < 100000);
        }
    }
    waiter_cancel(&waiter);
}

static void put(uint64_t at, const void *bytes, size_t count)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_write(t.space, gpa(at), bytes, count, &waiter) != MM_OK) {
        turn();
    }
    waiter_cancel(&waiter);
}

static void get(uint64_t at, void *bytes, size_t count)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_read(t.space, gpa(at), bytes, count, &waiter) != MM_OK) {
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

/* ---- requests ---- */

/* Cuts `bytes` of the lane's memory into segments: whole pages in any order, or anything. */
static void cut(struct vdisk_request *request, unsigned lane, uint32_t bytes, bool odd)
{
    uint64_t base = lane * (uint64_t)LANE_BYTES;
    uint32_t from = odd ? (uint32_t)support_random_below(LANE_BYTES - bytes + 1) : 0;

    request->count = 0;
    while (bytes != 0) {
        uint32_t piece = MIN(bytes, (uint32_t)PAGE_SIZE);

        if (odd && request->count < VDISK_SEGMENTS - 1) {
            piece = (uint32_t)support_random_below(MIN(bytes, 5000) + 1);
            piece = support_random_below(3) == 0 ? (uint32_t)ALIGN_DOWN(piece, 512) : piece;
        } else if (odd) {
            piece = bytes;
        }
        request->segment[request->count++] = (struct vdisk_segment){gpa(base + from), piece};
        from += piece;
        bytes -= piece;
    }
}

/* Calls `each` for each piece of the request's memory, with where it is in the lane's array. */
static void model_move(struct lane *lane, const struct vdisk_request *request, bool to_memory)
{
    uint8_t *at = lane->disk + (request->sector % LANE_SECTORS) * 512;

    for (unsigned i = 0; i < request->count; i++) {
        uint8_t *memory = lane->memory + request->segment[i].address.v % LANE_BYTES;

        if (to_memory) {
            memcpy(memory, at, request->segment[i].bytes);
        } else {
            memcpy(at, memory, request->segment[i].bytes);
        }
        at += request->segment[i].bytes;
    }
}

/* A range of zeroes: its description is in the lane's memory. */
static void make_zero(struct vdisk_request *request, unsigned lane)
{
    struct vdisk_range range[2] = {
        {.sector = lane * (uint64_t)LANE_SECTORS,
         .sectors = 1 + (uint32_t)support_random_below(99)},
        {.sector = lane * (uint64_t)LANE_SECTORS + 100,
         .sectors = (uint32_t)support_random_below(92),
         .flags = VDISK_RANGE_UNMAP},
    };
    struct lane *l = &t.lane[lane];

    memset(l->memory, 0x33, LANE_BYTES);
    memcpy(l->memory + PAGE_SIZE - 8, range, sizeof(range));
    guest_copy(lane, l->memory, true);
    request->op = VDISK_ZERO;
    request->count = 2;
    request->segment[0] =
        (struct vdisk_segment){gpa(lane * (uint64_t)LANE_BYTES + PAGE_SIZE - 8), 13};
    request->segment[1] =
        (struct vdisk_segment){gpa(lane * (uint64_t)LANE_BYTES + PAGE_SIZE - 8 + 13), 32 - 13};
    for (unsigned i = 0; i < 2; i++) {
        memset(l->disk + range[i].sector % LANE_SECTORS * 512, 0, range[i].sectors * 512);
    }
}

static void make_data(struct vdisk_request *request, unsigned lane, enum vdisk_op op)
{
    struct lane *l = &t.lane[lane];
    bool odd = support_random_below(3) == 0;
    uint32_t sectors = 1 + (uint32_t)support_random_below(odd ? 60 : LANE_SECTORS);
    uint64_t first = support_random_below(LANE_SECTORS - sectors + 1);

    if (support_random_below(2) == 0) { /* as file systems do */
        sectors = (uint32_t)ALIGN_UP(sectors, 8);
        first = ALIGN_DOWN(first, 8);
    }
    sectors = (uint32_t)MIN(sectors, LANE_SECTORS - first);
    if (op == VDISK_WRITE ||
        support_random_below(2) == 0) { /* else its pages may be clean copies */
        fill_random(l->memory, LANE_BYTES);
        guest_copy(lane, l->memory, true);
    }
    request->op = op;
    request->sector = lane * (uint64_t)LANE_SECTORS + first;
    cut(request, lane, sectors * 512, odd);
    model_move(l, request, op == VDISK_READ);
}

static void start(unsigned lane)
{
    struct lane *l = &t.lane[lane];
    struct vdisk_request *request = vdisk_take(&t.vdisk);
    unsigned kind = (unsigned)support_random_below(10);

    assert_non_null(request);
    request->token[0] = lane;
    request->answers = true;
    request->answer = gpa((ANSWER_PAGE + lane / 3) * PAGE_SIZE + lane);
    put(request->answer.v, "?", 1);
    if (!l->known) { /* a failed write: written anew, whole */
        fill_random(l->memory, LANE_BYTES);
        guest_copy(lane, l->memory, true);
        request->op = VDISK_WRITE;
        request->sector = lane * (uint64_t)LANE_SECTORS;
        cut(request, lane, LANE_BYTES, false);
        model_move(l, request, false);
    } else if (kind == 0) {
        request->op = VDISK_FLUSH;
        request->count = 0;
    } else if (kind == 1) {
        make_zero(request, lane);
    } else {
        make_data(request, lane, kind < 6 ? VDISK_READ : VDISK_WRITE);
    }
    l->known = true;
    l->request = request;
    vdisk_submit(&t.vdisk, request);
}

static uint8_t now[LANE_BYTES];

static void check_lane(unsigned lane)
{
    uint8_t status = 0xff;

    if (t.lane[lane].answered >= 0) {
        get((ANSWER_PAGE + lane / 3) * PAGE_SIZE + lane, &status, 1);
        assert_int_equal(status, t.lane[lane].answered);
    }
    guest_copy(lane, now, false);
    assert_memory_equal(now, t.lane[lane].memory, LANE_BYTES);
    assert_memory_equal(t.disk.data + lane * (uint64_t)LANE_BYTES, t.lane[lane].disk, LANE_BYTES);
}

static void note_done(void *owner, struct vdisk_request *request)
{
    struct lane *lane = &t.lane[request->token[0]];

    assert_ptr_equal(owner, &t);
    assert_ptr_equal(lane->request, request);
    assert_int_equal(request->ios, 0);
    lane->answered = request->answers ? (int)request->status : -1;
    t.done[request->status]++;
    lane->request = NULL;
    if (request->status != VDISK_OK) {
        lane->known = false;
    }
    vdisk_give(&t.vdisk, request);
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
    t.idle_calls++;
    t.idle = true;
}

static const struct vdisk_host host = {.done = note_done, .lost = note_lost, .idle = note_idle};

/* ---- up and down ---- */

static void up(const struct table_format *format, uint8_t unit)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    memset(&t, 0, sizeof(t));
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 16, 40);
    fake_disk_init(&t.store_disk, 2 * GUEST_PAGES, 1);
    t.store = support_open_store(&t.store_disk);
    fake_disk_init(&t.disk, DISK_BLOCKS, support_random());
    t.disk.device.unit = unit;
    strcpy(t.disk.device.name, "nvme1p2");
    t.free_at_start = frame_stats_get().free;
    config.store = t.store;
    t.space = space_create(&config);
    assert_non_null(t.space);
    assert_true(space_add_memslot(t.space, gfn(0), GUEST_PAGES, 0));
    assert_true(vdisk_init(&t.vdisk, &t.disk.device, false, t.space, &host, &t));
    for (unsigned i = 0; i < LANES; i++) {
        t.lane[i].known = true;
        t.lane[i].answered = -1;
    }
}

/* All that has been submitted, and until nothing is in flight. */
static void give_up(void)
{
    uint64_t calls = t.idle_calls;
    bool idle = vdisk_give_up(&t.vdisk);

    t.idle = idle;
    for (unsigned turns = 0; !t.idle; turns++) {
        assert_true(turns < 1000000);
        turn();
    }
    run_timer();
    assert_int_equal(t.idle_calls - calls, idle ? 0 : 1);
}

/* As at a VM's end: given up, waited for, closed, drained. */
static void down(void)
{
    give_up();
    assert_int_equal(t.disk.queued, 0);
    assert_int_equal(t.vdisk.pins, 0);
    vdisk_destroy(&t.vdisk);
    if (!t.closed) {
        space_close(t.space);
    }
    while (!space_drain(t.space)) {
        support_store_step(&t.store_disk);
    }
    space_free(t.space);
    assert_int_equal(frame_stats_get().free, t.free_at_start);
    fake_disk_free(&t.disk);
    fake_disk_free(&t.store_disk);
    support_memory_free();
}

static void settle(void)
{
    for (unsigned turns = 0; t.vdisk.open != 0; turns++) {
        assert_true(turns < 1000000);
        turn();
    }
}

static void run(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        unsigned lane = (unsigned)support_random_below(LANES);

        if (t.lane[lane].request == NULL) {
            if (t.lane[lane].known) {
                check_lane(lane);
            }
            start(lane);
        }
        for (uint64_t n = support_random_below(30); n > 0; n--) {
            turn();
        }
    }
    settle();
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (t.lane[lane].known) {
            check_lane(lane);
        }
    }
}

/* ---- tests ---- */

static void guest_disk_random(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};

    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        struct vdisk_stats stats;

        up(formats[i], 1);
        run(600);
        vdisk_get_stats(&t.vdisk, &stats);
        assert_int_equal(t.done[VDISK_IOERR] + t.done[VDISK_UNSUPP] + stats.errors, 0);
        assert_true(t.done[VDISK_OK] > 300 && stats.bounced > 20);
        print_message("%lu done, %lu pieces bounced\n", (unsigned long)t.done[VDISK_OK],
                      (unsigned long)stats.bounced);
        down();
    }
}

/* A disk whose blocks are 4 KiB takes requests of whole ones, wherever they are in memory. */
static void test_blocks_of_4k(void **state)
{
    (void)state;
    support_seed(2);
    up(&fake_format, BLOCK_SECTORS);
    run(300);
    assert_true(t.done[VDISK_OK] > 50 && t.done[VDISK_IOERR] > 50);
    down();
}

/* Requests that fail say so, and are the only ones. */
static void test_errors(void **state)
{
    (void)state;
    support_seed(3);
    up(&fake_format, 1);
    t.disk.fail_read_permille = t.disk.fail_write_permille = 60;
    run(600);
    assert_true(t.done[VDISK_OK] > 100 && t.done[VDISK_IOERR] > 30);
    print_message("%lu done, %lu failed\n", (unsigned long)t.done[VDISK_OK],
                  (unsigned long)t.done[VDISK_IOERR]);
    down();
}

/* Given up in the middle: done() is not called, nothing is in flight when it is idle, and the
 * memory is the guest's alone again. */
static void guest_disk_reset_in_the_middle(void **state)
{
    (void)state;
    support_seed(4);
    up(&fake_format, 1);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t done;

        for (unsigned lane = 0; lane < LANES; lane++) {
            if (t.lane[lane].request == NULL) {
                start(lane);
            }
        }
        for (uint64_t n = support_random_below(60); n > 0; n--) {
            turn();
        }
        done = t.done[0] + t.done[1];
        give_up();
        assert_int_equal(t.disk.queued, 0);
        assert_int_equal(t.vdisk.pins, 0);
        assert_int_equal(t.done[0] + t.done[1], done);
        for (unsigned lane = 0; lane < LANES; lane++) {
            t.lane[lane].known = t.lane[lane].request == NULL && t.lane[lane].known;
            t.lane[lane].request = NULL;
        }
    }
    run(100); /* and it goes on as if nothing had been */
    down();
}

/* The VM ends while pages are DMA targets: they are not freed before. */
static void guest_disk_end_in_the_middle(void **state)
{
    (void)state;
    support_seed(5);
    for (unsigned round = 0; round < 40; round++) {
        up(&ept_format, 1);
        for (unsigned lane = 0; lane < LANES; lane++) {
            start(lane);
        }
        for (uint64_t n = support_random_below(40); n > 0; n--) {
            turn();
        }
        t.idle = vdisk_give_up(&t.vdisk);
        t.closed = true;
        space_close(t.space); /* in the wrong order: nothing is freed all the same */
        while (t.vdisk.pins != 0) {
            assert_false(space_drain(t.space));
            fake_disk_step(&t.disk);
        }
        down(); /* counts frames; the fake disk panics at a frame that nobody owns */
    }
}

static struct vdisk_request *simple(enum vdisk_op op, uint64_t sector, uint64_t at, uint32_t bytes)
{
    struct vdisk_request *request = vdisk_take(&t.vdisk);

    assert_non_null(request);
    request->op = op;
    request->sector = sector;
    request->count = bytes != 0;
    request->answers = true; /* where nothing is: nobody sees it */
    request->answer = gpa((uint64_t)GUEST_PAGES * PAGE_SIZE);
    request->segment[0] = (struct vdisk_segment){gpa(at), bytes};
    request->token[0] = 0;
    t.lane[0].request = request;
    return request;
}

static enum vdisk_status result_of(struct vdisk_request *request)
{
    uint64_t before[3];

    memcpy(before, t.done, sizeof(before));
    vdisk_submit(&t.vdisk, request);
    assert_memory_equal(before, t.done, sizeof(before)); /* not from there */
    settle();
    for (unsigned i = 0; i < 3; i++) {
        if (t.done[i] != before[i]) {
            return (enum vdisk_status)i;
        }
    }
    fail_msg("no answer");
    return VDISK_OK;
}

/* What a guest may ask for that cannot be. */
static void guest_disk_refused(void **state)
{
    static const struct {
        enum vdisk_op op;
        uint64_t sector, at;
        uint32_t bytes;
        enum vdisk_status want;
    } cases[] = {
        {VDISK_READ, DISK_BLOCKS * 8 - 1, 0, 512, VDISK_OK},
        {VDISK_READ, DISK_BLOCKS * 8 - 1, 0, 1024, VDISK_IOERR},
        {VDISK_READ, DISK_BLOCKS * 8, 0, 512, VDISK_IOERR},
        {VDISK_READ, ~0ull, 0, 512, VDISK_IOERR},
        {VDISK_READ, ~0ull - 7, 0, 8192, VDISK_IOERR},
        {VDISK_READ, 0, 0, 100, VDISK_IOERR},
        {VDISK_WRITE, 0, 0, 513, VDISK_IOERR},
        {VDISK_READ, 0, GUEST_PAGES * PAGE_SIZE, 512, VDISK_IOERR},
        {VDISK_READ, 0, GUEST_PAGES * PAGE_SIZE - 512, 1024, VDISK_IOERR},
        {VDISK_READ, 0, ~0ull - 511, 512, VDISK_IOERR},
        {VDISK_READ, 0, ~0ull - 511, 4096, VDISK_IOERR},
        {VDISK_WRITE, 0, 1ull << 51, 4096, VDISK_IOERR},
        {VDISK_WRITE, 0, (1ull << 51) + 1, 4096, VDISK_IOERR},
        {VDISK_READ, 0, 0, 0xfffffe00u, VDISK_IOERR},
        {VDISK_ZERO, 0, 0, 15, VDISK_IOERR},
        {VDISK_READ, 0, 0, 0, VDISK_OK},
        {VDISK_WRITE, 0, 0, 0, VDISK_OK},
        {VDISK_ZERO, 0, 0, 0, VDISK_OK},
        {VDISK_UNKNOWN, 0, 0, 512, VDISK_UNSUPP},
        {VDISK_FAIL, 0, 0, 512, VDISK_IOERR},
    };

    (void)state;
    support_seed(6);
    up(&fake_format, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            result_of(simple(cases[i].op, cases[i].sector, cases[i].at, cases[i].bytes)),
            cases[i].want);
    }
    down();
}

static void guest_disk_zero_ranges(void **state)
{
    static const struct {
        struct vdisk_range range;
        enum vdisk_status want;
    } cases[] = {
        {{0, 8, 0}, VDISK_OK},
        {{DISK_BLOCKS * 8 - 1, 1, VDISK_RANGE_UNMAP}, VDISK_OK},
        {{DISK_BLOCKS * 8 - 1, 2, 0}, VDISK_IOERR},
        {{~0ull, 1, 0}, VDISK_IOERR},
        {{0, ~0u, 0}, VDISK_IOERR},
        {{0, 8, 2}, VDISK_UNSUPP},
        {{0, 0, 0}, VDISK_OK},
    };

    (void)state;
    support_seed(7);
    up(&fake_format, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        put(0, &cases[i].range, sizeof(cases[i].range));
        assert_int_equal(result_of(simple(VDISK_ZERO, 0, 0, 16)), cases[i].want);
    }
    t.vdisk.read_only = true;
    assert_int_equal(result_of(simple(VDISK_ZERO, 0, 0, 16)), VDISK_IOERR);
    assert_int_equal(result_of(simple(VDISK_WRITE, 0, 0, 512)), VDISK_IOERR);
    assert_int_equal(result_of(simple(VDISK_READ, 0, 0, 512)), VDISK_OK);
    down();
}

static void test_get_id(void **state)
{
    char name[64];

    (void)state;
    support_seed(8);
    up(&fake_format, 1);
    memset(name, 'x', sizeof(name));
    put(PAGE_SIZE - 3, name, sizeof(name));
    assert_int_equal(result_of(simple(VDISK_GET_ID, 0, PAGE_SIZE - 3, 40)), VDISK_OK);
    get(PAGE_SIZE - 3, name, sizeof(name));
    assert_string_equal(name, "nvme1p2");
    assert_int_equal(name[VDISK_ID_BYTES - 1], 0);
    assert_int_equal(name[VDISK_ID_BYTES], 'x');
    down();
}

/* FLUSH saves what has been written; without a cache each write is saved when it is done. */
static void guest_disk_flush(void **state)
{
    (void)state;
    support_seed(9);
    up(&fake_format, 1);
    t.disk.stable = calloc(DISK_BLOCKS, PAGE_SIZE);
    put(0, "one", 4);
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_OK);
    assert_int_equal(t.disk.stable[8 * 512], 0);
    assert_int_equal(result_of(simple(VDISK_FLUSH, 0, 0, 0)), VDISK_OK);
    assert_string_equal((char *)t.disk.stable + 8 * 512, "one");
    vdisk_set_write_through(&t.vdisk, true);
    put(0, "two", 4);
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_OK);
    assert_string_equal((char *)t.disk.stable + 8 * 512, "two");
    t.disk.fail_write_in = 2; /* the flush */
    assert_int_equal(result_of(simple(VDISK_WRITE, 8, 0, 4096)), VDISK_IOERR);
    run(200);
    free(t.disk.stable);
    t.disk.stable = NULL;
    down();
}

/* A page of the guest's that the store has lost is the VM's end, and the request's. */
static void test_lost_page(void **state)
{
    (void)state;
    support_seed(10);
    up(&fake_format, 1);
    fill_random(t.lane[0].memory, LANE_BYTES);
    guest_copy(0, t.lane[0].memory, true);
    while (!space_evict(t.space, gfn(3))) {
        turn();
    }
    t.store_disk.corrupt_permille = 1000;
    support_log_level(-1);
    assert_int_equal(result_of(simple(VDISK_WRITE, 0, 0, 8 * 4096)), VDISK_IOERR);
    assert_int_equal(t.lost, 1);
    t.store_disk.corrupt_permille = 0;
    down();
    support_log_level(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_disk_random),
        cmocka_unit_test(test_blocks_of_4k),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(guest_disk_reset_in_the_middle),
        cmocka_unit_test(guest_disk_end_in_the_middle),
        cmocka_unit_test(guest_disk_refused),
        cmocka_unit_test(guest_disk_zero_ranges),
        cmocka_unit_test(test_get_id),
        cmocka_unit_test(guest_disk_flush),
        cmocka_unit_test(test_lost_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
