/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM without a machine, for the tests of hv/vdev/ and hv/load/: time that the test moves,
 * vCPUs that note who told them what, guest memory as a sparse array whose calls can be made to
 * wait.
 */
#ifndef SPILLWAY_TESTS_UNIT_VDEV_FAKE_H
#define SPILLWAY_TESTS_UNIT_VDEV_FAKE_H

#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/legacy/vcmos.h"

#define VFAKE_TSC_KHZ 2000000ull /* two ticks a nanosecond */

struct vdev_fake {
    struct vm vm;
    struct vcmos cmos;
    struct vcpu vcpu[VM_VCPUS_MAX];
    uint64_t clock_ns; /* TSC = 2 * clock_ns */
    uint64_t epoch;
    unsigned notified[VM_VCPUS_MAX];
    uint32_t requested[VM_VCPUS_MAX];
    unsigned served[VM_VCPUS_MAX]; /* timers that fired: vcpu_charge_service */
    /* guest_serial_output */
    char output[8192];
    unsigned output_bytes;
    bool busy;           /* guest_serial_busy */
    unsigned room_calls; /* loop_wake_monitor */
    /* vm_end, vm_reset_request */
    unsigned ends, resets;
    enum vm_outcome outcome;
    uint32_t code;
    /* guest memory */
    uint64_t memory_bytes; /* one slot from 0 */
    uint8_t *memory;
    unsigned calls;      /* of space_read and space_write */
    unsigned wait_at;    /* the call of that number answers MM_WAIT; 0: none */
    bool wait_often;     /* every other call answers MM_WAIT */
    unsigned writes;     /* that were done */
    unsigned pins;       /* space_pin without space_unpin */
    unsigned cancels;    /* waiter_cancel */
    unsigned logs;       /* vm_log */
    uint64_t randoms;    /* arch_random */
    uint64_t discards;   /* pages of space_discard() ... */
    unsigned *discarded; /* ... and how often each; NULL: is not wanted */
    /* backend->privilege, runs_64bit, interruptible */
    unsigned ring;
    bool narrow, deaf;
    unsigned lost_pages;           /* vm_lose_page */
    unsigned own_frames, own_most; /* allocated, and how many may be */
    bool no_pins;                  /* space_pin() answers MM_NO_MEMSLOT */
    /* backend->set_state */
    unsigned states;
    struct guest_state state;
};

extern struct vdev_fake vfake;
extern bool vfake_no_random; /* arch_has_random(): for what is started from then on */

/* Fresh VM with that many vCPUs, in xAPIC mode with software-enabled APICs, and its devices. */
void vfake_start(unsigned vcpus);
/* Frees it all. */
void vfake_stop(void);
/* Moves the clock and runs the timers that are due. */
void vfake_advance(uint64_t ns);
/* Accesses of the first vCPU, which are done at once. */
uint32_t vfake_port_in(uint16_t port, unsigned size);
void vfake_port_out(uint16_t port, unsigned size, uint32_t value);
uint64_t vfake_mmio_read(gpa_t address, unsigned size);
void vfake_mmio_write(gpa_t address, unsigned size, uint64_t value);
/* Guest memory of that size, zeroed. */
void vfake_memory(uint64_t bytes);

#endif
