/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/disk_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "mm/content/store.h"
#include "mm/frame/frame_alloc.h"
#include "mm/policy/pager.h"
#include "tests/unit/support.h"

struct guest_state disk_guest;

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
    assert_ptr_equal(timer, &disk_guest.vdisk.timer);
    disk_guest.timer_set = true;
}

void timer_cancel_sync(struct timer *timer)
{
    (void)timer;
    disk_guest.timer_set = false;
}

static void run_timer(void)
{
    if (disk_guest.timer_set) {
        disk_guest.timer_set = false;
        disk_guest.vdisk.timer.fire(&disk_guest.vdisk.timer);
    }
}

/* ---- the machine ---- */

static void some_page_leaves(void)
{
    space_evict(disk_guest.space, gfn(support_random_below(GUEST_PAGES)));
}

void disk_guest_turn(void)
{
    run_timer();
    if (support_random_below(2) == 0) {
        fake_disk_step(&disk_guest.disk);
    }
    if (support_random_below(2) == 0) {
        support_store_step(&disk_guest.store_disk);
    }
    if (support_random_below(4) == 0) {
        some_page_leaves();
    }
    support_clock_advance(100000);
    pager_run();
}

void disk_guest_copy(unsigned lane, void *bytes, bool to_guest)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    for (unsigned i = 0; i < LANE_PAGES; i++) {
        gpa_t at = gpa((lane * (uint64_t)LANE_PAGES + i) * PAGE_SIZE);
        uint8_t *page = (uint8_t *)bytes + i * PAGE_SIZE;
        unsigned turns = 0;

        for (;;) {
            enum mm_result result =
                to_guest ? space_write(disk_guest.space, at, page, PAGE_SIZE, &waiter)
                         : space_read(disk_guest.space, at, page, PAGE_SIZE, &waiter);

            if (result == MM_OK) {
                waiter_end_turn(&waiter);
                break;
            }
            assert_int_equal(result, MM_WAIT);
            disk_guest_turn();
            assert_true(++turns < 100000);
        }
    }
    waiter_cancel(&waiter);
}

void disk_guest_put(uint64_t at, const void *bytes, size_t count)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_write(disk_guest.space, gpa(at), bytes, count, &waiter) != MM_OK) {
        disk_guest_turn();
    }
    waiter_cancel(&waiter);
}

void disk_guest_get(uint64_t at, void *bytes, size_t count)
{
    struct mm_waiter waiter = {.wake = wake};

    list_init(&waiter.link);
    while (space_read(disk_guest.space, gpa(at), bytes, count, &waiter) != MM_OK) {
        disk_guest_turn();
    }
    waiter_cancel(&waiter);
}

void disk_guest_fill(uint8_t *bytes, size_t count)
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

/* Ranges of zeroes, or discarded: their description is in the lane's memory. */
static void make_ranges(struct vdisk_request *request, unsigned lane, enum vdisk_op op)
{
    struct vdisk_range range[2] = {
        {.sector = lane * (uint64_t)LANE_SECTORS,
         .sectors = 1 + (uint32_t)support_random_below(99)},
        {.sector = lane * (uint64_t)LANE_SECTORS + 100,
         .sectors = (uint32_t)support_random_below(92),
         .flags = op == VDISK_ZERO ? VDISK_RANGE_UNMAP : 0},
    };
    struct lane *l = &disk_guest.lane[lane];

    memset(l->memory, 0x33, LANE_BYTES);
    memcpy(l->memory + PAGE_SIZE - 8, range, sizeof(range));
    disk_guest_copy(lane, l->memory, true);
    request->op = op;
    request->count = 2;
    request->segment[0] =
        (struct vdisk_segment){gpa(lane * (uint64_t)LANE_BYTES + PAGE_SIZE - 8), 13};
    request->segment[1] =
        (struct vdisk_segment){gpa(lane * (uint64_t)LANE_BYTES + PAGE_SIZE - 8 + 13), 32 - 13};
    for (unsigned i = 0; i < 2; i++) {
        memset(l->disk + range[i].sector % LANE_SECTORS * 512,
               op == VDISK_ZERO ? 0 : FAKE_DISK_DISCARDED, range[i].sectors * 512);
    }
}

static void make_data(struct vdisk_request *request, unsigned lane, enum vdisk_op op)
{
    struct lane *l = &disk_guest.lane[lane];
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
        disk_guest_fill(l->memory, LANE_BYTES);
        disk_guest_copy(lane, l->memory, true);
    }
    request->op = op;
    request->sector = lane * (uint64_t)LANE_SECTORS + first;
    cut(request, lane, sectors * 512, odd);
    model_move(l, request, op == VDISK_READ);
}

void disk_guest_start(unsigned lane)
{
    struct lane *l = &disk_guest.lane[lane];
    struct vdisk_request *request = vdisk_take(&disk_guest.vdisk);
    unsigned kind = (unsigned)support_random_below(10);

    assert_non_null(request);
    request->token[0] = lane;
    request->answers = true;
    request->answer = gpa((ANSWER_PAGE + lane / 3) * PAGE_SIZE + lane);
    disk_guest_put(request->answer.v, "?", 1);
    if (!l->known) { /* a failed write: written anew, whole */
        disk_guest_fill(l->memory, LANE_BYTES);
        disk_guest_copy(lane, l->memory, true);
        request->op = VDISK_WRITE;
        request->sector = lane * (uint64_t)LANE_SECTORS;
        cut(request, lane, LANE_BYTES, false);
        model_move(l, request, false);
    } else if (kind == 0) {
        request->op = VDISK_FLUSH;
        request->count = 0;
    } else if (kind == 1 || kind == 2) {
        make_ranges(request, lane, kind == 1 ? VDISK_ZERO : VDISK_DISCARD);
    } else {
        make_data(request, lane, kind < 7 ? VDISK_READ : VDISK_WRITE);
    }
    l->known = true;
    l->request = request;
    vdisk_submit(&disk_guest.vdisk, request);
}

static uint8_t now[LANE_BYTES];

static void check_lane(unsigned lane)
{
    uint8_t status = 0xff;

    if (disk_guest.lane[lane].answered >= 0) {
        disk_guest_get((ANSWER_PAGE + lane / 3) * PAGE_SIZE + lane, &status, 1);
        assert_int_equal(status, disk_guest.lane[lane].answered);
    }
    disk_guest_copy(lane, now, false);
    assert_memory_equal(now, disk_guest.lane[lane].memory, LANE_BYTES);
    assert_memory_equal(disk_guest.disk.data + lane * (uint64_t)LANE_BYTES,
                        disk_guest.lane[lane].disk, LANE_BYTES);
}

static void note_done(void *owner, struct vdisk_request *request)
{
    struct lane *lane = &disk_guest.lane[request->token[0]];

    assert_ptr_equal(owner, &disk_guest);
    assert_ptr_equal(lane->request, request);
    assert_int_equal(request->ios, 0);
    lane->answered = request->answers ? (int)request->status : -1;
    disk_guest.done[request->status]++;
    lane->request = NULL;
    if (request->status != VDISK_OK) {
        lane->known = false;
    }
    vdisk_give(&disk_guest.vdisk, request);
}

static void note_lost(void *owner, gfn_t page)
{
    (void)owner;
    (void)page;
    disk_guest.lost++;
}

static void note_idle(void *owner)
{
    (void)owner;
    disk_guest.idle_calls++;
    disk_guest.idle = true;
}

static const struct vdisk_host host = {.done = note_done, .lost = note_lost, .idle = note_idle};

/* ---- up and down ---- */

void disk_guest_up(const struct table_format *format, uint8_t unit)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    memset(&disk_guest, 0, sizeof(disk_guest));
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 16, 40);
    fake_disk_init(&disk_guest.store_disk, 2 * GUEST_PAGES, 1);
    disk_guest.store = support_open_store(&disk_guest.store_disk);
    fake_disk_init(&disk_guest.disk, DISK_BLOCKS, support_random());
    disk_guest.disk.device.unit = unit;
    disk_guest.disk.device.discard_max = 40; /* so that ranges are cut */
    strcpy(disk_guest.disk.device.name, "nvme1p2");
    disk_guest.identity = store_open_disk(&disk_guest.disk.device);
    assert_ptr_equal(store_of_disk(&disk_guest.disk.device), disk_guest.identity);
    disk_guest.free_at_start = frame_stats_get().free;
    config.store = disk_guest.store;
    disk_guest.space = space_create(&config);
    assert_non_null(disk_guest.space);
    assert_true(space_add_memslot(disk_guest.space, gfn(0), GUEST_PAGES, 0));
    assert_true(vdisk_init(&disk_guest.vdisk, &disk_guest.disk.device, false, disk_guest.space,
                           &host, &disk_guest));
    for (unsigned i = 0; i < LANES; i++) {
        disk_guest.lane[i].known = true;
        disk_guest.lane[i].answered = -1;
    }
}

void disk_guest_give_up(void)
{
    uint64_t calls = disk_guest.idle_calls;
    struct space_stats stats;
    bool idle = vdisk_give_up(&disk_guest.vdisk);

    disk_guest.idle = idle;
    for (unsigned turns = 0; !disk_guest.idle; turns++) {
        assert_true(turns < 1000000);
        disk_guest_turn();
    }
    run_timer();
    assert_int_equal(disk_guest.idle_calls - calls, idle ? 0 : 1);
    assert_int_equal(disk_guest.vdisk.pins, 0);
    /* What is on its way yet are pages that were dropped for a block, and come back. */
    space_get_stats(disk_guest.space, &stats);
    assert_true(disk_guest.disk.queued == 0 || stats.transit != 0);
}

void disk_guest_down(void)
{
    disk_guest_give_up();
    vdisk_destroy(&disk_guest.vdisk);
    if (!disk_guest.closed) {
        space_close(disk_guest.space);
    }
    while (!space_drain(disk_guest.space)) {
        support_store_step(&disk_guest.store_disk);
        support_store_step(&disk_guest.disk);
    }
    space_free(disk_guest.space);
    assert_int_equal(frame_stats_get().free, disk_guest.free_at_start);
    store_close(disk_guest.identity);
    assert_null(store_of_disk(&disk_guest.disk.device));
    fake_disk_free(&disk_guest.disk);
    fake_disk_free(&disk_guest.store_disk);
    support_memory_free();
}

void disk_guest_settle(void)
{
    for (unsigned turns = 0; disk_guest.vdisk.open != 0; turns++) {
        assert_true(turns < 1000000);
        disk_guest_turn();
    }
}

void disk_guest_run(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        unsigned lane = (unsigned)support_random_below(LANES);

        if (disk_guest.lane[lane].request == NULL) {
            if (disk_guest.lane[lane].known) {
                check_lane(lane);
            }
            disk_guest_start(lane);
        }
        for (uint64_t n = support_random_below(30); n > 0; n--) {
            disk_guest_turn();
        }
    }
    disk_guest_settle();
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (disk_guest.lane[lane].known) {
            check_lane(lane);
        }
    }
}
