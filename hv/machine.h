/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine's one backend, store and configuration.  Set at boot, then read-only. */
#ifndef SPILLWAY_HV_MACHINE_H
#define SPILLWAY_HV_MACHINE_H

#include "boot/handover.h"
#include "hv/backend.h"
#include "mm/content/store.h"

struct config;     /* hv/config/config.h */
struct net_switch; /* hv/net/switch.h */

/* Never NULL once the first VM can be made. */
const struct vcpu_backend *machine_backend(void);
/* NULL: there is none. */
struct store *machine_store(void);
const struct config *machine_config(void);
/* That of the configuration's section with this number. */
struct net_switch *machine_switch(unsigned number);
const struct handover *machine_handover(void);
/* The file of that path in memory, or NULL. */
const struct handover_file *machine_file(const char *path);

/* Shows the line that says how it ended: on a line of its own, whatever the prompt is doing, and
 * all of it on the wire before an emulator hears of it.  The caller then powers off or resets. */
void machine_say_last(const char *line);
/* All VMs have ended (or the operator said so): the last line, then power off. */
_Noreturn void machine_power_off(void);
_Noreturn void machine_reboot(void);

#endif
