/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/operator/command.c hv/operator/command_look.c hv/operator/command_steer.c
 *          hv/operator/command_stats.c hv/operator/command_top.c hv/operator/figures.c
 *          hv/operator/stats.c hv/text.c */
/*
 * What the monitor's commands print, byte for byte: tests/unit/command_golden.txt has it.  Others
 * read these words and this JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/config/config.h"
#include "hv/log.h"
#include "hv/machine.h"
#include "hv/operator/command.h"
#include "hv/operator/console.h"
#include "hv/operator/figures.h"
#include "hv/operator/stats.h"
#include "hv/run/exit.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"
#include "tests/unit/support.h"

#define GOLDEN     "tests/unit/command_golden.txt"
#define TEXT_BYTES (1u << 20)

/* ---- a machine whose figures are all different ---- */

static char shown[TEXT_BYTES];
static size_t shown_bytes;
static struct config config;
static struct vm vms[20];
static char cmdlines[20][800];
static struct vcpu vcpus[2];
static unsigned vms_used;
static bool has_store;
static struct store_stats store_stats;

static struct nic nics[2];
static unsigned nics_used;

static char parts[5]; /* what pointers to parts that the commands do not look into point at */

void console_write(const char *text, size_t bytes)
{
    assert_true(bytes < sizeof(shown) - shown_bytes);
    memcpy(shown + shown_bytes, text, bytes);
    shown_bytes += bytes;
}

void console_printf(const char *format, ...)
{
    char text[512]; /* as in hv/operator/console.c */
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_true(bytes < (int)sizeof(text));
    console_write(text, (size_t)bytes);
}

void console_attach(struct vm *vm)
{
    console_printf("[attached to %s]\n", vm->name);
}

void console_hold_guests(bool hold)
{
    console_printf("[guests %s]", hold ? "held" : "shown");
}

void log_hold(bool hold)
{
    console_printf("[log %s]", hold ? "held" : "shown");
}

void log_set_level(enum log_level level)
{
    console_printf("[log level %u]\n", level);
}

void log_replay(unsigned count, void (*show)(const char *line))
{
    console_printf("[log of %u lines]\n", count);
    show("[0.000001] hv: a line");
}

void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    console_printf("[%s, level %u: %s]\n", vm->name, level, text);
}

void vm_list_lock(void)
{
}

void vm_list_unlock(void)
{
}

unsigned vm_count(void)
{
    return vms_used;
}

struct vm *vm_at(unsigned index)
{
    return index < vms_used ? &vms[index] : NULL;
}

struct vm *vm_find(const char *name)
{
    for (unsigned i = 0; i < vms_used; i++) {
        if (strcmp(vms[i].name, name) == 0) {
            return &vms[i];
        }
    }
    return NULL;
}

const char *vm_state_name(const struct vm *vm)
{
    static const char *const names[] = {"stopped", "loading", "running", "paused", "ending"};

    return names[vm->state];
}

uint32_t vm_cpu_shares(const struct vm *vm)
{
    return vm->cpu_shares != 0 ? vm->cpu_shares : vm->shares;
}

uint64_t vm_exits(const struct vm *vm)
{
    return 700100 + vm->index;
}

uint64_t vm_stall_us(const struct vm *vm)
{
    return 12345678 + 1000000 * vm->index;
}

uint64_t vm_run_us(const struct vm *vm)
{
    return 9087654321 + 100000 * vm->index;
}

static bool done_or(const char *refusal, struct vm_answer *answer)
{
    snprintf(answer->text, sizeof(answer->text), "%s", refusal);
    return refusal[0] == '\0';
}

#define ACTION(action, refusal)                                                                    \
    bool vm_##action(struct vm *vm, struct vm_answer *answer)                                      \
    {                                                                                              \
        console_printf("[" #action " %s]\n", vm->name);                                            \
        return done_or(refusal, answer);                                                           \
    }

ACTION(start, "expected a VM that is stopped")
ACTION(stop, "")
ACTION(pause, "")
ACTION(resume, "expected a VM that is paused")
ACTION(reset, "")
ACTION(kill, "")
ACTION(nmi, "expected a VM that is running or paused")
ACTION(break, "")

bool vm_set(struct vm *vm, const char *key, const char *value, struct vm_answer *answer)
{
    console_printf("[set %s of %s to %s]\n", key, vm->name, value);
    return done_or(strcmp(key, "min") == 0 ? "" : "that is not what is expected", answer);
}

unsigned nic_count(void)
{
    return nics_used;
}

struct nic *nic_at(unsigned index)
{
    return &nics[index];
}

void nic_format_mac(const uint8_t mac[NIC_MAC_BYTES], char text[18])
{
    snprintf(text, 18, "mac %u", mac[5]);
}

void nic_get_stats(const struct nic *nic, struct nic_stats *stats)
{
    *stats = nic->stats;
}

struct store *machine_store(void)
{
    return has_store ? (struct store *)parts : NULL;
}

const char *store_device_name(const struct store *store)
{
    assert_ptr_equal(store, parts);
    return "nvme0p2";
}

void store_get_stats(const struct store *store, struct store_stats *stats)
{
    assert_ptr_equal(store, parts);
    *stats = store_stats;
}

void frame_alloc_get_stats(struct frame_stats *stats)
{
    *stats = (struct frame_stats){.frames = 98304,
                                  .free = 11111,
                                  .guest = 70007,
                                  .compressed = 3003,
                                  .tmem = 10101,
                                  .meta = 4082};
}

static void number(uint64_t *first, size_t count, uint64_t from)
{
    for (size_t i = 0; i < count; i++) {
        first[i] = from + 1013 * i;
    }
}

void space_get_stats(struct space *space, struct space_stats *stats)
{
    assert_ptr_equal(space, parts + 1);
    number((uint64_t *)stats, sizeof(*stats) / sizeof(uint64_t), 65536);
}

void tmem_get_stats(struct tmem *tmem, struct tmem_stats *stats)
{
    assert_ptr_equal(tmem, parts + 2);
    number((uint64_t *)stats, sizeof(*stats) / sizeof(uint64_t), 200);
}

struct vballoon *vm_devices_balloon(const struct vm *vm)
{
    return vm->max_pages != 0 ? (struct vballoon *)(parts + 3) : NULL;
}

void vballoon_get_stats(struct vballoon *balloon, struct vballoon_stats *stats)
{
    assert_ptr_equal(balloon, parts + 3);
    *stats = (struct vballoon_stats){
        .target = 3000, .actual = 2900, .free = 901, .available = 902, .cache = 903, .known = true};
}

void vm_devices_disk_stats(const struct vm *vm, struct vdisk_stats *sums)
{
    assert_ptr_equal(vm->run.devices, parts + 4);
    number((uint64_t *)sums, sizeof(*sums) / sizeof(uint64_t), 700);
}

void vm_devices_net_stats(const struct vm *vm, uint64_t *count)
{
    assert_ptr_equal(vm->run.devices, parts + 4);
    number(count, PORT_COUNTS, 600);
}

const struct config *machine_config(void)
{
    return &config;
}

bool tmem_get_pool_stats(struct tmem *tmem, unsigned place, struct tmem_pool_stats *stats)
{
    assert_ptr_equal(tmem, parts + 2);
    if (place > 1) {
        return false;
    }
    *stats = (struct tmem_pool_stats){.id = 17 + place, .flags = place, .pages = 100 * place};
    number(stats->count, TMEM_COUNTERS, 31 + place);
    return true;
}

const char *exit_kind_name(enum exit_kind kind)
{
    return kind == EXIT_KIND_CPUID ? "cpuid" : kind == EXIT_KIND_TASK_SWITCH ? "task-switch" : "?";
}

uint64_t arch_clock_ns(void)
{
    return 86400123456789;
}

unsigned arch_cpu_count(void)
{
    return 4;
}

static jmp_buf ended;

static _Noreturn void end(const char *how)
{
    console_printf("[%s]\n", how);
    longjmp(ended, 1);
}

void machine_power_off(void)
{
    end("power off");
}

void machine_reboot(void)
{
    end("reboot");
}

static struct vm *add_vm(const char *name, enum vm_state state)
{
    struct vm_config *c = &config.vm[vms_used];
    struct vm *vm = &vms[vms_used];

    snprintf(c->name, sizeof(c->name), "%s", name);
    snprintf(c->kernel, sizeof(c->kernel), "\\guest\\vmlinuz");
    snprintf(cmdlines[vms_used], sizeof(cmdlines[0]), "console=ttyS0 %0700u end", vms_used);
    c->cmdline = cmdlines[vms_used];
    c->vcpus = vms_used + 1;
    *vm = (struct vm){.config = c,
                      .name = c->name,
                      .index = vms_used,
                      .state = state,
                      .memory_pages = 65537 + 256 * vms_used,
                      .min_pages = 4096,
                      .shares = 100};
    vms_used++;
    return vm;
}

/* One that runs, with all there is; one that is paused, with less; and others that have ended. */
static int begin(void **state)
{
    static const enum vm_outcome outcomes[] = {VM_OUTCOME_OK, VM_OUTCOME_FAILED, VM_OUTCOME_FAILED,
                                               VM_OUTCOME_STOPPED, VM_OUTCOME_RESET};
    struct vm *vm;

    (void)state;
    vms_used = 0;
    memset(vcpus, 0, sizeof(vcpus));
    vm = add_vm("alpha", VM_RUNNING);
    vm->run.space = (struct space *)(parts + 1);
    vm->run.tmem = (struct tmem *)(parts + 2);
    vm->run.devices = (struct vm_devices *)(parts + 4);
    vm->run.disk_count = 2;
    vm->run.nic_count = 2;
    config.vm[0].nics = 2;
    config.nic[0] = (struct net_config){.name = "lan", .number = 0, .mac = {2, 0xab, 3, 4, 5, 0}};
    config.nic[1] = (struct net_config){.name = "wan", .number = 15, .mac = {2, 0, 0, 0, 0, 255}};
    vm->max_pages = 20481;
    vm->cpu_shares = 300;
    vm->tmem_pages = 16384;
    vm->balloon = (struct balloon_setting){BALLOON_SIZE, 12 << 20};
    vm->run.vcpu_count = 2;
    vm->run.vcpu[0] = &vcpus[0];
    vm->run.vcpu[1] = &vcpus[1];
    vcpus[0].exits[EXIT_KIND_CPUID] = 7;
    vcpus[1].exits[EXIT_KIND_CPUID] = 4000000000;
    vcpus[1].exits[EXIT_KIND_TASK_SWITCH] = 1;
    vm->run.unowned_io = 51;
    vm->run.unowned_mmio = 52;
    vm->run.unowned_msr = 53;
    config.vm[0].autostart = true;
    snprintf(config.vm[0].initrd, sizeof(config.vm[0].initrd), "\\guest\\initrd.img");
    vm = add_vm("a-name-of-thirty-one-characters", VM_PAUSED);
    vm->run.space = (struct space *)(parts + 1);
    vm->balloon.mode = BALLOON_OFF;
    config.vm[1].triple_fault_fails = true;
    for (unsigned i = 0; i < 5; i++) {
        char name[16];

        snprintf(name, sizeof(name), "ended%u", i);
        vm = add_vm(name, VM_STOPPED);
        vm->run.outcome = outcomes[i];
        vm->run.exit_code = i == 2 ? 5 : 0;
        vm->tmem_pages = i;
        number((uint64_t *)&vm->run.total.memory, sizeof(vm->run.total.memory) / sizeof(uint64_t),
               900);
        number((uint64_t *)&vm->run.total.tmem, sizeof(vm->run.total.tmem) / sizeof(uint64_t), 100);
        vm->run.total.exits = 61 + i;
        vm->run.total.stall_us = 62000 + i;
        vm->run.total.run_us = 6300000 + i;
    }
    for (unsigned i = 0; i < 2; i++) {
        snprintf(nics[i].name, sizeof(nics[i].name), "eth%u", i);
        nics[i].model = i == 0 ? "virtio-net" : "82540EM";
        nics[i].mac[5] = (uint8_t)(7 + i);
        nics[i].up = i == 0;
        number((uint64_t *)&nics[i].stats, sizeof(nics[i].stats) / sizeof(uint64_t), 80 + 20 * i);
    }
    nics_used = 2;
    has_store = true;
    store_stats = (struct store_stats){.capacity = 5000000,
                                       .slots = 786432,
                                       .slots_used = 123456,
                                       .reads = 71,
                                       .writes = 72,
                                       .read_pages = 73,
                                       .written_pages = 74,
                                       .errors = 75,
                                       .retired = 76};
    return 0;
}

/* ---- tests ---- */

static void enter(const char *line)
{
    char words[64];

    snprintf(words, sizeof(words), "%s", line);
    console_printf("> %s\n", line);
    if (setjmp(ended) == 0) {
        command_run(words);
    }
}

static void enter_all(const char *const *line)
{
    for (; *line != NULL; line++) {
        enter(*line);
    }
}

/* All commands, and what they say when they are given something else. */
static void look_at_all(void)
{
    static const char *const lines[] = {"help",
                                        "vms",
                                        "mem",
                                        "store",
                                        "nics",
                                        "tmem",
                                        "show alpha",
                                        "show a-name-of-thirty-one-characters",
                                        "show ended0",
                                        "show ended1",
                                        "show ended2",
                                        "show ended3",
                                        "show ended4",
                                        "show nobody",
                                        "stats",
                                        "stats alpha",
                                        "stats ended2",
                                        "stats json",
                                        "stats alpha json",
                                        "stats ended2 json",
                                        "stats a b",
                                        "stats a json b",
                                        "log",
                                        "log debug",
                                        "log everything",
                                        "nothing",
                                        "vms all",
                                        "set alpha",
                                        NULL};

    enter_all(lines);
}

static void steer_all(void)
{
    static const char *const lines[] = {
        "start alpha",   "stop alpha",    "pause alpha",      "resume alpha",
        "reset alpha",   "kill alpha",    "kill nobody",      "nmi alpha",
        "break alpha",   "set alpha min", "set alpha min=1M", "set alpha max=1M",
        "console alpha", "poweroff",      "reboot",           NULL};

    enter_all(lines);
}

static void live_view(void)
{
    enter("top");
    assert_true(command_top_active());
    for (unsigned i = vms_used; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof(name), "more%u", i);
        add_vm(name, i % 2 ? VM_STOPPED : VM_LOADING);
    }
    command_top_refresh();
    command_top_end();
    assert_false(command_top_active());
}

/* Each way in which a store can be. */
static void stores(void)
{
    static const enum store_health health[] = {STORE_DOUBTED, STORE_AWAY, STORE_GONE, STORE_FULL};

    for (unsigned i = 0; i < 4; i++) {
        store_stats.read_health = health[i];
        store_stats.write_health = health[3 - i];
        enter("store");
    }
    enter("stats json");
    has_store = false;
    vms_used = 0;
    nics_used = 0;
    enter("store");
    enter("nics");
    enter("stats json");
    enter("stats");
    enter("start nobody");
}

static void read_golden(char *text)
{
    FILE *file = fopen(GOLDEN, "r");
    size_t bytes;

    assert_non_null(file);
    bytes = fread(text, 1, TEXT_BYTES - 1, file);
    text[bytes] = '\0';
    fclose(file);
}

static void same_bytes(void **state)
{
    static char golden[TEXT_BYTES];
    const char *expected = golden, *got = shown;

    (void)state;
    look_at_all();
    steer_all();
    live_view();
    stores();
    read_golden(golden);
    shown[shown_bytes] = '\0';
    while (*expected != '\0' || *got != '\0') { /* line by line, so that it says which */
        size_t length = strcspn(expected, "\n");
        char wanted[32768];

        snprintf(wanted, sizeof(wanted), "%.*s", (int)length, expected);
        expected += length + (expected[length] == '\n');
        length = strcspn(got, "\n");
        if (strlen(wanted) != length || memcmp(wanted, got, length) != 0) {
            print_error("got %.*s\n", (int)length, got);
            fail_msg("expected %s", wanted);
        }
        got += length + (got[length] == '\n');
    }
}

/* What a view may ask for, and what it may not. */
static void views(void **state)
{
    struct vm_stats stats = {.name = "alpha", .stall_us = 61007899, .memory.hole = 513};
    static const char view[] = "{name,6}|{name,-3.2}|{stall_us}|{stall_us:s0}|{stall_us:s1,6}|"
                               "{stall_us:s3,-8}|{hole}|{hole:M,2}|{nothing,2}|{hole:s1}|"
                               "{stall_us:M}|{stall_us:s4}|{name:M}|{exits:M}|{hole";

    (void)state;
    shown_bytes = 0;
    figures_print(&vm_figures, &stats, view);
    figures_print_headings(&vm_figures, "{name,6}|{stall_us:s1}|{hole,3}|{nothing}");
    shown[shown_bytes] = '\0';
    assert_string_equal(shown, " alpha|al |61007899|61|  61.0|61.007  |513| 2| ?|?|?|?|?|?|513"
                               "  NAME|STALL-S|  ?|?");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(same_bytes, begin),
                                       cmocka_unit_test(views)};

    if (argc > 1 && strcmp(argv[1], "--print") == 0) { /* what a new golden file holds */
        begin(NULL);
        look_at_all();
        steer_all();
        live_view();
        stores();
        fwrite(shown, 1, shown_bytes, stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
