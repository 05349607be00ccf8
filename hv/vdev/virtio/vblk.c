/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/virtio/vblk.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hv/arch.h"
#include "hv/config/admission.h"
#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/timer.h"
#include "hv/vdev/virtio/quiet.h"

#define CLASS_STORAGE 0x018000 /* mass storage, other */

/* 5.2.3 "Feature bits". */
#define VBLK_F_SIZE_MAX     BIT(1)
#define VBLK_F_SEG_MAX      BIT(2)
#define VBLK_F_RO           BIT(5)
#define VBLK_F_BLK_SIZE     BIT(6)
#define VBLK_F_FLUSH        BIT(9)
#define VBLK_F_TOPOLOGY     BIT(10)
#define VBLK_F_CONFIG_WCE   BIT(11)
#define VBLK_F_MQ           BIT(12)
#define VBLK_F_DISCARD      BIT(13)
#define VBLK_F_WRITE_ZEROES BIT(14)

/* 5.2.6 "Device Operation". */
enum {
    VBLK_T_IN = 0,
    VBLK_T_OUT = 1,
    VBLK_T_FLUSH = 4,
    VBLK_T_GET_ID = 8,
    VBLK_T_DISCARD = 11,
    VBLK_T_WRITE_ZEROES = 13,
};

struct vblk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};
_Static_assert(sizeof(struct vblk_header) == 16, "virtio_blk_req");
_Static_assert(VDISK_OK == 0 && VDISK_IOERR == 1 && VDISK_UNSUPP == 2, "VIRTIO_BLK_S_*");

/* 5.2.4 "Device configuration layout". */
struct vblk_config {
    uint64_t capacity; /* sectors of 512 bytes */
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size; /* in blocks */
    uint32_t opt_io_size;
    uint8_t writeback, unused;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
};
#define CONFIG_BYTES 60 /* to the end of unused1 */
_Static_assert(offsetof(struct vblk_config, unused1) + 3 == CONFIG_BYTES, "virtio_blk_config");
_Static_assert(offsetof(struct vblk_config, max_write_zeroes_sectors) == 48, "virtio_blk_config");

#define SEGMENT_MAX 0x10000u /* bytes that a segment should have at most */

struct vblk {
    struct virtio_device device; /* its lock protects all below */
    struct vdisk disk;           /* has its own */
    bool has_disk;
    struct vblk_config config;
    struct virtq_chain chain; /* that is being looked at */
    bool starved;             /* chains may wait for a free request */
    bool waits;               /* the device's waiter is registered */
    struct quiet quiet;
    _Atomic uint32_t quiet_queues; /* whose guest does not notify: the timer is set, or waits */
    unsigned taken;                /* by the last serve() */
    bool timer_set;
    struct timer timer; /* looks into them */
};

static struct vblk *vblk_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vblk, device);
}

/* ---- a chain becomes a request -------------------------------------------------------------- */

/* Bytes at the beginning of the chain. */
static enum mm_result read_header(struct vblk *b, struct vblk_header *header,
                                  struct mm_waiter *waiter)
{
    uint32_t done = 0;

    for (unsigned i = 0; done < sizeof(*header); i++) {
        const struct virtq_segment *segment = &b->chain.segment[i];
        uint32_t bytes = MIN(segment->bytes, (uint32_t)sizeof(*header) - done);
        enum mm_result result = space_read(b->device.vm->run.space, segment->address,
                                           (uint8_t *)header + done, bytes, waiter);

        if (result != MM_OK) {
            return result;
        }
        done += bytes;
    }
    return MM_OK;
}

static enum vdisk_op op_of(uint32_t type)
{
    switch (type) {
    case VBLK_T_IN:
        return VDISK_READ;
    case VBLK_T_OUT:
        return VDISK_WRITE;
    case VBLK_T_FLUSH:
        return VDISK_FLUSH;
    case VBLK_T_GET_ID:
        return VDISK_GET_ID;
    case VBLK_T_DISCARD:
        return VDISK_DISCARD;
    case VBLK_T_WRITE_ZEROES:
        return VDISK_ZERO;
    default:
        return VDISK_UNKNOWN;
    }
}

/* The chain's bytes from `skip` on, those that the device writes or those that it reads, but for
 * the last `spare` ones.  False: too many pieces. */
static bool copy_segments(const struct virtq_chain *chain, bool device_writes, uint32_t skip,
                          uint32_t bytes, struct vdisk_request *request)
{
    for (unsigned i = 0; i < chain->count && bytes != 0; i++) {
        const struct virtq_segment *segment = &chain->segment[i];
        uint32_t skipped = MIN(skip, segment->bytes), piece;

        if (segment->device_writes != device_writes) {
            continue;
        }
        skip -= skipped;
        piece = MIN(segment->bytes - skipped, bytes);
        if (piece == 0) {
            continue;
        }
        if (request->count == VDISK_SEGMENTS) {
            return false;
        }
        request->segment[request->count++] =
            (struct vdisk_segment){gpa(segment->address.v + skipped), piece};
        bytes -= piece;
    }
    return true;
}

/* The chain has a header and a byte for the status. */
static void fill_request(const struct virtq_chain *chain, const struct vblk_header *header,
                         struct vdisk_request *request)
{
    const struct virtq_segment *last = &chain->segment[chain->count - 1];
    bool good = true;

    request->op = op_of(header->type);
    request->sector = header->sector;
    request->count = 0;
    request->answers = true;
    request->answer = gpa(last->address.v + last->bytes - 1);
    if (request->op == VDISK_READ || request->op == VDISK_GET_ID) {
        good = copy_segments(chain, true, 0, chain->writable - 1, request);
    } else if (request->op == VDISK_WRITE || request->op == VDISK_ZERO ||
               request->op == VDISK_DISCARD) {
        good = copy_segments(chain, false, sizeof(*header), chain->readable - sizeof(*header),
                             request);
    }
    if (!good) {
        request->op = VDISK_FAIL; /* more than SEG_MAX */
    }
}

/* The chain that has been taken.  False: it waits, and has been put back; or the device is broken.
 */
static bool begin(struct vblk *b, unsigned queue, struct vdisk_request *request,
                  struct mm_waiter *waiter, enum bus_result *result)
{
    struct vblk_header header;

    if (b->chain.readable < sizeof(header) || b->chain.writable == 0) {
        virtio_break(&b->device, "a request without a header or a status");
        return false;
    }
    switch (read_header(b, &header, waiter)) {
    case MM_OK:
        break;
    case MM_WAIT:
        virtio_untake(&b->device, queue, b->chain.head);
        *result = BUS_PARK;
        return false;
    case MM_NO_MEMSLOT:
    case MM_LOST:
        virtio_break(&b->device, "a request whose header is not in memory");
        return false;
    }
    fill_request(&b->chain, &header, request);
    request->token[0] = queue;
    request->token[1] = b->chain.head;
    vdisk_submit(&b->disk, request);
    return true;
}

/* The next chain.  Of the one behind it the guest notifies, or need not. */
static enum virtq_result take(struct vblk *b, unsigned queue, struct mm_waiter *waiter)
{
    uint32_t bit = (uint32_t)BIT(queue), others = atomic_load(&b->quiet_queues) & ~bit;
    struct virtq *q = &b->device.queue[queue];

    if (!virtio_is_running(&b->device)) {
        return VIRTQ_EMPTY; /* a quiet one stays so: it is looked at when the device runs again */
    }
    virtq_set_quiet(q, quiet_may(&b->quiet, q->in_flight));
    atomic_store(&b->quiet_queues, others | (q->quiet ? bit : 0));
    return virtio_take(&b->device, queue, &b->chain, waiter);
}

/* Takes what there is while there are requests: BUS_PARK if the waiter is registered. */
static enum bus_result take_all(struct vblk *b, unsigned queue, struct mm_waiter *waiter)
{
    enum bus_result result = BUS_DONE;
    struct vdisk_request *request;

    while ((request = vdisk_take(&b->disk)) != NULL) {
        enum virtq_result taken = take(b, queue, waiter);

        if (taken != VIRTQ_CHAIN || !begin(b, queue, request, waiter, &result)) {
            vdisk_give(&b->disk, request);
            return taken == VIRTQ_PARK ? BUS_PARK : result;
        }
    }
    b->starved = true;
    return BUS_DONE;
}

/* Sees to it that somebody looks into quiet queues.  While the device does not run only vCPUs do,
 * which is soon enough. */
static void set_timer(struct vblk *b)
{
    if (atomic_load(&b->quiet_queues) != 0 && !b->timer_set && virtio_is_running(&b->device)) {
        b->timer_set = true;
        timer_set(&b->timer, arch_clock_ns() + quiet_wait_ns(&b->quiet));
    }
}

static enum bus_result serve(struct vblk *b, unsigned queue, struct mm_waiter *waiter)
{
    const struct virtq *q = &b->device.queue[queue];
    uint16_t before = q->avail_next;
    enum bus_result result = take_all(b, queue, waiter);

    b->taken = (uint16_t)(q->avail_next - before);
    quiet_found(&b->quiet, b->taken, false);
    set_timer(b);
    return result;
}

/* All queues, for the device's own sake. */
static void serve_all(struct vblk *b)
{
    b->starved = false;
    for (unsigned i = 0; i < b->device.queue_count && !b->waits && !b->starved; i++) {
        b->waits = serve(b, i, &b->device.waiter) == BUS_PARK;
    }
    b->starved |= b->waits; /* the queues behind were not looked at */
}

/* ---- what the guest has not notified of ------------------------------------------------------ */

/* In a quiet queue; returns how many there were.  While the device waits, or has no free request,
 * nobody looks: it serves all queues as soon as that is over. */
static unsigned look(struct vblk *b, unsigned queue)
{
    if (!(atomic_load(&b->quiet_queues) & BIT(queue)) || b->waits || b->starved) {
        return 0;
    }
    b->waits = serve(b, queue, &b->device.waiter) == BUS_PARK;
    return b->taken;
}

static unsigned look_at_all(struct vblk *b)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < b->device.queue_count; i++) {
        taken += look(b, i);
    }
    return taken;
}

void vblk_look(struct virtio_device *device)
{
    struct vblk *b = vblk_of(device);

    if (atomic_load_explicit(&b->quiet_queues, memory_order_relaxed) != 0) {
        spin_lock(&device->lock);
        (void)look_at_all(b);
        spin_unlock(&device->lock);
    }
}

static void fire(struct timer *timer)
{
    struct vblk *b = CONTAINER_OF(timer, struct vblk, timer);

    spin_lock(&b->device.lock);
    bool idle = virtio_in_flight(&b->device) == 0;

    b->timer_set = false;
    quiet_timer_begins(&b->quiet, arch_clock_ns());
    quiet_timer_ends(&b->quiet, idle, look_at_all(b));
    spin_unlock(&b->device.lock);
}

/* ---- from the guest ------------------------------------------------------------------------- */

static enum bus_result notify(struct virtio_device *device, unsigned queue,
                              struct mm_waiter *waiter)
{
    struct vblk *b = vblk_of(device);
    uint64_t begin_ns = arch_clock_ns();
    enum bus_result result = serve(b, queue, waiter);

    quiet_note_cost(&b->quiet, arch_clock_ns() - begin_ns);
    return result;
}

static void set_cache(struct vblk *b, bool writeback)
{
    b->config.writeback = writeback;
    vdisk_set_write_through(&b->disk, !writeback);
}

/* 5.2.5 "Device Initialization": without FLUSH the driver cannot ask for what a cache needs. */
static void start(struct virtio_device *device)
{
    set_cache(vblk_of(device), (device->features & VBLK_F_FLUSH) != 0);
}

static void config_write(struct virtio_device *device, unsigned offset, unsigned bytes,
                         uint64_t value)
{
    if (offset == offsetof(struct vblk_config, writeback) && bytes == 1 &&
        (device->features & VBLK_F_CONFIG_WCE)) {
        set_cache(vblk_of(device), value & 1);
    }
}

/*
 * A waiter that is registered stays so: its wake() may be waiting for the device's lock on another
 * CPU, and to wait here until that is over would be for ever.  It finds nothing to do, or what the
 * next driver has left for it.
 */
static bool reset(struct virtio_device *device)
{
    struct vblk *b = vblk_of(device);

    b->starved = b->waits;
    return vdisk_give_up(&b->disk);
}

static bool resume(struct virtio_device *device)
{
    struct vblk *b = vblk_of(device);

    b->waits = false;
    serve_all(b);
    return b->waits;
}

/* ---- from the disk; no locks held ----------------------------------------------------------- */

static void done(void *owner, struct vdisk_request *request)
{
    struct vblk *b = owner;
    unsigned queue = request->token[0];
    bool reads = request->op == VDISK_READ || request->op == VDISK_GET_ID;

    spin_lock(&b->device.lock);
    if (!b->device.resetting) {
        uint64_t bytes = reads && request->status == VDISK_OK ? request->moved : 0;

        virtio_give(&b->device, queue, (uint16_t)request->token[1], (uint32_t)bytes + 1);
        virtio_signal(&b->device, queue);
        quiet_ended(&b->quiet, arch_clock_ns());
    }
    vdisk_give(&b->disk, request);
    if (b->starved && !b->waits) {
        serve_all(b);
    } else {
        (void)look(b, queue);
    }
    spin_unlock(&b->device.lock);
}

static void lost(void *owner, gfn_t page)
{
    struct vblk *b = owner;

    vm_lose_page(b->device.vm, "a disk's page 0x%lx", (unsigned long)page.v);
}

static void idle(void *owner)
{
    struct vblk *b = owner;

    spin_lock(&b->device.lock);
    virtio_reset_done(&b->device);
    spin_unlock(&b->device.lock);
}

static const struct vdisk_host disk_host = {.done = done, .lost = lost, .idle = idle};

/* ---- life ----------------------------------------------------------------------------------- */

static void destroy(struct virtio_device *device)
{
    struct vblk *b = vblk_of(device);

    timer_cancel_sync(&b->timer);
    if (b->has_disk) {
        vdisk_destroy(&b->disk);
    }
    free(b);
}

static const struct virtio_device_ops device_ops = {
    .notify = notify,
    .start = start,
    .reset = reset,
    .config_write = config_write,
    .resume = resume,
    .destroy = destroy,
};

static const struct virtio_type type = {VIRTIO_TYPE_BLOCK, CLASS_STORAGE, &device_ops};

static void fill_config(struct vblk_config *config, const struct vdisk *disk, unsigned queues)
{
    uint32_t unit = MAX(disk->device->unit, 1u);

    config->capacity = vdisk_sectors(disk);
    config->size_max = SEGMENT_MAX;
    config->seg_max = VDISK_SEGMENTS;
    config->blk_size = unit * BLOCK_SECTOR_BYTES;
    config->physical_block_exp = (uint8_t)__builtin_ctz(BLOCK_SECTORS / unit);
    config->min_io_size = (uint16_t)(BLOCK_SECTORS / unit);
    config->writeback = 1;
    config->num_queues = (uint16_t)queues;
    config->max_discard_sectors = disk->device->discard_max;
    config->max_discard_seg = VDISK_RANGES;
    config->discard_sector_alignment = MAX(disk->device->discard_align, unit);
    config->max_write_zeroes_sectors = VDISK_RANGE_MAX;
    config->max_write_zeroes_seg = VDISK_RANGES;
}

struct virtio_device *vblk_create(struct vm *vm, struct vpci *pci, uint8_t devfn,
                                  struct block_device *device, bool read_only)
{
    unsigned queues = MIN(MIN(vm->config->vcpus, VBLK_QUEUES_MAX), (unsigned)VIRTIO_QUEUES_MAX);
    uint64_t features = VBLK_F_SIZE_MAX | VBLK_F_SEG_MAX | VBLK_F_BLK_SIZE | VBLK_F_FLUSH |
                        VBLK_F_TOPOLOGY | VBLK_F_CONFIG_WCE | VBLK_F_MQ;
    struct vblk *b = calloc(1, sizeof(*b));

    if (b == NULL) {
        return NULL;
    }
    timer_init(&b->timer, fire);
    b->has_disk = vdisk_init(&b->disk, device, read_only, vm->run.space, &disk_host, b);
    if (!b->has_disk) {
        free(b);
        return NULL;
    }
    features |= b->disk.read_only ? VBLK_F_RO : VBLK_F_WRITE_ZEROES;
    features |= vdisk_discards(&b->disk) ? VBLK_F_DISCARD : 0;
    fill_config(&b->config, &b->disk, queues);
    if (!virtio_create(&b->device, &type, pci, devfn, features, queues, VBLK_QUEUE_SIZE, &b->config,
                       CONFIG_BYTES)) {
        virtio_destroy(&b->device);
        return NULL;
    }
    return &b->device;
}

void vblk_get_stats(struct virtio_device *device, struct vdisk_stats *stats)
{
    vdisk_get_stats(&vblk_of(device)->disk, stats);
}
