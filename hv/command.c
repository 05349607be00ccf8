/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/command.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "hv/arch.h"
#include "hv/config.h"
#include "hv/console.h"
#include "hv/exit.h"
#include "hv/log.h"
#include "hv/machine.h"
#include "hv/stats.h"

#define WORDS_MAX 4

struct command {
    const char *name;
    const char *arguments;
    const char *help;
    unsigned least, most; /* arguments */
    void (*run)(unsigned count, char **words);
};

static bool top_active;

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

/* The VM of that name; or NULL after one line that says what was expected. */
static struct vm *named_vm(const char *name)
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

/* ---- looking ---- */

static void print_vms(void)
{
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

static void run_vms(unsigned count, char **words)
{
    (void)count;
    (void)words;
    print_vms();
}

static void print_mem(void)
{
    struct frame_stats f;

    f = frame_stats_get();
    console_printf("pool   %lu MiB: %lu free, %lu guests, %lu compressed, %lu tmem, %lu meta\n",
                   mib(f.frames), mib(f.free), mib(f.guest), mib(f.compressed), mib(f.tmem),
                   mib(f.meta));
}

static void run_mem(unsigned count, char **words)
{
    (void)count;
    (void)words;
    print_mem();
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

static void print_store(void)
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

static void run_tmem(unsigned count, char **words)
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

static void run_store(unsigned count, char **words)
{
    (void)count;
    (void)words;
    print_store();
}

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

static void run_stats(unsigned count, char **words)
{
    bool json = count > 0 && strcmp(words[count - 1], "json") == 0;
    struct vm *vm = NULL;

    if (count - json > 1) {
        console_printf("expected stats [NAME] [json]\n");
        return;
    }
    if (count - json == 1 && (vm = named_vm(words[0])) == NULL) {
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

static void top_screen(void)
{
    console_printf("\x1b[H\x1b[J");
    console_printf("spillway, up %lu s, %u CPUs - any key ends\n",
                   (unsigned long)(arch_clock_ns() / 1000000000), arch_cpu_count());
    print_mem();
    print_store();
    print_vms();
}

static void run_top(unsigned count, char **words)
{
    (void)count;
    (void)words;
    top_active = true;
    top_screen();
}

bool command_top_active(void)
{
    return top_active;
}

void command_top_refresh(void)
{
    vm_list_lock();
    top_screen();
    vm_list_unlock();
}

void command_top_end(void)
{
    top_active = false;
}

static void show_log_line(const char *line)
{
    console_printf("%s\n", line);
}

static void run_log(unsigned count, char **words)
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

/* ---- steering ---- */

static void steer(const char *name, const char *(*action)(struct vm *vm))
{
    struct vm *vm = named_vm(name);
    const char *answer = vm != NULL ? action(vm) : NULL;

    if (answer != NULL) {
        console_printf("%s is %s: %s\n", name, vm_state_name(vm), answer);
    }
}

static void run_start(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_start);
}

static void run_stop(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_stop);
}

static void run_kill(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_kill);
}

static void run_pause(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_pause);
}

static void run_resume(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_resume);
}

static void run_reset(unsigned count, char **words)
{
    (void)count;
    steer(words[0], vm_reset);
}

static void run_set(unsigned count, char **words)
{
    struct vm *vm = named_vm(words[0]);
    char *equals = strchr(words[1], '=');
    const char *answer = "expected set NAME KEY=VALUE";

    (void)count;
    if (vm == NULL) {
        return;
    }
    if (equals != NULL) {
        *equals = '\0';
        answer = vm_set(vm, words[1], equals + 1);
    }
    if (answer != NULL) {
        console_printf("%s\n", answer);
    }
}

static void run_console(unsigned count, char **words)
{
    struct vm *vm = named_vm(words[0]);

    (void)count;
    if (vm == NULL) {
        return;
    }
    console_printf("console of %s, Ctrl-] detaches\n", vm->name);
    console_attach(vm);
}

static void run_poweroff(unsigned count, char **words)
{
    (void)count;
    (void)words;
    vm_list_unlock();
    machine_power_off();
}

static void run_reboot(unsigned count, char **words)
{
    (void)count;
    (void)words;
    vm_list_unlock();
    machine_reboot();
}

static void run_help(unsigned count, char **words);

static const struct command commands[] = {
    {"help", "", "this list", 0, 0, run_help},
    {"vms", "", "the VMs, their state and memory", 0, 0, run_vms},
    {"mem", "", "where all memory is", 0, 0, run_mem},
    {"store", "", "the paging store", 0, 0, run_store},
    {"tmem", "", "pages that guests have handed to us", 0, 0, run_tmem},
    {"console", "NAME", "that guest's serial port; Ctrl-] comes back", 1, 1, run_console},
    {"start", "NAME", "start a stopped VM", 1, 1, run_start},
    {"stop", "NAME", "press its power button; cut its power if it goes on", 1, 1, run_stop},
    {"pause", "NAME", "halt its vCPUs", 1, 1, run_pause},
    {"resume", "NAME", "let them go on", 1, 1, run_resume},
    {"reset", "NAME", "end it and start it again", 1, 1, run_reset},
    {"kill", "NAME", "cut its power at once", 1, 1, run_kill},
    {"set", "NAME KEY=VALUE", "min=SIZE, max=SIZE, shares=N, cpu-shares=N, tmem=SIZE of a VM", 2, 2,
     run_set},
    {"stats", "[NAME] [json]", "counters", 0, 2, run_stats},
    {"top", "", "live view, any key ends", 0, 0, run_top},
    {"log", "[LEVEL]", "the last lines; or show error, warn, info, debug", 0, 1, run_log},
    {"poweroff", "", "end all and power off", 0, 0, run_poweroff},
    {"reboot", "", "end all and reset the machine", 0, 0, run_reboot},
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
            console_printf("expected %s %s\n", c->name, c->arguments);
            return;
        }
        vm_list_lock();
        c->run(count - 1, words + 1);
        vm_list_unlock();
        return;
    }
    console_printf("unknown command '%s': expected one of those that 'help' lists\n", words[0]);
}
