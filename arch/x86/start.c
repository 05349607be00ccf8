/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/start.h"

#include "arch/x86/acpi.h"
#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/paging.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/random.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "base/log.h"
#include "hv/main.h"

extern uintptr_t __stack_chk_guard;
extern uint8_t boot_stack_bottom[], boot_stack_top[]; /* hypervisor.ld */

static struct percpu boot_cpu __attribute__((aligned(4096)));

/* The bits of CR4 that this CPU has and we want. */
static uint64_t wanted_cr4(void)
{
    struct cpuid_result f1 = cpuid(1, 0), f7 = cpuid_checked(7, 0);
    uint64_t cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    cr4 |= f1.edx & CPUID_1_EDX_DE ? CR4_DE : 0;
    cr4 |= f1.edx & CPUID_1_EDX_MCE ? CR4_MCE : 0;
    cr4 |= f1.edx & CPUID_1_EDX_PGE ? CR4_PGE : 0;
    cr4 |= f1.ecx & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE : 0;
    cr4 |= f7.ebx & CPUID_7_EBX_SMEP ? CR4_SMEP : 0;
    cr4 |= f7.ebx & CPUID_7_EBX_SMAP ? CR4_SMAP : 0;
    return cr4;
}

/* The memory types that paging.c selects by PWT and PCD. */
static void reset_pat(void)
{
    if (cpuid(1, 0).edx & CPUID_1_EDX_PAT && rdmsr(MSR_IA32_PAT) != PAT_RESET) {
        wbinvd();
        wrmsr(MSR_IA32_PAT, PAT_RESET);
        wbinvd();
        paging_flush();
    }
}

static void reset_fpu(void)
{
    uint32_t mxcsr = MXCSR_RESET;

    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
    if (read_cr4() & CR4_OSXSAVE) {
        xsetbv(0, XCR0_X87 | XCR0_SSE);
    }
}

static void load_control_registers(void)
{
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(wanted_cr4());
    wrmsr(MSR_EFER, (rdmsr(MSR_EFER) & (EFER_LME | EFER_LMA)) | EFER_NXE);
    write_dr7(DR7_FIXED);
    reset_fpu();
}

void start_cpu(struct percpu *cpu)
{
    uint64_t ist_top[IST_COUNT];

    for (unsigned i = 0; i < IST_COUNT; i++) {
        ist_top[i] = (uintptr_t)cpu->ist_stack[i] + IST_STACK_BYTES;
    }
    load_control_registers();
    descriptors_load(&cpu->tables, ist_top);
    percpu_load(cpu);
    idt_load();
    reset_pat();
}

static void check_handover(const struct handover *handover)
{
    if (handover->magic != HANDOVER_MAGIC || handover->version != HANDOVER_VERSION ||
        handover->bytes != sizeof(*handover)) {
        panic("the loader and the hypervisor are of different versions");
    }
}

static _Noreturn void start_machine(const struct handover *handover)
{
    paging_init(handover);
    percpu_init(&boot_cpu, 0, 0, (uintptr_t)boot_stack_bottom, (uintptr_t)boot_stack_top);
    idt_init();
    start_cpu(&boot_cpu);
    percpu_count_up();
    boot_cpu.up = true;

    check_handover(handover);
    power_init(handover);
    acpi_init(hpa(handover->acpi_rsdp));
    apic_init();
    boot_cpu.apic_id = apic_enable_cpu();
    ioapic_setup();
    time_init(handover);
    time_enable_cpu();
    smp_init(handover);
    hv_main(handover);
}

/* Has no canary of its own, since it sets it; never returns. */
__attribute__((no_stack_protector)) void arch_start(const struct handover *handover)
{
    /* The lowest byte stays zero: a string that runs over cannot copy it. */
    __stack_chk_guard = random_early() & ~0xffull;
    start_machine(handover);
}
