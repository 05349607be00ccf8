/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/stats.h"

#include <string.h>

#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/operator/console.h"
#include "hv/text.h"

/* Its counters as they were at the end; its memory is gone. */
static void stats_of_last_run(const struct vm *vm, struct vm_stats *stats)
{
    struct space_stats *m = &stats->memory;

    *m = vm->last_memory;
    m->resident = m->pattern = m->compressed = m->stored = m->disk = m->transit = 0;
    m->shared = m->wss = m->table_pages = 0;
    m->memory = m->hole = vm->memory_pages;
    stats->tmem = vm->last_tmem;
    stats->tmem.persistent = stats->tmem.ephemeral = stats->tmem.resident = 0;
    stats->tmem.pools = 0;
    stats->tmem.quota = vm->tmem_pages;
    stats->exits = vm->last_exits;
    stats->stall_us = vm->last_stall_us;
    stats->run_us = vm->last_run_us;
}

void stats_of_vm(struct vm *vm, struct vm_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    if (vm->space != NULL && !vm->closed) {
        space_get_stats(vm->space, &stats->memory);
        if (vm->tmem != NULL) {
            tmem_get_stats(vm->tmem, &stats->tmem);
        }
        stats->exits = vm_exits(vm);
        stats->stall_us = vm_stall_us(vm);
        stats->run_us = vm_run_us(vm);
    } else {
        stats_of_last_run(vm, stats);
    }
}

bool stats_of_store(struct store_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    if (machine_store() == NULL) {
        return false;
    }
    store_get_stats(machine_store(), stats);
    return true;
}

/* A VM has 37 figures of at most 20 digits and their names; host and store take one part more. */
#define JSON_PART_BYTES 2048u
#define JSON_BYTES      ((CONFIG_VMS_MAX + 1) * JSON_PART_BYTES)

static char json_buffer[JSON_BYTES]; /* under vm_list_lock */
static struct text json;

static void field(const char *name, uint64_t value)
{
    text_add(&json, ",\"%s\":%lu", name, (unsigned long)value);
}

static void print_host(void)
{
    struct frame_stats f;

    f = frame_stats_get();
    text_add(&json, "{\"uptime_us\":%lu", (unsigned long)(arch_clock_ns() / 1000));
    field("cpus", arch_cpu_count());
    field("frames", f.frames);
    field("frames_free", f.free);
    field("frames_guest", f.guest);
    field("frames_compressed", f.compressed);
    field("frames_tmem", f.tmem);
    field("frames_meta", f.meta);
    text_add(&json, "}");
}

static void print_store(void)
{
    struct store_stats s;

    stats_of_store(&s);
    text_add(&json, "{\"device\":\"%s\"",
             machine_store() != NULL ? store_device_name(machine_store()) : "none");
    field("slots", s.slots);
    field("slots_used", s.slots_used);
    field("reads", s.reads);
    field("writes", s.writes);
    field("read_pages", s.read_pages);
    field("written_pages", s.written_pages);
    field("errors", s.errors);
    field("retired", s.retired);
    field("reads_wait", s.read_health > STORE_DOUBTED);
    field("writes_wait", s.write_health > STORE_DOUBTED);
    text_add(&json, "}");
}

static void print_vm(struct vm *vm)
{
    struct vm_stats s;
    const struct space_stats *m = &s.memory;

    stats_of_vm(vm, &s);
    text_add(&json, "{\"name\":\"%s\",\"state\":\"%s\"", vm->name, vm_state_name(vm));
    field("vcpus", vm->config->vcpus);
    field("memory", m->memory);
    field("resident", m->resident);
    field("hole", m->hole);
    field("pattern", m->pattern);
    field("compressed", m->compressed);
    field("stored", m->stored);
    field("disk", m->disk);
    field("transit", m->transit);
    field("shared", m->shared);
    field("wss", m->wss);
    field("faults", m->faults);
    field("faults_zero", m->faults_zero);
    field("page_ins", m->page_ins);
    field("page_outs", m->page_outs);
    field("clean_drops", m->clean_drops);
    field("refaults", m->refaults);
    field("readahead", m->readahead);
    field("readahead_hits", m->readahead_hits);
    field("stall_us", s.stall_us);
    field("run_us", s.run_us);
    field("exits", s.exits);
    field("table_pages", m->table_pages);
    field("unowned_io", vm->unowned_io);
    field("unowned_mmio", vm->unowned_mmio);
    field("unowned_msr", vm->unowned_msr);
    field("tmem_quota", s.tmem.quota);
    field("tmem_pages_persistent", s.tmem.persistent);
    field("tmem_pages_ephemeral", s.tmem.ephemeral);
    field("tmem_resident", s.tmem.resident);
    field("tmem_pools", s.tmem.pools);
    field("tmem_puts", s.tmem.count[TMEM_PUTS]);
    field("tmem_gets", s.tmem.count[TMEM_GETS]);
    field("tmem_hits", s.tmem.count[TMEM_HITS]);
    field("tmem_misses", s.tmem.count[TMEM_MISSES]);
    field("tmem_refused", s.tmem.count[TMEM_REFUSALS]);
    field("tmem_evicted", s.tmem.count[TMEM_EVICTIONS]);
    text_add(&json, "}");
}

/* One piece, so that no other line gets into it. */
static void finish(void)
{
    text_add(&json, "\n");
    console_write(json.buffer, json.used);
}

void stats_print_json(struct vm *only)
{
    bool first = true;

    json = (struct text){.buffer = json_buffer, .size = sizeof(json_buffer)};
    if (only != NULL) {
        print_vm(only);
        finish();
        return;
    }
    text_add(&json, "{\"host\":");
    print_host();
    text_add(&json, ",\"store\":");
    print_store();
    text_add(&json, ",\"vms\":[");
    for (unsigned i = 0; i < vm_count(); i++) {
        text_add(&json, "%s", first ? "" : ",");
        print_vm(vm_at(i));
        first = false;
    }
    text_add(&json, "]}");
    finish();
}
