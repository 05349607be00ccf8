/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "mm/content/store_io.h"
#include "mm/env.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

static void note(void *context, enum store_probe result)
{
    *(int *)context = (int)result;
}

static void expect(struct fake_disk *disk, bool started, const int *result, enum store_probe wanted)
{
    if (started) {
        fake_disk_settle(disk);
    }
    if (!started || *result != (int)wanted) {
        panic("support: store: got %d, expected %d", *result, (int)wanted);
    }
}

static struct store *opened;

static void close_store(void)
{
    if (opened != NULL) {
        store_close(opened);
    }
    opened = NULL;
}

struct store *support_open_store(struct fake_disk *disk)
{
    int result = -1;

    expect(disk, store_probe_start(&disk->device, note, &result), &result, STORE_BLANK);
    expect(disk, store_format_start(&disk->device, note, &result), &result, STORE_VALID);
    opened = store_open(&disk->device);
    support_before_memory_free(close_store);
    return opened;
}

void support_store_step(struct fake_disk *disk)
{
    fake_disk_step(disk);
    support_clock_advance(1000000);
    store_io_poll(mm_clock_ns());
}

void support_store_settle(struct fake_disk *disk)
{
    uint64_t end = mm_clock_ns() + 2 * STORE_PATIENCE_NS;

    fake_disk_settle(disk);
    while (store_io_deadline(mm_clock_ns()) != UINT64_MAX) {
        if (mm_clock_ns() > end) {
            panic("support: the store's requests do not end");
        }
        support_clock_advance(5000000);
        store_io_poll(mm_clock_ns());
        fake_disk_settle(disk);
    }
}
