/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/devices.h"

#include <stdlib.h>
#include <string.h>

#include "hv/arch.h"
#include "hv/config/admission.h"
#include "hv/guest/serial.h"
#include "hv/guest/vm.h"
#include "hv/loop.h"
#include "hv/vdev/testdev.h"
#include "hv/vdev/virtio/vballoon.h"
#include "hv/vdev/virtio/vblk.h"
#include "hv/vdev/virtio/vconsole.h"
#include "hv/vdev/virtio/vnet.h"
#include "hv/vdev/virtio/vrng.h"

_Static_assert(VBLK_QUEUES_MAX *VIRTQ_PINS_MAX <= ADMISSION_DISK_PINS, "what a disk pins");
_Static_assert((VIRTIO_BALLOON_QUEUES + VIRTIO_CONSOLE_QUEUES + VRNG_QUEUES) * VIRTQ_PINS_MAX <=
                   ADMISSION_VM_PINS,
               "what the devices pin that each VM has");

/* ---- what connects them ---- */

static void output(struct vm_devices *devices, enum keys_console console, const char *text,
                   size_t bytes)
{
    keys_printed(&devices->keys, console, text[bytes - 1], arch_clock_ns());
    guest_serial_output(devices->vm, text, bytes);
}

static void uart_output(void *owner, char c)
{
    output(owner, KEYS_TTYS0, &c, 1);
}

static void console_output(void *owner, const char *text, size_t bytes)
{
    output(owner, KEYS_HVC0, text, bytes);
}

static bool output_busy(void *owner)
{
    const struct vm_devices *devices = owner;

    return guest_serial_busy(devices->vm);
}

static void input_room(void *owner)
{
    (void)owner;
    loop_wake_monitor();
}

static void uart_set_irq(void *owner, bool level)
{
    struct vm_devices *devices = owner;

    lines_set(&devices->lines, VUART_IRQ, level);
}

static const struct vuart_host uart_host = {
    .output = uart_output, .busy = output_busy, .room = input_room, .set_irq = uart_set_irq};
static const struct vconsole_host console_host = {
    .output = console_output, .busy = output_busy, .room = input_room};

static void settle_timers(void *owner)
{
    vtimers_settle(owner);
}

/* ---- life ---- */

/* Takes a device that has been made, if it has been. */
static bool add_virtio(struct vm_devices *devices, struct virtio_device *device)
{
    if (device != NULL) {
        devices->virtio[devices->virtio_count++] = device;
    }
    return device != NULL;
}

static bool create_console(struct vm_devices *devices)
{
    devices->console = vconsole_create(&devices->pci, VM_SLOT_CONSOLE << 3, devices, &console_host);
    return devices->console != NULL && add_virtio(devices, &devices->console->device);
}

static bool create_balloon(struct vm_devices *devices, const struct vm *vm)
{
    if (vm->balloon.mode == BALLOON_OFF) {
        return true;
    }
    devices->balloon = vballoon_create(&devices->pci, VM_SLOT_BALLOON << 3);
    return devices->balloon != NULL && add_virtio(devices, &devices->balloon->device);
}

/* Where the configuration wants them: diskN at VM_SLOT_BLOCK + N. */
static bool create_disks(struct vm_devices *devices)
{
    struct vm *vm = devices->vm;

    devices->first_disk = devices->virtio_count;
    for (unsigned i = 0; i < vm->run.disk_count; i++) {
        const struct vm_disk *disk = &vm->run.disk[i];
        struct virtio_device *device =
            vblk_create(vm, &devices->pci, (uint8_t)((VM_SLOT_BLOCK + disk->number) << 3),
                        disk->device, disk->read_only);

        if (device == NULL) {
            return false;
        }
        devices->virtio[devices->virtio_count++] = device;
    }
    return true;
}

static bool create_nics(struct vm_devices *devices)
{
    struct vm *vm = devices->vm;

    devices->first_nic = devices->virtio_count;
    for (unsigned i = 0; i < vm->run.nic_count; i++) {
        const struct vm_nic *nic = &vm->run.nic[i];

        if (!add_virtio(devices,
                        vnet_create(vm, &devices->pci, VM_DEVFN_NET(i), nic->net, nic->mac))) {
            return false;
        }
    }
    return true;
}

static bool init_all(struct vm_devices *devices, struct vm *vm)
{
    bus_init(&devices->ports, devices->low_ports, VM_DEVICES_LOW_PORTS);
    bus_init(&devices->memory, NULL, 0);
    lines_set_timekeeper(&devices->lines, settle_timers, &devices->timers);
    return lines_init(&devices->lines, vm, &devices->ports, &devices->memory) &&
           vtimers_init(&devices->timers, vm, &devices->lines, &devices->ports, &devices->memory) &&
           vuart_init(&devices->uart, devices, &uart_host, &devices->ports) &&
           vplatform_init(&devices->platform, &devices->ports) &&
           vpci_init(&devices->pci, vm, &devices->lines, &devices->ports, &devices->memory) &&
           (!arch_has_random() ||
            add_virtio(devices, vrng_create(&devices->pci, VM_SLOT_RNG << 3))) &&
           create_console(devices) && create_balloon(devices, vm) && create_disks(devices) &&
           create_nics(devices) && testdev_create(devices);
}

static void destroy_virtio(struct vm_devices *devices)
{
    while (devices->virtio_count > 0) {
        virtio_destroy(devices->virtio[--devices->virtio_count]);
    }
}

bool vm_devices_create(struct vm *vm)
{
    struct vm_devices *devices = calloc(1, sizeof(*devices));

    if (devices == NULL) {
        return false;
    }
    devices->vm = vm;
    if (!init_all(devices, vm)) {
        destroy_virtio(devices);
        free(devices);
        return false;
    }
    vm->run.devices = devices;
    vm->run.lines = &devices->lines;
    vm_devices_reset(vm);
    return true;
}

void vm_devices_reset(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;

    vpci_reset(&devices->pci); /* before the lines: its functions take back what they ask for */
    lines_reset(&devices->lines);
    vuart_reset(&devices->uart);
    keys_reset(&devices->keys);
    vplatform_reset(&devices->platform);
    vtimers_reset(&devices->timers);
    testdev_reset(devices);
    devices->clock_base_tsc = arch_tsc();
}

bool vm_devices_stop(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;
    bool quiet = true;

    for (unsigned i = 0; devices != NULL && i < devices->virtio_count; i++) {
        virtio_stop(devices->virtio[i]);
        quiet = virtio_is_quiet(devices->virtio[i]) && quiet;
    }
    return quiet;
}

void vm_devices_destroy(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        destroy_virtio(vm->run.devices);
        vtimers_stop(&vm->run.devices->timers);
        testdev_destroy(vm->run.devices);
    }
    free(vm->run.devices);
    vm->run.devices = NULL;
    vm->run.lines = NULL;
}

/* ---- from outside the guest ---- */

static bool type(struct vm_devices *devices, char c)
{
    bool ready = vconsole_is_ready(devices->console);

    return keys_go_to(&devices->keys, ready, arch_clock_ns()) == KEYS_HVC0
               ? vconsole_type(devices->console, c)
               : vuart_input(&devices->uart, c);
}

bool vm_devices_type(struct vm *vm, char c)
{
    if (vm->run.devices == NULL || !type(vm->run.devices, c)) {
        return false;
    }
    keys_taken(&vm->run.devices->keys, arch_clock_ns());
    return true;
}

void vm_devices_send_keys_to(struct vm *vm, enum keys_console console)
{
    if (vm->run.devices != NULL) {
        keys_choose(&vm->run.devices->keys, console, arch_clock_ns());
    }
}

void vm_devices_send_typed(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        vconsole_send_typed(vm->run.devices->console);
    }
}

bool vm_devices_break(struct vm *vm)
{
    if (vm->run.devices == NULL || !vuart_break(&vm->run.devices->uart)) {
        return false;
    }
    keys_after_break(&vm->run.devices->keys);
    return true;
}

void vm_devices_output_ready(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        vuart_output_ready(&vm->run.devices->uart);
    }
}

void vm_devices_press_power_button(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        vtimers_press_power_button(&vm->run.devices->timers);
    }
}

bool vm_devices_power_button_heard(struct vm *vm)
{
    return vm->run.devices != NULL && vtimers_power_button_heard(&vm->run.devices->timers);
}

struct vballoon *vm_devices_balloon(const struct vm *vm)
{
    return vm->run.devices == NULL ? NULL : vm->run.devices->balloon;
}

void vm_devices_begin_run(struct vm *vm)
{
    const struct vm_devices *devices = vm->run.devices;

    vtimers_begin_run(&vm->run.devices->timers);
    for (unsigned i = 0; i < vm->run.nic_count; i++) {
        vnet_begins(devices->virtio[devices->first_nic + i]);
    }
}

void vm_devices_look(struct vm *vm, bool sleeps)
{
    const struct vm_devices *devices = vm->run.devices;

    for (unsigned i = 0; i < vm->run.disk_count; i++) {
        vblk_look(devices->virtio[devices->first_disk + i]);
    }
    for (unsigned i = 0; i < vm->run.nic_count; i++) {
        vnet_leaves(devices->virtio[devices->first_nic + i], sleeps);
    }
}

void vm_devices_disk_stats(const struct vm *vm, struct vdisk_stats *sums)
{
    const struct vm_devices *devices = vm->run.devices;

    *sums = (struct vdisk_stats){0};
    for (unsigned i = 0; i < vm->run.disk_count; i++) {
        struct vdisk_stats stats;

        vblk_get_stats(devices->virtio[devices->first_disk + i], &stats);
        sums->reads += stats.reads;
        sums->writes += stats.writes;
        sums->flushes += stats.flushes;
        sums->read_sectors += stats.read_sectors;
        sums->written_sectors += stats.written_sectors;
        sums->errors += stats.errors;
        sums->bounced += stats.bounced;
    }
}

void vm_devices_net_stats(const struct vm *vm, uint64_t *count)
{
    const struct vm_devices *devices = vm->run.devices;

    memset(count, 0, PORT_COUNTS * sizeof(count[0]));
    for (unsigned i = 0; i < vm->run.nic_count; i++) {
        vnet_add_stats(devices->virtio[devices->first_nic + i], count);
    }
}
