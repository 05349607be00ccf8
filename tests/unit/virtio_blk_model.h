/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk devices whose registers are plain memory, in the machine of tests/unit/disk_machine.h:
 * they see what the driver has written when time passes.
 */
#ifndef SPILLWAY_TESTS_UNIT_VIRTIO_BLK_MODEL_H
#define SPILLWAY_TESTS_UNIT_VIRTIO_BLK_MODEL_H

#include "arch/x86/hw/virtio.h"
#include "drivers/platform.h"
#include "drivers/virtio_blk.h"

#define DEVICES 2
#define BLOCKS  256u
#define RING    64u

struct device {
    _Alignas(
        4096) uint8_t bar[4096]; /* common, notify, device configuration at multiples of 1 KiB */
    uint8_t config[256];
    uint8_t disk[BLOCKS * 4096];
    bool live;
    uint64_t reset_at; /* when the reset that is under way ends; 0: none is */
    uint16_t seen;     /* of the available ring */
    uint16_t used;
};

struct virtio_blk_model {
    struct device *device;
    struct pci_device pci[DEVICES];
    bool direct;         /* no indirect descriptors are offered */
    uint32_t discards;   /* sectors of one; 0: it has none */
    bool lose;           /* requests are taken and never answered */
    uint64_t reset_ns;   /* a reset takes so long */
    bool reset_too_soon; /* the driver went on before the reset was over */
    unsigned resets, masters_off;
};

extern struct virtio_blk_model model;

/* Its common configuration. */
volatile struct virtio_common *virtio_blk_model_common(struct device *d);
/* What a physical address points at. */
void *pointer(const volatile uint32_t pair[2]);
/* For disk_machine_start(): what the devices do when time has passed. */
void virtio_blk_model_work(void);
/* New devices; `direct`: no indirect descriptors are offered; sectors of a discard, 0: none. */
void virtio_blk_model_start(bool direct, uint32_t discards);
void virtio_blk_model_stop(void);

#endif
