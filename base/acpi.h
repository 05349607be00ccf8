/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layouts of ACPI tables that both sides have: the machine's, which arch/x86/acpi.c reads, and a
 * guest's, which hv/vdev/legacy/acpi.c writes.  ACPI 6.4, chapter 5 "ACPI Software Programming
 * Model".
 */
#ifndef SPILLWAY_BASE_ACPI_H
#define SPILLWAY_BASE_ACPI_H

#include "base/types.h"

/* 5.2.6 "System Description Table Header". */
struct acpi_header {
    char signature[4];
    uint32_t length; /* with this header */
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 5.2.6");

/* 5.2.5.3 "Root System Description Pointer (RSDP) Structure". */
struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first ACPI_RSDP_FIRST_PART bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length; /* from here on: revision 2 */
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved_33[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 5.2.5.3");

#define ACPI_RSDP_FIRST_PART 20

/* 5.2.3.2 "Generic Address Structure". */
struct acpi_register {
    uint8_t space;  /* ACPI_SPACE_* */
    uint8_t bits;   /* width */
    uint8_t offset; /* of the first bit */
    uint8_t access; /* ACPI_ACCESS_* */
    uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_register) == 12, "ACPI 5.2.3.2");

#define ACPI_SPACE_MEMORY 0
#define ACPI_SPACE_IO     1
#define ACPI_ACCESS_BYTE  1

/* The sum of all bytes: 0 in a good table. */
static inline uint8_t acpi_sum(const void *table, size_t bytes)
{
    const uint8_t *p = table;
    uint8_t sum = 0;

    for (size_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
    return sum;
}

#endif
