/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices of one VM that are not a vCPU's: 8259s, IOAPIC, UART, RTC, PIT,
 * HPET, ACPI fixed hardware.  One lock (RANK_VDEV) for all of them.
 *
 * Life: vm_devices_create before the first vCPU runs, vm_devices_reset at each
 * start, vm_devices_destroy when all vCPUs are stopped.
 */
#ifndef SPILLWAY_HV_VDEV_DEVICES_H
#define SPILLWAY_HV_VDEV_DEVICES_H

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/timer.h"
#include "hv/vdev/ioapic.h"
#include "hv/vdev/platform_io.h"
#include "hv/vdev/uart.h"
#include "hv/vdev/vhpet.h"
#include "hv/vdev/vpci.h"
#include "hv/vdev/vpic.h"
#include "hv/vdev/vpm.h"

struct vm;

struct vm_devices {
    struct spinlock lock; /* what follows, but `held` and clock_base_tsc */
    struct vm *vm;
    struct vpic pic;
    struct ioapic ioapic;
    struct vuart uart;
    struct vdev_platform platform;
    struct vpm pm;
    struct vhpet hpet;
    struct vpci pci;
    struct {
        uint32_t word;
        pfn_t memory;
    } test; /* hv/vdev/testdev.h */
    /* hv/vdev/lines.c */
    uint16_t lines;          /* what each ISA line is now */
    bool intr;               /* what LINT0 has been told */
    unsigned ticks;          /* of IRQ 0 that are to follow */
    uint64_t tick_ns;        /* not before then */
    uint64_t rest_ns;        /* the other devices: not before then */
    struct timer timer;      /* of all devices that interrupt by time */
    uint64_t armed_ns;       /* for when it is; TIMER_NEVER */
    _Atomic bool held;       /* it has come due while no vCPU could take an interrupt */
    uint64_t clock_base_tsc; /* host TSC at which the VM's kvmclock reads 0; set by reset */
};

/* Sets vm->run.devices.  False: out of memory. */
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
/* A vCPU begins to run: what its devices' timer has left to it is done.  No locks held. */
void vm_devices_begin_run(struct vm *vm);
/* The boot vCPU takes the interrupt of the 8259s: its vector.  No locks held. */
uint8_t vm_devices_acknowledge(struct vm *vm);
/* A level-triggered vector was ended by a vCPU.  No locks at or above RANK_VDEV held. */
void vm_devices_eoi(struct vm *vm, unsigned vector);

#endif
