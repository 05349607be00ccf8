/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/command_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/nic.h"
#include "hv/config/config.h"
#include "hv/log.h"
#include "hv/machine.h"
#include "hv/net/switch.h"
#include "hv/operator/console.h"
#include "hv/run/exit.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/disk/vdisk.h"
#include "hv/vdev/virtio/vballoon.h"
#include "hv/vm/control.h"

/* ---- a machine whose figures are all different ---- */

static struct config config;
static struct vm vms[VMS_MAX];
static char cmdlines[VMS_MAX][800];
static struct vcpu vcpus[2];
static struct nic nics[2];

char shown[TEXT_BYTES]; /* by commands */
size_t shown_bytes;
unsigned vms_used, nics_used;
bool has_store;
struct store_stats store_stats;

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

void vm_devices_send_keys_to(struct vm *vm, enum keys_console console)
{
    console_printf("[keys of %s to %u]\n", vm->name, (unsigned)console);
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

jmp_buf ended;

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

struct vm *add_vm(const char *name, enum vm_state state)
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

int command_machine_begin(void **state)
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
