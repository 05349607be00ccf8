/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor's commands that change something. */
#include <string.h>

#include "hv/machine.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"

static void steer(const char *name, bool (*action)(struct vm *vm, struct vm_answer *answer))
{
    struct vm *vm = command_vm(name);
    struct vm_answer answer;

    if (vm != NULL && !action(vm, &answer)) {
        console_printf("%s is %s: %s\n", name, vm_state_name(vm), answer.text);
    }
}

void command_start(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_start);
}

void command_stop(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_stop);
}

void command_kill(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_kill);
}

void command_pause(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_pause);
}

void command_resume(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_resume);
}

void command_reset(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_reset);
}

void command_nmi(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_nmi);
}

void command_break(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_break);
}

void command_set(unsigned count, char **words)
{
    struct vm *vm = command_vm(words[0]);
    char *equals = strchr(words[1], '=');
    struct vm_answer answer;

    (void)count;
    if (vm == NULL) {
        return;
    }
    if (equals == NULL) {
        console_printf("'%s': expected KEY=VALUE, such as min=16M\n", words[1]);
        return;
    }
    *equals = '\0';
    if (vm_set(vm, words[1], equals + 1, &answer)) {
        command_print_settings(vm);
    } else {
        console_printf("%s is unchanged: %s\n", vm->name, answer.text);
    }
}

/* False, with a line that says so: there is no such one. */
static bool send_keys_to(struct vm *vm, const char *tty)
{
    static const char *const names[KEYS_CONSOLES] = {"ttyS0", "hvc0"};

    for (unsigned i = 0; i < KEYS_CONSOLES; i++) {
        if (strcmp(tty, names[i]) == 0) {
            vm_devices_send_keys_to(vm, (enum keys_console)i);
            return true;
        }
    }
    console_printf("'%s': expected ttyS0 or hvc0\n", tty);
    return false;
}

void command_console(unsigned count, char **words)
{
    struct vm *vm = command_vm(words[0]);

    if (vm == NULL || (count == 2 && !send_keys_to(vm, words[1]))) {
        return;
    }
    console_printf("console of %s, Ctrl-] detaches\n", vm->name);
    console_attach(vm);
}

/* Logs which VMs the machine's end cuts off, and drops the list's lock. */
static void cut_power_of_all(void)
{
    for (unsigned i = 0; i < vm_count(); i++) {
        if (vm_at(i)->state != VM_STOPPED) {
            vm_log(vm_at(i), LOG_INFO, "vm %s: still %s: its power is cut", vm_at(i)->name,
                   vm_state_name(vm_at(i)));
        }
    }
    vm_list_unlock();
}

void command_poweroff(unsigned count, char **words)
{
    (void)count;
    (void)words;
    cut_power_of_all();
    machine_power_off();
}

void command_reboot(unsigned count, char **words)
{
    (void)count;
    (void)words;
    cut_power_of_all();
    machine_reboot();
}
