/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands themselves, by what they are for.  Each has `count` words behind its name, as many
 * as hv/operator/command.c's table allows; the list's lock is held.
 */
#ifndef SPILLWAY_HV_OPERATOR_COMMAND_INTERNAL_H
#define SPILLWAY_HV_OPERATOR_COMMAND_INTERNAL_H

#include "base/types.h"

struct vm;

/* Finds the VM of that name.  NULL: there is none, and one line has said what was expected. */
struct vm *command_vm(const char *name);
/* Prints the VM's live settings as they are in force. */
void command_print_settings(const struct vm *vm);

/* hv/operator/command_look.c */
void command_vms(unsigned count, char **words);
void command_mem(unsigned count, char **words);
void command_store(unsigned count, char **words);
void command_tmem(unsigned count, char **words);
void command_nics(unsigned count, char **words);
void command_show(unsigned count, char **words);
void command_log(unsigned count, char **words);
/* For `top`, too. */
void command_print_mem(void);
void command_print_store(void);

/* hv/operator/command_stats.c */
void command_stats(unsigned count, char **words);

/* hv/operator/command_top.c */
void command_top(unsigned count, char **words);

/* hv/operator/command_steer.c */
void command_start(unsigned count, char **words);
void command_stop(unsigned count, char **words);
void command_pause(unsigned count, char **words);
void command_resume(unsigned count, char **words);
void command_reset(unsigned count, char **words);
void command_kill(unsigned count, char **words);
void command_nmi(unsigned count, char **words);
void command_break(unsigned count, char **words);
void command_set(unsigned count, char **words);
void command_console(unsigned count, char **words);
void command_poweroff(unsigned count, char **words);
void command_reboot(unsigned count, char **words);

#endif
