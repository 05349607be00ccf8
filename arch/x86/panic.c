/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/panic.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/hw/ports.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/paging.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/symbols.h"
#include "base/log.h"
#include "boot/handover.h"
#include "drivers/platform.h"
#include "hv/arch.h"

#define NOBODY        UINT32_MAX
#define STOP_NS       100000000ull /* for all CPUs to answer the NMI */
#define BACKTRACE_MAX 24

/* Not asked for, and not told yet: an NMI may come while any lock is held. */
static _Atomic uint32_t nmis_new;
static _Atomic uint8_t nmi_source;

static _Atomic uint32_t stopper = NOBODY; /* the CPU that has the last word */

void panic_nmi(const struct interrupt_frame *frame)
{
    struct percpu *cpu = percpu_self();
    uint32_t who = atomic_load(&stopper);

    if (who == NOBODY || who == cpu->id) {
        cpu->nmis++;
        atomic_store(&nmi_source, port_in8(IOPORT_SYSTEM_B));
        atomic_fetch_add(&nmis_new, 1);
        return;
    }
    cpu->stop_frame = *frame;
    atomic_store_explicit(&cpu->stopped, true, memory_order_release);
    power_disable_virtualisation();
    cpu_halt_forever();
}

void arch_report_nmis(void)
{
    uint32_t count;
    uint8_t source;

    if (atomic_load_explicit(&nmis_new, memory_order_relaxed) == 0) {
        return;
    }
    source = atomic_load(&nmi_source);
    count = atomic_exchange(&nmis_new, 0);
    log_warn("%u NMI%s that nobody asked for; port 61h says %02x: %s", count, count == 1 ? "" : "s",
             source,
             source & SYSTEM_B_PARITY    ? "SERR# or memory parity"
             : source & SYSTEM_B_CHANNEL ? "an I/O channel check"
                                         : "no source");
}

static bool all_stopped(unsigned self)
{
    for (unsigned i = 0; i < arch_cpu_count(); i++) {
        if (i != self && !atomic_load_explicit(&percpu_of(i)->stopped, memory_order_acquire)) {
            return false;
        }
    }
    return true;
}

static void stop_others(unsigned self)
{
    uint64_t end = arch_clock_ns() + STOP_NS;

    for (unsigned i = 0; i < arch_cpu_count(); i++) {
        if (i != self) {
            apic_send_nmi(percpu_of(i)->apic_id);
        }
    }
    while (!all_stopped(self) && arch_clock_ns() < end) {
        cpu_pause();
    }
}

bool panic_claim(void)
{
    uint32_t self = arch_cpu_id();
    uint32_t expected = NOBODY;

    if (!atomic_compare_exchange_strong(&stopper, &expected, self)) {
        return expected == self;
    }
    stop_others(self);
    return true;
}

void arch_panic_stop_others(void)
{
    cpu_cli();
    if (!panic_claim()) {
        cpu_halt_forever(); /* until that CPU's NMI, and after it */
    }
}

static void dump_address(const char *what, uint64_t address)
{
    uint64_t offset = 0;
    const char *name = symbol_lookup(address, &offset);

    if (name != NULL) {
        log_error("%s %016lx %s+0x%lx", what, address, name, offset);
    } else {
        log_error("%s %016lx", what, address);
    }
}

static bool readable(uint64_t address)
{
    hpa_t unused;

    return address >= HANDOVER_DIRECT_BASE && IS_ALIGNED(address, 8) &&
           paging_lookup(address, &unused) && paging_lookup(address + 8, &unused);
}

/* From the frame pointer on: a saved frame pointer, then a return address. */
static void dump_backtrace(uint64_t rbp)
{
    for (unsigned depth = 0; depth < BACKTRACE_MAX && readable(rbp); depth++) {
        const uint64_t *frame = (const uint64_t *)rbp;

        if (frame[1] < HANDOVER_DIRECT_BASE) {
            return; /* the loader, or the trampoline */
        }
        dump_address("   ", frame[1]);
        rbp = frame[0];
    }
}

static void dump_frame(const struct interrupt_frame *f)
{
    dump_address("rip", f->rip);
    log_error("rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_error("rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
    log_error("r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
    log_error("r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
    log_error("rflags %08lx cs %04lx ss %04lx vector %lu error %lx", f->rflags, f->cs, f->ss,
              f->vector, f->error_code);
}

static void dump_other_cpu(const struct percpu *cpu)
{
    if (!atomic_load_explicit(&cpu->stopped, memory_order_acquire)) {
        log_error("CPU %u did not answer the NMI", cpu->id);
        return;
    }
    log_error("CPU %u was at", cpu->id);
    dump_address("rip", cpu->stop_frame.rip);
    dump_backtrace(cpu->stop_frame.rbp);
}

void arch_panic_dump(void)
{
    const struct percpu *self = percpu_self();

    log_error("CPU %u, APIC id %u", self->id, self->apic_id);
    log_error("cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx efer %lx", read_cr0(), read_cr2(),
              read_cr3(), read_cr4(), rdmsr(MSR_EFER));
    machine_check_report();
    if (self->fault != NULL) {
        dump_frame(self->fault);
        log_error("backtrace:");
        dump_backtrace(self->fault->rbp);
    } else {
        log_error("backtrace:");
        dump_backtrace((uintptr_t)__builtin_frame_address(0));
    }
    for (unsigned i = 0; i < arch_cpu_count(); i++) {
        if (i != self->id) {
            dump_other_cpu(percpu_of(i));
        }
    }
}
