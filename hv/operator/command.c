/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/command.h"

#include <string.h>

#include "base/bits.h"
#include "hv/operator/command_internal.h"
#include "hv/operator/console.h"
#include "hv/vm/control.h"

#define WORDS_MAX 4

struct command {
    const char *name;
    const char *arguments;
    const char *help;
    unsigned least, most; /* arguments */
    void (*run)(unsigned count, char **words);
};

struct vm *command_vm(const char *name)
{
    struct vm *vm = vm_find(name);

    if (vm != NULL) {
        return vm;
    }
    console_printf("no VM '%s': expected one of", name);
    for (unsigned i = 0; i < vm_count(); i++) {
        console_printf(" %s", vm_at(i)->name);
    }
    console_printf("\n");
    return NULL;
}

static void run_help(unsigned count, char **words);

static const struct command commands[] = {
    {"help", "", "this list", 0, 0, run_help},
    {"vms", "", "the VMs, their state and memory", 0, 0, command_vms},
    {"mem", "", "where all memory is", 0, 0, command_mem},
    {"store", "", "the paging store", 0, 0, command_store},
    {"nics", "", "the machine's network interfaces, eth0 ..", 0, 0, command_nics},
    {"tmem", "", "pages that guests have handed to us", 0, 0, command_tmem},
    {"console", "NAME [TTY]", "that guest's consoles, keys to ttyS0 or hvc0; Ctrl-] comes back", 1,
     2, command_console},
    {"start", "NAME", "start a stopped VM", 1, 1, command_start},
    {"stop", "NAME", "press its power button; cut its power if it goes on", 1, 1, command_stop},
    {"pause", "NAME", "halt its vCPUs", 1, 1, command_pause},
    {"resume", "NAME", "let them go on", 1, 1, command_resume},
    {"reset", "NAME", "end it and start it again", 1, 1, command_reset},
    {"kill", "NAME", "cut its power at once", 1, 1, command_kill},
    {"nmi", "NAME", "press its NMI button", 1, 1, command_nmi},
    {"break", "NAME", "a BREAK on its serial port, as SysRq wants it; Ctrl-] Ctrl-B", 1, 1,
     command_break},
    {"set", "NAME KEY=VALUE",
     "min=SIZE, max=SIZE, shares=N, cpu-shares=N, tmem=SIZE, balloon=auto|off|SIZE of a VM", 2, 2,
     command_set},
    {"show", "NAME", "its settings, kernel and command line", 1, 1, command_show},
    {"stats", "[NAME] [json]", "counters", 0, 2, command_stats},
    {"top", "", "live view, any key ends", 0, 0, command_top},
    {"log", "[LEVEL]", "the last lines; or show error, warn, info, debug", 0, 1, command_log},
    {"poweroff", "", "cut the power of all VMs, and the machine's", 0, 0, command_poweroff},
    {"reboot", "", "cut the power of all VMs, and reset the machine", 0, 0, command_reboot},
};

static void run_help(unsigned count, char **words)
{
    (void)count;
    (void)words;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        console_printf("  %-9s%-16s%s\n", commands[i].name, commands[i].arguments,
                       commands[i].help);
    }
}

/* Cuts the line into words at blanks. */
static unsigned split(char *line, char **words)
{
    static const char blanks[] = " \t";
    unsigned count = 0;

    for (line += strspn(line, blanks); *line != '\0' && count < WORDS_MAX;) {
        words[count++] = line;
        line += strcspn(line, blanks);
        if (*line != '\0') {
            *line++ = '\0';
            line += strspn(line, blanks);
        }
    }
    return count;
}

void command_run(char *line)
{
    char *words[WORDS_MAX];
    unsigned count = split(line, words);

    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];

        if (strcmp(c->name, words[0]) != 0) {
            continue;
        }
        if (count - 1 < c->least || count - 1 > c->most) {
            console_printf("expected %s%s%s\n", c->name, c->arguments[0] != '\0' ? " " : "",
                           c->arguments);
            return;
        }
        vm_list_lock();
        c->run(count - 1, words + 1);
        vm_list_unlock();
        return;
    }
    console_printf("unknown command '%s': expected one of those that 'help' lists\n", words[0]);
}
