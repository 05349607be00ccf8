/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/machine.h"

#include <stdio.h>

#include "hv/arch.h"
#include "hv/machine/parts.h"
#include "hv/net/switch.h"
#include "hv/operator/console.h"
#include "hv/vm/control.h"

struct machine machine;

const struct vcpu_backend *machine_backend(void)
{
    return machine.backend;
}

struct store *machine_store(void)
{
    return machine.store;
}

const struct config *machine_config(void)
{
    return &machine.config;
}

const struct handover *machine_handover(void)
{
    return machine.handover;
}

struct net_switch *machine_switch(unsigned number)
{
    return &machine.net[number];
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
    for (uint32_t i = 1; i < machine.handover->file_count; i++) {
        if (path_equal(machine.handover->file[i].path, path)) {
            return &machine.handover->file[i];
        }
    }
    return NULL;
}

void machine_say_last(const char *line)
{
    console_write_line(line);
    console_flush();
    arch_tell_emulator(line);
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
