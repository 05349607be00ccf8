/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/pci/vpci.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "hv/vdev/irq/lines.h"

#define DATA_PORTS 4

#define ADDRESS_BUS      BITS(23, 16)
#define ADDRESS_FUNCTION BITS(15, 8)
#define ADDRESS_REGISTER BITS(7, 2)
#define ADDRESS_KEPT     (PCI_ADDRESS_ENABLE | ADDRESS_BUS | ADDRESS_FUNCTION | ADDRESS_REGISTER)

#define ECAM_FUNCTION BITS(19, 12)
#define ECAM_REGISTER BITS(11, 0)

static const struct vpci_identity bridge_identity = {
    .vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000}; /* a generic host bridge */

/* ---- where BARs are; the bus's lock is held ---- */

static void take_bar(struct vpci *pci, struct vpci_function *function, unsigned number)
{
    struct vpci_bar *bar = &function->bar[number];
    uint64_t address;

    if (bar->placed && (!vpci_bar_wanted(function, number, &address) || address != bar->at)) {
        bus_remove(pci->memory, &bar->range);
        bar->placed = false;
    }
}

static void put_bar(struct vpci *pci, struct vpci_function *function, unsigned number)
{
    struct vpci_bar *bar = &function->bar[number];
    uint64_t address;

    if (!bar->placed && vpci_bar_wanted(function, number, &address)) {
        bar->placed = bus_add(pci->memory, &bar->range, address, bar->bytes);
        bar->at = address;
    }
}

static void for_each_bar(struct vpci *pci,
                         void (*call)(struct vpci *pci, struct vpci_function *function,
                                      unsigned number))
{
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        for (unsigned bar = 0; pci->function[i] != NULL && bar < PCI_BARS; bar++) {
            call(pci, pci->function[i], bar);
        }
    }
}

/* All that move go first, so that those that change places find room; one that had none may have
 * some now. */
static void place_bars(struct vpci *pci)
{
    for_each_bar(pci, take_bar);
    for_each_bar(pci, put_bar);
}

/* ---- configuration ---- */

/* Nobody answers: all ones. */
static enum bus_result config_access(struct vpci *pci, struct bus_access *access, uint8_t devfn,
                                     unsigned reg)
{
    struct vpci_function *function = pci->function[devfn];
    enum bus_result result;
    bool moved = false;

    if (function == NULL) {
        access->value = UINT64_MAX;
        return BUS_DONE;
    }
    if (!access->write) {
        return vpci_config_read(function, access, reg);
    }
    result = vpci_config_write(function, access, reg, &moved);
    if (moved) {
        place_bars(pci);
    }
    return result;
}

static enum bus_result access_ecam(struct bus_access *access)
{
    return config_access(access->range->owner, access,
                         (uint8_t)FIELD_GET(ECAM_FUNCTION, access->offset),
                         (unsigned)FIELD_GET(ECAM_REGISTER, access->offset));
}

/* The ports reach one word: bytes of an access that lie behind it float. */
static enum bus_result access_data(struct bus_access *access)
{
    struct vpci *pci = access->range->owner;
    unsigned lane = (unsigned)access->offset, size = access->size;
    enum bus_result result;

    if (!(pci->address & PCI_ADDRESS_ENABLE) || FIELD_GET(ADDRESS_BUS, pci->address) != 0) {
        return BUS_NOBODY;
    }
    access->size = MIN(size, DATA_PORTS - lane);
    result = config_access(pci, access, (uint8_t)FIELD_GET(ADDRESS_FUNCTION, pci->address),
                           (unsigned)(pci->address & ADDRESS_REGISTER) + lane);
    if (access->size < size) {
        access->value |= UINT64_MAX << (8 * access->size);
    }
    access->size = size;
    return result;
}

static enum bus_result read_address(struct bus_access *access)
{
    const struct vpci *pci = access->range->owner;

    access->value = pci->address;
    return access->size == 4 ? BUS_DONE : BUS_NOBODY;
}

static enum bus_result write_address(struct bus_access *access)
{
    struct vpci *pci = access->range->owner;

    if (access->size != 4) {
        return BUS_NOBODY;
    }
    pci->address = (uint32_t)(access->value & ADDRESS_KEPT);
    return BUS_DONE;
}

static const struct bus_ops address_ops = {.read = read_address, .write = write_address};
static const struct bus_ops data_ops = {.read = access_data, .write = access_data};
static const struct bus_ops ecam_ops = {.read = access_ecam, .write = access_ecam};

/* ---- life ---- */

/* As firmware does: each at its own size, in the order in which they come. */
static void choose_power_on(struct vpci *pci, struct vpci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct vpci_bar *bar = &function->bar[i];

        if (bar->bytes != 0) {
            bar->power_on = ALIGN_UP(pci->window, bar->bytes);
            pci->window = bar->power_on + bar->bytes;
        }
    }
    ASSERT(pci->window <= VPCI_WINDOW_END);
}

void vpci_attach(struct vpci *pci, struct vpci_function *function, uint8_t devfn)
{
    function->vm = pci->vm;
    function->lines = pci->lines;
    function->devfn = devfn;
    if (function->config[PCI_INTERRUPT_PIN] != 0) {
        function->config[PCI_INTERRUPT_LINE] = (uint8_t)lines_pci_irq(devfn);
    }
    memcpy(function->power_on, function->config, sizeof(function->config));
    spin_lock(&pci->lock);
    choose_power_on(pci, function);
    pci->function[devfn] = function;
    if ((devfn & 7) != 0 && pci->function[devfn & ~7u] != NULL) {
        pci->function[devfn & ~7u]->power_on[PCI_HEADER] |= PCI_HEADER_MULTI;
        pci->function[devfn & ~7u]->config[PCI_HEADER] |= PCI_HEADER_MULTI;
    }
    vpci_function_reset(function, true);
    spin_unlock(&pci->lock);
}

void vpci_detach(struct vpci *pci, struct vpci_function *function)
{
    spin_lock(&pci->lock);
    vpci_function_reset(function, true);
    place_bars(pci); /* power-on: its BARs are disabled */
    pci->function[function->devfn] = NULL;
    spin_unlock(&pci->lock);
}

void vpci_reset(struct vpci *pci)
{
    spin_lock(&pci->lock);
    pci->address = 0;
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        if (pci->function[i] != NULL) {
            vpci_function_reset(pci->function[i], true);
        }
    }
    place_bars(pci);
    spin_unlock(&pci->lock);
}

static struct bus_range range(struct vpci *pci, const struct bus_ops *ops)
{
    return (struct bus_range){.ops = ops, .owner = pci, .lock = &pci->lock};
}

bool vpci_init(struct vpci *pci, struct vm *vm, struct lines *lines, struct bus_map *ports,
               struct bus_map *memory)
{
    static const struct vpci_function_ops bridge_ops = {0};

    spin_init(&pci->lock, RANK_VPCI, "vpci");
    pci->vm = vm;
    pci->lines = lines;
    pci->memory = memory;
    pci->window = VPCI_WINDOW_BASE;
    vpci_function_init(&pci->bridge, &bridge_identity, &bridge_ops);
    vpci_attach(pci, &pci->bridge, 0);
    pci->address_range = range(pci, &address_ops);
    pci->data_range = range(pci, &data_ops);
    pci->ecam_range = range(pci, &ecam_ops);
    return bus_add(ports, &pci->address_range, IOPORT_PCI_ADDRESS, 1) &&
           bus_add(ports, &pci->data_range, IOPORT_PCI_DATA, DATA_PORTS) &&
           bus_add(memory, &pci->ecam_range, VPCI_ECAM_BASE, VPCI_ECAM_BYTES);
}
