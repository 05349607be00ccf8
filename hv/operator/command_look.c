/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor's commands that look and change nothing. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "hv/config/config.h"
#include "hv/log.h"
#include "hv/machine.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/operator/stats.h"
#include "hv/run/exit.h"

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

/* ---- all ---- */

void command_vms(unsigned count, char **words)
{
    (void)count;
    (void)words;
    console_printf("%-12s %-8s %5s %7s %8s %8s %8s %9s %9s %8s\n", "NAME", "STATE", "VCPUS",
                   "MEM-MB", "RES-MB", "STORE-MB", "WSS-MB", "PAGE-INS", "PAGE-OUTS", "STALL-S");
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm *vm = vm_at(i);
        struct vm_stats s;

        stats_of_vm(vm, &s);
        console_printf("%-12s %-8s %5u %7lu %8lu %8lu %8lu %9lu %9lu %6lu.%lu\n", vm->name,
                       vm_state_name(vm), (unsigned)vm->config->vcpus, mib(s.memory.memory),
                       mib(s.memory.resident), mib(s.memory.stored), mib(s.memory.wss),
                       (unsigned long)s.memory.page_ins, (unsigned long)s.memory.page_outs,
                       (unsigned long)(s.stall_us / 1000000),
                       (unsigned long)(s.stall_us / 100000 % 10));
    }
}

void command_print_mem(void)
{
    struct frame_stats f;

    f = frame_stats_get();
    console_printf("pool   %lu MiB: %lu free, %lu guests, %lu compressed, %lu tmem, %lu meta\n",
                   mib(f.frames), mib(f.free), mib(f.guest), mib(f.compressed), mib(f.tmem),
                   mib(f.meta));
}

void command_mem(unsigned count, char **words)
{
    (void)count;
    (void)words;
    command_print_mem();
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm_stats s;

        stats_of_vm(vm_at(i), &s);
        console_printf(
            "%-12s memory %lu = resident %lu + hole %lu + pattern %lu + compressed %lu + "
            "stored %lu + disk %lu + transit %lu pages\n",
            vm_at(i)->name, (unsigned long)s.memory.memory, (unsigned long)s.memory.resident,
            (unsigned long)s.memory.hole, (unsigned long)s.memory.pattern,
            (unsigned long)s.memory.compressed, (unsigned long)s.memory.stored,
            (unsigned long)s.memory.disk, (unsigned long)s.memory.transit);
    }
}

/* Nothing while all is well. */
static void print_store_health(const char *what, enum store_health health)
{
    static const char *const text[] = {
        [STORE_AWAY] = "fail: they wait, and are tried again every 2 s at the latest",
        [STORE_GONE] = "have failed for too long: nobody waits for them any more",
        [STORE_FULL] = "succeed nowhere: the disk may be thin and full; pages stay in memory",
    };

    if (health != STORE_WELL && health != STORE_DOUBTED) {
        console_printf("store  %s %s\n", what, text[health]);
    }
}

void command_print_store(void)
{
    struct store_stats s;

    if (!stats_of_store(&s)) {
        console_printf("store  none\n");
        return;
    }
    console_printf("store  %s: %lu of %lu MiB used, %lu reads (%lu pages), %lu writes (%lu pages), "
                   "%lu errors, %lu slots retired\n",
                   store_device_name(machine_store()), mib(s.slots_used), mib(s.slots),
                   (unsigned long)s.reads, (unsigned long)s.read_pages, (unsigned long)s.writes,
                   (unsigned long)s.written_pages, (unsigned long)s.errors,
                   (unsigned long)s.retired);
    print_store_health("reads", s.read_health);
    print_store_health("writes", s.write_health);
}

static void print_tmem_pools(struct vm *vm)
{
    struct tmem_pool_stats p;

    for (unsigned i = 0; i < TMEM_POOLS; i++) {
        if (vm->tmem == NULL || vm->closed || !tmem_get_pool_stats(vm->tmem, i, &p)) {
            continue;
        }
        console_printf("  pool %-8u %-10s %8lu pages, %lu puts, %lu gets, %lu hits, %lu misses, "
                       "%lu refused, %lu evicted\n",
                       (unsigned)p.id, p.flags & TMEM_PERSISTENT ? "persistent" : "ephemeral",
                       (unsigned long)p.pages, (unsigned long)p.count[TMEM_PUTS],
                       (unsigned long)p.count[TMEM_GETS], (unsigned long)p.count[TMEM_HITS],
                       (unsigned long)p.count[TMEM_MISSES], (unsigned long)p.count[TMEM_REFUSALS],
                       (unsigned long)p.count[TMEM_EVICTIONS]);
    }
}

void command_tmem(unsigned count, char **words)
{
    (void)count;
    (void)words;
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm_stats s;

        stats_of_vm(vm_at(i), &s);
        console_printf(
            "%-12s quota %lu pages, persistent %lu (%lu in frames), ephemeral %lu, "
            "%lu pools, %lu hits, %lu misses, %lu refused, %lu evicted\n",
            vm_at(i)->name, (unsigned long)s.tmem.quota, (unsigned long)s.tmem.persistent,
            (unsigned long)s.tmem.resident, (unsigned long)s.tmem.ephemeral,
            (unsigned long)s.tmem.pools, (unsigned long)s.tmem.count[TMEM_HITS],
            (unsigned long)s.tmem.count[TMEM_MISSES], (unsigned long)s.tmem.count[TMEM_REFUSALS],
            (unsigned long)s.tmem.count[TMEM_EVICTIONS]);
        print_tmem_pools(vm_at(i));
    }
}

void command_store(unsigned count, char **words)
{
    (void)count;
    (void)words;
    command_print_store();
}

/* ---- one VM ---- */

static const char *size_text(uint64_t pages, char text[24])
{
    if (pages % 256 == 0) {
        snprintf(text, 24, "%lu MiB", mib(pages));
    } else {
        snprintf(text, 24, "%lu KiB", (unsigned long)(pages * (PAGE_SIZE / 1024)));
    }
    return text;
}

void command_print_settings(const struct vm *vm)
{
    char min[24], max[24], tmem[24];

    console_printf("%s: min %s, max %s, shares %u, cpu-shares %u%s, tmem %s\n", vm->name,
                   size_text(vm->min_pages, min),
                   vm->max_pages == 0 ? "none" : size_text(vm->max_pages, max),
                   (unsigned)vm->shares, (unsigned)vm_cpu_shares(vm),
                   vm->cpu_shares == 0 ? " (as shares)" : "", size_text(vm->tmem_pages, tmem));
}

static const char *last_end(const struct vm *vm, char text[48])
{
    switch (vm->outcome) {
    case VM_OUTCOME_OK:
        return ", it ended well";
    case VM_OUTCOME_FAILED:
        if (vm->exit_code == 0) {
            return ", it failed";
        }
        snprintf(text, 48, ", it failed with code %u", (unsigned)vm->exit_code);
        return text;
    case VM_OUTCOME_STOPPED:
        return ", by the operator";
    case VM_OUTCOME_RESET:
        return ", it reset itself";
    case VM_OUTCOME_NONE:
        break;
    }
    return "";
}

static void print_text(const char *name, const char *text)
{
    console_printf("  %-9s", name);
    console_write(text, strlen(text)); /* a command line is longer than console_printf() takes */
    console_printf("\n");
}

void command_show(unsigned count, char **words)
{
    const struct vm *vm = command_vm(words[0]);
    char memory[24], end[48];

    (void)count;
    if (vm == NULL) {
        return;
    }
    command_print_settings(vm);
    console_printf("  %-9s%s%s\n", "state", vm_state_name(vm), last_end(vm, end));
    console_printf("  %-9s%s, %u vCPU%s, autostart %s, on-triple-fault %s\n", "memory",
                   size_text(vm->memory_pages, memory), (unsigned)vm->config->vcpus,
                   vm->config->vcpus == 1 ? "" : "s", vm->config->autostart ? "yes" : "no",
                   vm->config->triple_fault_fails ? "fail" : "reset");
    print_text("kernel", vm->config->kernel);
    print_text("initrd", vm->config->initrd[0] != '\0' ? vm->config->initrd : "none");
    print_text("cmdline", vm->config->cmdline);
}

/* ---- counters, the log ---- */

static void print_vm_stats(struct vm *vm)
{
    struct vm_stats s;
    const struct space_stats *m = &s.memory;

    stats_of_vm(vm, &s);
    console_printf("%s: %s, %u vCPUs, ran %lu.%03lu s, stalled %lu.%03lu s, %lu exits\n", vm->name,
                   vm_state_name(vm), (unsigned)vm->config->vcpus,
                   (unsigned long)(s.run_us / 1000000), (unsigned long)(s.run_us / 1000 % 1000),
                   (unsigned long)(s.stall_us / 1000000), (unsigned long)(s.stall_us / 1000 % 1000),
                   (unsigned long)s.exits);
    console_printf(
        "  faults %lu (%lu zero), page-ins %lu, page-outs %lu, clean drops %lu, refaults "
        "%lu, readahead %lu (%lu hits)\n",
        (unsigned long)m->faults, (unsigned long)m->faults_zero, (unsigned long)m->page_ins,
        (unsigned long)m->page_outs, (unsigned long)m->clean_drops, (unsigned long)m->refaults,
        (unsigned long)m->readahead, (unsigned long)m->readahead_hits);
    for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        uint64_t exits = 0;

        for (unsigned i = 0; i < vm->vcpu_count; i++) {
            exits += vm->vcpu[i]->exits[kind];
        }
        if (exits != 0) {
            console_printf("  exits %-12s %lu\n", exit_kind_name(kind), (unsigned long)exits);
        }
    }
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
        stats_print_json(vm);
        return;
    }
    for (unsigned i = 0; i < vm_count(); i++) {
        if (vm == NULL || vm == vm_at(i)) {
            print_vm_stats(vm_at(i));
        }
    }
}

static void show_log_line(const char *line)
{
    console_printf("%s\n", line);
}

void command_log(unsigned count, char **words)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};

    if (count == 0) {
        log_replay(LOG_LINES, show_log_line);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcmp(words[0], levels[i]) == 0) {
            log_set_level((enum log_level)i);
            return;
        }
    }
    console_printf("unknown level '%s': expected error, warn, info or debug\n", words[0]);
}
