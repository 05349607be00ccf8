/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot, in order: configuration, console, features, memory, CPUs, disks, store, VMs, main loop. */
#include "hv/main.h"

#include <stdio.h>
#include <string.h>

#include "base/block.h"
#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/machine/memory.h"
#include "hv/machine/panic.h"
#include "hv/machine/refuse.h"
#include "hv/machine/store.h"
#include "hv/operator/console.h"
#include "hv/operator/emulator_port.h"
#include "hv/operator/monitor.h"
#include "hv/operator/serial_line.h"
#include "hv/run/sched.h"
#include "hv/vm/control.h"

static const struct handover *handover;
static const struct vcpu_backend *backend;
static struct store *store;
static struct config config;
static unsigned features_missing;

const struct vcpu_backend *machine_backend(void)
{
    return backend;
}

struct store *machine_store(void)
{
    return store;
}

const struct config *machine_config(void)
{
    return &config;
}

const struct handover *machine_handover(void)
{
    return handover;
}

/* Paths are compared as the firmware does: either slash, upper and lower case alike, with or
 * without the first slash. */
static bool path_equal(const char *a, const char *b)
{
    a += *a == '\\' || *a == '/';
    b += *b == '\\' || *b == '/';
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a == '/' ? '\\' : *a;
        char y = *b == '/' ? '\\' : *b;

        if (x != y && !((x ^ y) == 0x20 && (x | 0x20) >= 'a' && (x | 0x20) <= 'z')) {
            return false;
        }
    }
    return *a == *b;
}

const struct handover_file *machine_file(const char *path)
{
    for (uint32_t i = 1; i < handover->file_count; i++) {
        if (path_equal(handover->file[i].path, path)) {
            return &handover->file[i];
        }
    }
    return NULL;
}

static bool file_exists(const char *path)
{
    return machine_file(path) != NULL;
}

/* ---- the end ---- */

void machine_say_last(const char *line)
{
    console_write_line(line);
    console_end(line);
}

void machine_power_off(void)
{
    char line[64] = "spillway: power off: all guests ok";
    unsigned failed = vm_failed_count();

    if (failed != 0) {
        snprintf(line, sizeof(line), "spillway: power off: %u guest(s) failed", failed);
    }
    machine_say_last(line);
    arch_power_off();
}

void machine_reboot(void)
{
    machine_say_last("spillway: reboot");
    arch_reset();
}

/* ---- the beginning ---- */

static void read_config(void)
{
    const struct handover_file *file = &handover->file[0];
    struct config_source source = {
        .name = CONFIG_FILE_NAME,
        .text = arch_ptr(hpa(file->address)),
        .bytes = (size_t)file->bytes,
        .file_exists = file_exists,
        .report = refuse_note,
    };
    unsigned errors = config_parse(&source, &config);

    serial_line_open(config.console_port, config.console_baud);
    if (errors != 0) {
        refuse_configuration();
    }
    panic_set_reset(config.panic_reset);
}

static void feature_missing(const char *feature)
{
    log_error("this CPU lacks: %s", feature);
    features_missing++;
}

static void check_features(void)
{
    backend = arch_backend();
    if (backend == NULL) {
        refuse_machine("this CPU has neither VMX (Intel) nor SVM (AMD)");
    }
    if (!backend->check(feature_missing)) {
        refuse_machine("required CPU features are missing, see the lines above");
    }
    log_info("virtualisation by %s, TSC %lu kHz", backend->name, (unsigned long)arch_tsc_khz());
}

static void cpu_main(void)
{
    if (!backend->cpu_enable()) {
        panic("CPU %u: %s could not be enabled", arch_cpu_id(), backend->name);
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

void hv_main(const struct handover *given)
{
    handover = given;
    loop_init();
    emulator_port_open();
    read_config();
    log_info("Spillway: %u CPUs, %lu MiB of RAM", (unsigned)handover->cpu_count,
             machine_memory_ram_mib());
    check_features();
    machine_memory_init();
    arch_start_cpus(cpu_main);
    log_info("%u of %u CPUs are up", arch_cpu_count(), (unsigned)handover->cpu_total);
    if (handover->cpu_total > handover->cpu_count) {
        log_warn("%u CPUs are not used and sleep: expected at most %u",
                 (unsigned)(handover->cpu_total - handover->cpu_count), MAX_CPUS);
    }
    serial_line_enable_interrupts();
    block_init();
    store = machine_store_open();
    machine_memory_report();
    sched_init(arch_cpu_count());
    vm_init_all();
    start_autostart_vms();
    monitor_start();
    cpu_main();
    __builtin_unreachable(); /* loop_run() never returns */
}
