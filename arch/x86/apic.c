/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/apic.h"

#include "arch/x86/cpu.h"
#include "arch/x86/hw/apic.h"
#include "arch/x86/idt.h"
#include "arch/x86/paging.h"
#include "base/log.h"

static volatile uint32_t *registers; /* NULL: x2APIC */
static uint64_t registers_address;
static uint64_t errors;

static uint32_t apic_read(unsigned reg)
{
    if (registers == NULL) {
        return (uint32_t)rdmsr(MSR_IA32_X2APIC_BASE + reg);
    }
    return registers[4 * reg];
}

static void apic_write(unsigned reg, uint32_t value)
{
    if (registers == NULL) {
        wrmsr(MSR_IA32_X2APIC_BASE + reg, value);
    } else {
        registers[4 * reg] = value;
    }
}

static void on_error(void *owner)
{
    (void)owner;
    /* ESR is written before it is read: SDM 10.5.3 "Error Handling". */
    apic_write(APIC_ESR, 0);
    (void)apic_read(APIC_ESR);
    errors++;
}

void apic_init(void)
{
    uint64_t base = rdmsr(MSR_IA32_APIC_BASE);

    if (!(cpuid(1, 0).edx & CPUID_1_EDX_APIC)) {
        panic("this CPU has no local APIC");
    }
    interrupt_set_handler(VECTOR_APIC_ERROR, on_error, NULL);
    if (base & APIC_BASE_X2APIC) {
        return;
    }
    registers_address = base & APIC_BASE_ADDRESS;
    registers = arch_map_mmio(hpa(registers_address), PAGE_SIZE);
    if (registers == NULL) {
        panic("cannot map the local APIC at %#lx", registers_address);
    }
}

/* The mode of the boot CPU, and its address, for this CPU too. */
static void apic_enter_mode(void)
{
    uint64_t base = rdmsr(MSR_IA32_APIC_BASE);

    if (registers != NULL) {
        wrmsr(MSR_IA32_APIC_BASE,
              (base & ~APIC_BASE_ADDRESS) | registers_address | APIC_BASE_ENABLE);
    } else if (!(base & APIC_BASE_X2APIC)) {
        /* Disabled -> xAPIC -> x2APIC: SDM 10.12.5 "x2APIC State Transitions". */
        wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE);
        wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    }
}

uint32_t apic_enable_cpu(void)
{
    uint32_t id;

    apic_enter_mode();
    apic_write(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    /* LINT1 is the machine's NMI line; it keeps what the firmware made of it on the boot CPU. */
    apic_write(APIC_LVT_ERROR, VECTOR_APIC_ERROR);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_INITIAL_COUNT, 0);
    apic_write(APIC_ESR, 0);
    /* Ends what was in service when the firmware let go: at most one interrupt per priority class.
     */
    for (unsigned i = 0; i < 16; i++) {
        apic_eoi();
    }
    id = apic_read(APIC_ID);
    return registers == NULL ? id : id >> 24;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

static void wait_for_icr(void)
{
    while (registers[4 * APIC_ICR] & ICR_PENDING) {
        cpu_pause();
    }
}

static void apic_send(uint32_t destination, uint64_t command)
{
    if (registers == NULL) {
        /* WRMSR to the x2APIC does not wait for earlier stores: SDM 10.12.3 "MSR Access in x2APIC
         * Mode".  The receiver is to see what was written before it was sent for. */
        __asm__ volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_IA32_X2APIC_BASE + APIC_ICR, (uint64_t)destination << 32 | command);
        return;
    }
    wait_for_icr();
    registers[4 * APIC_ICR_HIGH] = destination << 24;
    registers[4 * APIC_ICR] = (uint32_t)command;
}

void apic_send_vector(uint32_t destination, unsigned vector)
{
    apic_send(destination, FIELD_PREP(ICR_DELIVERY, DELIVERY_FIXED) | ICR_ASSERT | vector);
}

void apic_send_nmi(uint32_t destination)
{
    apic_send(destination, FIELD_PREP(ICR_DELIVERY, DELIVERY_NMI) | ICR_ASSERT);
}

void apic_send_init(uint32_t destination)
{
    apic_send(destination, FIELD_PREP(ICR_DELIVERY, DELIVERY_INIT) | ICR_ASSERT);
}

void apic_send_init_all(void)
{
    apic_send(0, FIELD_PREP(ICR_SHORTHAND, SHORTHAND_OTHERS) |
                     FIELD_PREP(ICR_DELIVERY, DELIVERY_INIT) | ICR_ASSERT);
}

void apic_send_startup(uint32_t destination, unsigned page)
{
    apic_send(destination, FIELD_PREP(ICR_DELIVERY, DELIVERY_STARTUP) | ICR_ASSERT | page);
}

void apic_timer_mask(bool masked)
{
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | FIELD_PREP(LVT_TIMER_MODE, TIMER_PERIODIC) |
                                   (masked ? LVT_MASKED : 0));
}

void apic_timer_start(uint32_t count)
{
    apic_write(APIC_INITIAL_COUNT, count);
}

uint32_t apic_timer_current(void)
{
    return apic_read(APIC_CURRENT_COUNT);
}
