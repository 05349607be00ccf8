/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nvme_disks.h"

void nvme_disks_start(struct nvme_model_options options)
{
    options.manual = true;
    options.queues = options.queues ? options.queues : 1;
    options.lba_shift = 9;
    nvme_model_start(&options);
}

void nvme_disks_boot(struct nvme_model_options options)
{
    nvme_disks_start(options);
    block_init();
}
