/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's ACPI tables: ACPI 6.4 chapter 5 "ACPI Software Programming Model".
 *
 * The firmware is trusted, but its tables are read with their checksums and lengths checked: a
 * table that fails is taken as absent, and said so in the log.  A machine may have none at all.
 */
#ifndef SPILLWAY_ARCH_X86_ACPI_H
#define SPILLWAY_ARCH_X86_ACPI_H

#include "arch/x86/hw/acpi.h"

/* Looks at the RSDP; hpa 0: there is none. */
void acpi_init(hpa_t rsdp);
/* The first table of that signature ("APIC", "FACP"), or NULL. */
const struct acpi_header *acpi_find(const char *signature);

/* ---- FADT ---- */

/* I/O port of the PM timer, 0: none; *bits is 24 or 32. */
uint16_t acpi_pm_timer_port(unsigned *bits);
/* The reset register and what to write to it.  False: not supported. */
bool acpi_reset_register(struct acpi_register *out, uint8_t *value);
/* I/O ports of PM1a/PM1b control (0: absent) and the SLP_TYP of S5.  False: not known. */
bool acpi_power_off(uint16_t ports[2], uint8_t types[2]);

/* ---- MADT ---- */

struct acpi_ioapic {
    uint32_t address;
    uint32_t first_gsi;
};
/* The IOAPIC that has GSI 0, or false. */
bool acpi_ioapic(struct acpi_ioapic *out);
/* Where an ISA interrupt goes: its GSI and MPS INTI flags; identity and 0 without an override. */
uint32_t acpi_isa_override(unsigned irq, uint16_t *flags);

#endif
