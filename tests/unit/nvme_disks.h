/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe disks with blocks of 512 bytes for tests of what is found at boot.  Each controller has a
 * queue at least, and works when a test lets time pass.
 */
#ifndef SPILLWAY_TESTS_UNIT_NVME_DISKS_H
#define SPILLWAY_TESTS_UNIT_NVME_DISKS_H

#include "drivers/block.h"
#include "tests/unit/nvme_model.h"

#define SWEPT 3 /* controllers, of two queues each, where there are several */

/* The controllers; drivers/block.h does not know them yet. */
void nvme_disks_start(struct nvme_model_options options);
/* And all that is found in them. */
void nvme_disks_boot(struct nvme_model_options options);

#endif
