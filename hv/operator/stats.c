/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/stats.h"

#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/vdev/devices.h"

void stats_of_host(struct host_stats *stats)
{
    *stats = (struct host_stats){
        .uptime_us = arch_clock_ns() / 1000,
        .cpus = arch_cpu_count(),
        .frames = frame_stats_get(),
    };
}

bool stats_of_store(struct store_all_stats *stats)
{
    *stats = (struct store_all_stats){.device = "none"};
    if (machine_store() == NULL) {
        return false;
    }
    stats->device = store_device_name(machine_store());
    store_get_stats(machine_store(), &stats->store);
    stats->reads_wait = stats->store.read_health > STORE_DOUBTED;
    stats->writes_wait = stats->store.write_health > STORE_DOUBTED;
    return true;
}

void stats_of_nic(const struct nic *nic, struct nic_all_stats *stats)
{
    *stats = (struct nic_all_stats){
        .name = nic->name,
        .model = nic->model,
        .mac = stats->mac_text,
        .link = nic->up ? "up" : "down",
    };
    nic_format_mac(nic->mac, stats->mac_text);
    nic_get_stats(nic, &stats->nic);
}

/* Its counters are as they were at the end; its memory is gone. */
static void stats_of_last_run(const struct vm *vm, struct vm_stats *stats)
{
    struct space_stats *m = &stats->memory;

    *m = vm->run.total.memory;
    m->resident = m->pattern = m->compressed = m->stored = m->disk = m->transit = 0;
    m->shared = m->wss = m->table_pages = 0;
    m->memory = m->hole = vm->memory_pages;
    stats->tmem = vm->run.total.tmem;
    stats->tmem.persistent = stats->tmem.ephemeral = stats->tmem.resident = 0;
    stats->tmem.pools = 0;
    stats->tmem.quota = vm->tmem_pages;
    stats->exits = vm->run.total.exits;
    stats->stall_us = vm->run.total.stall_us;
    stats->run_us = vm->run.total.run_us;
}

void stats_of_vm(struct vm *vm, struct vm_stats *stats)
{
    *stats = (struct vm_stats){
        .name = vm->name,
        .state = vm_state_name(vm),
        .vcpus = vm->config->vcpus,
        .unowned_io = vm->run.unowned_io,
        .unowned_mmio = vm->run.unowned_mmio,
        .unowned_msr = vm->run.unowned_msr,
    };
    if (vm->run.space != NULL && !vm->run.closed) {
        space_get_stats(vm->run.space, &stats->memory);
        if (vm->run.tmem != NULL) {
            tmem_get_stats(vm->run.tmem, &stats->tmem);
        }
        if (vm_devices_balloon(vm) != NULL) {
            vballoon_get_stats(vm_devices_balloon(vm), &stats->balloon);
        }
        if (vm->run.devices != NULL) {
            vm_devices_disk_stats(vm, &stats->disks);
            vm_devices_net_stats(vm, stats->net);
        }
        stats->exits = vm_exits(vm);
        stats->stall_us = vm_stall_us(vm);
        stats->run_us = vm_run_us(vm);
    } else {
        stats_of_last_run(vm, stats);
    }
}

bool stats_of_pool(struct vm *vm, unsigned place, struct pool_stats *stats)
{
    if (vm->run.tmem == NULL || vm->run.closed ||
        !tmem_get_pool_stats(vm->run.tmem, place, &stats->pool)) {
        return false;
    }
    stats->id = stats->pool.id;
    stats->kind = stats->pool.flags & TMEM_PERSISTENT ? "persistent" : "ephemeral";
    return true;
}
