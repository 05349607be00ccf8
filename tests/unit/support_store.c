/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "mm/store.h"
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

struct store *support_open_store(struct fake_disk *disk)
{
    int result = -1;

    expect(disk, store_probe_start(&disk->device, note, &result), &result, STORE_BLANK);
    expect(disk, store_format_start(&disk->device, note, &result), &result, STORE_VALID);
    return store_open(&disk->device);
}
