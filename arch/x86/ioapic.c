/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/ioapic.h"

#include "arch/x86/acpi.h"
#include "arch/x86/hw/apic.h"
#include "arch/x86/hw/ports.h"
#include "arch/x86/idt.h"
#include "base/bits.h"
#include "base/log.h"
#include "drivers/platform.h"
#include "hv/arch.h"

static volatile uint32_t *ioapic; /* NULL: none */
static unsigned pins;

static uint32_t ioapic_read(unsigned index)
{
    ioapic[IOAPIC_SELECT / 4] = index;
    return ioapic[IOAPIC_WINDOW / 4];
}

static void ioapic_write(unsigned index, uint32_t value)
{
    ioapic[IOAPIC_SELECT / 4] = index;
    ioapic[IOAPIC_WINDOW / 4] = value;
}

static void write_pin(unsigned pin, uint64_t entry)
{
    /* Masked first: never a half-written entry that is live. */
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin, RTE_MASKED);
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin + 1, (uint32_t)(entry >> 32));
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin, (uint32_t)entry);
}

/* Moves the PICs off the exception vectors, then masks them: a spurious interrupt 7 can still come.
 */
static void mask_pics(void)
{
    port_out8(IOPORT_PIC_MASTER, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    port_out8(IOPORT_PIC_SLAVE, 0x11);
    port_out8(IOPORT_PIC_MASTER + 1, VECTOR_PIC); /* ICW2: vector base */
    port_out8(IOPORT_PIC_SLAVE + 1, VECTOR_PIC + 8);
    port_out8(IOPORT_PIC_MASTER + 1, 4); /* ICW3: slave on input 2 */
    port_out8(IOPORT_PIC_SLAVE + 1, 2);
    port_out8(IOPORT_PIC_MASTER + 1, 1); /* ICW4: 8086 mode */
    port_out8(IOPORT_PIC_SLAVE + 1, 1);
    port_out8(IOPORT_PIC_MASTER + 1, 0xff);
    port_out8(IOPORT_PIC_SLAVE + 1, 0xff);
}

void ioapic_setup(void)
{
    struct acpi_ioapic found = {IOAPIC_DEFAULT, 0};
    uint32_t version;

    mask_pics();
    if (!acpi_ioapic(&found)) {
        found.address = IOAPIC_DEFAULT;
    }
    ioapic = arch_map_mmio(hpa(found.address), PAGE_SIZE);
    version = ioapic != NULL ? ioapic_read(IOAPIC_VERSION) : UINT32_MAX;
    if (version == UINT32_MAX || version == 0) {
        log_warn("no IOAPIC at %#x: ISA interrupts are polled", found.address);
        ioapic = NULL;
        return;
    }
    pins = (unsigned)FIELD_GET(IOAPIC_VERSION_PINS, version) + 1;
    for (unsigned pin = 0; pin < pins; pin++) {
        write_pin(pin, RTE_MASKED);
    }
}

bool ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id)
{
    uint16_t flags;
    uint32_t pin = acpi_isa_override(irq, &flags);
    uint64_t entry = FIELD_PREP(RTE_DESTINATION, apic_id) | vector;

    if (ioapic == NULL || pin >= pins || apic_id > 0xff) {
        return false;
    }
    if (FIELD_GET(INTI_POLARITY, flags) == INTI_ACTIVE_LOW) {
        entry |= RTE_ACTIVE_LOW;
    }
    if (FIELD_GET(INTI_TRIGGER, flags) == INTI_LEVEL) {
        entry |= RTE_LEVEL;
    }
    write_pin(pin, entry);
    return true;
}
