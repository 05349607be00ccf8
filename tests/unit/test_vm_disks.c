/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/disk.c */
/* Which disks a VM may have: by what the store, other VMs and it itself have of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/block.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/vm/internal.h"
#include "mm/content/store.h"

static struct block_device nvme0 = {.name = "nvme0", .blocks = 1000, .disk = &nvme0};
static struct block_device nvme0p1 = {
    .name = "nvme0p1", .start = 10, .blocks = 400, .disk = &nvme0};
static struct block_device nvme0p2 = {
    .name = "nvme0p2", .start = 410, .blocks = 500, .disk = &nvme0};
static struct block_device vd0 = {.name = "vd0", .blocks = 1000, .disk = &vd0};
static struct block_device ata0 = {.name = "ata0", .blocks = 9, .disk = &ata0, .read_only = true};
static struct block_device *const devices[] = {&nvme0, &nvme0p1, &nvme0p2, &vd0, &ata0};

static struct config config;
static struct vm vms[2];
static const char *store_name; /* NULL: there is none */

struct block_device *block_find(const char *name)
{
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (strcmp(devices[i]->name, name) == 0) {
            return devices[i];
        }
    }
    return NULL;
}

struct store *machine_store(void)
{
    return store_name != NULL ? (struct store *)vms : NULL;
}

const char *store_device_name(const struct store *store)
{
    (void)store;
    return store_name;
}

const struct config *machine_config(void)
{
    return &config;
}

unsigned vm_count(void)
{
    return 2;
}

struct vm *vm_at(unsigned index)
{
    return &vms[index];
}

bool vm_refuse(struct vm_answer *answer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->text, sizeof(answer->text), format, args);
    va_end(args);
    return false;
}

static void begin(const char *store)
{
    memset(&config, 0, sizeof(config));
    memset(vms, 0, sizeof(vms));
    store_name = store;
    for (unsigned i = 0; i < 2; i++) {
        vms[i].config = &config.vm[i];
        vms[i].name = i == 0 ? "alpha" : "beta";
    }
}

static void add(unsigned vm, const char *device, bool read_only, bool share)
{
    struct disk_config *disk = &config.disk[config.disks_used];

    if (config.vm[vm].disks++ == 0) {
        config.vm[vm].first_disk = config.disks_used;
    }
    disk->number = (uint8_t)config.disks_used++;
    disk->read_only = read_only || share;
    disk->share = share;
    strcpy(disk->device, device);
}

/* NULL: it has started. */
static const char *start(unsigned vm)
{
    static struct vm_answer answer;
    struct vm_disks disks;

    if (!vm_find_disks(&vms[vm], &disks, &answer)) {
        return answer.text;
    }
    memcpy(vms[vm].run.disk, disks.disk, sizeof(disks.disk));
    vms[vm].run.disk_count = disks.count;
    vms[vm].state = VM_LOADING;
    return NULL;
}

static void test_alone(void **state)
{
    (void)state;
    begin("vd0");
    add(0, "nvme0p2", false, false);
    add(0, "ata0", true, false);
    add(0, "nvme0p1", true, false);
    assert_null(start(0));
    assert_int_equal(vms[0].run.disk_count, 3);
    assert_ptr_equal(vms[0].run.disk[0].device, &nvme0p2);
    assert_false(vms[0].run.disk[0].read_only);
    assert_true(vms[0].run.disk[1].read_only);
}

static void test_refused(void **state)
{
    static const struct {
        const char *store, *device, *want;
    } rows[] = {
        {NULL, "nvme7",
         "disk0 of alpha: expected a disk or partition of this machine, got 'nvme7'"},
        {"vd0", "vd0", "disk0 of alpha: expected a disk that the store is not on, got 'vd0'"},
        {"nvme0p2", "nvme0",
         "disk0 of alpha: expected a disk that the store is not on, got 'nvme0'"},
        {"nvme0", "nvme0p1",
         "disk0 of alpha: expected a disk that the store is not on, got 'nvme0p1'"},
        {"nvme0p2", "nvme0p1", NULL},
        {NULL, "ata0",
         "disk0 of alpha: expected ',ro' behind it, since it is read-only, got 'ata0'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *answer;

        begin(rows[i].store);
        add(0, rows[i].device, false, false);
        answer = start(0);
        assert_true((answer == NULL) == (rows[i].want == NULL));
        assert_true(answer == NULL || strcmp(answer, rows[i].want) == 0);
    }
}

/* Of two VMs, from the first one's start to its end; and within one. */
static void test_rivals(void **state)
{
    static const struct {
        const char *first, *second;
        bool ro, share_first, share_second, good;
    } rows[] = {
        {"vd0", "vd0", false, false, false, false},
        {"vd0", "vd0", true, false, false, false},
        {"vd0", "vd0", true, true, false, false},
        {"vd0", "vd0", false, false, true, false},
        {"vd0", "vd0", false, true, true, true},
        {"nvme0", "nvme0p1", false, false, false, false},
        {"nvme0p2", "nvme0", false, false, false, false},
        {"nvme0p2", "nvme0", false, true, true, true},
        {"nvme0p1", "nvme0p2", false, false, false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned second = 0; second < 2; second++) {
            const char *answer;

            begin(NULL);
            add(0, rows[i].first, rows[i].ro, rows[i].share_first);
            if (second != 0) {
                assert_null(start(0));
            }
            add(second, rows[i].second, rows[i].ro, rows[i].share_second);
            answer = start(second);
            assert_true((answer == NULL) == rows[i].good);
            assert_true(rows[i].good || strstr(answer, "expected a disk that VM alpha has not, or "
                                                       ",share in both") != NULL);
            if (second != 0 && !rows[i].good) { /* the first one ends */
                vms[0].state = VM_ENDING;
                assert_non_null(start(1));
                vms[0].state = VM_STOPPED;
                assert_null(start(1));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rivals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
