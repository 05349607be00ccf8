/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures for the operator: one struct, taken at one time, shown as text by the commands and as
 * JSON by `stats json`.  Memory in 4 KiB pages.
 */
#ifndef SPILLWAY_HV_OPERATOR_STATS_H
#define SPILLWAY_HV_OPERATOR_STATS_H

#include "hv/vm/control.h"
#include "mm/content/store.h"
#include "mm/frame/frame_alloc.h"

struct vm_stats {
    struct space_stats memory;
    struct tmem_stats tmem;
    uint64_t exits, stall_us, run_us;
};

/* vm_list_lock held.  A stopped VM has all of its memory in `hole`. */
void stats_of_vm(struct vm *vm, struct vm_stats *stats);
/* False: there is no store; *stats is zero. */
bool stats_of_store(struct store_stats *stats);

/* One line of JSON on the console: all, or of one VM (not NULL).  vm_list_lock held. */
void stats_print_json(struct vm *only);

#endif
