/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices of one VM that are not a vCPU's: IOAPIC, UART, RTC, PIT, ACPI
 * registers, power button.  One lock (RANK_VDEV) for all of them.
 *
 * Life: vm_devices_create before the first vCPU runs, vm_devices_reset at each
 * start, vm_devices_destroy when all vCPUs are stopped.
 */
#ifndef SPILLWAY_HV_VDEV_DEVICES_H
#define SPILLWAY_HV_VDEV_DEVICES_H

#include "base/lock.h"
#include "hv/vdev/ioapic.h"
#include "hv/vdev/platform_io.h"
#include "hv/vdev/power_button.h"
#include "hv/vdev/uart.h"

struct vm;

struct vm_devices {
    struct spinlock lock; /* ioapic, uart, platform, button */
    struct vm *vm;
    struct ioapic ioapic;
    struct vuart uart;
    struct vdev_platform platform;
    struct power_button button;
    uint64_t clock_base_tsc; /* host TSC at which the VM's kvmclock reads 0; set by reset */
};

/* Sets vm->devices.  False: out of memory. */
bool vm_devices_create(struct vm *vm);
/* Power-on state.  No vCPU of the VM runs. */
void vm_devices_reset(struct vm *vm);
void vm_devices_destroy(struct vm *vm);

/* A character typed for the guest.  False: not taken; loop_wake_monitor() is called when that may
 * have changed.  No locks at or above RANK_VDEV held. */
bool uart_receive(struct vm *vm, char c);
/* console_guest_busy() is over.  No locks at or above RANK_VDEV held. */
void uart_output_ready(struct vm *vm);
/* Asks the guest to power itself off.  No locks at or above RANK_VDEV held. */
void vm_devices_press_power_button(struct vm *vm);
/* A level-triggered vector was ended by a vCPU.  No locks at or above RANK_VDEV held. */
void vm_devices_eoi(struct vm *vm, unsigned vector);

#endif
