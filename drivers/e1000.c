/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel's 82540EM and 82574L, by legacy descriptors, each with a buffer of its own.
 *
 *     receive    taken ->|<- the hardware has these ... ->|<- one that it never has
 *                       head                             tail
 *     transmit   free    |<- the hardware has these ... ->|    free
 *                      clean                             tail
 */
#include "arch/x86/hw/e1000.h"

#include <string.h>

#include "base/log.h"
#include "drivers/nic.h"
#include "drivers/platform.h"

#define NEXT(i)    (((i) + 1) & (NIC_BUFFERS - 1))
#define INTERRUPTS (E1000_INT_RXT0 | E1000_INT_RXO | E1000_INT_RXDMT0)
#define EEPROM_NS  20000000ull
#define POLL_US    10u
#define INTERVAL   195u /* of 256 ns: 20,000 interrupts a second */

struct e1000 {
    struct nic nic;
    volatile uint8_t *registers;
    struct e1000_rx_descriptor *rx;
    struct e1000_tx_descriptor *tx;
    uint8_t *rx_buffer, *tx_buffer; /* NIC_BUFFERS of them */
    hpa_t rx_address, tx_address, rx_buffer_address, tx_buffer_address;
    unsigned rx_head;
    bool rx_skip; /* until the end of a frame whose beginning was dropped */
    unsigned tx_clean, tx_tail;
};

/* Memory of a device, in one piece: struct e1000 | descriptors | buffers. */
#define RX_OFFSET        PAGE_SIZE
#define TX_OFFSET        (PAGE_SIZE + 2048)
#define RX_BUFFER_OFFSET (2 * PAGE_SIZE)
#define TX_BUFFER_OFFSET (RX_BUFFER_OFFSET + NIC_BUFFERS * NIC_BUFFER_BYTES)
#define DEVICE_BYTES     (TX_BUFFER_OFFSET + NIC_BUFFERS * NIC_BUFFER_BYTES)
#define RING_BYTES       (NIC_BUFFERS * 16)
_Static_assert(RX_OFFSET + RING_BYTES <= TX_OFFSET && TX_OFFSET + RING_BYTES <= RX_BUFFER_OFFSET,
               "both rings fit a page");
_Static_assert(RING_BYTES % 128 == 0, "8254x SDM 13.4.27 \"Receive Descriptor Length\"");

static struct e1000 *e1000_of(const struct nic *nic)
{
    return (struct e1000 *)(uintptr_t)nic; /* its first member */
}

static uint32_t get(const struct e1000 *e, unsigned offset)
{
    return *(volatile uint32_t *)(e->registers + offset);
}

static void put(struct e1000 *e, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(e->registers + offset) = value;
}

/* ---- frames ---- */

static bool e1000_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    struct e1000 *e = e1000_of(nic);
    unsigned at = e->tx_tail;
    uint32_t bytes;

    if (NEXT(at) == e->tx_clean) {
        return false;
    }
    bytes = nic_gather(e->tx_buffer + at * NIC_BUFFER_BYTES, pieces, count);
    e->tx[at] = (struct e1000_tx_descriptor){
        .address = e->tx_buffer_address.v + at * NIC_BUFFER_BYTES,
        .bytes = (uint16_t)bytes,
        .command = E1000_TX_EOP | E1000_TX_IFCS | E1000_TX_RS,
    };
    e->tx_tail = NEXT(at);
    /* Release: the descriptor is in memory before the tail that covers it. */
    atomic_thread_fence(memory_order_release);
    put(e, E1000_TDT, e->tx_tail);
    return true;
}

static int e1000_reap(struct nic *nic)
{
    struct e1000 *e = e1000_of(nic);
    int back = 0;

    while (e->tx_clean != e->tx_tail &&
           (__atomic_load_n(&e->tx[e->tx_clean].status, __ATOMIC_ACQUIRE) & E1000_TX_DD)) {
        e->tx_clean = NEXT(e->tx_clean);
        back++;
    }
    return back;
}

/* Acquire: what else the descriptor says is read after this. */
static uint8_t rx_status(const struct e1000 *e)
{
    return __atomic_load_n(&e->rx[e->rx_head].status, __ATOMIC_ACQUIRE);
}

static bool e1000_pending(const struct nic *nic)
{
    return (rx_status(e1000_of(nic)) & E1000_RX_DD) != 0;
}

/* Shows what the descriptor at the head has.  A frame that it does not end is too long for us. */
static void show(struct e1000 *e, uint8_t status)
{
    const struct e1000_rx_descriptor *d = &e->rx[e->rx_head];
    bool end = (status & E1000_RX_EOP) != 0;
    bool whole = end && !e->rx_skip && d->errors == 0;

    if (end || !e->rx_skip) {
        nic_received(&e->nic, whole ? e->rx_buffer + e->rx_head * NIC_BUFFER_BYTES : NULL,
                     d->bytes);
    }
    e->rx_skip = !end;
}

static bool e1000_receive(struct nic *nic, unsigned most)
{
    struct e1000 *e = e1000_of(nic);
    unsigned taken = 0;
    uint8_t status;

    while (taken < most && ((status = rx_status(e)) & E1000_RX_DD)) {
        show(e, status);
        e->rx[e->rx_head].status = 0;
        e->rx_head = NEXT(e->rx_head);
        taken++;
    }
    if (taken != 0) {
        /* Release: they are cleared before the hardware has them again. */
        atomic_thread_fence(memory_order_release);
        put(e, E1000_RDT, (e->rx_head - 1) & (NIC_BUFFERS - 1));
    }
    return true;
}

static void e1000_interrupts(struct nic *nic, bool on)
{
    put(e1000_of(nic), on ? E1000_IMS : E1000_IMC, INTERRUPTS);
}

static bool e1000_link(struct nic *nic)
{
    return (get(e1000_of(nic), E1000_STATUS) & E1000_STATUS_LU) != 0;
}

/* ---- start: 8254x SDM, 14.3 "General Configuration" to 14.5 "Transmit Initialization" ---- */

/* Acknowledge and note it: the main loop looks at the descriptors soon after. */
static void e1000_interrupt(void *owner)
{
    (void)get(owner, E1000_ICR);
}

static void e1000_reset_begin(struct nic *nic)
{
    struct e1000 *e = e1000_of(nic);

    put(e, E1000_IMC, ~0u);
    put(e, E1000_RCTL, 0);
    put(e, E1000_TCTL, 0);
    put(e, E1000_CTRL, get(e, E1000_CTRL) | E1000_CTRL_RST);
}

static bool e1000_reset_done(struct nic *nic)
{
    return (get(e1000_of(nic), E1000_CTRL) & E1000_CTRL_RST) == 0;
}

static void put_address(struct e1000 *e, unsigned offset, hpa_t address)
{
    put(e, offset, (uint32_t)address.v);
    put(e, offset + 4, (uint32_t)(address.v >> 32));
}

static void start_receiving(struct e1000 *e)
{
    for (unsigned i = 0; i < NIC_BUFFERS; i++) {
        e->rx[i] = (struct e1000_rx_descriptor){
            .address = e->rx_buffer_address.v + i * NIC_BUFFER_BYTES,
        };
    }
    e->rx_head = 0;
    e->rx_skip = false;
    for (unsigned i = 0; i < E1000_MTA_WORDS; i++) {
        put(e, E1000_MTA + 4 * i, 0);
    }
    put_address(e, E1000_RDBAL, e->rx_address);
    put(e, E1000_RDLEN, RING_BYTES);
    put(e, E1000_RDTR, 0);
    put(e, E1000_RDH, 0);
    put(e, E1000_RDT, 0);
    put(e, E1000_RCTL,
        E1000_RCTL_EN | E1000_RCTL_UPE | E1000_RCTL_MPE | E1000_RCTL_BAM | E1000_RCTL_SECRC);
    put(e, E1000_RDT, NIC_BUFFERS - 1);
}

static void start_sending(struct e1000 *e)
{
    memset(e->tx, 0, RING_BYTES);
    e->tx_clean = e->tx_tail = 0;
    put_address(e, E1000_TDBAL, e->tx_address);
    put(e, E1000_TDLEN, RING_BYTES);
    put(e, E1000_TDH, 0);
    put(e, E1000_TDT, 0);
    put(e, E1000_TIDV, 0);
    put(e, E1000_TIPG, E1000_TIPG_COPPER);
    put(e, E1000_TCTL, E1000_TCTL_EN | E1000_TCTL_PSP | E1000_TCTL_CT | E1000_TCTL_COLD);
}

/* All ones: nobody answers any more. */
static bool e1000_start(struct nic *nic)
{
    struct e1000 *e = e1000_of(nic);

    if (get(e, E1000_STATUS) == ~0u) {
        return false;
    }
    put(e, E1000_IMC, ~0u);
    (void)get(e, E1000_ICR);
    put(e, E1000_CTRL, get(e, E1000_CTRL) | E1000_CTRL_SLU | E1000_CTRL_ASDE);
    start_receiving(e);
    start_sending(e);
    if (!nic->polled) {
        put(e, E1000_ITR, INTERVAL);
        e1000_interrupts(nic, true);
    }
    return true;
}

static const struct nic_ops e1000_ops = {
    .send = e1000_send,
    .reap = e1000_reap,
    .pending = e1000_pending,
    .receive = e1000_receive,
    .interrupts = e1000_interrupts,
    .link = e1000_link,
    .reset_begin = e1000_reset_begin,
    .reset_done = e1000_reset_done,
    .start = e1000_start,
};

/* ---- probe ---- */

static void give_memory(struct e1000 *e, uint8_t *base, hpa_t memory)
{
    e->rx = (struct e1000_rx_descriptor *)(void *)(base + RX_OFFSET);
    e->tx = (struct e1000_tx_descriptor *)(void *)(base + TX_OFFSET);
    e->rx_buffer = base + RX_BUFFER_OFFSET;
    e->tx_buffer = base + TX_BUFFER_OFFSET;
    e->rx_address = hpa(memory.v + RX_OFFSET);
    e->tx_address = hpa(memory.v + TX_OFFSET);
    e->rx_buffer_address = hpa(memory.v + RX_BUFFER_OFFSET);
    e->tx_buffer_address = hpa(memory.v + TX_BUFFER_OFFSET);
}

/* Boot only: waits until a register has all of the bits. */
static bool wait_for(struct e1000 *e, unsigned offset, uint32_t bits)
{
    uint64_t deadline = platform_clock_ns() + EEPROM_NS;

    while ((get(e, offset) & bits) != bits) {
        if (platform_clock_ns() >= deadline) {
            return false;
        }
        platform_delay_us(POLL_US);
    }
    return true;
}

static bool read_eeprom(struct e1000 *e, unsigned word, uint16_t *value)
{
    bool newer = e->nic.pci->device == E1000_82574L;

    put(e, E1000_EERD,
        E1000_EERD_START | word << (newer ? E1000_EERD_SHIFT_82574 : E1000_EERD_ADDRESS_SHIFT));
    if (!wait_for(e, E1000_EERD, newer ? E1000_EERD_DONE_82574 : E1000_EERD_DONE)) {
        return false;
    }
    *value = (uint16_t)(get(e, E1000_EERD) >> 16);
    return true;
}

/* A reset has put it into the first filter, or it is only in the EEPROM (Bochs). */
static bool read_mac(struct e1000 *e)
{
    bool valid = wait_for(e, E1000_RAH0, E1000_RAH_AV);
    uint64_t address = get(e, E1000_RAL0) | (uint64_t)get(e, E1000_RAH0) << 32;

    for (unsigned i = 0; i < NIC_MAC_BYTES; i += 2) {
        uint16_t word = (uint16_t)(address >> 8 * i);

        if (!valid && !read_eeprom(e, E1000_EEPROM_MAC + i / 2, &word)) {
            return false;
        }
        e->nic.mac[i] = (uint8_t)word;
        e->nic.mac[i + 1] = (uint8_t)(word >> 8);
    }
    return true;
}

/* NULL, or what is missing.  The 82540EM has no MSI that works: it is polled. */
static const char *device_start(struct e1000 *e, struct pci_device *pci)
{
    int vector = -1;

    pci_enable(pci);
    e->registers = pci_bar_map(pci, 0, 0, E1000_REGISTER_BYTES);
    if (!e->registers) {
        return "its registers cannot be mapped";
    }
    if (!nic_reset_and_wait(&e->nic)) {
        return "it does not reset";
    }
    if (!read_mac(e)) {
        return "its EEPROM cannot be read";
    }
    if (pci->device == E1000_82574L) {
        vector = platform_irq_alloc(0, e1000_interrupt, e);
    }
    e->nic.polled = vector < 0 || !pci_msi_route(pci, vector);
    return e1000_start(&e->nic) ? NULL : "it does not answer";
}

struct nic *e1000_probe(struct pci_device *pci)
{
    uint8_t *base;
    struct e1000 *e;
    const char *missing;
    hpa_t memory;

    if (pci->vendor != E1000_VENDOR ||
        (pci->device != E1000_82540EM && pci->device != E1000_82574L)) {
        return NULL;
    }
    base = platform_dma_alloc(DEVICE_BYTES, &memory);
    if (!base) {
        return nic_leave_out(pci, "no memory for its buffers");
    }
    e = (struct e1000 *)(void *)base;
    e->nic.ops = &e1000_ops;
    e->nic.pci = pci;
    e->nic.model = pci->device == E1000_82574L ? "82574L" : "82540EM";
    give_memory(e, base, memory);
    missing = device_start(e, pci);
    if (missing) {
        /* Its memory stays: a frame, or an interrupt, may be under way. */
        pci_master_disable(pci);
        return nic_leave_out(pci, missing);
    }
    return &e->nic;
}
