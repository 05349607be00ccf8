/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/irq/lines.h"

#include <string.h>

#include "hv/guest/vm.h"
#include "hv/vdev/irq/vlapic.h"

/* ---- lines ---- */

/* After each change of the 8259s; their lock held. */
static void show_pic(struct lines *lines)
{
    bool intr = vpic_output(&lines->pic);

    atomic_store_explicit(&lines->pic_open, vpic_open(&lines->pic), memory_order_relaxed);
    atomic_store_explicit(&lines->pic_requested, vpic_requests(&lines->pic), memory_order_relaxed);
    if (intr != lines->intr) {
        lines->intr = intr;
        vlapic_set_intr(lines->vm->run.vcpu[0], intr);
    }
}

unsigned lines_pin_of(unsigned irq)
{
    return irq == LINE_PIT ? LINE_PIT_PIN : irq;
}

static void set_pic_line(struct lines *lines, unsigned irq, bool level)
{
    spin_lock(&lines->pic_lock);
    vpic_set_line(&lines->pic, irq, level);
    show_pic(lines);
    spin_unlock(&lines->pic_lock);
}

static void set_line(struct lines *lines, unsigned irq, bool level)
{
    if (((lines->level >> irq) & 1) != level) {
        lines->level ^= (uint16_t)BIT(irq);
        set_pic_line(lines, irq, level);
        vioapic_set_pin(&lines->ioapic, lines_pin_of(irq), level);
    }
}

void lines_set(struct lines *lines, unsigned irq, bool level)
{
    spin_lock(&lines->lock);
    set_line(lines, irq, level);
    spin_unlock(&lines->lock);
}

static unsigned pci_line(uint8_t devfn)
{
    return (devfn >> 3) % LINES_PCI;
}

unsigned lines_pci_irq(uint8_t devfn)
{
    return LINES_PCI_ISA + pci_line(devfn) % 2;
}

void lines_set_pci(struct lines *lines, uint8_t devfn, bool level)
{
    unsigned line = pci_line(devfn), irq = lines_pci_irq(devfn);

    spin_lock(&lines->lock);
    lines->pci[line] = (uint16_t)(lines->pci[line] + (level ? 1 : -1));
    vioapic_set_pin(&lines->ioapic, LINES_PCI_PIN + line, lines->pci[line] != 0);
    set_line(lines, irq, lines->pci[line] + lines->pci[line ^ 2] != 0);
    spin_unlock(&lines->lock);
}

uint8_t lines_acknowledge(struct lines *lines)
{
    uint8_t vector;

    spin_lock(&lines->pic_lock);
    vector = vpic_acknowledge(&lines->pic);
    show_pic(lines);
    spin_unlock(&lines->pic_lock);
    lines->settle(lines->owner);
    return vector;
}

bool lines_pic_is_open(const struct lines *lines, unsigned irq)
{
    return atomic_load_explicit(&lines->pic_open, memory_order_relaxed) & BIT(irq);
}

bool lines_pic_is_requested(const struct lines *lines, unsigned irq)
{
    return atomic_load_explicit(&lines->pic_requested, memory_order_relaxed) & BIT(irq);
}

bool lines_is_open(const struct lines *lines, unsigned irq)
{
    return lines_pic_is_open(lines, irq) || vioapic_is_open(&lines->ioapic, lines_pin_of(irq));
}

/* ---- the controllers on the buses ---- */

static void settle_around(struct bus_access *access)
{
    struct lines *lines = access->range->owner;

    lines->settle(lines->owner);
}

static uint8_t read_pic_byte(struct bus_access *access, unsigned offset)
{
    struct lines *lines = access->range->owner;

    return vpic_read(&lines->pic, (uint16_t)(access->range->first + offset));
}

static void write_pic_byte(struct bus_access *access, unsigned offset, uint8_t value)
{
    struct lines *lines = access->range->owner;

    vpic_write(&lines->pic, (uint16_t)(access->range->first + offset), value);
}

/* A read may acknowledge: the poll command. */
static enum bus_result read_pic(struct bus_access *access)
{
    bus_read_bytes(access, VPIC_PORTS, read_pic_byte);
    show_pic(access->range->owner);
    return BUS_DONE;
}

static enum bus_result write_pic(struct bus_access *access)
{
    bus_write_bytes(access, VPIC_PORTS, write_pic_byte);
    show_pic(access->range->owner);
    return BUS_DONE;
}

static const struct bus_ops pic_ops = {
    .read = read_pic, .write = write_pic, .before = settle_around, .after = settle_around};

/* Somebody may hear a timer now. */
static void settle_behind_write(struct bus_access *access)
{
    struct vioapic *ioapic = access->range->owner;
    struct lines *lines = CONTAINER_OF(ioapic, struct lines, ioapic);

    if (access->write) {
        lines->settle(lines->owner);
    }
}

static const struct bus_ops ioapic_ops = {
    .read = vioapic_bus_read, .write = vioapic_bus_write, .after = settle_behind_write};

/* ---- life ---- */

static bool attach_pic(struct lines *lines, struct bus_map *ports)
{
    static const uint16_t first[LINES_PIC_RANGES] = {VPIC_MASTER_PORT, VPIC_SLAVE_PORT,
                                                     VPIC_TRIGGER_PORT};

    for (unsigned i = 0; i < LINES_PIC_RANGES; i++) {
        lines->pic_range[i] =
            (struct bus_range){.ops = &pic_ops, .owner = lines, .lock = &lines->pic_lock};
        if (!bus_add(ports, &lines->pic_range[i], first[i], VPIC_PORTS)) {
            return false;
        }
    }
    return true;
}

bool lines_init(struct lines *lines, struct vm *vm, struct bus_map *ports, struct bus_map *memory)
{
    lines->vm = vm;
    spin_init(&lines->lock, RANK_VLINES, "lines");
    spin_init(&lines->pic_lock, RANK_VPIC, "vpic");
    vioapic_init(&lines->ioapic, vm, &ioapic_ops);
    return attach_pic(lines, ports) &&
           bus_add(memory, &lines->ioapic.range, VIOAPIC_BASE, PAGE_SIZE);
}

void lines_set_timekeeper(struct lines *lines, void (*settle)(void *owner), void *owner)
{
    lines->settle = settle;
    lines->owner = owner;
}

void lines_reset(struct lines *lines)
{
    vioapic_reset(&lines->ioapic);
    spin_lock(&lines->lock);
    lines->level = 0;
    memset(lines->pci, 0, sizeof(lines->pci));
    spin_lock(&lines->pic_lock);
    vpic_reset(&lines->pic);
    vpic_write(&lines->pic, VPIC_TRIGGER_PORT + 1, LINES_PCI_TRIGGER >> 8);
    show_pic(lines);
    spin_unlock(&lines->pic_lock);
    spin_unlock(&lines->lock);
}
