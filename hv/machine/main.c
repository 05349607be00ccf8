/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot, in order: configuration, console, features, memory, CPUs, disks, NICs, store, VMs, main
 * loop. */
#include "hv/main.h"

#include <stdlib.h>

#include "base/block.h"
#include "base/log.h"
#include "drivers/nic.h"
#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/machine/memory.h"
#include "hv/machine/panic.h"
#include "hv/machine/parts.h"
#include "hv/machine/refuse.h"
#include "hv/machine/store.h"
#include "hv/machine/uplinks.h"
#include "hv/net/switch.h"
#include "hv/operator/console.h"
#include "hv/operator/emulator_port.h"
#include "hv/operator/monitor.h"
#include "hv/operator/serial_line.h"
#include "hv/run/sched.h"
#include "hv/vm/control.h"

static bool file_exists(const char *path)
{
    return machine_file(path) != NULL;
}

static void read_config(void)
{
    const struct handover_file *file = &machine.handover->file[0];
    struct config_source source = {
        .name = CONFIG_FILE_NAME,
        .text = arch_ptr(hpa(file->address)),
        .bytes = (size_t)file->bytes,
        .file_exists = file_exists,
        .report = refuse_note,
    };
    unsigned errors = config_parse(&source, &machine.config);

    serial_line_open(machine.config.console_port, machine.config.console_baud);
    if (errors != 0) {
        refuse_configuration();
    }
    panic_set_reset(machine.config.panic_reset);
}

static void make_switches(void)
{
    uint32_t count = machine.config.nets_used;

    machine.net = calloc(count, sizeof(machine.net[0]));
    ASSERT(machine.net != NULL || count == 0); /* the heap is reckoned with them */
    for (uint32_t i = 0; i < count; i++) {
        switch_init(&machine.net[i], arch_random());
    }
}

static void feature_missing(const char *feature)
{
    log_error("this CPU lacks: %s", feature);
}

static void check_features(void)
{
    machine.backend = arch_backend();
    if (machine.backend == NULL) {
        refuse_machine("this CPU has neither VMX (Intel) nor SVM (AMD)");
    }
    if (!machine.backend->check(feature_missing)) {
        refuse_machine("required CPU features are missing, see the lines above");
    }
    log_info("virtualisation by %s, TSC %lu kHz", machine.backend->name,
             (unsigned long)arch_tsc_khz());
}

static void cpu_main(void)
{
    if (!machine.backend->cpu_enable()) {
        panic("CPU %u: %s could not be enabled", arch_cpu_id(), machine.backend->name);
    }
    loop_run();
}

static void start_autostart_vms(void)
{
    bool any = false;

    vm_list_lock();
    for (unsigned i = 0; i < vm_count(); i++) {
        if (vm_at(i)->config->autostart) {
            vm_start_unasked(vm_at(i));
            any = true;
        }
    }
    vm_list_unlock();
    if (!any) { /* nothing more will be said by itself */
        log_warn("%s; the monitor waits for commands",
                 vm_count() == 0 ? "no VM is configured"
                                 : "no VM starts by itself: autostart = no for all");
    }
}

/* Of a volume on a disk that no driver here knows, nothing is found. */
static void find_boot_disk(void)
{
    const struct handover *h = machine.handover;
    struct block_volume volume = {.sector = h->boot_volume.sector,
                                  .sectors = h->boot_volume.sectors,
                                  .first = arch_ptr(hpa(h->boot_volume.first))};

    if (volume.sectors != 0) {
        block_find_booted(&volume);
    }
}

void hv_main(const struct handover *given)
{
    machine.handover = given;
    loop_init();
    emulator_port_open();
    read_config();
    log_info("Spillway: %u CPUs, %lu MiB of RAM", (unsigned)machine.handover->cpu_count,
             machine_memory_ram_mib());
    check_features();
    machine_memory_init();
    make_switches();
    console_init(machine.config.vm_count);
    arch_start_cpus(cpu_main);
    log_info("%u of %u CPUs are up", arch_cpu_count(), (unsigned)machine.handover->cpu_total);
    if (machine.handover->cpu_total > machine.handover->cpu_count) {
        log_warn("%u CPUs are not used and sleep: expected at most %u",
                 (unsigned)(machine.handover->cpu_total - machine.handover->cpu_count), MAX_CPUS);
    }
    serial_line_enable_interrupts();
    block_init();
    find_boot_disk();
    nic_init();
    machine_uplinks_create();
    machine.store = machine_store_open();
    machine_guest_disks_open();
    machine_memory_report();
    sched_init(arch_cpu_count());
    vm_init_all();
    start_autostart_vms();
    monitor_start();
    cpu_main();
    __builtin_unreachable(); /* loop_run() never returns */
}
