/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual I/O Device (VIRTIO) Version 1.2, 5.5 "Traditional Memory Balloon Device": numbers and
 * layouts. */
#ifndef SPILLWAY_ARCH_X86_HW_VIRTIO_BALLOON_H
#define SPILLWAY_ARCH_X86_HW_VIRTIO_BALLOON_H

#include <stddef.h>

#include "base/bits.h"

/* 5.5.2 "Virtqueues". */
enum virtio_balloon_queue {
    VIRTIO_BALLOON_INFLATE,
    VIRTIO_BALLOON_DEFLATE,
    VIRTIO_BALLOON_STATS,
    VIRTIO_BALLOON_FREE_PAGES,
    VIRTIO_BALLOON_REPORTING,
    VIRTIO_BALLOON_QUEUES,
};

/* 5.5.3 "Feature bits". */
#define VIRTIO_BALLOON_F_STATS          BIT(1)
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM BIT(2)
#define VIRTIO_BALLOON_F_PAGE_POISON    BIT(4)
#define VIRTIO_BALLOON_F_PAGE_REPORTING BIT(5)

/* Pages are named by 32 bits, in units of 4 KiB, whatever the guest's pages are. */

/* 5.5.4 "Device configuration layout". */
struct virtio_balloon_config {
    uint32_t pages;  /* that the device wants */
    uint32_t actual; /* that it has got; written by the driver, as is poison */
    uint32_t free_page_command;
    uint32_t poison;
};
_Static_assert(sizeof(struct virtio_balloon_config) == 16, "virtio_balloon_config");

/* 5.5.6.3 "Memory Statistics". */
struct virtio_balloon_stat {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_balloon_stat) == 10, "virtio_balloon_stat");

/* 5.5.6.4 "Memory Statistics Tags"; bytes. */
#define VIRTIO_BALLOON_STAT_FREE      4
#define VIRTIO_BALLOON_STAT_AVAILABLE 6
#define VIRTIO_BALLOON_STAT_CACHES    7

#endif
