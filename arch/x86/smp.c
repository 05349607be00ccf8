/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start of the other CPUs, one after the other: INIT, then SIPI to the trampoline page (SDM Vol. 3A
 * 8.4.4.1 "Typical BSP Initialization Sequence").
 *
 * Each gets one block of frames:
 *
 *     | struct percpu, with the IST stacks | main stack                  |
 *       used through the direct map          mapped in the window, a guard page below it
 */
#include "arch/x86/smp.h"

#include <string.h>

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/idt.h"
#include "arch/x86/paging.h"
#include "arch/x86/percpu.h"
#include "arch/x86/start.h"
#include "arch/x86/time.h"
#include "arch/x86/trampoline.h"
#include "base/log.h"
#include "mm/frame/frame_alloc.h"

#define AREA_ORDER   4 /* 64 KiB */
#define AREA_BYTES   (PAGE_SIZE << AREA_ORDER)
#define PERCPU_BYTES ALIGN_UP(sizeof(struct percpu), PAGE_SIZE)
#define STACK_BYTES  (AREA_BYTES - PERCPU_BYTES)

#define INIT_US    10000
#define SIPI_US    200
#define ANSWER_US  1000000  /* until it executes its first instruction */
#define UP_US      10000000 /* from there; long, for an emulator whose computer is busy */
#define SIPI_TRIES 2

_Static_assert(sizeof(struct percpu) <= AREA_BYTES / 2, "32 KiB are left for the stack");

static const struct handover *handover;
static void (*cpu_main)(void);
static _Atomic bool released; /* all are up and the identity map is gone */

static void on_kick(void *owner)
{
    (void)owner; /* to be interrupted is all that was wanted */
}

/*
 * INIT for all others.  The firmware parks them in a loop of its own and does not wait until they
 * are in it (EDK2, UefiCpuPkg/MpInitLib, counts them before the jump), so that one may still
 * be executing from memory that is ours now.
 */
static void take_from_firmware(void)
{
    uint32_t self = percpu_self()->apic_id;

    for (uint32_t i = 0; i < handover->cpu_count; i++) {
        if (handover->cpu_apic_id[i] != self) {
            apic_send_init(handover->cpu_apic_id[i]);
        }
    }
    if (handover->cpu_total > handover->cpu_count) { /* those that have no place in the list */
        apic_send_init_all();
    }
    if (handover->cpu_total > 1) {
        time_delay_us(INIT_US);
    }
}

void smp_init(const struct handover *given)
{
    handover = given;
    interrupt_set_handler(VECTOR_KICK, on_kick, NULL);
    take_from_firmware();
}

void smp_cpu_entry(struct percpu *cpu)
{
    start_cpu(cpu);
    cpu->apic_id = apic_enable_cpu();
    time_enable_cpu();
    cpu->start_tsc = rdtsc_ordered();
    atomic_store_explicit(&cpu->up, true, memory_order_release);
    while (!atomic_load_explicit(&released, memory_order_acquire)) {
        cpu_pause();
    }
    paging_flush();
    cpu_main();
    panic("CPU %u: its main loop ended", cpu->id);
}

static struct trampoline *trampoline_install(void)
{
    uint8_t *page = arch_ptr(hpa(handover->trampoline));
    struct trampoline *t = (void *)(page + TRAMPOLINE_DATA);
    uint64_t physical = handover->trampoline + TRAMPOLINE_DATA;

    memcpy(page, trampoline_start, (size_t)(trampoline_end - trampoline_start));
    *t = (struct trampoline){
        .gdt_limit = sizeof(t->gdt) - 1,
        .gdt_base = (uint32_t)(physical + offsetof(struct trampoline, gdt)),
        .far_offset =
            (uint32_t)(handover->trampoline + (uint64_t)(trampoline_long_mode - trampoline_start)),
        .far_selector = SELECTOR_CODE,
        .page_table = paging_root(),
        .efer = EFER_LME | EFER_NXE,
        .cr4 = CR4_PAE,
        .cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG,
        .entry = (uintptr_t)smp_cpu_entry,
    };
    memcpy(t->gdt, percpu_self()->tables.gdt, sizeof(t->gdt));
    return t;
}

/* The new CPU's memory; NULL: there is none. */
static struct percpu *area_new(unsigned id, uint32_t apic_id)
{
    volatile void *stack;
    struct percpu *cpu;
    pfn_t block;

    if (!frame_alloc(AREA_ORDER, ALLOC_META, 0, &block)) {
        return NULL;
    }
    cpu = arch_ptr(pfn_to_hpa(block));
    stack = paging_map(hpa(pfn_to_hpa(block).v + PERCPU_BYTES), STACK_BYTES, PAGING_MEMORY);
    if (stack == NULL) {
        frame_free(block);
        return NULL;
    }
    memset(cpu, 0, AREA_BYTES);
    percpu_init(cpu, id, apic_id, (uintptr_t)stack, (uintptr_t)stack + STACK_BYTES);
    return cpu;
}

/* 1 while the CPU that is being started has not executed anything yet. */
static uint32_t *claim_of(struct trampoline *t)
{
    return (uint32_t *)(void *)((uint8_t *)t + offsetof(struct trampoline, claim));
}

static bool wait_claimed(struct trampoline *t, unsigned us)
{
    uint64_t end = arch_clock_ns() + us * 1000ull;

    while (__atomic_load_n(claim_of(t), __ATOMIC_ACQUIRE) != 0 && arch_clock_ns() < end) {
        cpu_pause();
    }
    return __atomic_load_n(claim_of(t), __ATOMIC_ACQUIRE) == 0;
}

/* It has our stack and our tables: there is no way back. */
static void wait_up(struct percpu *cpu)
{
    uint64_t end = arch_clock_ns() + UP_US * 1000ull;

    while (!atomic_load_explicit(&cpu->up, memory_order_acquire)) {
        if (arch_clock_ns() >= end) {
            panic("CPU %u (APIC id %u) has started but is not up after %u s", cpu->id, cpu->apic_id,
                  UP_US / 1000000);
        }
        cpu_pause();
    }
}

/* A TSC that is not in step with ours would make the clock jump between CPUs. */
static void check_tsc(const struct percpu *cpu, uint64_t before)
{
    uint64_t after = rdtsc_ordered();

    if (cpu->start_tsc < before || cpu->start_tsc > after) {
        log_warn("CPU %u: its TSC is not synchronised: %lu is not in %lu..%lu", cpu->id,
                 cpu->start_tsc, before, after);
    }
}

static bool start_one(struct trampoline *t, struct percpu *cpu)
{
    uint64_t before = rdtsc_ordered();
    uint32_t apic = cpu->apic_id;

    t->stack = cpu->stack_top;
    t->percpu = (uintptr_t)cpu;
    /* Release: the two above are there before anybody can claim them. */
    __atomic_store_n(claim_of(t), 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < SIPI_TRIES; i++) {
        apic_send_startup(apic, (unsigned)(handover->trampoline >> PAGE_SHIFT));
        if (wait_claimed(t, i + 1 < SIPI_TRIES ? SIPI_US : ANSWER_US)) {
            break;
        }
    }
    /* Exchanged, not read: it may come at this very moment.  Later than that it halts by itself. */
    if (__atomic_exchange_n(claim_of(t), 0, __ATOMIC_ACQ_REL) != 0) {
        apic_send_init(apic);
        return false;
    }
    wait_up(cpu);
    check_tsc(cpu, before);
    return true;
}

static void start_all(void)
{
    uint32_t self = percpu_self()->apic_id;
    struct trampoline *t = trampoline_install();
    struct percpu *cpu = NULL;
    unsigned next = 1;

    for (uint32_t i = 1; i < handover->cpu_count && next < MAX_CPUS; i++) {
        uint32_t apic = handover->cpu_apic_id[i];

        if (apic == self) {
            continue;
        }
        if (cpu == NULL && (cpu = area_new(next, apic)) == NULL) {
            log_error("no memory for CPU %u", next);
            return;
        }
        cpu->apic_id = apic;
        if (!start_one(t, cpu)) {
            log_error("the CPU with APIC id %u does not answer: left out", apic);
            continue;
        }
        percpu_count_up();
        next++;
        cpu = NULL;
    }
}

void arch_start_cpus(void (*entry)(void))
{
    cpu_main = entry;
    if (handover->cpu_count > 1 && handover->trampoline != 0) {
        start_all();
    }
    paging_remove_identity();
    paging_check_wx();
    atomic_store_explicit(&released, true, memory_order_release);
}

/* Not by NMI, which the host would take at once: one that came right before the entry to a guest
 * would not end it. */
void arch_cpu_kick(unsigned cpu)
{
    struct percpu *target = percpu_of(cpu);

    if (target != NULL) {
        apic_send_vector(target->apic_id, VECTOR_KICK);
    }
}
