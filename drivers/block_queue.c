/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/block_queue.h"

#include "base/log.h"

/*
 * driver_data[0] is the device; driver_data[1] is the progress: "units" are pages, or
 * the one unit of a flush.
 */
#define PROGRESS_ISSUED   BITS(15, 0)  /* units given to the hardware, or given up */
#define PROGRESS_INFLIGHT BITS(31, 16) /* slices in the hardware */
#define PROGRESS_STATUS   BITS(39, 32) /* minus enum block_status of the first failure */

#define REPORT_FIRST 16
#define REPORT_EVERY 1024

static _Atomic unsigned outstanding;

void block_queue_init(struct block_queue *queue)
{
    spin_init(&queue->lock, RANK_BLOCK, "block queue");
    list_init(&queue->urgent);
    list_init(&queue->others);
    queue->urgent_run = 0;
    list_init(&queue->finished);
    atomic_init(&queue->undrained, 0);
    atomic_init(&queue->submitted, 0);
}

struct block_device *block_request_device(const struct block_request *request)
{
    return (struct block_device *)(uintptr_t)request->driver_data[0];
}

uint64_t block_slice_start(const struct block_slice *slice)
{
    return block_request_device(slice->request)->start + slice->request->block + slice->first;
}

uint32_t block_slice_offset(const struct block_slice *slice)
{
    return slice->first == 0 ? slice->request->offset : 0;
}

uint64_t block_slice_sector(const struct block_slice *slice)
{
    const struct block_request *request = slice->request;
    uint64_t from = (block_request_device(request)->start + request->block) * BLOCK_SECTORS;

    /* Pages before this slice are full but for the beginning of the first one. */
    return from + request->sector +
           (slice->first == 0 ? 0 : slice->first * BLOCK_SECTORS - request->offset);
}

uint32_t block_slice_sectors(const struct block_slice *slice)
{
    bool last = slice->first + slice->count == slice->request->pages;

    return slice->count * BLOCK_SECTORS - block_slice_offset(slice) -
           (last ? slice->request->cut : 0);
}

uint32_t block_slice_bytes(const struct block_slice *slice, uint32_t i, uint32_t *before)
{
    bool last = slice->first + i + 1 == slice->request->pages;
    uint32_t skipped = i == 0 ? block_slice_offset(slice) : 0;

    *before = skipped << BLOCK_SECTOR_SHIFT;
    return (BLOCK_SECTORS - skipped - (last ? slice->request->cut : 0)) << BLOCK_SECTOR_SHIFT;
}

unsigned block_queue_outstanding(void)
{
    return atomic_load_explicit(&outstanding, memory_order_relaxed);
}

bool block_report_error(const struct block_device *device)
{
    uint64_t errors = __atomic_load_n(&device->errors, __ATOMIC_RELAXED);

    return errors < REPORT_FIRST || errors % REPORT_EVERY == 0;
}

static uint32_t request_units(const struct block_request *request)
{
    return request->op == BLOCK_FLUSH ? 1 : request->pages;
}

static uint64_t progress_get(const struct block_request *request, uint64_t mask)
{
    return FIELD_GET(mask, request->driver_data[1]);
}

static void progress_set(struct block_request *request, uint64_t mask, uint64_t value)
{
    request->driver_data[1] = (request->driver_data[1] & ~mask) | FIELD_PREP(mask, value);
}

static void request_finish(struct block_queue *queue, struct block_request *request)
{
    list_push_back(&queue->finished, &request->link);
    atomic_fetch_add_explicit(&queue->undrained, 1, memory_order_relaxed);
}

/* Are its sectors on the device, at least one, and in units that the disk can move? */
static bool range_valid(const struct block_device *device, const struct block_request *request)
{
    uint32_t around = (uint32_t)request->offset + request->cut;
    uint32_t unit = MAX(device->unit, 1u);
    uint64_t end = device->blocks * BLOCK_SECTORS;

    if (request->pages == 0 || request->pages > BLOCK_MAX_PAGES ||
        request->sector >= BLOCK_SECTORS || request->offset >= BLOCK_SECTORS ||
        request->cut >= BLOCK_SECTORS || around >= request->pages * BLOCK_SECTORS ||
        (request->sector | request->offset | request->cut) % unit != 0) {
        return false;
    }
    return request->block < device->blocks &&
           request->pages * BLOCK_SECTORS - around <=
               end - request->block * BLOCK_SECTORS - request->sector;
}

static enum block_status request_check(const struct block_device *device,
                                       const struct block_request *request)
{
    if (request->op == BLOCK_FLUSH) {
        return BLOCK_OK;
    }
    if (!range_valid(device, request)) {
        if (block_report_error(device)) {
            log_error("%s: request for %u blocks at %llu, the device has %llu", device->name,
                      request->pages, (unsigned long long)request->block,
                      (unsigned long long)device->blocks);
        }
        return BLOCK_RANGE;
    }
    if (request->op == BLOCK_WRITE && device->read_only) {
        if (block_report_error(device)) {
            log_error("%s: write to a read-only device", device->name);
        }
        return BLOCK_ERROR;
    }
    return BLOCK_OK;
}

void block_queue_add(struct block_queue *queue, struct block_device *device,
                     struct block_request *request)
{
    enum block_status status = request_check(device, request);

    request->driver_data[0] = (uintptr_t)device;
    request->driver_data[1] = 0;
    list_init(&request->link);
    atomic_fetch_add_explicit(&outstanding, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&queue->submitted, 1, memory_order_relaxed);
    if (status != BLOCK_OK) {
        progress_set(request, PROGRESS_STATUS, (uint64_t)-status);
        request_finish(queue, request);
        return;
    }
    list_push_back(request->urgent ? &queue->urgent : &queue->others, &request->link);
}

struct block_request *block_queue_peek(const struct block_queue *queue)
{
    const struct list *from = &queue->urgent;

    if (list_empty(from) ||
        (queue->urgent_run >= BLOCK_URGENT_RUN && !list_empty(&queue->others))) {
        from = &queue->others;
    }
    return list_empty(from) ? NULL : LIST_ENTRY(from->next, struct block_request, link);
}

/* A slice of the request has been taken: whose turn is it next? */
static void note_turn(struct block_queue *queue, const struct block_request *request)
{
    bool passed_others = request->urgent && !list_empty(&queue->others);

    queue->urgent_run = passed_others ? queue->urgent_run + 1 : 0;
}

bool block_queue_take(struct block_queue *queue, uint32_t max_pages, struct block_slice *slice)
{
    struct block_request *request = block_queue_peek(queue);

    if (!request) {
        return false;
    }
    note_turn(queue, request);

    uint32_t issued = (uint32_t)progress_get(request, PROGRESS_ISSUED);
    uint32_t units = MIN(request_units(request) - issued, max_pages);

    slice->request = request;
    slice->first = issued;
    slice->count = request->op == BLOCK_FLUSH ? 0 : units;
    /* No field overflows: there are no more slices than units. */
    request->driver_data[1] +=
        FIELD_PREP(PROGRESS_ISSUED, units) + FIELD_PREP(PROGRESS_INFLIGHT, 1);
    if (issued + units == request_units(request)) {
        list_remove(&request->link);
    }
    return true;
}

/* Keeps the first failure and issues no more of the request. */
static void request_fail(struct block_request *request, enum block_status status)
{
    if (progress_get(request, PROGRESS_STATUS) == 0) {
        progress_set(request, PROGRESS_STATUS, (uint64_t)-status);
    }
    progress_set(request, PROGRESS_ISSUED, request_units(request));
    list_remove(&request->link);
}

void block_queue_end(struct block_queue *queue, const struct block_slice *slice,
                     enum block_status status)
{
    struct block_request *request = slice->request;

    request->driver_data[1] -= FIELD_PREP(PROGRESS_INFLIGHT, 1);
    if (status != BLOCK_OK) {
        request_fail(request, status);
    }
    if (progress_get(request, PROGRESS_INFLIGHT) == 0 &&
        progress_get(request, PROGRESS_ISSUED) == request_units(request)) {
        request_finish(queue, request);
    }
}

void block_queue_fail_waiting(struct block_queue *queue, enum block_status status)
{
    struct block_request *request;

    while ((request = block_queue_peek(queue)) != NULL) {
        request_fail(request, status);
        if (progress_get(request, PROGRESS_INFLIGHT) == 0) {
            request_finish(queue, request);
        }
    }
}

static void count(uint64_t *counter, uint64_t amount)
{
    __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

static void request_count(const struct block_request *request, enum block_status status)
{
    struct block_device *device = block_request_device(request);

    if (status != BLOCK_OK) {
        count(&device->errors, 1);
    } else if (request->op == BLOCK_READ) {
        count(&device->reads, 1);
        count(&device->read_pages, request->pages);
    } else if (request->op == BLOCK_WRITE) {
        count(&device->writes, 1);
        count(&device->written_pages, request->pages);
    }
}

void block_queue_deliver(struct block_queue *queue)
{
    struct list batch;
    struct list *link;

    if (atomic_load_explicit(&queue->undrained, memory_order_relaxed) == 0) {
        return;
    }
    list_init(&batch);
    spin_lock(&queue->lock);
    list_splice(&batch, &queue->finished);
    atomic_store_explicit(&queue->undrained, 0, memory_order_relaxed);
    spin_unlock(&queue->lock);
    while ((link = list_pop_front(&batch)) != NULL) {
        struct block_request *request = LIST_ENTRY(link, struct block_request, link);
        enum block_status status =
            (enum block_status)(-(int)progress_get(request, PROGRESS_STATUS));

        request_count(request, status);
        atomic_fetch_sub_explicit(&queue->submitted, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&outstanding, 1, memory_order_relaxed);
        request->done(request, status);
    }
}
