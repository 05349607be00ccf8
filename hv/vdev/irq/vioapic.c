/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/irq/vioapic.h"

#include "base/log.h"
#include "hv/vdev/irq/vlapic.h"

#define VERSION (0x20u | (uint32_t)FIELD_PREP(IOAPIC_VERSION_PINS, VIOAPIC_PINS - 1))
#define ID_MASK 0x0f000000u

#define RTE_READ_ONLY (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_WRITABLE  (RTE_DESTINATION | (BITS(16, 0) & ~RTE_READ_ONLY))

/* Sends what is pending at the pin, unless masked or a level still in service. */
static void service(struct vioapic *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->redirection[pin];
    struct vlapic_message m = {
        .destination = FIELD_GET(RTE_DESTINATION, *entry),
        .vector = FIELD_GET(RTE_VECTOR, *entry),
        .delivery = FIELD_GET(RTE_DELIVERY, *entry),
        .logical = (*entry & RTE_LOGICAL) != 0,
        .level = (*entry & RTE_LEVEL) != 0,
    };
    unsigned targets;

    if (!(ioapic->irr & BIT(pin)) || (*entry & (RTE_MASKED | RTE_REMOTE_IRR))) {
        return;
    }
    if (m.delivery == DELIVERY_STARTUP || (m.delivery <= DELIVERY_LOWEST && m.vector < 16)) {
        return; /* not a message that an IOAPIC can send */
    }
    targets = vlapic_send(ioapic->vm, &m);
    if (!m.level) {
        ioapic->irr &= ~(uint32_t)BIT(pin);
    } else if (targets != 0) {
        *entry |= RTE_REMOTE_IRR;
    }
}

static void change_pin(struct vioapic *ioapic, unsigned pin, bool level)
{
    uint32_t bit = (uint32_t)BIT(pin);

    if (((ioapic->level & bit) != 0) == level) {
        return;
    }
    if (level) {
        ioapic->level |= bit;
        ioapic->irr |= bit;
        service(ioapic, pin);
    } else {
        ioapic->level &= ~bit;
        ioapic->irr &= ~bit;
    }
}

void vioapic_set_pin(struct vioapic *ioapic, unsigned pin, bool level)
{
    ASSERT(pin < VIOAPIC_PINS);
    spin_lock(&ioapic->lock);
    change_pin(ioapic, pin, level);
    spin_unlock(&ioapic->lock);
}

bool vioapic_is_open(const struct vioapic *ioapic, unsigned pin)
{
    ASSERT(pin < VIOAPIC_PINS);
    return atomic_load_explicit(&ioapic->open, memory_order_relaxed) & BIT(pin);
}

static void end_of_interrupt(struct vioapic *ioapic, unsigned pin)
{
    ioapic->redirection[pin] &= ~RTE_REMOTE_IRR;
    service(ioapic, pin);
}

static void end_vector(struct vioapic *ioapic, unsigned vector)
{
    for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++) {
        uint64_t entry = ioapic->redirection[pin];

        if ((entry & RTE_REMOTE_IRR) && FIELD_GET(RTE_VECTOR, entry) == vector) {
            end_of_interrupt(ioapic, pin);
        }
    }
}

void vioapic_eoi(struct vioapic *ioapic, unsigned vector)
{
    spin_lock(&ioapic->lock);
    end_vector(ioapic, vector);
    spin_unlock(&ioapic->lock);
}

static void show_open(struct vioapic *ioapic, unsigned pin)
{
    uint32_t bit = (uint32_t)BIT(pin);
    uint32_t open = atomic_load_explicit(&ioapic->open, memory_order_relaxed);

    open = ioapic->redirection[pin] & RTE_MASKED ? open & ~bit : open | bit;
    atomic_store_explicit(&ioapic->open, open, memory_order_relaxed);
}

static void write_redirection(struct vioapic *ioapic, unsigned pin, bool high, uint32_t value)
{
    uint64_t *entry = &ioapic->redirection[pin];
    uint64_t mask = high ? RTE_WRITABLE & BITS(63, 32) : RTE_WRITABLE & BITS(31, 0);
    uint64_t written = high ? (uint64_t)value << 32 : value;

    *entry = (*entry & ~mask) | (written & mask);
    show_open(ioapic, pin);
    if (!(*entry & RTE_LEVEL)) {
        *entry &= ~RTE_REMOTE_IRR;
    } else if (ioapic->level & BIT(pin)) {
        ioapic->irr |= (uint32_t)BIT(pin); /* a level is pending as long as it is asserted */
    }
    service(ioapic, pin);
}

static uint32_t read_window(const struct vioapic *ioapic)
{
    uint32_t index = ioapic->select;

    if (index >= IOAPIC_REDIRECTION && index < IOAPIC_REDIRECTION + 2 * VIOAPIC_PINS) {
        uint64_t entry = ioapic->redirection[(index - IOAPIC_REDIRECTION) / 2];

        return (uint32_t)(index & 1 ? entry >> 32 : entry);
    }
    switch (index) {
    case IOAPIC_ID:
    case IOAPIC_ARBITRATION:
        return ioapic->id;
    case IOAPIC_VERSION:
        return VERSION;
    default:
        return 0;
    }
}

static uint32_t read_register(const struct vioapic *ioapic, unsigned offset)
{
    switch (offset) {
    case IOAPIC_SELECT:
        return ioapic->select;
    case IOAPIC_WINDOW:
        return read_window(ioapic);
    default:
        return 0;
    }
}

static void write_register(struct vioapic *ioapic, unsigned offset, uint32_t value)
{
    uint32_t index = ioapic->select;

    switch (offset) {
    case IOAPIC_SELECT:
        ioapic->select = value & 0xff;
        break;
    case IOAPIC_WINDOW:
        if (index == IOAPIC_ID) {
            ioapic->id = value & ID_MASK;
        } else if (index >= IOAPIC_REDIRECTION && index < IOAPIC_REDIRECTION + 2 * VIOAPIC_PINS) {
            write_redirection(ioapic, (index - IOAPIC_REDIRECTION) / 2, index & 1, value);
        }
        break;
    case IOAPIC_EOI:
        end_vector(ioapic, value & 0xff);
        break;
    default:
        break;
    }
}

/* Registers are 32 bits wide at the start of 16 bytes; narrower reads get their bytes of it. */
enum bus_result vioapic_bus_read(struct bus_access *access)
{
    const struct vioapic *ioapic = access->range->owner;
    unsigned offset = (unsigned)access->offset, byte = offset & 0xf;

    access->value = byte < 4 ? read_register(ioapic, offset & 0xff0) >> (byte * 8) : 0;
    return BUS_DONE;
}

/* The select register may be written with a byte; everything else takes whole words. */
enum bus_result vioapic_bus_write(struct bus_access *access)
{
    struct vioapic *ioapic = access->range->owner;
    unsigned offset = (unsigned)access->offset, reg = offset & 0xff0;

    if ((offset & 0xf) == 0 && (access->size >= 4 || reg == IOAPIC_SELECT)) {
        write_register(ioapic, reg, (uint32_t)access->value);
    }
    return BUS_DONE;
}

void vioapic_reset(struct vioapic *ioapic)
{
    spin_lock(&ioapic->lock);
    ioapic->select = 0;
    ioapic->id = 0;
    ioapic->level = 0;
    ioapic->irr = 0;
    for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++) {
        ioapic->redirection[pin] = RTE_MASKED;
    }
    atomic_store_explicit(&ioapic->open, 0, memory_order_relaxed);
    spin_unlock(&ioapic->lock);
}

void vioapic_init(struct vioapic *ioapic, struct vm *vm, const struct bus_ops *ops)
{
    ioapic->vm = vm;
    spin_init(&ioapic->lock, RANK_VPIC, "vioapic");
    ioapic->range = (struct bus_range){.ops = ops, .owner = ioapic, .lock = &ioapic->lock};
    vioapic_reset(ioapic);
}
