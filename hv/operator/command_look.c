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
#include "hv/operator/figures.h"
#include "hv/operator/stats.h"

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

/* ---- all ---- */

/* One line of each VM. */
static void print_vms(const char *view)
{
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm_stats stats;

        stats_of_vm(vm_at(i), &stats);
        figures_print(&vm_figures, &stats, view);
    }
}

void command_vms(unsigned count, char **words)
{
    static const char view[] =
        "{name,-12} {state,-8} {vcpus,5} {memory:M,7} {resident:M,8} {stored:M,8} {wss:M,8} "
        "{page_ins,9} {page_outs,9} {stall_us:s1,8}\n";

    (void)count;
    (void)words;
    figures_print_headings(&vm_figures, view);
    print_vms(view);
}

void command_print_mem(void)
{
    struct host_stats stats;

    stats_of_host(&stats);
    figures_print(&host_figures, &stats,
                  "pool   {frames:M} MiB: {frames_free:M} free, {frames_guest:M} guests, "
                  "{frames_compressed:M} compressed, {frames_tmem:M} tmem, {frames_meta:M} meta\n");
}

void command_mem(unsigned count, char **words)
{
    (void)count;
    (void)words;
    command_print_mem();
    print_vms(
        "{name,-12} memory {memory} = resident {resident} + hole {hole} + pattern {pattern} + "
        "compressed {compressed} + stored {stored} + disk {disk} + transit {transit} pages\n");
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
    struct store_all_stats stats;

    if (!stats_of_store(&stats)) {
        console_printf("store  none\n");
        return;
    }
    figures_print(&store_figures, &stats,
                  "store  {device}: {slots_used:M} of {slots:M} MiB used, {reads} reads "
                  "({read_pages} pages), {writes} writes ({written_pages} pages), {errors} errors, "
                  "{retired} slots retired\n");
    print_store_health("reads", stats.store.read_health);
    print_store_health("writes", stats.store.write_health);
}

void command_nics(unsigned count, char **words)
{
    (void)count;
    (void)words;
    if (nic_count() == 0) {
        console_printf("none: no virtio-net, 82540EM or 82574L was found\n");
    }
    for (unsigned i = 0; i < nic_count(); i++) {
        struct nic_all_stats nic;

        stats_of_nic(nic_at(i), &nic);
        figures_print(&nic_figures, &nic,
                      "{name,-6} {model,-10} {mac} link {link,-4} received {rx_frames} ({rx_bytes} "
                      "bytes), {rx_errors} errors; sent {tx_frames} ({tx_bytes} bytes), "
                      "{tx_dropped} dropped; {resets} resets\n");
    }
}

static void print_pools(struct vm *vm)
{
    struct pool_stats stats;

    for (unsigned i = 0; i < TMEM_POOLS; i++) {
        if (stats_of_pool(vm, i, &stats)) {
            figures_print(&pool_figures, &stats,
                          "  pool {id,-8} {kind,-10} {pages,8} pages, {puts} puts, {gets} gets, "
                          "{hits} hits, {misses} misses, {refused} refused, {evicted} evicted\n");
        }
    }
}

void command_tmem(unsigned count, char **words)
{
    (void)count;
    (void)words;
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm_stats stats;

        stats_of_vm(vm_at(i), &stats);
        figures_print(&vm_figures, &stats,
                      "{name,-12} quota {tmem_quota} pages, persistent {tmem_pages_persistent} "
                      "({tmem_resident} in frames), ephemeral {tmem_pages_ephemeral}, "
                      "{tmem_pools} pools, {tmem_hits} hits, {tmem_misses} misses, "
                      "{tmem_refused} refused, {tmem_evicted} evicted\n");
        print_pools(vm_at(i));
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

static const char *balloon_text(const struct vm *vm, char text[24])
{
    switch (vm->balloon.mode) {
    case BALLOON_AUTO:
        return "auto";
    case BALLOON_SIZE:
        return size_text(vm->balloon.bytes / PAGE_SIZE, text);
    case BALLOON_OFF:
        break;
    }
    return "off";
}

void command_print_settings(const struct vm *vm)
{
    char min[24], max[24], tmem[24], balloon[24];

    console_printf("%s: min %s, max %s, shares %u, cpu-shares %u%s, tmem %s, balloon %s\n",
                   vm->name, size_text(vm->min_pages, min),
                   vm->max_pages == 0 ? "none" : size_text(vm->max_pages, max),
                   (unsigned)vm->shares, (unsigned)vm_cpu_shares(vm),
                   vm->cpu_shares == 0 ? " (as shares)" : "", size_text(vm->tmem_pages, tmem),
                   balloon_text(vm, balloon));
}

static const char *last_end(const struct vm *vm, char text[48])
{
    switch (vm->run.outcome) {
    case VM_OUTCOME_OK:
        return ", it ended well";
    case VM_OUTCOME_FAILED:
        if (vm->run.exit_code == 0) {
            return ", it failed";
        }
        snprintf(text, 48, ", it failed with code %u", (unsigned)vm->run.exit_code);
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

static void print_nics(const struct vm *vm)
{
    const struct net_config *nic = machine_config()->nic + vm->config->first_nic;

    for (uint32_t i = 0; i < vm->config->nics; i++, nic++) {
        const uint8_t *mac = nic->mac;

        console_printf("  net%-6u%s, %02x:%02x:%02x:%02x:%02x:%02x\n", nic->number, nic->name,
                       mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    }
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
    print_nics(vm);
    print_text("kernel", vm->config->kernel);
    print_text("initrd", vm->config->initrd[0] != '\0' ? vm->config->initrd : "none");
    print_text("cmdline", vm->config->cmdline);
    for (unsigned i = 0; i < vm->config->modules; i++) {
        const struct config_module *module = &vm->config->module[i];

        console_printf("  %-9s%s ", "module", module->path);
        console_write(module->words, strlen(module->words));
        console_printf("\n");
    }
}

/* ---- the log ---- */

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
