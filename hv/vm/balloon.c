/* SPDX-License-Identifier: BSD-2-Clause */
/* What VMs' balloons are asked for. */
#include "base/bits.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/virtio/vballoon.h"
#include "hv/vm/balloon_target.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "mm/frame/frame_alloc.h"

static struct vballoon *balloon_of(const struct vm *vm)
{
    return vm_is_up(vm) ? vm_devices_balloon(vm) : NULL;
}

static unsigned balloons(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < vm_count(); i++) {
        count += balloon_of(vm_at(i)) != NULL;
    }
    return count;
}

static uint64_t auto_target(const struct vm *vm, struct vballoon *balloon,
                            const struct balloon_memory *machine)
{
    struct vballoon_stats stats;
    struct space_stats space;

    vballoon_get_stats(balloon, &stats);
    space_get_stats(vm->run.space, &space);
    return balloon_target_auto(machine, &(struct balloon_guest){
                                            .memory = vm->memory_pages,
                                            .min = vm->min_pages,
                                            .max = vm->max_pages,
                                            .in_frames = space.resident + space.transit,
                                            .target = stats.target,
                                            .actual = stats.actual,
                                            .available = stats.available,
                                            .known = stats.known,
                                        });
}

static uint64_t target_of(const struct vm *vm, struct vballoon *balloon,
                          const struct balloon_memory *machine)
{
    switch (vm->balloon.mode) {
    case BALLOON_AUTO:
        return auto_target(vm, balloon, machine);
    case BALLOON_SIZE:
        return MIN(vm->balloon.bytes / PAGE_SIZE, balloon_most(vm->memory_pages, vm->min_pages));
    case BALLOON_OFF:
        break;
    }
    return 0;
}

void vm_balloons_poll(void)
{
    struct balloon_memory machine = {
        .free = frame_alloc_free_count(), .high = frame_alloc_high(), .vms = balloons()};

    for (unsigned i = 0; i < vm_count(); i++) {
        struct vballoon *balloon = balloon_of(vm_at(i));

        if (balloon != NULL && vm_at(i)->state == VM_RUNNING) {
            vballoon_poll(balloon, (uint32_t)target_of(vm_at(i), balloon, &machine));
        }
    }
}
