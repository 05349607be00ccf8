/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: what the architecture supplies to hv/.  Implemented in arch/x86/.
 *
 * Execution model: one stack per CPU.  Interrupts are off whenever hypervisor C
 * code runs; they are taken while the CPU is in a guest (as an exit), in
 * arch_idle() and in arch_take_interrupts().  An interrupt handler only notes
 * that something happened and acknowledges it; the work is done by the CPU's
 * main loop (hv/machine/loop.c), with no locks held.
 */
#ifndef SPILLWAY_HV_ARCH_H
#define SPILLWAY_HV_ARCH_H

#include "base/types.h"

#define MAX_CPUS 64

struct vcpu;
struct vcpu_exit;

/* ---- CPUs ---- */

/* This CPU, 0 .. arch_cpu_count() - 1; the boot CPU is 0. */
unsigned arch_cpu_id(void);
/* CPUs that are up. */
unsigned arch_cpu_count(void);
/*
 * Interrupts that CPU: it leaves its guest or arch_idle() soon.  Does not wait.
 * Any context, any locks.  A kick sent to a CPU that is about to enter a guest
 * makes that entry exit again at once: it is never lost.
 */
void arch_cpu_kick(unsigned cpu);
/* Enables interrupts and halts until one was taken; returns with interrupts off.  No locks held.
 * An interrupt that became pending before the call is not lost: it ends the halt. */
void arch_idle(void);
/* Takes the interrupts that are pending now.  No locks held. */
void arch_take_interrupts(void);
/* Starts every other CPU; each runs entry() on its own stack, with its own tables, interrupts off.
 * Returns when all are up; those that do not answer are logged and left out.  Boot CPU, once. */
void arch_start_cpus(void (*entry)(void));

/* ---- time ---- */

/* Nanoseconds since the hypervisor's first instruction.  Monotonic, the same on every CPU. */
uint64_t arch_clock_ns(void);
uint64_t arch_tsc(void);
/* Calibrated once at boot. */
uint64_t arch_tsc_khz(void);
/* This CPU's timer: an interrupt at or soon after `deadline_ns` (of arch_clock_ns); UINT64_MAX
 * disarms.  More may follow until it is armed again. */
void arch_timer_arm(uint64_t deadline_ns);
/* Wall clock at arch_clock_ns() == 0, nanoseconds since 1970-01-01 UTC; 0 when the firmware had
 * none. */
uint64_t arch_boot_epoch_ns(void);

/* ---- machine ---- */

/* Pointer to host-physical memory through the direct map; RAM only. */
void *arch_ptr(hpa_t address);
/* Maps device registers uncached; never unmapped.  Boot time.  NULL if tables run out. */
volatile void *arch_map_mmio(hpa_t address, uint64_t bytes);
/* 64 bits for keys and canaries: RDRAND or RDSEED where the CPU has it, mixed with the TSC. */
uint64_t arch_random(void);
/* Has the CPU a source of its own for that?  If not, who has seen some of it can guess the rest: it
 * is not given to guests then. */
bool arch_has_random(void);
/* A line that no guest can fake, to whoever started the emulator that we run in; without an
 * emulator, nothing.  Any context. */
void arch_tell_emulator(const char *line);
_Noreturn void arch_reset(void);
_Noreturn void arch_power_off(void);
/* Logs the NMIs that have come since the last call.  Main loop. */
void arch_report_nmis(void);
/* Panic: stops the other CPUs by NMI and prints registers, backtrace and per-CPU state. */
void arch_panic_stop_others(void);
void arch_panic_dump(void);

/* ---- guests: instruction, CPUID and MSR policy (arch/x86/guest/) ---- */

/* How an exit handler ended; see hv/run/exit.h. */
enum exit_result {
    EXIT_RESUME, /* done (or an event is pending in vcpu->event): enter the guest again */
    EXIT_PARK,   /* nothing has changed; vcpu->waiter is registered and will wake the vCPU, which
                    then enters the guest again at the same instruction */
    EXIT_HALT,   /* done; the vCPU sleeps until an interrupt is pending */
    EXIT_YIELD,  /* done; it only waits for a sibling, which has no CPU */
    EXIT_FAIL,   /* the VM ends, by a failure or for its reset: a stop has been requested */
};

/* CPUID with the vCPU's registers.  Cannot fail.  The caller advances RIP. */
void arch_guest_cpuid(struct vcpu *vcpu);
/* RDMSR/WRMSR with the vCPU's registers.  Advances RIP, or leaves #GP in vcpu->event, or parks. */
enum exit_result arch_guest_rdmsr(struct vcpu *vcpu, const struct vcpu_exit *exit);
enum exit_result arch_guest_wrmsr(struct vcpu *vcpu, const struct vcpu_exit *exit);
/* Accesses to CR0, CR3, CR4, CR8, XSETBV that the backend intercepts. */
enum exit_result arch_guest_cr_access(struct vcpu *vcpu, const struct vcpu_exit *exit);
enum exit_result arch_guest_xsetbv(struct vcpu *vcpu, const struct vcpu_exit *exit);
/*
 * The instruction at RIP touched guest-physical memory that no slot owns: fetches and decodes it,
 * performs it through hv/vdev/access.h, advances RIP.
 */
enum exit_result arch_guest_mmio(struct vcpu *vcpu, const struct vcpu_exit *exit);
/*
 * Is it the write of a whole page, by a string instruction, to one that would have to be read from
 * a disk?  Then that page is written, registers say so, *result is how the exit ends, and the
 * answer is true; it is, too, if a fault is pending or the vCPU parks.  False: nothing was done.
 */
bool arch_guest_overwrite(struct vcpu *vcpu, const struct vcpu_exit *exit,
                          enum exit_result *result);
/* After each exit while vcpu->lent_pages is not 0: the vCPU may have finished the instruction for
 * which it was lent pages. */
void arch_guest_step_exit(struct vcpu *vcpu, const struct vcpu_exit *exit);
/* It does not go on with it now. */
void arch_guest_step_end(struct vcpu *vcpu);
/* CALL, JMP, IRET or an event led to another task.  The event in vcpu->event, if there is one, is
 * delivered by it. */
enum exit_result arch_guest_task_switch(struct vcpu *vcpu, const struct vcpu_exit *exit);
/* INS/OUTS (string port I/O), likewise. */
enum exit_result arch_guest_string_io(struct vcpu *vcpu, const struct vcpu_exit *exit);
/*
 * Length of the instruction at RIP: from the exit if the hardware gave it, else by fetching and
 * decoding it.  EXIT_RESUME with *length set; or EXIT_PARK; or EXIT_RESUME with *length == 0 and
 * a fault pending in vcpu->event.
 */
enum exit_result arch_guest_instruction_length(struct vcpu *vcpu, const struct vcpu_exit *exit,
                                               unsigned *length);
/* Advances RIP by that length and ends an interrupt shadow. */
void arch_guest_advance(struct vcpu *vcpu, unsigned length);
/* Does the instruction that has exited end in a debug exception, single step or another? */
bool arch_guest_traps(struct vcpu *vcpu);
/* Full register dump to the log, line by line. */
void arch_guest_dump(struct vcpu *vcpu, const struct vcpu_exit *exit);

#endif
