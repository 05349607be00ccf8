/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/ioapic.h"

#include "arch/x86/acpi.h"
#include "arch/x86/hw/ports.h"
#include "arch/x86/idt.h"
#include "base/bits.h"
#include "base/log.h"
#include "drivers/platform.h"
#include "hv/arch.h"

#define IOAPIC_DEFAULT 0xfec00000u

/* Indirect registers: index at offset 0, data at 0x10. */
#define IOAPIC_INDEX          (0x00 / 4)
#define IOAPIC_DATA           (0x10 / 4)
#define IOAPIC_VERSION        0x01
#define IOAPIC_REDIRECTION(n) (0x10 + 2 * (n))
#define IOAPIC_PINS           BITS(23, 16) /* of the version register: highest pin */

#define REDIRECTION_ACTIVE_LOW  BIT(13)
#define REDIRECTION_LEVEL       BIT(15)
#define REDIRECTION_MASKED      BIT(16)
#define REDIRECTION_DESTINATION BITS(63, 56)

static volatile uint32_t *ioapic; /* NULL: none */
static unsigned pins;

static uint32_t ioapic_read(unsigned index)
{
    ioapic[IOAPIC_INDEX] = index;
    return ioapic[IOAPIC_DATA];
}

static void ioapic_write(unsigned index, uint32_t value)
{
    ioapic[IOAPIC_INDEX] = index;
    ioapic[IOAPIC_DATA] = value;
}

static void write_pin(unsigned pin, uint64_t entry)
{
    /* Masked first: never a half-written entry that is live. */
    ioapic_write(IOAPIC_REDIRECTION(pin), REDIRECTION_MASKED);
    ioapic_write(IOAPIC_REDIRECTION(pin) + 1, (uint32_t)(entry >> 32));
    ioapic_write(IOAPIC_REDIRECTION(pin), (uint32_t)entry);
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
    pins = (unsigned)FIELD_GET(IOAPIC_PINS, version) + 1;
    for (unsigned pin = 0; pin < pins; pin++) {
        write_pin(pin, REDIRECTION_MASKED);
    }
}

bool ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id)
{
    uint16_t flags;
    uint32_t pin = acpi_isa_override(irq, &flags);
    uint64_t entry = FIELD_PREP(REDIRECTION_DESTINATION, apic_id) | vector;

    if (ioapic == NULL || pin >= pins || apic_id > 0xff) {
        return false;
    }
    if (FIELD_GET(INTI_POLARITY, flags) == INTI_ACTIVE_LOW) {
        entry |= REDIRECTION_ACTIVE_LOW;
    }
    if (FIELD_GET(INTI_TRIGGER, flags) == INTI_LEVEL) {
        entry |= REDIRECTION_LEVEL;
    }
    write_pin(pin, entry);
    return true;
}
