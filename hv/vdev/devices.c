/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/devices.h"

#include <stdlib.h>

#include "hv/arch.h"
#include "hv/guest/serial.h"
#include "hv/guest/vm.h"
#include "hv/loop.h"
#include "hv/vdev/testdev.h"

/* ---- what connects them ---- */

static void uart_output(void *owner, char c)
{
    struct vm_devices *devices = owner;

    guest_serial_output(devices->vm, c);
}

static bool uart_busy(void *owner)
{
    const struct vm_devices *devices = owner;

    return guest_serial_busy(devices->vm);
}

static void uart_room(void *owner)
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
    .output = uart_output, .busy = uart_busy, .room = uart_room, .set_irq = uart_set_irq};

static void settle_timers(void *owner)
{
    vtimers_settle(owner);
}

/* ---- life ---- */

static bool init_all(struct vm_devices *devices, struct vm *vm)
{
    bus_init(&devices->ports, devices->low_ports, VM_DEVICES_LOW_PORTS);
    bus_init(&devices->memory, NULL, 0);
    lines_set_timekeeper(&devices->lines, settle_timers, &devices->timers);
    return lines_init(&devices->lines, vm, &devices->ports, &devices->memory) &&
           vtimers_init(&devices->timers, vm, &devices->lines, &devices->ports, &devices->memory) &&
           vuart_init(&devices->uart, devices, &uart_host, &devices->ports) &&
           vplatform_init(&devices->platform, &devices->ports) &&
           vpci_init(&devices->pci, &devices->ports) && testdev_create(devices);
}

bool vm_devices_create(struct vm *vm)
{
    struct vm_devices *devices = calloc(1, sizeof(*devices));

    if (devices == NULL || !init_all(devices, vm)) {
        free(devices);
        return false;
    }
    devices->vm = vm;
    vm->run.devices = devices;
    vm->run.lines = &devices->lines;
    vm_devices_reset(vm);
    return true;
}

void vm_devices_reset(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;

    lines_reset(&devices->lines);
    vuart_reset(&devices->uart);
    vplatform_reset(&devices->platform);
    vpci_reset(&devices->pci);
    vtimers_reset(&devices->timers);
    testdev_reset(devices);
    devices->clock_base_tsc = arch_tsc();
}

void vm_devices_destroy(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        vtimers_stop(&vm->run.devices->timers);
        testdev_destroy(vm->run.devices);
    }
    free(vm->run.devices);
    vm->run.devices = NULL;
    vm->run.lines = NULL;
}

/* ---- from outside the guest ---- */

bool vm_devices_type(struct vm *vm, char c)
{
    return vm->run.devices != NULL && vuart_input(&vm->run.devices->uart, c);
}

bool vm_devices_break(struct vm *vm)
{
    return vm->run.devices != NULL && vuart_break(&vm->run.devices->uart);
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

void vm_devices_begin_run(struct vm *vm)
{
    vtimers_begin_run(&vm->run.devices->timers);
}
