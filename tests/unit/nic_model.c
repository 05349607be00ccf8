/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nic_model.h"

#include <stdlib.h>
#include <string.h>

#include "arch/x86/hw/e1000.h"
#include "arch/x86/hw/virtio_net.h"
#include "drivers/platform.h"
#include "drivers/virtio_pci.h"
#include "tests/unit/disk_machine.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())
#define HEADER      sizeof(struct virtio_net_header)

struct vqueue {
    uint16_t size, seen, used_index;
    struct virtio_descriptor *descriptors;
    struct virtio_avail *avail;
    struct virtio_used *used;
    volatile uint16_t notify;
};

struct device {
    struct model_nic seen;
    struct pci_device pci;
    bool resetting;
    uint64_t reset_at; /* when it ends */
    /* virtio */
    uint8_t config[8];
    bool running;
    struct vqueue queue[2];
    /* e1000 */
    _Alignas(4096) uint8_t registers[E1000_REGISTER_BYTES];
};

static struct device *devices;

struct model_nic *model_nic(unsigned number)
{
    return &devices[number].seen;
}

void model_mac(unsigned number, uint8_t mac[NIC_MAC_BYTES])
{
    static const uint8_t of_all[NIC_MAC_BYTES] = {0x52, 0x54, 0x00, 0xab, 0xcd, 0};

    memcpy(mac, of_all, NIC_MAC_BYTES);
    mac[5] = (uint8_t)(0xe0 + number);
}

static void keep(struct device *d, const void *frame, uint32_t bytes)
{
    unsigned at = d->seen.sent++ % MODEL_KEPT;

    CHECK(bytes <= NIC_FRAME_MAX);
    memcpy(d->seen.frame[at], frame, bytes);
    d->seen.bytes[at] = bytes;
}

static void reset_begins(struct device *d)
{
    d->resetting = true;
    d->reset_at = platform_clock_ns() + d->seen.reset_ns;
    d->seen.resets++;
}

static bool reset_is_over(struct device *d)
{
    d->resetting = d->resetting && platform_clock_ns() < d->reset_at;
    return !d->resetting;
}

/* ---- the bus ---- */

static struct device *device_of(const struct pci_device *pci)
{
    return CONTAINER_OF((struct pci_device *)(uintptr_t)pci, struct device, pci);
}

struct pci_device *pci_next(struct pci_device *previous)
{
    struct device *next = previous ? device_of(previous) + 1 : devices;

    return next < devices + MODEL_NICS ? &next->pci : NULL;
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    CHECK(index == 0 && offset == 0 && bytes <= E1000_REGISTER_BYTES);
    return device_of(dev)->registers;
}

void pci_enable(const struct pci_device *dev)
{
    (void)dev;
}

void pci_master_disable(const struct pci_device *dev)
{
    device_of(dev)->seen.master_off = true;
}

bool pci_msix_enable(struct pci_device *dev)
{
    (void)dev;
    return true;
}

bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector)
{
    (void)dev;
    return entry == 0 && vector >= 0;
}

bool pci_msi_route(struct pci_device *dev, int vector)
{
    return dev->device == E1000_82574L && vector >= 0;
}

/* ---- virtio, in place of drivers/virtio_pci.c ---- */

bool virtio_pci_map(struct virtio_pci *v, struct pci_device *pci)
{
    v->pci = pci;
    v->config = device_of(pci)->config;
    v->config_bytes = sizeof(devices->config);
    return true;
}

void virtio_pci_reset_begin(struct virtio_pci *v)
{
    struct device *d = device_of(v->pci);

    memset(d->queue, 0, sizeof(d->queue));
    d->running = false;
    reset_begins(d);
}

bool virtio_pci_reset_done(const struct virtio_pci *v)
{
    return reset_is_over(device_of(v->pci));
}

bool virtio_pci_negotiate(struct virtio_pci *v, uint64_t wanted, uint64_t *features)
{
    CHECK(!device_of(v->pci)->resetting);
    *features = (wanted & (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS)) | VIRTIO_F_VERSION_1;
    return true;
}

uint16_t virtio_pci_queue_size(struct virtio_pci *v, unsigned index)
{
    (void)v;
    return index < 2 ? 64 : 0;
}

volatile uint16_t *virtio_pci_queue_enable(struct virtio_pci *v, unsigned index, uint16_t size,
                                           const hpa_t parts[3], uint16_t vector, bool *has_vector)
{
    struct vqueue *q = &device_of(v->pci)->queue[index];

    q->size = size;
    q->descriptors = (void *)(uintptr_t)parts[0].v;
    q->avail = (void *)(uintptr_t)parts[1].v;
    q->used = (void *)(uintptr_t)parts[2].v;
    *has_vector = vector != VIRTIO_NO_VECTOR;
    return &q->notify;
}

void virtio_pci_run(struct virtio_pci *v)
{
    device_of(v->pci)->running = true;
    device_of(v->pci)->seen.starts++;
}

static void use(struct vqueue *q, uint32_t id, uint32_t bytes)
{
    q->used->ring[q->used_index++ % q->size] = (struct virtio_used_entry){id, bytes};
    q->used->index = q->used_index;
}

static void virtio_sends(struct device *d)
{
    struct vqueue *q = &d->queue[1];

    while (d->running && !d->seen.lose && q->seen != q->avail->index) {
        uint16_t head = q->avail->ring[q->seen++ % q->size];
        const uint8_t *at = (const uint8_t *)(uintptr_t)q->descriptors[head].address;

        CHECK(q->descriptors[head].flags == 0 && q->descriptors[head].bytes > HEADER);
        for (unsigned i = 0; i < HEADER; i++) {
            CHECK(at[i] == 0); /* nothing is left to the device */
        }
        keep(d, at + HEADER, q->descriptors[head].bytes - (uint32_t)HEADER);
        use(q, head, 0);
    }
}

static bool virtio_arrives(struct device *d, const struct model_arrival *a)
{
    struct vqueue *q = &d->queue[0];

    if (!d->running || q->seen == q->avail->index) {
        return false;
    }
    uint16_t head = q->avail->ring[q->seen++ % q->size];
    struct virtio_descriptor *descriptor = &q->descriptors[head];

    CHECK(descriptor->flags == VIRTIO_DESC_WRITE && descriptor->bytes >= HEADER + a->bytes);
    memcpy((uint8_t *)(uintptr_t)descriptor->address + HEADER, a->data, a->bytes);
    use(q, head, a->says);
    return true;
}

/* ---- 8254x ---- */

static volatile uint32_t *reg(struct device *d, unsigned offset)
{
    return (volatile uint32_t *)(void *)(d->registers + offset);
}

static void *pointer(struct device *d, unsigned offset)
{
    return (void *)(uintptr_t)(*reg(d, offset) | (uint64_t)*reg(d, offset + 4) << 32);
}

static void e1000_sends(struct device *d)
{
    struct e1000_tx_descriptor *ring = pointer(d, E1000_TDBAL);

    while ((*reg(d, E1000_TCTL) & E1000_TCTL_EN) && !d->seen.lose &&
           *reg(d, E1000_TDH) != *reg(d, E1000_TDT)) {
        struct e1000_tx_descriptor *t = &ring[*reg(d, E1000_TDH)];

        CHECK(t->command == (E1000_TX_EOP | E1000_TX_IFCS | E1000_TX_RS) && t->status == 0);
        keep(d, (const void *)(uintptr_t)t->address, t->bytes);
        t->status = E1000_TX_DD;
        *reg(d, E1000_TDH) = (*reg(d, E1000_TDH) + 1) % (*reg(d, E1000_TDLEN) / 16);
    }
}

static bool e1000_arrives(struct device *d, const struct model_arrival *a)
{
    struct e1000_rx_descriptor *r = pointer(d, E1000_RDBAL);
    uint32_t head = *reg(d, E1000_RDH);

    if (!(*reg(d, E1000_RCTL) & E1000_RCTL_EN) || head == *reg(d, E1000_RDT)) {
        return false;
    }
    r += head;
    CHECK(r->status == 0 && a->bytes <= 2048);
    memcpy((void *)(uintptr_t)r->address, a->data, a->bytes);
    r->bytes = (uint16_t)a->says;
    r->errors = a->damaged;
    r->status = a->open ? E1000_RX_DD : E1000_RX_DD | E1000_RX_EOP;
    *reg(d, E1000_RDH) = (head + 1) % (*reg(d, E1000_RDLEN) / 16);
    return true;
}

static void e1000_reads_eeprom(struct device *d)
{
    uint32_t order = *reg(d, E1000_EERD);

    if (order & E1000_EERD_START) {
        uint16_t word;

        CHECK(order >> E1000_EERD_ADDRESS_SHIFT < 3);
        memcpy(&word, d->config + 2 * (order >> E1000_EERD_ADDRESS_SHIFT), sizeof(word));
        *reg(d, E1000_EERD) = (uint32_t)word << 16 | E1000_EERD_DONE;
    }
}

/* A reset shows when time passes. */
static void e1000_resets(struct device *d)
{
    if ((*reg(d, E1000_CTRL) & E1000_CTRL_RST) && !d->resetting) {
        CHECK(*reg(d, E1000_RCTL) == 0 && *reg(d, E1000_TCTL) == 0);
        reset_begins(d);
    }
    if (reset_is_over(d) && (*reg(d, E1000_CTRL) & E1000_CTRL_RST)) {
        *reg(d, E1000_CTRL) = 0;
        *reg(d, E1000_RDH) = *reg(d, E1000_TDH) = 77;
        d->seen.starts++;
    }
}

/* ---- all of them ---- */

static void device_work(struct device *d)
{
    bool virtio = d->pci.vendor == VIRTIO_VENDOR;

    d->config[VIRTIO_NET_CONFIG_STATUS] = d->seen.link;
    *reg(d, E1000_STATUS) = d->seen.link ? E1000_STATUS_LU : 0;
    if (!virtio) {
        e1000_resets(d);
        e1000_reads_eeprom(d);
    }
    if (d->resetting) {
        return;
    }
    if (virtio) {
        virtio_sends(d);
    } else {
        e1000_sends(d);
    }
}

static void work(void)
{
    for (unsigned i = 0; i < MODEL_NICS; i++) {
        device_work(&devices[i]);
    }
}

bool model_arrive(unsigned number, const struct model_arrival *arrival)
{
    struct device *d = &devices[number];

    return !d->resetting && (d->pci.vendor == VIRTIO_VENDOR ? virtio_arrives(d, arrival)
                                                            : e1000_arrives(d, arrival));
}

bool model_frame(unsigned number, const void *data, uint32_t bytes)
{
    struct model_arrival arrival = {data, bytes, bytes, false, false};

    arrival.says += number == MODEL_VIRTIO ? (uint32_t)HEADER : 0;
    return model_arrive(number, &arrival);
}

void model_nonsense(unsigned number)
{
    struct device *d = &devices[number];

    CHECK(number == MODEL_VIRTIO);
    if (d->running) {
        use(&d->queue[0], 0xdeadbeef, 100);
    }
}

bool model_masked(unsigned number)
{
    struct device *d = &devices[number];

    return number == MODEL_VIRTIO ? (d->queue[0].avail->flags & VIRTIO_AVAIL_NO_INTERRUPT) != 0
                                  : *reg(d, E1000_IMC) != ~0u; /* since its start */
}

static void device_init(unsigned number)
{
    static const uint16_t ids[MODEL_NICS][2] = {
        {VIRTIO_VENDOR, 0x1041}, {E1000_VENDOR, E1000_82540EM}, {E1000_VENDOR, E1000_82574L}};
    struct device *d = &devices[number];
    uint8_t mac[8] = {[7] = E1000_RAH_AV >> 24};
    bool filter = number != MODEL_E1000; /* that one's is in the EEPROM only */

    d->pci.vendor = ids[number][0];
    d->pci.device = ids[number][1];
    d->pci.slot = (uint8_t)number;
    d->seen.link = true;
    model_mac(number, mac);
    memcpy(d->config, mac, NIC_MAC_BYTES);
    memcpy(d->registers + E1000_RAL0, mac, filter ? sizeof(mac) : 0);
}

void model_start(unsigned fail)
{
    devices = aligned_alloc(4096, MODEL_NICS * sizeof(*devices));
    CHECK(devices != NULL);
    memset(devices, 0, MODEL_NICS * sizeof(*devices));
    for (unsigned i = 0; i < MODEL_NICS; i++) {
        device_init(i);
    }
    disk_machine_start(work);
    work();
    disk_machine_fail_dma(fail, false);
    nic_init();
}

void model_stop(void)
{
    disk_machine_stop();
    free(devices);
}
