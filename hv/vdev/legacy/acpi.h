/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables for a guest: RSDP, XSDT, FADT, FACS, MADT, HPET, MCFG, DSDT, and an SSDT with its
 * CPUs.
 *
 * Built into one buffer that goes to guest-physical ACPI_TABLES_BASE as it is;
 * E820 reports the range as ACPI data.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_ACPI_H
#define SPILLWAY_HV_VDEV_LEGACY_ACPI_H

#include "base/types.h"

#define ACPI_TABLES_BASE  0xe0000ull /* where a BIOS puts the RSDP: ACPI 6.4, 5.2.5.1 */
#define ACPI_TABLES_BYTES 0x4000

/* Fills the buffer, which starts with the RSDP.  False: the tables do not fit. */
bool acpi_build(uint8_t buffer[ACPI_TABLES_BYTES], unsigned vcpu_count);

#endif
