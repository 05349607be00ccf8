/* SPDX-License-Identifier: BSD-2-Clause */
/* How a function is made. */
#include "hv/vdev/pci/vpci_function.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void vpci_config_put(struct vpci_function *function, unsigned reg, unsigned bytes, uint32_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        function->config[reg + i] = (uint8_t)(value >> (8 * i));
    }
}

uint32_t vpci_config_get(const struct vpci_function *function, unsigned reg, unsigned bytes)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)function->config[reg + i] << (8 * i);
    }
    return value;
}

void vpci_config_set_writable(struct vpci_function *function, unsigned reg, unsigned bytes,
                              uint32_t mask)
{
    for (unsigned i = 0; i < bytes; i++) {
        function->writable[reg + i] = (uint8_t)(mask >> (8 * i));
    }
}

void vpci_function_init(struct vpci_function *function, const struct vpci_identity *identity,
                        const struct vpci_function_ops *ops)
{
    memset(function, 0, sizeof(*function));
    function->ops = ops;
    function->capability_end = PCI_HEADER_END;
    spin_init(&function->lock, RANK_VPCI_FUNCTION, "vpci function");
    vpci_config_put(function, PCI_VENDOR, 2, identity->vendor);
    vpci_config_put(function, PCI_DEVICE, 2, identity->device);
    vpci_config_put(function, PCI_CLASS, 4, identity->class_code << 8 | identity->revision);
    vpci_config_put(function, PCI_SUBSYSTEM_VENDOR, 2, identity->subsystem_vendor);
    vpci_config_put(function, PCI_SUBSYSTEM, 2, identity->subsystem);
    vpci_config_set_writable(function, PCI_COMMAND, 2,
                             PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
}

void vpci_function_add_bar(struct vpci_function *function, unsigned number, uint64_t bytes,
                           bool wide, const struct bus_range *range)
{
    struct vpci_bar *bar = &function->bar[number];
    unsigned reg = PCI_BAR0 + 4 * number;

    ASSERT(number + wide < PCI_BARS && (bytes & (bytes - 1)) == 0 && bytes > PCI_BAR_FLAGS);
    bar->bytes = bytes;
    bar->wide = wide;
    bar->range = *range;
    vpci_config_set_writable(function, reg, 4, ~(uint32_t)(bytes - 1));
    vpci_config_put(function, reg, 4, wide ? PCI_BAR_TYPE_64 : 0);
    if (wide) {
        vpci_config_set_writable(function, reg + 4, 4, (uint32_t)(~(bytes - 1) >> 32));
    }
}

unsigned vpci_function_add_capability(struct vpci_function *function, uint8_t id, unsigned bytes)
{
    unsigned at = function->capability_end;

    ASSERT(at + bytes <= PCI_CONFIG_BYTES);
    if (function->capability == 0) {
        function->config[PCI_CAPABILITIES] = (uint8_t)at;
        function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    } else {
        function->config[function->capability + 1] = (uint8_t)at;
    }
    function->config[at] = id;
    function->capability = at;
    function->capability_end = (unsigned)ALIGN_UP(at + bytes, 4);
    return at;
}

bool vpci_function_add_msix(struct vpci_function *function, unsigned bar, unsigned vectors)
{
    const struct bus_range range = {
        .ops = &vpci_msix_ops, .owner = function, .lock = &function->lock};
    unsigned at = vpci_function_add_capability(function, PCI_CAP_MSIX, PCI_MSIX_BYTES);

    ASSERT(vectors > 0 && vectors <= VPCI_VECTORS_MAX);
    function->msix.entry = calloc(vectors, sizeof(function->msix.entry[0]));
    if (function->msix.entry == NULL) {
        return false;
    }
    function->msix.vectors = vectors;
    function->msix.capability = at;
    vpci_config_put(function, at + PCI_MSIX_CONTROL, 2, vectors - 1);
    vpci_config_set_writable(function, at + PCI_MSIX_CONTROL, 2,
                             PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    vpci_config_put(function, at + PCI_MSIX_TABLE, 4, bar);
    vpci_config_put(function, at + PCI_MSIX_PENDING, 4, VPCI_MSIX_BYTES / 2 | bar);
    vpci_function_add_bar(function, bar, VPCI_MSIX_BYTES, false, &range);
    return true;
}

void vpci_function_add_reset(struct vpci_function *function)
{
    unsigned at = vpci_function_add_capability(function, PCI_CAP_AF, PCI_AF_BYTES);

    function->config[at + PCI_AF_LENGTH] = PCI_AF_BYTES;
    function->config[at + PCI_AF_CAPABILITY] = PCI_AF_PENDING | PCI_AF_FLR;
    function->af = at;
}

void vpci_function_add_pin(struct vpci_function *function)
{
    function->config[PCI_INTERRUPT_PIN] = 1;
    function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void vpci_function_destroy(struct vpci_function *function)
{
    free(function->msix.entry);
    function->msix.entry = NULL;
    function->msix.vectors = 0;
}
