/* SPDX-License-Identifier: BSD-2-Clause */
/* stats [NAME] [json]: all figures of the machine or of one VM, as text and for programs. */
#include <string.h>

#include "hv/config/config.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/operator/figures.h"
#include "hv/operator/stats.h"
#include "hv/run/exit.h"
#include "hv/text.h"

static const char vm_view[] =
    "{name}: {state}, {vcpus} vCPUs, ran {run_us:s3} s, stalled {stall_us:s3} s, {exits} exits\n"
    "  faults {faults} ({faults_zero} zero), page-ins {page_ins}, page-outs {page_outs}, "
    "clean drops {clean_drops}, refaults {refaults}, readahead {readahead} ({readahead_hits} "
    "hits)\n"
    "  discarded {discards}, balloon {balloon} of {balloon_target}, guest: free {guest_free}, "
    "available {guest_available}, cache {guest_cache}\n";

/* ---- as text ---- */

static void print_exits(const struct vm *vm)
{
    for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        uint64_t exits = 0;

        for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
            exits += vm->run.vcpu[i]->exits[kind];
        }
        if (exits != 0) {
            console_printf("  exits %-12s %lu\n", exit_kind_name(kind), (unsigned long)exits);
        }
    }
}

static void print_vm(struct vm *vm)
{
    struct vm_stats stats;

    stats_of_vm(vm, &stats);
    figures_print(&vm_figures, &stats, vm_view);
    print_exits(vm);
}

/* ---- as JSON, which goes out in one piece, so that no other line gets into it ---- */

/* The VMs, and the host with its store. */
static char buffer[(CONFIG_VMS_MAX + 2) * FIGURES_JSON_BYTES]; /* under vm_list_lock */

static void add_vm(struct text *json, struct vm *vm)
{
    struct vm_stats stats;

    stats_of_vm(vm, &stats);
    figures_add_json(&vm_figures, &stats, json);
}

static void add_all(struct text *json)
{
    struct host_stats host;
    struct store_all_stats store;

    stats_of_host(&host);
    stats_of_store(&store);
    text_add(json, "{\"host\":");
    figures_add_json(&host_figures, &host, json);
    text_add(json, ",\"store\":");
    figures_add_json(&store_figures, &store, json);
    text_add(json, ",\"vms\":[");
    for (unsigned i = 0; i < vm_count(); i++) {
        text_add(json, "%s", i == 0 ? "" : ",");
        add_vm(json, vm_at(i));
    }
    text_add(json, "]}");
}

/* Of one VM, or NULL: all. */
static void print_json(struct vm *only)
{
    struct text json = {.buffer = buffer, .size = sizeof(buffer)};

    if (only != NULL) {
        add_vm(&json, only);
    } else {
        add_all(&json);
    }
    text_add(&json, "\n");
    console_write(json.buffer, json.used);
}

void command_stats(unsigned count, char **words)
{
    bool json = count > 0 && strcmp(words[count - 1], "json") == 0;
    struct vm *vm = NULL;

    if (count - json > 1) {
        console_printf("expected stats [NAME] [json]\n");
        return;
    }
    if (count - json == 1 && (vm = command_vm(words[0])) == NULL) {
        return;
    }
    if (json) {
        print_json(vm);
        return;
    }
    for (unsigned i = 0; i < vm_count(); i++) {
        if (vm == NULL || vm == vm_at(i)) {
            print_vm(vm_at(i));
        }
    }
}
