/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds without TESTDEV=1: nothing is there. */
#include "hv/vdev/testdev.h"

bool testdev_create(struct vm_devices *devices)
{
    (void)devices;
    return true;
}

void testdev_reset(struct vm_devices *devices)
{
    (void)devices;
}

void testdev_destroy(struct vm_devices *devices)
{
    (void)devices;
}
