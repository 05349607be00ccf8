/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/acpi.h"

#include <string.h>

#include "arch/x86/paging.h"
#include "base/bits.h"
#include "base/log.h"

#define TABLE_MAX (1u << 20) /* longer than any that we read */

static const struct acpi_header *root; /* XSDT or RSDT */
static unsigned root_entry_bytes;

/* A table at that address, whole and with a good checksum; else NULL. */
static const struct acpi_header *table_at(uint64_t address)
{
    const struct acpi_header *t;

    if (address == 0 || !paging_direct_covers(hpa(address), sizeof(*t))) {
        return NULL;
    }
    t = arch_ptr(hpa(address));
    if (t->length < sizeof(*t) || t->length > TABLE_MAX ||
        !paging_direct_covers(hpa(address), t->length) || acpi_sum(t, t->length) != 0) {
        log_warn("ACPI table at %#lx is damaged: ignored", address);
        return NULL;
    }
    return t;
}

void acpi_init(hpa_t address)
{
    const struct acpi_rsdp *rsdp;

    if (address.v == 0 || !paging_direct_covers(address, sizeof(*rsdp))) {
        return;
    }
    rsdp = arch_ptr(address);
    if (memcmp(rsdp->signature, "RSD PTR ", 8) != 0 || acpi_sum(rsdp, ACPI_RSDP_FIRST_PART) != 0) {
        log_warn("ACPI RSDP at %#lx is damaged: ignored", address.v);
        return;
    }
    if (rsdp->revision >= 2 && rsdp->xsdt != 0) {
        root = table_at(rsdp->xsdt);
        root_entry_bytes = 8;
    }
    if (root == NULL) {
        root = table_at(rsdp->rsdt);
        root_entry_bytes = 4;
    }
}

/* Little-endian field of a table; 0 if the table ends before it. */
static uint64_t field(const struct acpi_header *t, uint32_t offset, unsigned bytes)
{
    uint64_t value = 0;

    if (offset + bytes <= t->length) {
        memcpy(&value, (const uint8_t *)t + offset, bytes);
    }
    return value;
}

/* That field of a FADT. */
#define FADT(t, member)                                                                            \
    field(t, offsetof(struct acpi_fadt, member), sizeof(((struct acpi_fadt *)0)->member))

const struct acpi_header *acpi_find(const char *signature)
{
    if (root == NULL) {
        return NULL;
    }
    for (uint32_t at = sizeof(*root); at + root_entry_bytes <= root->length;
         at += root_entry_bytes) {
        const struct acpi_header *t = table_at(field(root, at, root_entry_bytes));

        if (t != NULL && memcmp(t->signature, signature, 4) == 0) {
            return t;
        }
    }
    return NULL;
}

uint16_t acpi_pm_timer_port(unsigned *bits)
{
    const struct acpi_header *fadt = acpi_find("FACP");

    if (fadt == NULL || FADT(fadt, flags) & FADT_HW_REDUCED) {
        return 0;
    }
    *bits = FADT(fadt, flags) & FADT_TIMER_32 ? 32 : 24;
    return (uint16_t)FADT(fadt, pm_timer);
}

bool acpi_reset_register(struct acpi_register *out, uint8_t *value)
{
    const struct acpi_header *fadt = acpi_find("FACP");

    if (fadt == NULL || fadt->length <= offsetof(struct acpi_fadt, reset_value) ||
        !(FADT(fadt, flags) & FADT_RESET_REGISTER)) {
        return false;
    }
    memcpy(out, &((const struct acpi_fadt *)fadt)->reset_register, sizeof(*out));
    *value = (uint8_t)FADT(fadt, reset_value);
    return true;
}

/* One element of the \_S5 package: ZeroOp, OneOp or BytePrefix. */
static bool aml_small_integer(const uint8_t **p, const uint8_t *end, uint8_t *value)
{
    if (*p < end && **p <= 1) {
        *value = *(*p)++;
        return true;
    }
    if (end - *p >= 2 && **p == 0x0a) {
        *value = (*p)[1];
        *p += 2;
        return true;
    }
    return false;
}

/* Finds Name(_S5, Package { SLP_TYPa, SLP_TYPb, ... }) by its bytes: ACPI 7.4.2 "\_Sx". */
static bool find_s5(const struct acpi_header *dsdt, uint8_t types[2])
{
    static const uint8_t name[] = {0x08, '_', 'S', '5', '_', 0x12};
    static const uint8_t rooted[] = {0x08, '\\', '_', 'S', '5', '_', 0x12};
    const uint8_t *p = (const uint8_t *)dsdt + sizeof(*dsdt);
    const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;

    for (; end - p >= 12; p++) {
        if (memcmp(p, name, sizeof(name)) != 0 && memcmp(p, rooted, sizeof(rooted)) != 0) {
            continue;
        }
        p += p[1] == '\\' ? sizeof(rooted) : sizeof(name);
        /* PkgLength takes one byte and as many more as its two top bits say; then NumElements. */
        p += 1 + (*p >> 6) + 1;
        return aml_small_integer(&p, end, &types[0]) && aml_small_integer(&p, end, &types[1]);
    }
    return false;
}

bool acpi_power_off(uint16_t ports[2], uint8_t types[2])
{
    const struct acpi_header *fadt = acpi_find("FACP");
    const struct acpi_header *dsdt;
    uint64_t address;

    if (fadt == NULL || FADT(fadt, flags) & FADT_HW_REDUCED) {
        return false;
    }
    address = FADT(fadt, x_dsdt);
    dsdt = table_at(address != 0 ? address : FADT(fadt, dsdt));
    ports[0] = (uint16_t)FADT(fadt, pm1a_control);
    ports[1] = (uint16_t)FADT(fadt, pm1b_control);
    return dsdt != NULL && ports[0] != 0 && find_s5(dsdt, types);
}

/* Next MADT entry of `type` with at least `bytes`; *at is the offset to go on from. */
static const void *madt_next(const struct acpi_header *madt, uint32_t *at, uint8_t type,
                             size_t bytes)
{
    while (*at + 2 <= madt->length) {
        const uint8_t *entry = (const uint8_t *)madt + *at;

        if (entry[1] < 2 || *at + entry[1] > madt->length) {
            return NULL;
        }
        *at += entry[1];
        if (entry[0] == type && entry[1] >= bytes) {
            return entry;
        }
    }
    return NULL;
}

bool acpi_ioapic(struct acpi_ioapic *out)
{
    const struct acpi_header *madt = acpi_find("APIC");
    uint32_t at = sizeof(struct acpi_madt);
    const struct madt_ioapic *entry;

    while (madt != NULL && (entry = madt_next(madt, &at, MADT_IOAPIC, sizeof(*entry))) != NULL) {
        out->address = entry->address;
        out->first_gsi = entry->gsi_base;
        if (out->first_gsi == 0) {
            return true;
        }
    }
    return false;
}

uint32_t acpi_isa_override(unsigned irq, uint16_t *flags)
{
    const struct acpi_header *madt = acpi_find("APIC");
    uint32_t at = sizeof(struct acpi_madt);
    const struct madt_override *entry;
    uint32_t gsi = irq;

    *flags = 0;
    while (madt != NULL && (entry = madt_next(madt, &at, MADT_OVERRIDE, sizeof(*entry))) != NULL) {
        if (entry->bus == 0 && entry->source == irq) {
            gsi = entry->gsi;
            *flags = entry->flags;
            break;
        }
    }
    return gsi;
}
