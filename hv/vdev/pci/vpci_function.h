/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One function on a guest's PCI bus: its configuration space, its BARs, its interrupts.
 *
 *     configuration     bytes, and which of their bits the guest may write; what hangs on them
 *                       (BARs, MSI-X, reset) follows each write (vpci_config.c)
 *     BARs              ranges on the guest's bus of memory, where and while the guest wants them
 *     interrupts        MSI-X messages, or INTA (vpci_interrupt.c)
 *
 * A device is made in this order: vpci_function_init(), its BARs and capabilities,
 * vpci_attach() (hv/vdev/pci/vpci.h).  It lives as long as the bus.
 *
 * Locks: vpci->lock (RANK_VPCI) for configuration and for where BARs are; function->lock
 * (RANK_VPCI_FUNCTION) for interrupts.  A device's own lock (RANK_VDEV) lies between them: config
 * and reset handlers are called with the bus's lock held, and interrupts are asked for with the
 * device's.
 */
#ifndef SPILLWAY_HV_VDEV_PCI_VPCI_FUNCTION_H
#define SPILLWAY_HV_VDEV_PCI_VPCI_FUNCTION_H

#include "arch/x86/hw/pci.h"
#include "base/lock.h"
#include "hv/vdev/bus/bus.h"

#define VPCI_VECTORS_MAX 128 /* of a function: half a page of its BAR */
#define VPCI_MSIX_BYTES  PAGE_SIZE

struct lines;
struct vm;
struct vpci_function;

struct vpci_function_ops {
    /* An access to registers of the configuration that are the device's own; the first is `reg`.
     * BUS_NOBODY: they are not.  NULL: it has none.  The bus's lock is held. */
    enum bus_result (*config)(struct vpci_function *function, struct bus_access *access,
                              unsigned reg);
    /* The guest resets the function, or its VM does.  NULL: nothing to do.  The bus's lock is
     * held. */
    void (*reset)(struct vpci_function *function);
};

struct vpci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* class << 16 | subclass << 8 | programming interface */
    uint8_t revision;
};

/* Under the bus's lock. */
struct vpci_bar {
    uint64_t bytes; /* a power of two; 0: none */
    bool wide;      /* 64 bits: the next number is its upper half */
    uint64_t power_on;
    bool placed; /* it is on the bus of memory, ... */
    uint64_t at; /* ... there */
    struct bus_range range;
};

/* Under the function's lock. */
struct vpci_msix {
    unsigned vectors; /* 0: it has none */
    unsigned capability;
    bool enabled, masked;
    uint32_t (*entry)[PCI_MSIX_ENTRY_WORDS];
    uint64_t pending[VPCI_VECTORS_MAX / 64];
};

struct vpci_function {
    const struct vpci_function_ops *ops;
    struct vm *vm;
    struct lines *lines;
    uint8_t devfn;
    /* Under the bus's lock. */
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t writable[PCI_CONFIG_BYTES];
    uint8_t power_on[PCI_CONFIG_BYTES];
    unsigned capability, capability_end; /* the last one made, and where the next one begins */
    unsigned af;                         /* its capability; 0: none */
    struct vpci_bar bar[PCI_BARS];

    struct spinlock lock; /* what follows */
    bool master;          /* COMMAND: it may send messages */
    bool intx_disabled;   /* COMMAND */
    bool intx;            /* the device asks by INTA */
    bool line;            /* what the line has been told */
    struct vpci_msix msix;
};

/* ---- how it is made; no vCPU runs ---- */

void vpci_function_init(struct vpci_function *function, const struct vpci_identity *identity,
                        const struct vpci_function_ops *ops);
/* A BAR for memory with these handlers, of a power of two of at least 16 bytes. */
void vpci_function_add_bar(struct vpci_function *function, unsigned number, uint64_t bytes,
                           bool wide, const struct bus_range *range);
/* `bytes` with the two of its header, zero and read-only; its offset.  It fits. */
unsigned vpci_function_add_capability(struct vpci_function *function, uint8_t id, unsigned bytes);
/* MSI-X with tables in that BAR, which has VPCI_MSIX_BYTES.  False: out of memory. */
bool vpci_function_add_msix(struct vpci_function *function, unsigned bar, unsigned vectors);
/* Function level reset, by the capability of conventional PCI. */
void vpci_function_add_reset(struct vpci_function *function);
/* An interrupt pin: INTA. */
void vpci_function_add_pin(struct vpci_function *function);
/* Frees what it has; it is on no bus any more, or never was. */
void vpci_function_destroy(struct vpci_function *function);

/* Little-endian fields of the configuration. */
void vpci_config_put(struct vpci_function *function, unsigned reg, unsigned bytes, uint32_t value);
void vpci_config_set_writable(struct vpci_function *function, unsigned reg, unsigned bytes,
                              uint32_t mask);
uint32_t vpci_config_get(const struct vpci_function *function, unsigned reg, unsigned bytes);

/* ---- configuration (vpci_config.c); the bus's lock is held ---- */

/* Bytes of an access that lie in the configuration space; others read as zero. */
enum bus_result vpci_config_read(struct vpci_function *function, struct bus_access *access,
                                 unsigned reg);
/* *moved: BARs may have to be put elsewhere. */
enum bus_result vpci_config_write(struct vpci_function *function, struct bus_access *access,
                                  unsigned reg, bool *moved);
/* Where the guest wants that BAR; false: nowhere now. */
bool vpci_bar_wanted(const struct vpci_function *function, unsigned number, uint64_t *address);
/* As after power-on; `power_on`: with the addresses that firmware would have given to its BARs, as
 * against a function level reset. */
void vpci_function_reset(struct vpci_function *function, bool power_on);

/* ---- interrupts (vpci_interrupt.c); a device's lock may be held ---- */

bool vpci_msix_enabled(struct vpci_function *function);
/* Sends the message of that vector, or keeps it pending while it is masked or the function may not
 * write to memory.  A number that the table does not have is ignored. */
void vpci_msix_send(struct vpci_function *function, unsigned vector);
/* INTA, as long as MSI-X is not enabled. */
void vpci_intx_set(struct vpci_function *function, bool level);
/* Is the function allowed to access memory by itself: COMMAND? */
bool vpci_is_master(struct vpci_function *function);

/* Of vpci_config.c: COMMAND and MSI-X control have been written; what INTA would be now. */
void vpci_interrupt_control(struct vpci_function *function, uint16_t command,
                            uint16_t msix_control);
bool vpci_intx_status(struct vpci_function *function);
void vpci_interrupt_reset(struct vpci_function *function);
/* Handlers of the BAR with the tables; function->lock is the range's. */
extern const struct bus_ops vpci_msix_ops;

#endif
