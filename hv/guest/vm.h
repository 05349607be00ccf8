/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtual machine: one address space, its vCPUs, its devices, how it ended. */
#ifndef SPILLWAY_HV_GUEST_VM_H
#define SPILLWAY_HV_GUEST_VM_H

#include "base/lock.h"
#include "base/log.h"
#include "hv/config/admission.h"
#include "hv/config/config.h"
#include "hv/fair.h"
#include "hv/guest/vcpu.h"
#include "hv/timer.h"
#include "mm/tmem/tmem.h"

#define VM_DISKS_MAX 16
#define VM_NICS_MAX  CONFIG_NETS_MAX
#define VM_VCPUS_MAX CONFIG_VCPUS_MAX

enum vm_state {
    VM_STOPPED, /* never started, or ended; holds no memory */
    VM_LOADING, /* its kernel is being copied into its memory */
    VM_RUNNING,
    VM_PAUSED,
    VM_ENDING, /* vCPUs are being stopped, memory is being freed */
};

enum vm_outcome {
    VM_OUTCOME_NONE,
    VM_OUTCOME_OK,      /* power-off, or 0 written to the status port */
    VM_OUTCOME_FAILED,  /* with the guest's exit_code, or with 0 and a reason in the log */
    VM_OUTCOME_STOPPED, /* by the operator */
    VM_OUTCOME_RESET,   /* the guest asked for a reset: started again */
};

struct block_device; /* base/block.h */
struct net_switch;   /* hv/net/switch.h */
struct vcmos;        /* hv/vdev/legacy/vcmos.h */
struct vm_config;    /* hv/config/config.h */
struct lines;        /* hv/vdev/irq/lines.h */
struct vm_devices;   /* hv/vdev/devices.h */

/* A disk that the VM has claimed, from its start to its end: hv/vm/disk.c. */
struct vm_disk {
    struct block_device *device;
    unsigned number; /* diskN */
    bool read_only, share;
};

/* A network device of the VM. */
struct vm_nic {
    struct net_switch *net;
    unsigned number; /* netN */
    uint8_t mac[CONFIG_MAC_BYTES];
};

/*
 * One run of a VM, from its start until it is started again: zeroed as a whole when it begins
 * (hv/vm/start.c), so that no run finds anything of the one before.
 */
struct vm_run {
    struct space *space;
    struct tmem *_Atomic tmem; /* NULL: none */
    unsigned vcpu_count;
    struct vcpu *vcpu[VM_VCPUS_MAX];
    struct vm_disk disk[VM_DISKS_MAX];
    unsigned disk_count;
    struct vm_nic nic[VM_NICS_MAX]; /* by their numbers */
    unsigned nic_count;
    struct vm_devices *devices;
    struct lines *lines; /* theirs */
    uint64_t start_ns, end_ns;
    struct frame_promise parts; /* gathered for what it is made of */
    bool made;                  /* that is there */
    bool closed;                /* ENDING: vCPUs are gone, the space is draining */
    bool restart;               /* start again when it has ended */
    enum vm_outcome outcome;
    uint32_t exit_code;
    /* Loading, by vm_poll() */
    struct guest_load *load;
    struct mm_waiter load_waiter;
    _Atomic bool load_ready;
    /* Asked to stop, hv/vm/stop.c; written with the list's lock held, too. */
    uint64_t stop_ns;               /* when; 0: has not been asked */
    uint64_t stop_seen_ns;          /* the last poll */
    uint64_t stop_spent_ns;         /* of the time until its power is cut */
    bool stop_heard;                /* the guest has acknowledged its power button */
    _Atomic(struct vcpu *) lent_to; /* arch/x86/guest/step.c: who has the space's page of ones */
    _Atomic bool mmio_refused;      /* reported */
    /* Accesses that nobody owns, counted and shown. */
    _Atomic uint64_t unowned_io, unowned_mmio, unowned_msr;
    /* What it has come to, from its end on. */
    struct {
        struct space_stats memory;
        struct tmem_stats tmem;
        uint64_t exits, stall_us, run_us;
    } total;
};

struct vm {
    struct spinlock lock; /* state; run.outcome, run.exit_code, run.stop_* */
    const struct vm_config *config;
    const char *name;
    unsigned index;
    enum vm_state state;
    struct vm_run run;
    struct vcmos *cmos; /* under a lock of its devices; it outlives them */
    uint64_t memory_pages;
    uint64_t tsc_khz;
    struct admission_demand promised; /* 0 when stopped */
    uint64_t min_pages, max_pages;    /* live settings; see mm/space/space.h */
    uint32_t shares;                  /* of memory ... */
    uint32_t cpu_shares;              /* ... and of CPUs; 0: the same */
    struct fair_group share;          /* of CPUs; hv/run/sched.c */
    uint64_t tmem_pages;              /* live setting: quota */
    struct balloon_setting balloon;   /* live setting */
    /* Over several runs, hv/vm/end.c and hv/vm/restart.c. */
    unsigned triple_faults; /* in a row, each soon after a start */
    unsigned early_runs;    /* in a row that reset themselves at once */
    uint64_t restart_ns;    /* ENDING until then; 0: not that far */
    struct timer restart_timer;
    /* hv/vm/log.c */
    _Atomic uint64_t log_due_ns, log_left_out;
};

/* A line about the VM into its share of the log, hv/log.h.  Any context.  Lines that a
 * guest can cause again and again are bounded: those beyond that are counted. */
void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The guest ended itself well (power-off, status 0) or with a code.  Called from its own vCPU. */
void vm_end(struct vm *vm, enum vm_outcome outcome, uint32_t code);
/* The guest's CPU has shut down: resets the VM, or fails it if that is configured or comes again
 * and again.  From its own vCPU. */
void vm_triple_fault(struct vm *vm, unsigned vcpu, uint64_t rip);
/* The guest cannot go on: logs the reason, stops all of its vCPUs.  Any context without locks
 * of rank RANK_VM or above. */
void vm_fail(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A page that the guest cannot go on without is lost (MM_LOST): as vm_fail(), with a reason; the
 * format says which page it is. */
void vm_lose_page(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The guest asked for a reset (keyboard controller, 0xcf9, ACPI reset register). */
void vm_reset_request(struct vm *vm);

#endif
