/* SPDX-License-Identifier: BSD-2-Clause */
/* stats [NAME] [json]: all figures of the machine or of one VM, as text and for programs. */
#include <string.h>

#include "hv/log.h"
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
static const char disks_view[] =
    "  disks: reads {blk_reads} ({blk_read_sectors} sectors), writes {blk_writes} "
    "({blk_written_sectors} sectors), flushes {blk_flushes}, errors {blk_errors}, bounced "
    "{blk_bounced}\n"
    "  pages that a disk has: {disk} dropped now, {disk_drops} in all, {disk_reads} read back; "
    "reads "
    "of what is overwritten avoided: {false_reads_avoided}\n";

static const char nics_view[] =
    "  network: received {net_rx} frames ({net_rx_bytes} bytes), dropped {net_rx_drops}; sent "
    "{net_tx} ({net_tx_bytes} bytes), refused {net_tx_drops}\n";

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
    if (vm->run.disk_count != 0) {
        figures_print(&vm_figures, &stats, disks_view);
    }
    if (vm->run.nic_count != 0) {
        figures_print(&vm_figures, &stats, nics_view);
    }
    print_exits(vm);
}

/* ---- as JSON, in one line: nobody else's gets into it ---- */

static void write_json(const struct figures *figures, const void *from)
{
    static char buffer[FIGURES_JSON_BYTES]; /* under vm_list_lock */
    struct text json = {.buffer = buffer, .size = sizeof(buffer)};

    figures_add_json(figures, from, &json);
    console_write(json.buffer, json.used);
}

static void write_vm(struct vm *vm)
{
    struct vm_stats stats;

    stats_of_vm(vm, &stats);
    write_json(&vm_figures, &stats);
}

static void write_all(void)
{
    struct host_stats host;
    struct store_all_stats store;

    stats_of_host(&host);
    stats_of_store(&store);
    console_printf("{\"host\":");
    write_json(&host_figures, &host);
    console_printf(",\"store\":");
    write_json(&store_figures, &store);
    console_printf(",\"nics\":[");
    for (unsigned i = 0; i < nic_count(); i++) {
        struct nic_all_stats nic;

        stats_of_nic(nic_at(i), &nic);
        console_printf("%s", i == 0 ? "" : ",");
        write_json(&nic_figures, &nic);
    }
    console_printf("],\"vms\":[");
    for (unsigned i = 0; i < vm_count(); i++) {
        console_printf("%s", i == 0 ? "" : ",");
        write_vm(vm_at(i));
    }
    console_printf("]}");
}

/* Of one VM, or NULL: all. */
static void print_json(struct vm *only)
{
    console_hold_guests(true);
    log_hold(true);
    if (only != NULL) {
        write_vm(only);
    } else {
        write_all();
    }
    console_printf("\n");
    log_hold(false);
    console_hold_guests(false);
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
