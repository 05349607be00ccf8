/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/block_queue.c drivers/block_tags.c drivers/nvme_ring.c drivers/virtio_ring.c
 * drivers/ata_command.c drivers/gpt.c */
/* Disk drivers without disks: request queue, NVMe rings and PRPs, virtqueues, PRDs, GPT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/ata_command.h"
#include "drivers/block.h"
#include "drivers/block_tags.h"
#include "drivers/gpt.h"
#include "drivers/nvme_ring.h"
#include "drivers/virtio_ring.h"

/* ---- block_queue ---- */

struct answer {
    unsigned calls;
    enum block_status status;
};

static void note_done(struct block_request *request, enum block_status status)
{
    struct answer *answer = request->owner;

    answer->calls++;
    answer->status = status;
}

static struct block_request make_request(enum block_op op, uint64_t block, uint32_t pages,
                                         struct answer *answer)
{
    struct block_request request = {.op = op, .block = block, .pages = pages};

    memset(answer, 0, sizeof(*answer));
    request.done = note_done;
    request.owner = answer;
    return request;
}

static void add(struct block_queue *queue, struct block_device *device,
                struct block_request *request)
{
    spin_lock(&queue->lock);
    block_queue_add(queue, device, request);
    spin_unlock(&queue->lock);
}

static void test_queue_slices(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000, .start = 5000};
    struct block_queue queue;
    struct block_slice slice[4];
    struct answer answer;
    struct block_request request = make_request(BLOCK_READ, 900, 64, &answer);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    assert_int_equal(block_queue_outstanding(), 1);
    for (int i = 0; i < 3; i++) {
        assert_true(block_queue_take(&queue, 24, &slice[i]));
    }
    assert_false(block_queue_take(&queue, 24, &slice[3]));
    assert_int_equal(slice[2].first, 48);
    assert_int_equal(slice[2].count, 16);
    assert_int_equal(block_slice_start(&slice[1]), 5000 + 900 + 24);
    block_queue_end(&queue, &slice[1], BLOCK_OK);
    block_queue_end(&queue, &slice[0], BLOCK_OK);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 0);
    block_queue_end(&queue, &slice[2], BLOCK_OK);
    assert_int_equal(answer.calls, 0);
    block_queue_deliver(&queue);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_OK);
    assert_int_equal(device.reads, 1);
    assert_int_equal(device.read_pages, 64);
    assert_int_equal(block_queue_outstanding(), 0);
}

/* Sectors: the first slice begins inside of its page, the last one ends inside of it, and none is
 * lost or moved twice. */
static void test_queue_slices_of_sectors(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000, .start = 5000, .unit = 1};
    struct block_request request = {
        .op = BLOCK_READ, .block = 900, .pages = 3, .sector = 5, .offset = 3, .cut = 7};
    struct block_slice slice;
    struct block_queue queue;
    struct answer answer;
    uint64_t next = (5000 + 900) * 8 + 5;
    uint32_t before;

    (void)state;
    memset(&answer, 0, sizeof(answer));
    request.done = note_done;
    request.owner = &answer;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    for (unsigned i = 0; i < 3; i++) {
        static const uint32_t sectors[] = {5, 8, 1};

        assert_true(block_queue_take(&queue, 1, &slice));
        assert_int_equal(block_slice_sector(&slice), next);
        assert_int_equal(block_slice_sectors(&slice), sectors[i]);
        assert_int_equal(block_slice_offset(&slice), i == 0 ? 3 : 0);
        assert_int_equal(block_slice_bytes(&slice, 0, &before), sectors[i] * 512);
        assert_int_equal(before, i == 0 ? 3 * 512 : 0);
        next += sectors[i];
        block_queue_end(&queue, &slice, BLOCK_OK);
    }
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_OK);
}

/* Which ranges of sectors are on a device of 100 blocks, and in its units. */
static void test_queue_refuses_sectors(void **state)
{
    static const struct {
        uint64_t block;
        uint32_t pages;
        uint8_t sector, offset, cut, unit;
        enum block_status want;
    } cases[] = {
        {99, 1, 0, 0, 0, 1, BLOCK_OK},    {99, 1, 1, 0, 0, 1, BLOCK_RANGE},
        {99, 1, 1, 0, 1, 1, BLOCK_OK},    {99, 1, 7, 7, 0, 1, BLOCK_OK},
        {99, 2, 7, 7, 7, 1, BLOCK_RANGE}, {98, 2, 7, 4, 3, 1, BLOCK_OK},
        {98, 2, 7, 4, 2, 1, BLOCK_RANGE}, {98, 1, 7, 1, 0, 1, BLOCK_OK},
        {0, 1, 8, 0, 0, 1, BLOCK_RANGE},  {0, 2, 0, 8, 0, 1, BLOCK_RANGE},
        {0, 2, 0, 0, 8, 1, BLOCK_RANGE},  {0, 1, 0, 4, 4, 1, BLOCK_RANGE},
        {0, 1, 2, 0, 2, 2, BLOCK_OK},     {0, 1, 1, 0, 0, 2, BLOCK_RANGE},
        {0, 1, 0, 4, 0, 8, BLOCK_RANGE},  {0, 1, 0, 0, 4, 8, BLOCK_RANGE},
        {0, 1, 0, 0, 0, 8, BLOCK_OK},     {~0ull >> 3, 1, 0, 0, 0, 1, BLOCK_RANGE},
    };
    struct block_queue queue;
    struct block_slice slice;

    (void)state;
    block_queue_init(&queue);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct block_device device = {.name = "d", .blocks = 100, .unit = cases[i].unit};
        struct answer answer;
        struct block_request request =
            make_request(BLOCK_WRITE, cases[i].block, cases[i].pages, &answer);

        request.sector = cases[i].sector;
        request.offset = cases[i].offset;
        request.cut = cases[i].cut;
        add(&queue, &device, &request);
        while (block_queue_take(&queue, 64, &slice)) {
            block_queue_end(&queue, &slice, BLOCK_OK);
        }
        block_queue_deliver(&queue);
        assert_int_equal(answer.status, cases[i].want);
    }
}

static void test_queue_first_failure_stops_the_rest(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000};
    struct block_queue queue;
    struct block_slice slice[2], none;
    struct answer answer;
    struct block_request request = make_request(BLOCK_WRITE, 0, 64, &answer);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    assert_true(block_queue_take(&queue, 8, &slice[0]));
    assert_true(block_queue_take(&queue, 8, &slice[1]));
    block_queue_end(&queue, &slice[0], BLOCK_TIMEOUT);
    assert_false(block_queue_take(&queue, 8, &none));
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 0);
    block_queue_end(&queue, &slice[1], BLOCK_ERROR);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_TIMEOUT);
    assert_int_equal(device.errors, 1);
    assert_int_equal(device.writes, 0);
}

static void test_queue_refuses(void **state)
{
    static const struct {
        enum block_op op;
        uint64_t block;
        uint32_t pages;
        enum block_status want;
    } cases[] = {
        {BLOCK_READ, 100, 1, BLOCK_RANGE},   {BLOCK_READ, 99, 2, BLOCK_RANGE},
        {BLOCK_READ, ~0ull, 1, BLOCK_RANGE}, {BLOCK_READ, ~0ull - 63, 64, BLOCK_RANGE},
        {BLOCK_READ, 0, 0, BLOCK_RANGE},     {BLOCK_READ, 0, BLOCK_MAX_PAGES + 1, BLOCK_RANGE},
        {BLOCK_WRITE, 0, 1, BLOCK_ERROR},
    };
    struct block_device device = {.name = "d", .blocks = 100, .read_only = true};
    struct block_queue queue;
    struct block_slice slice;

    (void)state;
    block_queue_init(&queue);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer answer;
        struct block_request request =
            make_request(cases[i].op, cases[i].block, cases[i].pages, &answer);

        add(&queue, &device, &request);
        assert_false(block_queue_take(&queue, 64, &slice));
        assert_int_equal(answer.calls, 0);
        block_queue_deliver(&queue);
        assert_int_equal(answer.calls, 1);
        assert_int_equal(answer.status, cases[i].want);
    }
}

static void test_queue_flush_and_fail_waiting(void **state)
{
    struct block_device device = {.name = "d", .blocks = 100};
    struct block_queue queue;
    struct block_slice slice;
    struct answer flushed, failed;
    struct block_request flush = make_request(BLOCK_FLUSH, 12345, 0, &flushed);
    struct block_request read = make_request(BLOCK_READ, 0, 64, &failed);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &flush);
    add(&queue, &device, &read);
    assert_true(block_queue_take(&queue, 32, &slice));
    assert_int_equal(slice.count, 0);
    block_queue_end(&queue, &slice, BLOCK_OK);
    assert_true(block_queue_take(&queue, 32, &slice));
    block_queue_fail_waiting(&queue, BLOCK_TIMEOUT);
    block_queue_deliver(&queue);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.status, BLOCK_OK);
    assert_int_equal(failed.calls, 0); /* half of it is still in the hardware */
    block_queue_end(&queue, &slice, BLOCK_OK);
    block_queue_deliver(&queue);
    assert_int_equal(failed.calls, 1);
    assert_int_equal(failed.status, BLOCK_TIMEOUT);
}

/* ---- block_tags ---- */

static void test_tags(void **state)
{
    static struct block_tags tags;
    struct block_device device = {.name = "d", .blocks = 1000};
    struct block_queue queue;
    struct answer answer;
    struct block_request request = make_request(BLOCK_READ, 0, 3, &answer);

    (void)state;
    assert_int_equal(block_tags_for(1), BLOCK_TAGS);
    assert_int_equal(block_tags_for(8), BLOCK_TAGS / 2);
    block_queue_init(&queue);
    block_tags_init(&tags, 3);
    add(&queue, &device, &request);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(tags.free != 0);
        assert_int_equal(block_tags_take(&tags), i);
        assert_true(block_queue_take(&queue, 1, &tags.tag[i].slice));
        tags.tag[i].deadline = 1000 + 100 * i;
    }
    assert_int_equal(tags.free, 0);
    assert_int_equal(block_tags_overdue(&tags, 999, 0), -1);
    assert_int_equal(block_tags_overdue(&tags, 2000, 0), -1); /* it has just looked */
    tags.next_check = 0;
    assert_int_equal(block_tags_overdue(&tags, 1500, 501), -1);
    tags.next_check = 0;
    assert_int_equal(block_tags_overdue(&tags, 1500, 500), 0);
    assert_int_equal(tags.next_check, 1500 + BLOCK_TIMEOUT_CHECK_NS);
    for (unsigned i = 0; i < BLOCK_RETRIES; i++) {
        assert_true(block_tags_retry(&tags, 1));
    }
    assert_false(block_tags_retry(&tags, 1));
    block_tags_end(&tags, 1, &queue, BLOCK_TIMEOUT);
    assert_int_equal(tags.free, BIT(1));
    assert_int_equal(tags.used, BIT(0) | BIT(2));
    assert_int_equal(block_tags_take(&tags), 1); /* with no retries behind it */
    assert_true(block_tags_retry(&tags, 1));
}

/* ---- NVMe ---- */

static void test_nvme_command(void **state)
{
    struct nvme_command command;

    (void)state;
    nvme_command_io(&command, NVME_IO_READ, 7, 0x1800000008ull, 512, 9);
    assert_int_equal(command.dword10, 8);
    assert_int_equal(command.dword11, 0x18);
    assert_int_equal(command.dword12, 511);
    nvme_command_io(&command, NVME_IO_WRITE, 7, 40, 8, 12);
    assert_int_equal(command.dword10, 5);
    assert_int_equal(command.dword12, 0);
    assert_int_equal(command.nsid, 7);
    nvme_command_io(&command, NVME_IO_FLUSH, 7, 40, 0, 12);
    assert_int_equal(command.dword10, 0);
    assert_int_equal(command.dword12, 0);
}

static void test_nvme_prp(void **state)
{
    struct nvme_command command;
    uint64_t list[64];
    pfn_t page[64];

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        page[i] = pfn(0x100 + 3 * i);
    }
    nvme_prp_set(&command, page, 1, 0, list, hpa(0x9000));
    assert_int_equal(command.prp1, 0x100000);
    assert_int_equal(command.prp2, 0);
    nvme_prp_set(&command, page, 2, 512, list, hpa(0x9000));
    assert_int_equal(command.prp1, 0x100200);
    assert_int_equal(command.prp2, 0x103000);
    memset(list, 0xee, sizeof(list));
    nvme_prp_set(&command, page, 64, 0, list, hpa(0x9000));
    assert_int_equal(command.prp2, 0x9000);
    for (unsigned i = 1; i < 64; i++) {
        assert_int_equal(list[i - 1], page[i].v << 12);
    }
    assert_int_equal(list[63], 0xeeeeeeeeeeeeeeeeull);
}

/* A controller that completes in order, three laps of a ring of four. */
static void test_nvme_ring(void **state)
{
    struct nvme_command sq[4], command = {0};
    struct nvme_completion cq[4], done;
    struct nvme_ring ring = {.sq = sq, .cq = cq, .depth = 4};
    uint16_t phase = 1, tail = 0;

    (void)state;
    nvme_ring_reset(&ring);
    assert_false(nvme_ring_pending(&ring));
    for (unsigned i = 0; i < 12; i++) {
        command.id = (uint16_t)i;
        assert_false(nvme_ring_full(&ring));
        nvme_ring_push(&ring, &command);
        assert_int_equal(sq[i % 4].id, i);
        assert_false(nvme_ring_pop(&ring, &done));
        cq[tail] = (struct nvme_completion){
            .id = (uint16_t)i, .sq_head = (uint16_t)((i + 1) % 4), .status = phase};
        tail = (uint16_t)((tail + 1) % 4);
        phase ^= tail == 0;
        assert_true(nvme_ring_pop(&ring, &done));
        assert_int_equal(done.id, i);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_false(nvme_ring_full(&ring));
        nvme_ring_push(&ring, &command);
    }
    assert_true(nvme_ring_full(&ring));
}

static void test_nvme_status(void **state)
{
    (void)state;
    assert_string_equal(nvme_status_name(0x281 << 1), "unrecovered read error");
    assert_string_equal(nvme_status_name(0x8001 | 0x280 << 1), "write fault");
    assert_string_equal(nvme_status_name(0x7f << 1), "status code not known");
}

/* ---- virtio ---- */

struct fake_ring {
    struct virtio_descriptor descriptors[VIRTIO_RING_MAX];
    struct virtio_avail avail;
    struct virtio_used used;
    struct virtio_ring ring;
};

static struct fake_ring *make_ring(uint16_t size)
{
    struct fake_ring *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->ring.descriptors = f->descriptors;
    f->ring.avail = &f->avail;
    f->ring.used = &f->used;
    f->ring.size = size;
    virtio_ring_reset(&f->ring, true);
    return f;
}

static void device_use(struct fake_ring *f, uint32_t head)
{
    f->used.ring[f->used.index & (f->ring.size - 1)].id = head;
    f->used.index++;
}

static void test_virtio_chains(void **state)
{
    struct fake_ring *f = make_ring(16);
    struct virtio_segment segments[3] = {
        {hpa(0x1000), 16, false}, {hpa(0x2000), 4096, true}, {hpa(0x3000), 1, true}};
    uint16_t head[5];

    (void)state;
    /* More than 65536 chains, so that both indices wrap; completed in reverse order. */
    for (unsigned lap = 0; lap < 14000; lap++) {
        for (uint16_t i = 0; i < 5; i++) {
            head[i] = f->ring.free_head;
            virtio_ring_add(&f->ring, segments, 3, (uint16_t)(100 + i));
        }
        assert_int_equal(f->ring.free_count, 1);
        assert_true(virtio_ring_publish(&f->ring));
        for (int i = 4; i >= 0; i--) {
            const struct virtio_descriptor *d = &f->descriptors[head[i]];
            assert_int_equal(d->address, 0x1000);
            assert_int_equal(d->flags, VIRTIO_DESC_NEXT);
            d = &f->descriptors[d->next];
            assert_int_equal(d->flags, VIRTIO_DESC_NEXT | VIRTIO_DESC_WRITE);
            d = &f->descriptors[d->next];
            assert_int_equal(d->flags, VIRTIO_DESC_WRITE);
            assert_int_equal(virtio_ring_pop(&f->ring), -1);
            device_use(f, head[i]);
            assert_int_equal(virtio_ring_pop(&f->ring), 100 + i);
        }
        assert_int_equal(f->ring.free_count, 16);
    }
    free(f);
}

static void test_virtio_indirect_and_nonsense(void **state)
{
    struct fake_ring *f = make_ring(4);
    struct virtio_descriptor table[3];
    struct virtio_segment segments[3] = {
        {hpa(0x1000), 16, false}, {hpa(0x2000), 8192, true}, {hpa(0x3000), 1, true}};

    (void)state;
    virtio_ring_add_indirect(&f->ring, segments, 3, table, hpa(0x7000), 9);
    f->used.flags = VIRTIO_USED_NO_NOTIFY;
    assert_false(virtio_ring_publish(&f->ring));
    assert_int_equal(f->ring.free_count, 3);
    assert_int_equal(f->descriptors[0].flags, VIRTIO_DESC_INDIRECT);
    assert_int_equal(f->descriptors[0].bytes, 48);
    assert_int_equal(table[1].bytes, 8192);
    assert_int_equal(table[1].next, 2);
    assert_int_equal(table[2].flags, VIRTIO_DESC_WRITE);
    device_use(f, 77); /* no such descriptor */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    device_use(f, 2); /* not offered */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    device_use(f, 0);
    assert_int_equal(virtio_ring_pop(&f->ring), 9);
    device_use(f, 0); /* twice */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    assert_int_equal(f->ring.free_count, 4);
    free(f);
}

/* ---- ATA ---- */

static void test_ata_prd(void **state)
{
    struct ata_prd table[64];
    struct ata_piece piece[64];

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        piece[i] = (struct ata_piece){0x108000 + i * 0x1000, 0x1000};
    }
    /* 8 pages up to the boundary, 3 full pieces, 8 pages. */
    assert_int_equal(ata_prd_build(table, piece, 64), 5);
    assert_int_equal(table[0].address, 0x108000);
    assert_int_equal(table[0].bytes, 0x8000);
    assert_int_equal(table[1].address, 0x110000);
    assert_int_equal(table[1].bytes, 0);
    assert_int_equal(table[3].flags, 0);
    assert_int_equal(table[4].bytes, 0x8000);
    assert_int_equal(table[4].flags, ATA_PRD_LAST);
    piece[1].address = 0x300000;
    piece[2].address = 0x2ff000;
    assert_int_equal(ata_prd_build(table, piece, 3), 3);
    assert_int_equal(table[2].flags, ATA_PRD_LAST);
    /* Sectors: the first page from its middle on, the last one not to its end. */
    piece[0] = (struct ata_piece){0x108800, 0x800};
    piece[1] = (struct ata_piece){0x109000, 0x1000};
    piece[2] = (struct ata_piece){0x10a000, 0x200};
    piece[3] = (struct ata_piece){0x10b000, 0x1000};
    assert_int_equal(ata_prd_build(table, piece, 4), 2);
    assert_int_equal(table[0].address, 0x108800);
    assert_int_equal(table[0].bytes, 0x1a00);
    assert_int_equal(table[1].address, 0x10b000);
}

static void test_ata_taskfile(void **state)
{
    struct ata_taskfile t;

    (void)state;
    ata_taskfile_build(&t, BLOCK_READ, true, 0x123456789ull, 512);
    assert_int_equal(t.command, 0x25);
    assert_int_equal(t.lba, 0x123456789ull);
    assert_int_equal(t.sectors, 512);
    ata_taskfile_build(&t, BLOCK_WRITE, false, 0xd5e6f78, 256);
    assert_int_equal(t.command, 0xca);
    assert_int_equal(t.sectors, 0); /* 256 */
    assert_int_equal(t.device, 0xe0 | 0xd);
    ata_taskfile_build(&t, BLOCK_FLUSH, true, 99, 0);
    assert_int_equal(t.command, 0xea);
    ata_taskfile_build(&t, BLOCK_FLUSH, false, 99, 0);
    assert_int_equal(t.command, 0xe7);
}

static void test_ata_identity(void **state)
{
    uint16_t words[256] = {0};
    struct ata_identity id;
    char text[64];

    (void)state;
    words[27] = 'A' << 8 | 'B';
    words[28] = 'C' << 8 | ' ';
    words[49] = 0x300;
    words[60] = 0x5678;
    words[61] = 0x1234;
    ata_identity_parse(&id, words);
    assert_true(id.usable);
    assert_false(id.lba48);
    assert_string_equal(id.model, "ABC");
    assert_int_equal(id.sectors, 0x12345678);
    words[83] = 0x400;
    words[102] = 1;
    ata_identity_parse(&id, words);
    assert_true(id.lba48);
    assert_int_equal(id.sectors, 0x100000000ull);
    words[106] = 0x5000;
    words[117] = 2048;
    ata_identity_parse(&id, words);
    assert_false(id.usable);
    ata_error_describe(0x84, text, sizeof(text));
    assert_string_equal(text, "ABRT ICRC");
    ata_error_describe(0xff, text, 12);
    assert_true(strlen(text) < 12);
}

/* ---- GPT ---- */

#define ENTRIES 128

static uint8_t disk_entries[ENTRIES * 128];

static void put32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, 4);
}

static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, 8);
}

static void seal_header(uint8_t *header)
{
    put32(header + 16, 0);
    put32(header + 16, gpt_crc32(header, 92));
}

static void make_header(uint8_t *header)
{
    memset(header, 0, 512);
    memset(disk_entries, 0, sizeof(disk_entries));
    for (unsigned i = 0; i < 32; i++) {
        disk_entries[i] = (uint8_t)(i + 1);
    }
    put64(disk_entries + 32, 2048);
    put64(disk_entries + 40, 4095);
    memcpy(header, "EFI PART", 8);
    put32(header + 8, 0x10000);
    put32(header + 12, 92);
    put64(header + 24, 1);
    put64(header + 40, 34);
    put64(header + 48, 9999);
    put64(header + 72, 2);
    put32(header + 80, ENTRIES);
    put32(header + 84, 128);
    put32(header + 88, gpt_crc32(disk_entries, sizeof(disk_entries)));
    seal_header(header);
}

static void test_gpt_good(void **state)
{
    uint8_t header[512];
    struct gpt_table table;
    struct gpt_partition partition;

    (void)state;
    assert_int_equal(gpt_crc32((const uint8_t *)"123456789", 9), 0xcbf43926);
    make_header(header);
    assert_true(gpt_parse_header(header, 512, 1, &table));
    assert_true(gpt_check_entries(&table, disk_entries));
    assert_true(gpt_parse_entry(&table, disk_entries, 0, &partition));
    assert_int_equal(partition.first_lba, 2048);
    assert_int_equal(partition.last_lba, 4095);
    assert_string_equal(partition.uuid, "14131211-1615-1817-191a-1b1c1d1e1f20");
    assert_false(gpt_parse_entry(&table, disk_entries, 1, &partition));
    put64(disk_entries + 40, 10000); /* beyond the usable area */
    assert_false(gpt_parse_entry(&table, disk_entries, 0, &partition));
    assert_false(gpt_check_entries(&table, disk_entries));
}

static void test_gpt_bad_headers(void **state)
{
    uint8_t good[512], header[512];
    struct gpt_table table;

    (void)state;
    make_header(good);
    for (unsigned i = 0; i < 92 * 8; i++) {
        memcpy(header, good, sizeof(header));
        header[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(gpt_parse_header(header, 512, 1, &table));
    }
    assert_false(gpt_parse_header(good, 512, 2, &table));
    /* Consistent, but sizes that would overrun the buffer. */
    static const struct {
        unsigned at;
        uint32_t value;
    } cases[] = {{80, 0}, {80, 513}, {80, ~0u}, {84, 64}, {84, 0x80000000u}, {84, 0}, {12, 4096}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memcpy(header, good, sizeof(header));
        put32(header + cases[i].at, cases[i].value);
        seal_header(header);
        assert_false(gpt_parse_header(header, 512, 1, &table));
    }
}

static void test_gpt_protective_mbr(void **state)
{
    uint8_t sector[512] = {0};

    (void)state;
    assert_false(gpt_is_protective_mbr(sector));
    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector[446 + 4] = 0x83;
    assert_false(gpt_is_protective_mbr(sector));
    sector[446 + 16 + 4] = 0xee;
    assert_true(gpt_is_protective_mbr(sector));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_slices),
        cmocka_unit_test(test_queue_slices_of_sectors),
        cmocka_unit_test(test_queue_refuses_sectors),
        cmocka_unit_test(test_queue_first_failure_stops_the_rest),
        cmocka_unit_test(test_queue_refuses),
        cmocka_unit_test(test_queue_flush_and_fail_waiting),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_nvme_command),
        cmocka_unit_test(test_nvme_prp),
        cmocka_unit_test(test_nvme_ring),
        cmocka_unit_test(test_nvme_status),
        cmocka_unit_test(test_virtio_chains),
        cmocka_unit_test(test_virtio_indirect_and_nonsense),
        cmocka_unit_test(test_ata_prd),
        cmocka_unit_test(test_ata_taskfile),
        cmocka_unit_test(test_ata_identity),
        cmocka_unit_test(test_gpt_good),
        cmocka_unit_test(test_gpt_bad_headers),
        cmocka_unit_test(test_gpt_protective_mbr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
