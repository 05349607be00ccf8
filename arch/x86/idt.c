/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/idt.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/panic.h"
#include "arch/x86/percpu.h"
#include "base/log.h"

#define VECTORS        256
#define GATE_INTERRUPT 0x8e /* present, DPL 0, 64-bit interrupt gate */

/* SDM Vol. 3A 6.14.1 "64-Bit Mode IDT". */
struct idt_gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved_0c;
};
_Static_assert(sizeof(struct idt_gate) == 16, "SDM figure 6-8 64-Bit IDT Gate Descriptors");

extern const uint64_t interrupt_entry[VECTORS]; /* vectors.asm */

static struct idt_gate idt[VECTORS] __attribute__((aligned(16)));

static struct {
    interrupt_handler handler;
    void *owner;
} handlers[VECTORS];

static void set_gate(unsigned vector, uint64_t entry, uint8_t ist)
{
    idt[vector] = (struct idt_gate){
        .offset_low = (uint16_t)entry,
        .selector = SELECTOR_CODE,
        .ist = ist,
        .type = GATE_INTERRUPT,
        .offset_middle = (uint16_t)(entry >> 16),
        .offset_high = (uint32_t)(entry >> 32),
    };
}

void idt_init(void)
{
    for (unsigned v = 0; v < VECTORS; v++) {
        set_gate(v, interrupt_entry[v], 0);
    }
    set_gate(VECTOR_NMI, interrupt_entry[VECTOR_NMI], IST_NMI);
    set_gate(VECTOR_DF, interrupt_entry[VECTOR_DF], IST_DOUBLE_FAULT);
    set_gate(VECTOR_MC, interrupt_entry[VECTOR_MC], IST_MACHINE_CHECK);
}

void idt_load(void)
{
    struct descriptor_pointer idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    lidt(&idtr);
}

void interrupt_set_handler(unsigned vector, interrupt_handler handler, void *owner)
{
    handlers[vector].owner = owner;
    /* Release: the owner is seen by whoever sees the handler. */
    __atomic_store_n(&handlers[vector].handler, handler, __ATOMIC_RELEASE);
}

void interrupt_take_nmi(void)
{
    __asm__ volatile("int $2" : : : "memory");
}

static const char *exception_name(uint64_t vector)
{
    static const char *const names[VECTOR_EXCEPTIONS] = {
        [VECTOR_DE] = "#DE divide error",
        [VECTOR_DB] = "#DB debug",
        [VECTOR_NMI] = "NMI",
        [VECTOR_BP] = "#BP breakpoint",
        [VECTOR_OF] = "#OF overflow",
        [VECTOR_BR] = "#BR bound range",
        [VECTOR_UD] = "#UD invalid opcode",
        [VECTOR_NM] = "#NM no math coprocessor",
        [VECTOR_DF] = "#DF double fault",
        [VECTOR_TS] = "#TS invalid TSS",
        [VECTOR_NP] = "#NP segment not present",
        [VECTOR_SS] = "#SS stack fault",
        [VECTOR_GP] = "#GP general protection",
        [VECTOR_PF] = "#PF page fault",
        [VECTOR_MF] = "#MF math fault",
        [VECTOR_AC] = "#AC alignment check",
        [VECTOR_MC] = "#MC machine check",
        [VECTOR_XM] = "#XM SIMD exception",
        [VECTOR_VE] = "#VE virtualization",
        [VECTOR_CP] = "#CP control protection",
        [VECTOR_VC] = "#VC VMM communication",
        [VECTOR_SX] = "#SX security",
    };
    const char *name = names[vector];

    return name != NULL ? name : "reserved exception";
}

static bool in_guard_page(const struct percpu *cpu, uint64_t address)
{
    return address < cpu->stack_bottom && address >= cpu->stack_bottom - PAGE_SIZE;
}

static _Noreturn void exception_panic(struct interrupt_frame *frame)
{
    struct percpu *cpu = percpu_self();

    /* An exception while one is being reported keeps the first one's registers. */
    if (cpu->fault == NULL) {
        cpu->fault = frame;
    }
    /* A push below the stack cannot be reported on that stack: it comes as #DF. */
    if (frame->vector == VECTOR_DF && in_guard_page(cpu, read_cr2())) {
        panic("stack overflow at %#lx", frame->rip);
    }
    if (frame->vector == VECTOR_PF) {
        panic("%s at %#lx: %s %#lx, error code %#lx", exception_name(frame->vector), frame->rip,
              frame->error_code & PF_FETCH   ? "fetch from"
              : frame->error_code & PF_WRITE ? "write to"
                                             : "read of",
              read_cr2(), frame->error_code);
    }
    panic("%s at %#lx, error code %#lx", exception_name(frame->vector), frame->rip,
          frame->error_code);
}

static void interrupt(uint64_t vector)
{
    interrupt_handler handler = __atomic_load_n(&handlers[vector].handler, __ATOMIC_ACQUIRE);

    if (handler != NULL) {
        handler(handlers[vector].owner);
        apic_eoi();
        return;
    }
    percpu_self()->spurious++;
    /* The spurious vector and the 8259s' do not set a bit in the ISR: SDM Vol. 3A 10.9 "Spurious
     * Interrupt".  An EOI for them could end another interrupt. */
    if (vector >= VECTOR_DRIVER_FIRST && vector != VECTOR_SPURIOUS) {
        apic_eoi();
    }
}

void interrupt_dispatch(struct interrupt_frame *frame)
{
    if (frame->vector == VECTOR_NMI) {
        panic_nmi(frame);
    } else if (frame->vector < VECTOR_EXCEPTIONS) {
        exception_panic(frame);
    } else {
        interrupt(frame->vector);
    }
}

void arch_take_interrupts(void)
{
    /* STI holds interrupts off for one more instruction; at the NOP's end all that are pending are
     * taken, one after the other. */
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

void arch_idle(void)
{
    /* The STI shadow reaches to HLT: an interrupt that is pending is taken in HLT and ends it. */
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}
