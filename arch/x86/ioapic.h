/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOAPIC that has the ISA interrupts, and the 8259 PICs that it replaces: Intel 82093AA data
 * sheet; ISA overrides from the ACPI MADT.  Boot CPU, boot time.
 */
#ifndef SPILLWAY_ARCH_X86_IOAPIC_H
#define SPILLWAY_ARCH_X86_IOAPIC_H

#include "base/types.h"

/* Masks every pin of the IOAPIC, and both PICs. */
void ioapic_setup(void);
/* Sends ISA interrupt `irq` as `vector` to the CPU with that APIC id, unmasked.  False: no IOAPIC,
 * no such pin, or an APIC id that it cannot address. */
bool ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id);

#endif
