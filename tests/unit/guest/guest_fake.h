/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine for the tests of arch/x86/guest/: guest memory as an array, one device page, a
 * backend that keeps its state in a struct, and a space whose N-th call can be made to wait.
 */
#ifndef SPILLWAY_TESTS_UNIT_GUEST_FAKE_H
#define SPILLWAY_TESTS_UNIT_GUEST_FAKE_H

#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"

#define FAKE_RAM_PAGES   64
#define FAKE_DEVICE_PAGE 4096

struct fake_machine {
    uint8_t ram[FAKE_RAM_PAGES * PAGE_SIZE]; /* guest-physical 0 .. */
    uint8_t device[FAKE_DEVICE_PAGE];        /* at device_base */
    uint64_t device_base;
    struct vm vm;
    struct vcpu vcpu;
    struct guest_state state;
    unsigned calls;           /* of the space, so far */
    unsigned wait_at;         /* call number that answers MM_WAIT; 0: none */
    unsigned device_calls;    /* accesses to devices, so far */
    unsigned device_parks_at; /* that which answers BUS_PARK; 0: none */
    unsigned failures;        /* of vm_fail */
    unsigned messages;        /* of vm_log */
    unsigned triple_faults;
    uint64_t dr6; /* guest_debug_cause() */
    bool nmi_masked;
    uint8_t ymm[16][32];
    uint64_t mm[8];
    unsigned lent;          /* pages of ones that are lent now */
    unsigned steps;         /* that have been asked for ... */
    bool step_refused;      /* ... and cannot be now */
    unsigned device_access; /* reads and writes that were done */
    unsigned flushes;
    uint64_t shadow_cleared_at;    /* RIP at the last clear_shadow */
    uint64_t shadow_cleared_flags; /* RFLAGS then */
    uint64_t tsc;
    char port_log[512];
    unsigned port_bytes;
};

extern struct fake_machine fake;

/* 64-bit mode at CPL 0, paging off (linear == physical), RIP 0x1000. */
void fake_reset(void);
/* Bytes at RIP. */
void fake_code(const void *bytes, unsigned count);
/* Turns 4-level paging on with an empty root at guest-physical 0x2000. */
void fake_paging_on(void);
/* Maps one 4 KiB page, 4-level; all levels get `rights` (W, U) and the leaf `leaf` too. */
void fake_map(uint64_t linear, uint64_t physical, uint64_t rights, uint64_t leaf);
/* The leaf entry of that page. */
uint64_t *fake_leaf(uint64_t linear);

#endif
