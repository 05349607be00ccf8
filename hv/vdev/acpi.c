/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/acpi.h"

#include <string.h>

#include "base/acpi.h"
#include "base/bits.h"
#include "hv/vdev/ioapic.h"
#include "hv/vdev/lapic.h"
#include "hv/vdev/platform_io.h"

/* dsdt_aml_code[], made by iasl -tc from hv/vdev/dsdt.asl. */
#include "hv/vdev/dsdt.hex"

/* ACPI 6.4, 5.2.9 "Fixed ACPI Description Table (FADT)".  Hardware-reduced: most of it is zero. */
struct acpi_fadt {
    struct acpi_header header;
    uint32_t firmware_control;
    uint32_t dsdt;
    uint8_t reserved_44[65];
    uint16_t boot_architecture;
    uint8_t reserved_111;
    uint32_t flags;
    struct acpi_register reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_version;
    uint64_t x_firmware_control;
    uint64_t x_dsdt;
    struct acpi_register reserved_148[8];
    struct acpi_register sleep_control;
    struct acpi_register sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, boot_architecture) == 109, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "ACPI 5.2.9");

#define FADT_WBINVD         BIT(0)
#define FADT_POWER_BUTTON   BIT(4) /* no fixed power button */
#define FADT_SLEEP_BUTTON   BIT(5) /* no fixed sleep button */
#define FADT_RESET_REGISTER BIT(10)
#define FADT_HW_REDUCED     BIT(20)
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_NO_VGA         BIT(2)

/* 5.2.12 "Multiple APIC Description Table (MADT)". */
struct acpi_madt {
    struct acpi_header header;
    uint32_t local_apic;
    uint32_t flags; /* no 8259 */
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

struct madt_nmi {
    uint8_t type, length;
    uint8_t uid; /* 0xff: every processor */
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_nmi) == 6, "ACPI 5.2.12.7");

#define MADT_LOCAL_APIC 0
#define MADT_IOAPIC     1
#define MADT_NMI        4

#define XSDT_TABLES 2
struct acpi_xsdt {
    struct acpi_header header;
    uint64_t table[XSDT_TABLES];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_xsdt) == 52, "ACPI 5.2.8");

/* Where the next table goes.  A table that does not fit clears `fits`. */
struct builder {
    uint8_t *buffer;
    size_t used, limit;
    bool fits;
};

static void fill_header(struct acpi_header *header, const char *signature, uint8_t revision)
{
    memcpy(header->signature, signature, 4);
    header->revision = revision;
    memcpy(header->oem_id, "SPLWAY", 6);
    memcpy(header->oem_table_id, "SPILLWAY", 8);
    header->oem_revision = 1;
    memcpy(header->creator_id, "SPLW", 4);
    header->creator_revision = 1;
}

static void append(struct builder *b, const void *data, size_t bytes)
{
    if (bytes > b->limit - b->used) {
        b->fits = false;
        return;
    }
    memcpy(b->buffer + b->used, data, bytes);
    b->used += bytes;
}

static size_t begin_table(struct builder *b)
{
    b->used = MIN(ALIGN_UP(b->used, 16), b->limit);
    return b->used;
}

/* Length and checksum of the table that began at `start`.  Its guest-physical address. */
static uint64_t end_table(struct builder *b, size_t start)
{
    struct acpi_header header;

    if (b->fits) {
        memcpy(&header, b->buffer + start, sizeof(header));
        header.length = (uint32_t)(b->used - start);
        header.checksum = 0;
        memcpy(b->buffer + start, &header, sizeof(header));
        header.checksum = (uint8_t)-acpi_sum(b->buffer + start, b->used - start);
        memcpy(b->buffer + start, &header, sizeof(header));
    }
    return ACPI_TABLES_BASE + start;
}

static uint64_t build_dsdt(struct builder *b)
{
    size_t start = begin_table(b);

    append(b, dsdt_aml_code, sizeof(dsdt_aml_code));
    return end_table(b, start);
}

static struct acpi_register port_address(uint16_t port)
{
    return (struct acpi_register){
        .space = ACPI_SPACE_IO, .bits = 8, .access = ACPI_ACCESS_BYTE, .address = port};
}

static uint64_t build_fadt(struct builder *b, uint64_t dsdt)
{
    size_t start = begin_table(b);
    struct acpi_fadt fadt = {
        .dsdt = (uint32_t)dsdt,
        .boot_architecture = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_POWER_BUTTON | FADT_SLEEP_BUTTON | FADT_RESET_REGISTER |
                 FADT_HW_REDUCED,
        .reset_register = port_address(RESET_CONTROL_PORT),
        .reset_value = RESET_CONTROL_VALUE,
        .minor_version = 4,
        .x_dsdt = dsdt,
        .sleep_control = port_address(ACPI_SLEEP_CONTROL_PORT),
        .sleep_status = port_address(ACPI_SLEEP_STATUS_PORT),
    };

    fill_header(&fadt.header, "FACP", 6);
    memcpy(&fadt.hypervisor, "SPILLWAY", 8);
    append(b, &fadt, sizeof(fadt));
    return end_table(b, start);
}

static uint64_t build_madt(struct builder *b, unsigned vcpu_count)
{
    size_t start = begin_table(b);
    struct acpi_madt madt = {.local_apic = (uint32_t)LAPIC_BASE_DEFAULT};
    struct madt_ioapic ioapic = {
        .type = MADT_IOAPIC, .length = sizeof(ioapic), .address = (uint32_t)IOAPIC_BASE};
    struct madt_nmi nmi = {.type = MADT_NMI, .length = sizeof(nmi), .uid = 0xff, .lint = 1};

    fill_header(&madt.header, "APIC", 5);
    append(b, &madt, sizeof(madt));
    for (unsigned i = 0; i < vcpu_count; i++) {
        struct madt_local_apic entry = {.type = MADT_LOCAL_APIC,
                                        .length = sizeof(entry),
                                        .uid = (uint8_t)i,
                                        .apic_id = (uint8_t)i,
                                        .flags = 1};

        append(b, &entry, sizeof(entry));
    }
    append(b, &ioapic, sizeof(ioapic));
    append(b, &nmi, sizeof(nmi));
    return end_table(b, start);
}

static uint64_t build_xsdt(struct builder *b, uint64_t fadt, uint64_t madt)
{
    size_t start = begin_table(b);
    struct acpi_xsdt xsdt = {.table = {fadt, madt}};

    fill_header(&xsdt.header, "XSDT", 1);
    append(b, &xsdt, sizeof(xsdt));
    return end_table(b, start);
}

bool acpi_build(uint8_t buffer[ACPI_TABLES_BYTES], unsigned vcpu_count)
{
    struct builder b = {.buffer = buffer,
                        .used = sizeof(struct acpi_rsdp),
                        .limit = ACPI_CONFIG_ADDRESS - ACPI_TABLES_BASE,
                        .fits = true};
    struct acpi_rsdp rsdp = {.revision = 2, .length = sizeof(rsdp)};
    uint64_t fadt, madt;

    memset(buffer, 0, ACPI_TABLES_BYTES);
    fadt = build_fadt(&b, build_dsdt(&b));
    madt = build_madt(&b, vcpu_count);
    memcpy(rsdp.signature, "RSD PTR ", 8);
    memcpy(rsdp.oem_id, "SPLWAY", 6);
    rsdp.xsdt = build_xsdt(&b, fadt, madt);
    rsdp.checksum = (uint8_t)-acpi_sum(&rsdp, ACPI_RSDP_FIRST_PART);
    rsdp.extended_checksum = (uint8_t)-acpi_sum(&rsdp, sizeof(rsdp));
    memcpy(buffer, &rsdp, sizeof(rsdp));
    buffer[ACPI_CONFIG_ADDRESS - ACPI_TABLES_BASE] = (uint8_t)vcpu_count;
    return b.fits;
}
