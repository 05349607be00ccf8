/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which of a VM's two consoles gets what is typed: ttyS0, its 16550, or hvc0, its virtio-console.
 * What both print is shown.
 *
 * hvc0 gets keys only while its driver is there, and once the guest has printed on it: Linux loads
 * the driver of each device that it finds, whether anybody is behind it or not.  From then on keys
 * go where they went before, unless the guest waits at the other one: it has a prompt there, which
 * has come since the last key, and none here.  A prompt is a line that has been left unfinished for
 * KEYS_PROMPT_NS, with what has been typed behind it; a kernel's message does not take so long.
 * The first keys go to ttyS0 if it has a prompt, since a Debian has a login prompt on hvc0 whatever
 * its command line says; else to hvc0.
 *
 * The key behind a BREAK, which only a serial line has, goes to ttyS0.
 *
 * Locks: none.  keys_printed() by whoever prints, under the lock of that device; all else by one
 * CPU at a time, the monitor's, or while no vCPU runs.
 */
#ifndef SPILLWAY_HV_VDEV_KEYS_H
#define SPILLWAY_HV_VDEV_KEYS_H

#include <stdatomic.h>

#include "base/types.h"

#define KEYS_PROMPT_NS 100000000ull

enum keys_console {
    KEYS_TTYS0,
    KEYS_HVC0,
    KEYS_CONSOLES,
};

struct keys {
    _Atomic uint64_t line_since_ns[KEYS_CONSOLES]; /* the unfinished line; 0: there is none */
    atomic_bool hvc0_used;                         /* the guest has printed on it */
    enum keys_console before; /* where they went; KEYS_CONSOLES: nowhere, since hvc0 is used */
    uint64_t last_ns;         /* when one did */
    bool after_break;
};

/* Power-on state. */
void keys_reset(struct keys *keys);
/* The guest has printed there, this character last. */
void keys_printed(struct keys *keys, enum keys_console console, char last, uint64_t now_ns);
/* Where the next key goes.  hvc0_ready: its driver is there. */
enum keys_console keys_go_to(struct keys *keys, bool hvc0_ready, uint64_t now_ns);
/* The operator wants them there, whatever has been; at hvc0 as soon as there is a driver. */
void keys_choose(struct keys *keys, enum keys_console console, uint64_t now_ns);
/* ttyS0 has taken a BREAK; a key has been taken. */
void keys_after_break(struct keys *keys);
void keys_taken(struct keys *keys, uint64_t now_ns);

#endif
