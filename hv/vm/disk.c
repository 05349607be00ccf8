/* SPDX-License-Identifier: BSD-2-Clause */
/* Who has which disk.  A claim is an entry of a run, and holds until the VM is STOPPED; the list's
 * lock is held. */
#include <stdio.h>
#include <string.h>

#include "base/block.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/vm/internal.h"
#include "mm/content/store.h"

_Static_assert(VM_DISKS_MAX == CONFIG_DISKS_MAX, "each has its place");

/* Two devices, of which one may be the whole disk and the other a partition on it. */
static bool overlap(const struct block_device *a, const struct block_device *b)
{
    return a->disk == b->disk && a->start < b->start + b->blocks && b->start < a->start + a->blocks;
}

static bool refuse(const struct vm *vm, const struct disk_config *want, struct vm_answer *answer,
                   const char *expected)
{
    return vm_refuse(answer, "disk%u of %s: expected %s, got '%s'", want->number, vm->name,
                     expected, want->device);
}

/* Is there one among those that does not go together with the device? */
static bool has_rival(const struct vm_disk *disks, unsigned count,
                      const struct block_device *device, const struct disk_config *want)
{
    for (unsigned i = 0; i < count; i++) {
        if (overlap(disks[i].device, device) && !(disks[i].share && want->share)) {
            return true;
        }
    }
    return false;
}

/* The VM that is up and has blocks of the device, or NULL. */
static const struct vm *find_rival(const struct block_device *device,
                                   const struct disk_config *want)
{
    for (unsigned i = 0; i < vm_count(); i++) {
        const struct vm *other = vm_at(i);

        if (other->state != VM_STOPPED &&
            has_rival(other->run.disk, other->run.disk_count, device, want)) {
            return other;
        }
    }
    return NULL;
}

static bool is_store(const struct block_device *device)
{
    const struct block_device *store =
        machine_store() != NULL ? block_find(store_device_name(machine_store())) : NULL;

    return store != NULL && overlap(store, device);
}

static bool check(const struct vm *vm, const struct disk_config *want,
                  const struct block_device *device, const struct vm_disks *own,
                  struct vm_answer *answer)
{
    char expected[96];
    const struct vm *rival;

    if (device == NULL) {
        return refuse(vm, want, answer, "a disk or partition of this machine");
    }
    if (device->read_only && !want->read_only) {
        return refuse(vm, want, answer, "',ro' behind it, since it is read-only");
    }
    if (is_store(device)) {
        return refuse(vm, want, answer, "a disk that the store is not on");
    }
    rival = has_rival(own->disk, own->count, device, want) ? vm : find_rival(device, want);
    if (rival != NULL) {
        snprintf(expected, sizeof(expected), "a disk that VM %.31s has not, or ,share in both",
                 rival->name);
        return refuse(vm, want, answer, expected);
    }
    return true;
}

bool vm_find_disks(const struct vm *vm, struct vm_disks *disks, struct vm_answer *answer)
{
    const struct disk_config *want = machine_config()->disk + vm->config->first_disk;

    disks->count = 0;
    for (uint32_t i = 0; i < vm->config->disks; i++) {
        struct block_device *device = block_find(want[i].device);

        if (!check(vm, &want[i], device, disks, answer)) {
            return false;
        }
        disks->disk[disks->count++] = (struct vm_disk){.device = device,
                                                       .number = want[i].number,
                                                       .read_only = want[i].read_only,
                                                       .share = want[i].share};
    }
    return true;
}
