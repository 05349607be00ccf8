/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices of one VM that are not a vCPU's, and the buses that they are on.  Each has its own
 * lock.
 *
 * Life: vm_devices_create before the first vCPU runs, vm_devices_reset at each start,
 * vm_devices_stop when all vCPUs are stopped, until it is true, then vm_devices_destroy.
 */
#ifndef SPILLWAY_HV_VDEV_DEVICES_H
#define SPILLWAY_HV_VDEV_DEVICES_H

#include "hv/vdev/bus/bus.h"
#include "hv/vdev/irq/lines.h"
#include "hv/vdev/keys.h"
#include "hv/vdev/legacy/vplatform.h"
#include "hv/vdev/legacy/vtimers.h"
#include "hv/vdev/legacy/vuart.h"
#include "hv/vdev/pci/vpci.h"
#include "hv/vdev/virtio/virtio.h"

/* Where a PC's devices are; what PCI brings lies behind. */
#define VM_DEVICES_LOW_PORTS 0x1000u

/* Virtio devices of a VM at most, and where on its PCI bus they are: device numbers. */
#define VM_DEVICES_VIRTIO 40
#define VM_SLOT_RNG       1
#define VM_SLOT_CONSOLE   2
#define VM_SLOT_BALLOON   3
#define VM_SLOT_BLOCK     8  /* and 15 more */
#define VM_SLOT_NET       24 /* and 7 more, of two functions each */
/* Of the n-th NIC of a VM: in their order, and each device has a first function. */
#define VM_DEVFN_NET(n) ((uint8_t)((VM_SLOT_NET + (n) / 2) << 3 | (n) % 2))

struct testdev;
struct vballoon;
struct vconsole;
struct vdisk_stats;
struct vm;

struct vm_devices {
    struct vm *vm;
    struct bus_map ports, memory;
    _Atomic uint8_t low_ports[VM_DEVICES_LOW_PORTS]; /* of `ports` */
    struct lines lines;
    struct vtimers timers;
    struct vuart uart;
    struct keys keys;
    struct vplatform platform;
    struct vpci pci;
    struct virtio_device *virtio[VM_DEVICES_VIRTIO]; /* which are on it */
    unsigned virtio_count;
    struct vconsole *console; /* one of them */
    unsigned first_disk;      /* from there on in `virtio`, as many as vm->run.disk_count ... */
    unsigned first_nic;       /* ... and vm->run.nic_count */
    struct vballoon *balloon; /* one of them; NULL: none */
    struct testdev *test;     /* hv/vdev/testdev.h; NULL: none */
    uint64_t clock_base_tsc;  /* host TSC at which the VM's kvmclock reads 0; set by reset */
};

/* Sets vm->run.devices and vm->run.lines.  False: out of memory. */
bool vm_devices_create(struct vm *vm);
/* Power-on state.  No vCPU of the VM runs. */
void vm_devices_reset(struct vm *vm);
/* No vCPU runs any more: what devices have in flight ends, and they give back the guest's pages.
 * False: not yet, call again.  No locks held. */
bool vm_devices_stop(struct vm *vm);
void vm_devices_destroy(struct vm *vm);

/* A character typed for the guest, for the console that hv/vdev/keys.h says; behind one or several
 * vm_devices_send_typed() follows.  False: not taken; loop_wake_monitor() is called when that may
 * have changed.  From the monitor only; no locks at or above RANK_VDEV held. */
bool vm_devices_type(struct vm *vm, char c);
void vm_devices_send_typed(struct vm *vm);
/* Keys go there now, as the operator wants it.  Likewise. */
void vm_devices_send_keys_to(struct vm *vm, enum keys_console console);
/* A BREAK on the guest's serial line.  False: its port takes nothing now.  From the monitor only;
 * no locks at or above RANK_VDEV held. */
bool vm_devices_break(struct vm *vm);
/* guest_serial_busy() is over.  No locks at or above RANK_VDEV held. */
void vm_devices_output_ready(struct vm *vm);
/* Asks the guest to power itself off.  No locks at or above RANK_VDEV held. */
void vm_devices_press_power_button(struct vm *vm);
/* Has it acknowledged the last press?  Likewise. */
bool vm_devices_power_button_heard(struct vm *vm);
/* NULL: it has none.  It lives until vm_devices_destroy(). */
struct vballoon *vm_devices_balloon(const struct vm *vm);
/* The sums of all its disks since its start.  It has devices.  No locks held. */
void vm_devices_disk_stats(const struct vm *vm, struct vdisk_stats *sums);
/* Likewise of all its network devices: enum port_count. */
void vm_devices_net_stats(const struct vm *vm, uint64_t *count);
/* A vCPU begins to run: what its devices' timer has left to it is done.  No locks held. */
void vm_devices_begin_run(struct vm *vm);
/* A vCPU has left the guest and does not go back at once, since it sleeps or not: takes what it has
 * given its devices without a notification.  No locks held. */
void vm_devices_look(struct vm *vm, bool sleeps);

#endif
