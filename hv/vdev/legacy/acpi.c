/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/acpi.h"

#include <string.h>

#include "arch/x86/hw/acpi.h"
#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "hv/vdev/irq/lines.h"
#include "hv/vdev/irq/vioapic.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/legacy/vhpet.h"
#include "hv/vdev/legacy/vplatform.h"
#include "hv/vdev/legacy/vpm.h"
#include "hv/vdev/pci/vpci.h"

/* dsdt_aml_code[], made by iasl -tc from hv/vdev/legacy/dsdt.asl. */
#include "hv/vdev/legacy/dsdt.hex"

#define HPET_MINIMUM_TICK 100

#define OVERRIDE_HIGH_LEVEL  (FIELD_PREP(INTI_TRIGGER, INTI_LEVEL) | INTI_ACTIVE_HIGH)
#define OVERRIDE_AS_ISA_DOES 0

#define XSDT_TABLES 5
struct acpi_xsdt {
    struct acpi_header header;
    uint64_t table[XSDT_TABLES];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_xsdt) == 76, "ACPI 5.2.8");

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

static size_t align(struct builder *b, size_t alignment)
{
    b->used = MIN(ALIGN_UP(b->used, alignment), b->limit);
    return b->used;
}

static size_t begin_table(struct builder *b)
{
    return align(b, 16);
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

/* Not a table like the others: no checksum, and the guest writes its lock. */
static uint64_t build_facs(struct builder *b)
{
    size_t start = align(b, FACS_ALIGN);
    struct acpi_facs facs = {
        .signature = {'F', 'A', 'C', 'S'}, .length = sizeof(facs), .version = 2};

    append(b, &facs, sizeof(facs));
    return ACPI_TABLES_BASE + start;
}

/* One register of 1, 2 or 4 bytes, which is accessed whole. */
static struct acpi_register ports(uint16_t port, uint8_t bytes)
{
    return (struct acpi_register){.space = ACPI_SPACE_IO,
                                  .bits = (uint8_t)(bytes * 8),
                                  .access = (uint8_t)(ACPI_ACCESS_BYTE + __builtin_ctz(bytes)),
                                  .address = port};
}

#define PM1_EVENT_BYTES   4
#define PM1_CONTROL_BYTES 2
#define PM_TIMER_BYTES    4

/* Without an SMI command port the guest is in ACPI mode from the start: 5.2.9, SMI_CMD. */
static void fill_fixed_hardware(struct acpi_fadt *fadt)
{
    fadt->sci_interrupt = VPM_SCI;
    fadt->pm1a_event = VPM_PORT;
    fadt->pm1a_control = VPM_PORT + VPM_CONTROL;
    fadt->pm_timer = VPM_PORT + VPM_TIMER;
    fadt->pm1_event_length = PM1_EVENT_BYTES;
    fadt->pm1_control_length = PM1_CONTROL_BYTES;
    fadt->pm_timer_length = PM_TIMER_BYTES;
    fadt->x_pm1a_event = ports(VPM_PORT, PM1_EVENT_BYTES);
    fadt->x_pm1a_control = ports(VPM_PORT + VPM_CONTROL, PM1_CONTROL_BYTES);
    fadt->x_pm_timer = ports(VPM_PORT + VPM_TIMER, PM_TIMER_BYTES);
}

static uint64_t build_fadt(struct builder *b, uint64_t dsdt, uint64_t facs)
{
    size_t start = begin_table(b);
    struct acpi_fadt fadt = {
        .firmware_control = (uint32_t)facs,
        .dsdt = (uint32_t)dsdt,
        .c2_latency = FADT_NO_C2,
        .c3_latency = FADT_NO_C3,
        .century = CMOS_CENTURY,
        .boot_architecture = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_C1 | FADT_SLEEP_BUTTON | FADT_TIMER_32 | FADT_RESET_REGISTER,
        .reset_register = ports(IOPORT_RESET_CONTROL, 1),
        .reset_value = RESET_CONTROL_RESET,
        .minor_version = 4,
        .x_dsdt = dsdt,
    };

    fill_fixed_hardware(&fadt);
    fill_header(&fadt.header, "FACP", 6);
    memcpy(&fadt.hypervisor, "SPILLWAY", 8);
    append(b, &fadt, sizeof(fadt));
    return end_table(b, start);
}

static void append_override(struct builder *b, unsigned irq, unsigned pin, uint16_t flags)
{
    struct madt_override entry = {.type = MADT_OVERRIDE,
                                  .length = sizeof(entry),
                                  .source = (uint8_t)irq,
                                  .gsi = pin,
                                  .flags = flags};

    append(b, &entry, sizeof(entry));
}

static uint64_t build_madt(struct builder *b, unsigned vcpu_count)
{
    size_t start = begin_table(b);
    struct acpi_madt madt = {.local_apic = (uint32_t)APIC_BASE_DEFAULT, .flags = MADT_8259};
    struct madt_ioapic ioapic = {
        .type = MADT_IOAPIC, .length = sizeof(ioapic), .address = (uint32_t)VIOAPIC_BASE};
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
    append_override(b, LINE_PIT, LINE_PIT_PIN, OVERRIDE_AS_ISA_DOES);
    append_override(b, VPM_SCI, VPM_SCI, OVERRIDE_HIGH_LEVEL);
    append(b, &nmi, sizeof(nmi));
    return end_table(b, start);
}

static uint64_t build_hpet(struct builder *b)
{
    size_t start = begin_table(b);
    struct acpi_hpet hpet = {
        .id = VHPET_ID,
        .address = {.space = ACPI_SPACE_MEMORY, .address = VHPET_BASE},
        .minimum_tick = HPET_MINIMUM_TICK,
    };

    fill_header(&hpet.header, "HPET", 1);
    append(b, &hpet, sizeof(hpet));
    return end_table(b, start);
}

static uint64_t build_mcfg(struct builder *b)
{
    size_t start = begin_table(b);
    struct acpi_mcfg mcfg = {.base = VPCI_ECAM_BASE};

    fill_header(&mcfg.header, "MCFG", 1);
    append(b, &mcfg, sizeof(mcfg));
    return end_table(b, start);
}

/* AML, 20.2.2 "Name Objects Encoding" to 20.2.5.2 "Named Objects Encoding". */
struct aml_processor {
    uint8_t device[2], length;
    char name[4];
    struct {
        uint8_t op;
        char name[4];
        uint8_t string;
        char id[9];
    } hid;
    struct {
        uint8_t op;
        char name[4];
        uint8_t byte, value;
    } uid;
};
_Static_assert(sizeof(struct aml_processor) == 29, "AML: nothing between its bytes");

struct aml_scope {
    uint8_t op, length[2];
    char name[5];
};
_Static_assert(sizeof(struct aml_scope) == 8, "AML: nothing between its bytes");

#define AML_NAME            0x08
#define AML_BYTE            0x0a
#define AML_STRING          0x0d
#define AML_SCOPE           0x10
#define AML_TWO_BYTE_LENGTH 0x40 /* bits 3:0 of the length are here, 11:4 in the next byte */

#define PROCESSOR_HID "ACPI0007"

/* Scope (\_SB) { Device (Cnnn) { Name (_HID, "ACPI0007") Name (_UID, nnn) } ... } */
static uint64_t build_processors(struct builder *b, unsigned vcpu_count)
{
    size_t start = begin_table(b);
    size_t length = sizeof(struct aml_scope) - 1 + vcpu_count * sizeof(struct aml_processor);
    struct acpi_header header = {0};
    struct aml_scope scope = {
        .op = AML_SCOPE,
        .length = {(uint8_t)(AML_TWO_BYTE_LENGTH | (length & 0xf)), (uint8_t)(length >> 4)},
        .name = {'\\', '_', 'S', 'B', '_'},
    };

    fill_header(&header, "SSDT", 2);
    append(b, &header, sizeof(header));
    append(b, &scope, sizeof(scope));
    for (unsigned i = 0; i < vcpu_count; i++) {
        struct aml_processor processor = {
            .device = {0x5b, 0x82},
            .length = sizeof(processor) - sizeof(processor.device),
            .name = {'C', (char)('0' + i / 100), (char)('0' + i / 10 % 10), (char)('0' + i % 10)},
            .hid = {AML_NAME, {'_', 'H', 'I', 'D'}, AML_STRING, PROCESSOR_HID},
            .uid = {AML_NAME, {'_', 'U', 'I', 'D'}, AML_BYTE, (uint8_t)i},
        };

        append(b, &processor, sizeof(processor));
    }
    return end_table(b, start);
}

static uint64_t build_xsdt(struct builder *b, const uint64_t table[XSDT_TABLES])
{
    size_t start = begin_table(b);
    struct acpi_xsdt xsdt;

    memset(&xsdt, 0, sizeof(xsdt));
    memcpy(xsdt.table, table, sizeof(xsdt.table));

    fill_header(&xsdt.header, "XSDT", 1);
    append(b, &xsdt, sizeof(xsdt));
    return end_table(b, start);
}

bool acpi_build(uint8_t buffer[ACPI_TABLES_BYTES], unsigned vcpu_count)
{
    struct builder b = {.buffer = buffer,
                        .used = sizeof(struct acpi_rsdp),
                        .limit = ACPI_TABLES_BYTES,
                        .fits = true};
    struct acpi_rsdp rsdp = {.revision = 2, .length = sizeof(rsdp)};
    uint64_t dsdt, table[XSDT_TABLES];

    memset(buffer, 0, ACPI_TABLES_BYTES);
    dsdt = build_dsdt(&b);
    table[0] = build_fadt(&b, dsdt, build_facs(&b));
    table[1] = build_madt(&b, vcpu_count);
    table[2] = build_hpet(&b);
    table[3] = build_processors(&b, vcpu_count);
    table[4] = build_mcfg(&b);
    memcpy(rsdp.signature, "RSD PTR ", 8);
    memcpy(rsdp.oem_id, "SPLWAY", 6);
    rsdp.xsdt = build_xsdt(&b, table);
    rsdp.checksum = (uint8_t)-acpi_sum(&rsdp, ACPI_RSDP_FIRST_PART);
    rsdp.extended_checksum = (uint8_t)-acpi_sum(&rsdp, sizeof(rsdp));
    memcpy(buffer, &rsdp, sizeof(rsdp));
    return b.fits;
}
