/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual I/O Device (VIRTIO) Version 1.2, 5.3 "Console Device": numbers and layouts. */
#ifndef SPILLWAY_ARCH_X86_HW_VIRTIO_CONSOLE_H
#define SPILLWAY_ARCH_X86_HW_VIRTIO_CONSOLE_H

#include <stddef.h>

#include "base/bits.h"

/* 5.3.2 "Virtqueues": those of the one port that there is without VIRTIO_CONSOLE_F_MULTIPORT. */
enum virtio_console_queue {
    VIRTIO_CONSOLE_RECEIVE, /* what the guest reads */
    VIRTIO_CONSOLE_TRANSMIT,
    VIRTIO_CONSOLE_QUEUES,
};

/* 5.3.3 "Feature bits". */
#define VIRTIO_CONSOLE_F_EMERG_WRITE BIT(2)

/* 5.3.4 "Device configuration layout". */
struct virtio_console_config {
    uint16_t columns, rows; /* with VIRTIO_CONSOLE_F_SIZE */
    uint32_t ports_max;     /* with VIRTIO_CONSOLE_F_MULTIPORT */
    uint32_t emergency;     /* written: a character, without queues and at any time */
};
_Static_assert(sizeof(struct virtio_console_config) == 12, "virtio_console_config");

#endif
