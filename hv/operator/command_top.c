/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live view: a screen of 24 lines of 80 columns, once a second.  What guests print and what the
 * log says waits until it ends.
 */
#include "base/bits.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/log.h"
#include "hv/operator/command.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/operator/stats.h"

#define ROWS 18u /* what the lines above and below the VMs leave of the screen */

static bool active;

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

struct row {
    struct vm *vm;
    uint64_t key; /* greatest first */
};

/* The VMs that run, and of them those with most memory, come first. */
static uint64_t sort_key(struct vm *vm)
{
    struct vm_stats s;

    stats_of_vm(vm, &s);
    return s.memory.resident + (vm->state != VM_STOPPED ? UINT64_MAX / 2 : 0);
}

/* By insertion: the list is short. */
static unsigned sorted_rows(struct row row[CONFIG_VMS_MAX])
{
    unsigned count = 0;

    for (; count < vm_count(); count++) {
        struct row next = {vm_at(count), sort_key(vm_at(count))};
        unsigned at = count;

        for (; at > 0 && next.key > row[at - 1].key; at--) {
            row[at] = row[at - 1];
        }
        row[at] = next;
    }
    return count;
}

static void print_vm(struct vm *vm)
{
    struct vm_stats s;

    stats_of_vm(vm, &s);
    console_printf("%-12.12s %-8s %6lu %6lu %8lu %6lu %8lu %9lu %6lu.%lu\n", vm->name,
                   vm_state_name(vm), mib(s.memory.memory), mib(s.memory.resident),
                   mib(s.memory.stored), mib(s.memory.wss), (unsigned long)s.memory.page_ins,
                   (unsigned long)s.memory.page_outs, (unsigned long)(s.stall_us / 1000000),
                   (unsigned long)(s.stall_us / 100000 % 10));
}

static void show_screen(void)
{
    struct row row[CONFIG_VMS_MAX];
    unsigned count = sorted_rows(row);

    console_printf("\x1b[H\x1b[Jspillway, up %lu s, %u CPUs - any key ends\n",
                   (unsigned long)(arch_clock_ns() / 1000000000), arch_cpu_count());
    command_print_mem();
    command_print_store();
    console_printf("%-12s %-8s %6s %6s %8s %6s %8s %9s %8s\n", "NAME", "STATE", "MEM-MB", "RES-MB",
                   "STORE-MB", "WSS-MB", "PAGE-INS", "PAGE-OUTS", "STALL-S");
    for (unsigned i = 0; i < MIN(count, ROWS); i++) {
        print_vm(row[i].vm);
    }
    if (count > ROWS) {
        console_printf("and %u more that run less: 'vms' shows them", count - ROWS);
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
