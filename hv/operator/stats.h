/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures of the machine, its store and its VMs, taken at one time.
 * hv/operator/figures.h says of each figure what it is called and how it is shown.
 *
 * vm_list_lock is held for all of it.  Memory is in 4 KiB pages, time in microseconds.
 */
#ifndef SPILLWAY_HV_OPERATOR_STATS_H
#define SPILLWAY_HV_OPERATOR_STATS_H

#include "drivers/nic.h"
#include "hv/net/switch.h"
#include "hv/vdev/disk/vdisk.h"
#include "hv/vdev/virtio/vballoon.h"
#include "hv/vm/control.h"
#include "mm/content/store.h"
#include "mm/frame/frame_alloc.h"

struct host_stats {
    uint64_t uptime_us, cpus;
    struct frame_stats frames;
};

struct store_all_stats {
    const char *device; /* "none": there is no store, and all is 0 */
    struct store_stats store;
    uint64_t reads_wait, writes_wait; /* 1: they do, for a disk that is away */
};

struct vm_stats {
    const char *name, *state;
    uint64_t vcpus;
    struct space_stats memory; /* a stopped VM has all of it in `hole` */
    struct tmem_stats tmem;
    struct vballoon_stats balloon; /* all 0 while it does not run, or has none ... */
    struct vdisk_stats disks;      /* ... and this ... */
    uint64_t net[PORT_COUNTS];     /* ... and that */
    uint64_t exits, stall_us, run_us;
    uint64_t unowned_io, unowned_mmio, unowned_msr;
};

struct pool_stats {
    uint64_t id;
    const char *kind;
    struct tmem_pool_stats pool;
};

struct nic_all_stats {
    const char *name, *model, *mac, *link;
    char mac_text[18];
    struct nic_stats nic;
};

void stats_of_host(struct host_stats *stats);
/* False: there is none. */
bool stats_of_store(struct store_all_stats *stats);
/* Of a NIC of the machine; it stays where it is: it points at itself. */
void stats_of_nic(const struct nic *nic, struct nic_all_stats *stats);
/* A VM that does not run: as its last run ended. */
void stats_of_vm(struct vm *vm, struct vm_stats *stats);
/* Takes those of the tmem pool at that place, 0 .. TMEM_POOLS - 1.  False: there is none. */
bool stats_of_pool(struct vm *vm, unsigned place, struct pool_stats *stats);

#endif
