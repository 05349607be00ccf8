/* SPDX-License-Identifier: BSD-2-Clause */
/* Life of a disk and of its requests: from submit to done(). */
#include "hv/vdev/disk/vdisk.h"

#include <stdatomic.h>
#include <string.h>

#include "hv/config/admission.h"
#include "hv/vdev/disk/vdisk_internal.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

/* A frame that requests or I/Os are carved out of begins with this. */
struct vdisk_carved {
    struct list link; /* disk->carved */
    pfn_t frame;
};
#define ROOM         (PAGE_SIZE - sizeof(struct vdisk_carved))
#define FRAMES(n, s) (((n) + ROOM / (s)-1) / (ROOM / (s)))
_Static_assert(FRAMES(VDISK_REQUESTS, sizeof(struct vdisk_request)) +
                       FRAMES(VDISK_IOS, sizeof(struct vdisk_io)) + 2 <=
                   ADMISSION_DISK_FRAMES,
               "what is reckoned for a disk");
_Static_assert(VDISK_PINS >= BLOCK_MAX_PAGES, "one I/O can always be gathered");

/* ---- life ----------------------------------------------------------------------------------- */

static bool carve(struct vdisk *disk, struct list *to, size_t bytes, size_t link, unsigned count)
{
    uint8_t *at = NULL;
    size_t used = PAGE_SIZE;

    for (unsigned i = 0; i < count; i++) {
        if (used + bytes > PAGE_SIZE) {
            pfn_t frame;

            if (!frame_alloc_zeroed(0, ALLOC_META, 0, &frame)) {
                return false;
            }
            struct vdisk_carved *carved = mm_frame_ptr(frame);

            carved->frame = frame;
            list_push_back(&disk->carved, &carved->link);
            at = (uint8_t *)carved;
            used = sizeof(*carved);
        }
        list_push_back(to, (struct list *)(void *)(at + used + link));
        used += bytes;
    }
    return true;
}

static void free_frames(struct vdisk *disk)
{
    struct list *link;

    while ((link = list_pop_front(&disk->carved)) != NULL) {
        frame_free(LIST_ENTRY(link, struct vdisk_carved, link)->frame);
    }
    while (disk->page_count > 0) {
        frame_free(disk->page[--disk->page_count]);
    }
}

static bool take_frames(struct vdisk *disk)
{
    while (disk->page_count < ARRAY_SIZE(disk->page)) {
        if (!frame_alloc_zeroed(0, ALLOC_META, 0, &disk->page[disk->page_count])) {
            return false;
        }
        disk->page_count++;
    }
    return carve(disk, &disk->free_requests, sizeof(struct vdisk_request),
                 offsetof(struct vdisk_request, link), VDISK_REQUESTS) &&
           carve(disk, &disk->free_ios, sizeof(struct vdisk_io), offsetof(struct vdisk_io, link),
                 VDISK_IOS);
}

static void timer_fire(struct timer *timer);

/* The page has come.  Not here: the disk's lock may be held by who wakes. */
static void waiter_wake(struct mm_waiter *waiter)
{
    struct vdisk *disk = CONTAINER_OF(waiter, struct vdisk, waiter);

    atomic_store(&disk->woken, true);
    timer_set(&disk->timer, 0);
}

bool vdisk_init(struct vdisk *disk, struct block_device *device, bool read_only,
                struct space *space, const struct vdisk_host *host, void *owner)
{
    memset(disk, 0, sizeof(*disk));
    spin_init(&disk->lock, RANK_VDISK, "guest disk");
    disk->device = device;
    disk->space = space;
    disk->host = host;
    disk->owner = owner;
    disk->read_only = read_only || device->read_only;
    list_init(&disk->free_requests);
    list_init(&disk->free_ios);
    list_init(&disk->waiting);
    list_init(&disk->sent);
    list_init(&disk->answering);
    list_init(&disk->finished);
    list_init(&disk->carved);
    list_init(&disk->waiter.link);
    disk->waiter.wake = waiter_wake;
    timer_init(&disk->timer, timer_fire);
    vdisk_identity_init(disk);
    if (!take_frames(disk)) {
        free_frames(disk);
        return false;
    }
    return true;
}

void vdisk_destroy(struct vdisk *disk)
{
    waiter_cancel(&disk->waiter);
    timer_cancel_sync(&disk->timer);
    free_frames(disk);
}

uint64_t vdisk_sectors(const struct vdisk *disk)
{
    return disk->device->blocks * BLOCK_SECTORS;
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void finish(struct vdisk *disk, struct vdisk_request *request)
{
    vdisk_drop_piece(disk, request);
    list_remove(&request->link);
    list_push_back(&disk->answering, &request->link);
    disk->stats.errors += request->status == VDISK_IOERR;
}

/* A guest that has put the status where no memory is gets none. */
static void answer(struct vdisk *disk)
{
    while (!disk->waits && !list_empty(&disk->answering)) {
        struct vdisk_request *request =
            LIST_ENTRY(disk->answering.next, struct vdisk_request, link);
        enum vdisk_status status = request->status; /* stays: that its place is bad is no news */
        uint8_t byte = (uint8_t)status;

        if (request->answers && !request->given_up) {
            vdisk_got(disk, request,
                      space_write(disk->space, request->answer, &byte, 1, &disk->waiter),
                      gpa_to_gfn(request->answer));
            request->status = status;
        }
        if (!disk->waits) {
            list_remove(&request->link);
            list_push_back(&disk->finished, &request->link);
        }
    }
}

/* All of it has been sent, or no more will be. */
static bool all_sent(const struct vdisk_request *request)
{
    return vdisk_is_over(request) || (request->left == 0 && request->range.sectors == 0);
}

/* Of a guest that was told that there is no cache: a write is flushed before it is done. */
static bool wants_flush(const struct vdisk *disk, const struct vdisk_request *request)
{
    bool writes = request->op == VDISK_WRITE || request->op == VDISK_ZERO;

    return disk->write_through && writes && !request->flushing && !vdisk_is_over(request);
}

/* Nothing of the request is in flight, and all of it was.  False: it waits for a free I/O. */
static bool end_request(struct vdisk *disk, struct vdisk_request *request)
{
    struct vdisk_io *io;

    if (!wants_flush(disk, request)) {
        finish(disk, request);
        return true;
    }
    io = vdisk_io_take(disk);
    if (io == NULL) {
        return false;
    }
    request->flushing = true;
    io->block.op = BLOCK_FLUSH;
    vdisk_io_send(disk, request, io);
    return true;
}

void vdisk_io_ended(struct vdisk *disk, struct vdisk_request *request)
{
    request->ios--;
    if (request->ios == 0 && all_sent(request)) {
        end_request(disk, request); /* the I/O that has just ended is free */
    }
}

/* The next step of the first one that waits.  False: it cannot be done now. */
static bool step(struct vdisk *disk, struct vdisk_request *request)
{
    if (!all_sent(request) && vdisk_issue(disk, request) == STEP_WAIT) {
        return false;
    }
    if (!all_sent(request)) {
        return true;
    }
    list_remove(&request->link);
    list_push_back(&disk->sent, &request->link);
    if (request->ios == 0 && !end_request(disk, request)) {
        list_remove(&request->link);
        list_push_front(&disk->waiting, &request->link);
        return false;
    }
    return true;
}

/* Sends what can be sent.  Bounded by the I/Os that there are, and by the requests. */
static void go_on(struct vdisk *disk)
{
    if (atomic_exchange(&disk->woken, false)) {
        disk->waits = false;
    }
    answer(disk);
    if (disk->landing != NULL && !disk->waits) {
        vdisk_land(disk);
    }
    while (!disk->waits && !list_empty(&disk->waiting) &&
           step(disk, LIST_ENTRY(disk->waiting.next, struct vdisk_request, link))) {
    }
    answer(disk);
}

/* What is to be said to the host: taken with the lock, said without it. */
struct news {
    struct list finished;
    bool is_lost;
};

static void collect(struct vdisk *disk, struct news *news)
{
    list_init(&news->finished);
    list_splice(&news->finished, &disk->finished);
    news->is_lost = disk->is_lost;
    disk->is_lost = false;
    disk->open += news->is_lost; /* the disk stays until that is said */
}

static void close_one(struct vdisk *disk)
{
    bool tells;

    spin_lock(&disk->lock);
    disk->open--;
    tells = disk->open == 0 && disk->tells_idle;
    disk->tells_idle &= !tells;
    spin_unlock(&disk->lock);
    if (tells) { /* who waits for that keeps the disk until it is told */
        disk->host->idle(disk->owner);
    }
}

/* No locks held.  The disk may be gone behind the last close_one(), and if there is no news. */
static void tell(struct vdisk *disk, struct news *news)
{
    struct list *link;

    if (news->is_lost) {
        disk->host->lost(disk->owner, disk->lost);
        close_one(disk);
    }
    while ((link = list_pop_front(&news->finished)) != NULL) {
        struct vdisk_request *request = LIST_ENTRY(link, struct vdisk_request, link);

        if (request->given_up) {
            vdisk_give(disk, request);
        } else {
            disk->host->done(disk->owner, request);
        }
        close_one(disk);
    }
}

static void timer_fire(struct timer *timer)
{
    struct vdisk *disk = CONTAINER_OF(timer, struct vdisk, timer);
    struct news news;

    spin_lock(&disk->lock);
    go_on(disk);
    collect(disk, &news);
    spin_unlock(&disk->lock);
    tell(disk, &news);
}

/* ---- I/Os ----------------------------------------------------------------------------------- */

struct vdisk_io *vdisk_io_take(struct vdisk *disk)
{
    struct list *link = list_pop_front(&disk->free_ios);

    if (link == NULL) {
        return NULL;
    }
    struct vdisk_io *io = LIST_ENTRY(link, struct vdisk_io, link);

    memset(io, 0, offsetof(struct vdisk_io, pinned));
    list_init(&io->link);
    list_init(&io->block.link);
    io->disk = disk;
    io->bounces = false;
    return io;
}

void vdisk_io_give(struct vdisk *disk, struct vdisk_io *io)
{
    vdisk_identity_unpin(disk, io);
    disk->pins -= io->pins;
    list_push_front(&disk->free_ios, &io->link);
}

static void io_done(struct block_request *block, enum block_status status)
{
    struct vdisk_io *io = CONTAINER_OF(block, struct vdisk_io, block);
    struct vdisk *disk = io->disk;
    struct vdisk_request *request = io->request;
    struct news news;

    spin_lock(&disk->lock);
    vdisk_identity_ended(disk, io, status);
    if (status != BLOCK_OK) {
        request->status = VDISK_IOERR;
    }
    if (io->bounces && block->op == BLOCK_READ && !vdisk_is_over(request)) {
        disk->landing = io;
        disk->bounced = 0;
    } else {
        disk->bounce_busy &= !io->bounces;
        vdisk_io_give(disk, io);
        vdisk_io_ended(disk, request);
    }
    go_on(disk);
    collect(disk, &news);
    spin_unlock(&disk->lock);
    tell(disk, &news);
}

void vdisk_io_send(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io)
{
    io->request = request;
    io->block.done = io_done;
    request->ios++;
    vdisk_identity_sent(disk, io);
    block_submit(disk->device, &io->block);
}

/* ---- requests ------------------------------------------------------------------------------- */

struct vdisk_request *vdisk_take(struct vdisk *disk)
{
    struct list *link;

    spin_lock(&disk->lock);
    link = list_pop_front(&disk->free_requests);
    spin_unlock(&disk->lock);
    return link == NULL ? NULL : LIST_ENTRY(link, struct vdisk_request, link);
}

void vdisk_give(struct vdisk *disk, struct vdisk_request *request)
{
    spin_lock(&disk->lock);
    list_push_front(&disk->free_requests, &request->link);
    spin_unlock(&disk->lock);
}

static uint64_t segment_bytes(const struct vdisk_request *request)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < request->count; i++) {
        bytes += request->segment[i].bytes;
    }
    return bytes;
}

static enum vdisk_status check(const struct vdisk *disk, const struct vdisk_request *request)
{
    switch (request->op) {
    case VDISK_DISCARD:
        if (disk->device->discard_max == 0) {
            return VDISK_UNSUPP;
        }
        /* fall through */
    case VDISK_ZERO:
        return !disk->read_only && vdisk_are_ranges(request->left) ? VDISK_OK : VDISK_IOERR;
    case VDISK_READ:
        return vdisk_on_disk(disk, request->sector, request->left) ? VDISK_OK : VDISK_IOERR;
    case VDISK_WRITE:
        return !disk->read_only && vdisk_on_disk(disk, request->sector, request->left)
                   ? VDISK_OK
                   : VDISK_IOERR;
    case VDISK_FLUSH:
    case VDISK_GET_ID:
        return VDISK_OK;
    case VDISK_FAIL:
        return VDISK_IOERR;
    case VDISK_UNKNOWN:
        break;
    }
    return VDISK_UNSUPP;
}

static void note_stats(struct vdisk *disk, const struct vdisk_request *request)
{
    uint64_t sectors = request->left / BLOCK_SECTOR_BYTES;

    disk->stats.reads += request->op == VDISK_READ;
    disk->stats.writes += request->op == VDISK_WRITE;
    disk->stats.flushes += request->op == VDISK_FLUSH;
    disk->stats.read_sectors += request->op == VDISK_READ ? sectors : 0;
    disk->stats.written_sectors += request->op == VDISK_WRITE ? sectors : 0;
}

void vdisk_submit(struct vdisk *disk, struct vdisk_request *request)
{
    uint64_t bytes = segment_bytes(request);

    request->place = (struct vdisk_place){0};
    vdisk_advance(request, &request->place, 0); /* an empty segment has no first byte */
    request->ios = request->range_bytes = 0;
    request->range = (struct vdisk_range){0};
    request->given_up = request->flushing = false;
    request->next = request->sector;
    request->left = request->op == VDISK_GET_ID  ? MIN(bytes, VDISK_ID_BYTES)
                    : request->op == VDISK_FLUSH ? 1 /* to be sent */
                                                 : bytes;
    request->moved = request->op == VDISK_FLUSH ? 0 : request->left;
    request->status = check(disk, request);
    spin_lock(&disk->lock);
    disk->open++;
    note_stats(disk, request);
    list_push_back(&disk->waiting, &request->link);
    go_on(disk);
    if (!list_empty(&disk->finished)) {
        timer_set(&disk->timer, 0); /* done() is not called from here */
    }
    spin_unlock(&disk->lock);
}

static void give_up(struct list *requests)
{
    LIST_FOR_EACH (link, requests) {
        LIST_ENTRY(link, struct vdisk_request, link)->given_up = true;
    }
}

bool vdisk_give_up(struct vdisk *disk)
{
    spin_lock(&disk->lock);
    give_up(&disk->waiting);
    give_up(&disk->sent);
    give_up(&disk->answering);
    give_up(&disk->finished);
    waiter_cancel(&disk->waiter); /* wake() takes no lock of ours */
    atomic_store(&disk->woken, false);
    disk->waits = false;
    go_on(disk);
    timer_set(&disk->timer, 0);
    bool idle = disk->open == 0;
    disk->tells_idle = !idle;
    spin_unlock(&disk->lock);
    return idle;
}

void vdisk_set_write_through(struct vdisk *disk, bool write_through)
{
    spin_lock(&disk->lock);
    disk->write_through = write_through;
    spin_unlock(&disk->lock);
}

void vdisk_get_stats(struct vdisk *disk, struct vdisk_stats *stats)
{
    spin_lock(&disk->lock);
    *stats = disk->stats;
    spin_unlock(&disk->lock);
}
