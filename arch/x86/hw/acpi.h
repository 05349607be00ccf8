/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layouts of ACPI tables that both sides have: the machine's, which arch/x86/acpi.c reads, and a
 * guest's, which hv/vdev/legacy/acpi.c writes.  ACPI 6.4, chapter 5 "ACPI Software Programming
 * Model".
 */
#ifndef SPILLWAY_ARCH_X86_HW_ACPI_H
#define SPILLWAY_ARCH_X86_HW_ACPI_H

#include "base/bits.h"
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

/* 5.2.9 "Fixed ACPI Description Table (FADT)". */
struct acpi_fadt {
    struct acpi_header header;
    uint32_t firmware_control;
    uint32_t dsdt;
    uint8_t reserved_44;
    uint8_t profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t reserved_52[4];
    uint32_t pm1a_event, pm1b_event;
    uint32_t pm1a_control, pm1b_control;
    uint32_t pm2_control, pm_timer;
    uint8_t reserved_80[8]; /* general-purpose events: none */
    uint8_t pm1_event_length, pm1_control_length;
    uint8_t pm2_control_length, pm_timer_length;
    uint8_t reserved_92[4];
    uint16_t c2_latency, c3_latency;
    uint8_t reserved_100[6];
    uint8_t day_alarm, month_alarm, century;
    uint16_t boot_architecture;
    uint8_t reserved_111;
    uint32_t flags;
    struct acpi_register reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_version;
    uint64_t x_firmware_control;
    uint64_t x_dsdt;
    struct acpi_register x_pm1a_event, x_pm1b_event;
    struct acpi_register x_pm1a_control, x_pm1b_control;
    struct acpi_register x_pm2_control, x_pm_timer;
    struct acpi_register reserved_220[2];
    struct acpi_register sleep_control;
    struct acpi_register sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, boot_architecture) == 109, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, sci_interrupt) == 46, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, pm1a_event) == 56, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, pm_timer) == 76, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, pm_timer_length) == 91, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, century) == 108, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_pm_timer) == 208, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "ACPI 5.2.9");

#define FADT_WBINVD         BIT(0)
#define FADT_C1             BIT(2) /* on every processor */
#define FADT_SLEEP_BUTTON   BIT(5) /* no fixed sleep button */
#define FADT_TIMER_32       BIT(8) /* the PM timer has 32 bits */
#define FADT_RESET_REGISTER BIT(10)
#define FADT_HW_REDUCED     BIT(20)
#define FADT_NO_C2          0x0fff /* a latency that means that there is no such state */
#define FADT_NO_C3          0x0fff
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_NO_VGA         BIT(2)

/* 5.2.12 "Multiple APIC Description Table (MADT)". */
struct acpi_madt {
    struct acpi_header header;
    uint32_t local_apic;
    uint32_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_madt) == 44, "ACPI 5.2.12");

struct madt_local_apic {
    uint8_t type, length;
    uint8_t uid, apic_id;
    uint32_t flags; /* bit 0: enabled */
} __attribute__((packed));
_Static_assert(sizeof(struct madt_local_apic) == 8, "ACPI 5.2.12.2");

struct madt_ioapic {
    uint8_t type, length;
    uint8_t id, reserved_3;
    uint32_t address;
    uint32_t gsi_base;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_ioapic) == 12, "ACPI 5.2.12.3");

struct madt_override {
    uint8_t type, length;
    uint8_t bus, source; /* ISA */
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_override) == 10, "ACPI 5.2.12.5");

struct madt_nmi {
    uint8_t type, length;
    uint8_t uid; /* 0xff: every processor */
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_nmi) == 6, "ACPI 5.2.12.7");

#define MADT_LOCAL_APIC 0
#define MADT_IOAPIC     1
#define MADT_OVERRIDE   2
#define MADT_NMI        4

#define MADT_8259 BIT(0) /* of its flags: PCAT_COMPAT */

/* MPS INTI flags of an override: table 5.26.  0: as the bus does. */
#define INTI_POLARITY    BITS(1, 0)
#define INTI_ACTIVE_HIGH 1
#define INTI_ACTIVE_LOW  3
#define INTI_TRIGGER     BITS(3, 2)
#define INTI_LEVEL       3

/* 5.2.10 "Firmware ACPI Control Structure (FACS)". */
struct acpi_facs {
    uint8_t signature[4];
    uint32_t length;
    uint32_t hardware_signature, waking_vector;
    uint32_t global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved_33[31];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_facs) == 64, "ACPI 5.2.10");
#define FACS_ALIGN 64

/* IA-PC HPET Specification 1.0a, 3.2.4 "The ACPI 2.0 HPET Description Table". */
struct acpi_hpet {
    struct acpi_header header;
    uint32_t id;
    struct acpi_register address;
    uint8_t number;
    uint16_t minimum_tick; /* of a period without a lost interrupt */
    uint8_t protection;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_hpet) == 56, "HPET 3.2.4");

/* PCI Firmware Specification 3.0, 4.1.2 "MCFG Table Description", with one segment. */
struct acpi_mcfg {
    struct acpi_header header;
    uint8_t reserved_36[8];
    uint64_t base; /* of bus 0 */
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint8_t reserved_56[4];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_mcfg) == 60, "MCFG 4.1.2");

/* 4.8.2.1 "Power Management Timer"; where it is, the FADT says. */
#define PM_TIMER_HZ 3579545ull
/* 4.8.3.2 "PM1 Control Registers". */
#define PM1_SLP_TYP BITS(12, 10)
#define PM1_SLP_EN  BIT(13)

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
