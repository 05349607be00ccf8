/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A function's interrupts: MSI-X (PCI 3.0, 6.8.2 "MSI-X Capability and Table Structures"), or INTA.
 *
 *     vpci_msix_send() ---> masked, or no bus master ---> pending bit
 *                     \                                       | unmasked
 *                      '---> message <------------------------'
 */
#include <string.h>

#include "hv/vdev/irq/lines.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/pci/vpci_function.h"

/* Words of an entry. */
enum {
    ENTRY_ADDRESS,
    ENTRY_ADDRESS_HIGH,
    ENTRY_DATA,
    ENTRY_CONTROL,
};

#define ENTRY_BYTES (PCI_MSIX_ENTRY_WORDS * 4)
#define WORD_BITS   64

/* ---- MSI-X; the function's lock is held ---- */

/* A message to any other address would be a write to memory, which nobody needs: it is lost. */
static void send(struct vpci_function *function, const uint32_t *entry)
{
    uint32_t address = entry[ENTRY_ADDRESS], data = entry[ENTRY_DATA];
    const struct vlapic_message message = {
        .destination = (uint32_t)FIELD_GET(MSI_ADDRESS_DESTINATION, address),
        .vector = (uint8_t)FIELD_GET(MSI_DATA_VECTOR, data),
        .delivery = (uint8_t)FIELD_GET(MSI_DATA_DELIVERY, data),
        .logical = (address & MSI_ADDRESS_LOGICAL) != 0,
        .level = false,
    };

    if (entry[ENTRY_ADDRESS_HIGH] != 0 || (address & MSI_ADDRESS_MASK) != MSI_ADDRESS ||
        message.delivery == DELIVERY_STARTUP ||
        (message.delivery <= DELIVERY_LOWEST && message.vector < 16)) {
        return;
    }
    (void)vlapic_send(function->vm, &message);
}

static bool may_send(const struct vpci_function *function, unsigned vector)
{
    const struct vpci_msix *msix = &function->msix;

    return function->master && msix->enabled && !msix->masked &&
           !(msix->entry[vector][ENTRY_CONTROL] & PCI_MSIX_ENTRY_MASKED);
}

static void send_pending(struct vpci_function *function, unsigned vector)
{
    uint64_t *word = &function->msix.pending[vector / WORD_BITS], bit = BIT(vector % WORD_BITS);

    if ((*word & bit) && may_send(function, vector)) {
        *word &= ~bit;
        send(function, function->msix.entry[vector]);
    }
}

void vpci_msix_send(struct vpci_function *function, unsigned vector)
{
    spin_lock(&function->lock);
    if (vector < function->msix.vectors && function->msix.enabled) {
        function->msix.pending[vector / WORD_BITS] |= BIT(vector % WORD_BITS);
        send_pending(function, vector);
    }
    spin_unlock(&function->lock);
}

bool vpci_msix_enabled(struct vpci_function *function)
{
    bool enabled;

    spin_lock(&function->lock);
    enabled = function->msix.enabled;
    spin_unlock(&function->lock);
    return enabled;
}

bool vpci_is_master(struct vpci_function *function)
{
    bool master;

    spin_lock(&function->lock);
    master = function->master;
    spin_unlock(&function->lock);
    return master;
}

/* ---- INTA ---- */

/* 6.2.2 "Device Control", 6.8.2.1: while MSI-X is enabled the pin is not used. */
static void update_line(struct vpci_function *function)
{
    bool level = function->intx && !function->intx_disabled && !function->msix.enabled;

    if (level != function->line) {
        function->line = level;
        lines_set_pci(function->lines, function->devfn, level);
    }
}

void vpci_intx_set(struct vpci_function *function, bool level)
{
    spin_lock(&function->lock);
    function->intx = level;
    update_line(function);
    spin_unlock(&function->lock);
}

/* 6.2.3 "Device Status": whatever "Interrupt Disable" says. */
bool vpci_intx_status(struct vpci_function *function)
{
    bool status;

    spin_lock(&function->lock);
    status = function->intx && !function->msix.enabled;
    spin_unlock(&function->lock);
    return status;
}

/* ---- control ---- */

void vpci_interrupt_control(struct vpci_function *function, uint16_t command, uint16_t msix_control)
{
    spin_lock(&function->lock);
    function->master = (command & PCI_COMMAND_MASTER) != 0;
    function->intx_disabled = (command & PCI_COMMAND_NO_INTX) != 0;
    function->msix.enabled = (msix_control & PCI_MSIX_ENABLE) != 0;
    function->msix.masked = (msix_control & PCI_MSIX_MASK_ALL) != 0;
    update_line(function);
    for (unsigned i = 0; i < function->msix.vectors; i++) {
        send_pending(function, i);
    }
    spin_unlock(&function->lock);
}

void vpci_interrupt_reset(struct vpci_function *function)
{
    struct vpci_msix *msix = &function->msix;

    spin_lock(&function->lock);
    function->master = false;
    function->intx_disabled = false;
    function->intx = false;
    msix->enabled = false;
    msix->masked = false;
    memset(msix->pending, 0, sizeof(msix->pending));
    for (unsigned i = 0; i < msix->vectors; i++) {
        memset(msix->entry[i], 0, ENTRY_BYTES);
        msix->entry[i][ENTRY_CONTROL] = PCI_MSIX_ENTRY_MASKED;
    }
    update_line(function);
    spin_unlock(&function->lock);
}

/* ---- the tables; the range's lock is the function's ---- */

/* A word of 4 bytes at that offset of the BAR. */
static uint32_t table_word(const struct vpci_msix *msix, unsigned offset)
{
    unsigned vector = offset / ENTRY_BYTES, half = (offset / 4) % 2;

    if (offset < VPCI_MSIX_BYTES / 2) {
        return vector < msix->vectors ? msix->entry[vector][offset / 4 % PCI_MSIX_ENTRY_WORDS] : 0;
    }
    offset = (offset - VPCI_MSIX_BYTES / 2) / 8;
    return offset < ARRAY_SIZE(msix->pending) ? (uint32_t)(msix->pending[offset] >> (32 * half))
                                              : 0;
}

static uint8_t read_table_byte(struct bus_access *access, unsigned offset)
{
    const struct vpci_function *function = access->range->owner;

    return (uint8_t)(table_word(&function->msix, offset & ~3u) >> (8 * (offset & 3)));
}

static enum bus_result read_table(struct bus_access *access)
{
    bus_read_bytes(access, VPCI_MSIX_BYTES, read_table_byte);
    return BUS_DONE;
}

static void write_word(struct vpci_function *function, unsigned offset, uint32_t value)
{
    struct vpci_msix *msix = &function->msix;
    unsigned vector = offset / ENTRY_BYTES, word = offset / 4 % PCI_MSIX_ENTRY_WORDS;

    if (vector < msix->vectors) {
        msix->entry[vector][word] = word == ENTRY_CONTROL ? value & PCI_MSIX_ENTRY_MASKED : value;
        send_pending(function, vector);
    }
}

/* 6.8.2: "software must use DWORD or QWORD accesses", aligned; others, and those to the pending
 * bits, do nothing. */
static enum bus_result write_table(struct bus_access *access)
{
    struct vpci_function *function = access->range->owner;
    unsigned offset = (unsigned)access->offset;

    if (access->size >= 4 && offset % access->size == 0 && offset < VPCI_MSIX_BYTES / 2) {
        write_word(function, offset, (uint32_t)access->value);
        if (access->size == 8) {
            write_word(function, offset + 4, (uint32_t)(access->value >> 32));
        }
    }
    return BUS_DONE;
}

const struct bus_ops vpci_msix_ops = {.read = read_table, .write = write_table};
