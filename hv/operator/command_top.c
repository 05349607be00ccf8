/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live view: a screen of 24 lines of 80 columns, once a second.  Guests' output and the log's
 * lines wait until it ends.
 */
#include "base/bits.h"
#include "hv/log.h"
#include "hv/operator/command.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/operator/figures.h"
#include "hv/operator/stats.h"

#define ROWS 18u /* what the lines above and below the VMs leave of the screen */

static bool active;

struct row {
    struct vm *vm;
    uint64_t key; /* greatest first */
};

/* Sorts running VMs first, and among them those with most memory. */
static uint64_t sort_key(struct vm *vm)
{
    struct vm_stats s;

    stats_of_vm(vm, &s);
    return s.memory.resident + (vm->state != VM_STOPPED ? UINT64_MAX / 2 : 0);
}

/* The first of all VMs in that order, by insertion: the list is short. */
static unsigned first_rows(struct row row[ROWS])
{
    unsigned count = 0;

    for (unsigned i = 0; i < vm_count(); i++) {
        struct row next = {vm_at(i), sort_key(vm_at(i))};
        unsigned at = count;

        for (; at > 0 && next.key > row[at - 1].key; at--) {
            if (at < ROWS) {
                row[at] = row[at - 1];
            }
        }
        if (at < ROWS) {
            row[at] = next;
        }
        count = MIN(count + 1, ROWS);
    }
    return count;
}

static void show_screen(void)
{
    static const char view[] =
        "{name,-12.12} {state,-8} {memory:M,6} {resident:M,6} {stored:M,8} {wss:M,6} {page_ins,8} "
        "{page_outs,9} {stall_us:s1,8}\n";
    struct row row[ROWS];
    unsigned count = first_rows(row);
    struct host_stats host;
    struct vm_stats stats;

    stats_of_host(&host);
    figures_print(&host_figures, &host,
                  "\x1b[H\x1b[Jspillway, up {uptime_us:s0} s, {cpus} CPUs - any key ends\n");
    command_print_mem();
    command_print_store();
    figures_print_headings(&vm_figures, view);
    for (unsigned i = 0; i < count; i++) {
        stats_of_vm(row[i].vm, &stats);
        figures_print(&vm_figures, &stats, view);
    }
    if (vm_count() > ROWS) {
        console_printf("and %u more that run less: 'vms' shows them", vm_count() - ROWS);
    }
}

void command_top(unsigned count, char **words)
{
    (void)count;
    (void)words;
    active = true;
    console_hold_guests(true);
    log_hold(true);
    show_screen();
}

bool command_top_active(void)
{
    return active;
}

void command_top_refresh(void)
{
    vm_list_lock();
    show_screen();
    vm_list_unlock();
}

void command_top_end(void)
{
    active = false;
    console_printf("\n");
    log_hold(false);
    console_hold_guests(false);
}
