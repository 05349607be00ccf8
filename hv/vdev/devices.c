/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/devices.h"

#include <stdlib.h>

#include "hv/arch.h"
#include "hv/guest/serial.h"
#include "hv/guest/vm.h"
#include "hv/loop.h"
#include "hv/vdev/lines.h"
#include "hv/vdev/testdev.h"

static void uart_output(void *owner, char c)
{
    struct vm_devices *devices = owner;

    console_guest_output(devices->vm, c);
}

static bool uart_busy(void *owner)
{
    const struct vm_devices *devices = owner;

    return console_guest_busy(devices->vm);
}

static void uart_room(void *owner)
{
    (void)owner;
    loop_wake_monitor();
}

static void uart_set_irq(void *owner, bool level)
{
    struct vm_devices *devices = owner;

    lines_set(devices, VUART_IRQ, level);
}

static const struct vuart_host uart_host = {
    .output = uart_output, .busy = uart_busy, .room = uart_room, .set_irq = uart_set_irq};

bool vm_devices_create(struct vm *vm)
{
    struct vm_devices *devices = calloc(1, sizeof(*devices));

    if (devices == NULL || !testdev_create(devices)) {
        free(devices);
        return false;
    }
    spin_init(&devices->lock, RANK_VDEV, "devices");
    devices->vm = vm;
    ioapic_init(&devices->ioapic, vm);
    vuart_init(&devices->uart, devices, &uart_host);
    vdev_platform_reset(&devices->platform, vm->cmos);
    vpm_reset(&devices->pm);
    lines_init(devices);
    lines_reset(devices);
    testdev_reset(devices);
    devices->clock_base_tsc = arch_tsc();
    vm->run.devices = devices;
    return true;
}

void vm_devices_reset(struct vm *vm)
{
    struct vm_devices *devices = vm->run.devices;

    spin_lock(&devices->lock);
    ioapic_reset(&devices->ioapic);
    vuart_reset(&devices->uart);
    vdev_platform_reset(&devices->platform, vm->cmos);
    vpm_reset(&devices->pm);
    vpci_reset(&devices->pci);
    lines_reset(devices);
    testdev_reset(devices);
    devices->clock_base_tsc = arch_tsc();
    spin_unlock(&devices->lock);
}

void vm_devices_destroy(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        lines_stop(vm->run.devices);
        testdev_destroy(vm->run.devices);
    }
    free(vm->run.devices);
    vm->run.devices = NULL;
}

/* NULL: it has none, nothing is locked. */
static struct vm_devices *lock_devices(struct vm *vm)
{
    if (vm->run.devices != NULL) {
        spin_lock(&vm->run.devices->lock);
    }
    return vm->run.devices;
}

bool uart_receive(struct vm *vm, char c)
{
    struct vm_devices *devices = lock_devices(vm);
    bool taken;

    if (devices == NULL) {
        return false;
    }
    taken = vuart_input(&devices->uart, c);
    spin_unlock(&devices->lock);
    return taken;
}

void uart_output_ready(struct vm *vm)
{
    struct vm_devices *devices = lock_devices(vm);

    if (devices != NULL) {
        vuart_output_ready(&devices->uart);
        spin_unlock(&devices->lock);
    }
}

void vm_devices_press_power_button(struct vm *vm)
{
    struct vm_devices *devices = lock_devices(vm);

    if (devices != NULL) {
        vpm_raise(&devices->pm, VPM_EVENT_PRESS);
        lines_settle(devices);
        spin_unlock(&devices->lock);
    }
}

void vm_devices_eoi(struct vm *vm, unsigned vector)
{
    struct vm_devices *devices = lock_devices(vm);

    if (devices != NULL) {
        ioapic_eoi(&devices->ioapic, vector);
        spin_unlock(&devices->lock);
    }
}
