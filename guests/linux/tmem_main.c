// SPDX-License-Identifier: GPL-2.0-only
/* spillway_tmem: the guest side of Spillway's tmem. */
#include <linux/module.h>

#include "tmem.h"

static int __init tmem_init(void)
{
    int error = tmem_call_discover();

    if (error) {
        return error;
    }
    error = tmem_block_init();
    if (error) {
        return error;
    }
    error = tmem_char_init();
    if (error) {
        tmem_block_exit();
    }
    return error;
}

static void __exit tmem_exit(void)
{
    tmem_char_exit();
    tmem_block_exit();
}

module_init(tmem_init);
module_exit(tmem_exit);

MODULE_DESCRIPTION("Spillway tmem: block device and ioctls over the hypervisor's page pools");
MODULE_AUTHOR("The Spillway authors");
MODULE_LICENSE("GPL v2");
MODULE_VERSION("1.0");
