/* SPDX-License-Identifier: BSD-2-Clause */
/* A function's configuration space: accesses of any size and alignment, and what follows them. */
#include <string.h>

#include "base/bits.h"
#include "hv/vdev/pci/vpci_function.h"

/* Does an access to `size` bytes at `reg` touch those registers? */
static bool touches(unsigned reg, unsigned size, unsigned first, unsigned bytes)
{
    return reg < first + bytes && first < reg + size;
}

/* ---- reads ---- */

static uint8_t read_byte(struct vpci_function *function, unsigned reg)
{
    if (reg >= PCI_CONFIG_BYTES) {
        return 0; /* there is no extended configuration space */
    }
    if (reg == PCI_STATUS) {
        return function->config[reg] | (vpci_intx_status(function) ? PCI_STATUS_INTX : 0);
    }
    return function->config[reg];
}

enum bus_result vpci_config_read(struct vpci_function *function, struct bus_access *access,
                                 unsigned reg)
{
    if (function->ops->config != NULL) {
        enum bus_result result = function->ops->config(function, access, reg);

        if (result != BUS_NOBODY) {
            return result;
        }
    }
    access->value = 0;
    for (unsigned i = 0; i < access->size; i++) {
        access->value |= (uint64_t)read_byte(function, reg + i) << (8 * i);
    }
    return BUS_DONE;
}

/* ---- BARs ---- */

bool vpci_bar_wanted(const struct vpci_function *function, unsigned number, uint64_t *address)
{
    const struct vpci_bar *bar = &function->bar[number];
    unsigned reg = PCI_BAR0 + 4 * number;

    *address = vpci_config_get(function, reg, 4) & ~PCI_BAR_FLAGS;
    if (bar->bytes != 0 && bar->wide) {
        *address |= (uint64_t)vpci_config_get(function, reg + 4, 4) << 32;
    }
    return bar->bytes != 0 && (vpci_config_get(function, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY);
}

static void set_power_on_addresses(struct vpci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct vpci_bar *bar = &function->bar[i];
        unsigned reg = PCI_BAR0 + 4 * i;

        if (bar->bytes != 0) {
            function->config[reg] |= (uint8_t)bar->power_on;
            vpci_config_put(function, reg + 1, 3, (uint32_t)(bar->power_on >> 8));
        }
        if (bar->bytes != 0 && bar->wide) {
            vpci_config_put(function, reg + 4, 4, (uint32_t)(bar->power_on >> 32));
        }
    }
}

/* ---- writes ---- */

/* PCI 3.0, 6.2.2 "Device Control"; 6.8.2.3 "Message Control for MSI-X". */
static void show_control(struct vpci_function *function)
{
    const struct vpci_msix *msix = &function->msix;
    uint16_t control = 0;

    if (msix->vectors != 0) {
        control = (uint16_t)vpci_config_get(function, msix->capability + PCI_MSIX_CONTROL, 2);
    }
    vpci_interrupt_control(function, (uint16_t)vpci_config_get(function, PCI_COMMAND, 2), control);
}

void vpci_function_reset(struct vpci_function *function, bool power_on)
{
    memcpy(function->config, function->power_on, sizeof(function->config));
    if (power_on) {
        set_power_on_addresses(function);
    }
    vpci_interrupt_reset(function);
    if (function->ops->reset != NULL) {
        function->ops->reset(function);
    }
}

static bool initiates_reset(const struct vpci_function *function, const struct bus_access *access,
                            unsigned reg)
{
    unsigned at = function->af + PCI_AF_CONTROL;

    return function->af != 0 && touches(reg, access->size, at, 1) &&
           ((access->value >> (8 * (at - reg))) & PCI_AF_INITIATE);
}

static void write_bytes(struct vpci_function *function, const struct bus_access *access,
                        unsigned reg)
{
    for (unsigned i = 0; i < access->size && reg + i < PCI_CONFIG_BYTES; i++) {
        uint8_t *byte = &function->config[reg + i], mask = function->writable[reg + i];

        *byte = (uint8_t)((*byte & ~mask) | ((uint8_t)(access->value >> (8 * i)) & mask));
    }
}

enum bus_result vpci_config_write(struct vpci_function *function, struct bus_access *access,
                                  unsigned reg, bool *moved)
{
    if (function->ops->config != NULL) {
        enum bus_result result = function->ops->config(function, access, reg);

        if (result != BUS_NOBODY) {
            return result;
        }
    }
    if (initiates_reset(function, access, reg)) {
        vpci_function_reset(function, false);
        *moved = true;
        return BUS_DONE;
    }
    write_bytes(function, access, reg);
    show_control(function);
    *moved = touches(reg, access->size, PCI_COMMAND, 2) ||
             touches(reg, access->size, PCI_BAR0, 4 * PCI_BARS);
    return BUS_DONE;
}
