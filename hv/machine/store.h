/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding the paging store at boot: `store` and `format` of spillway.conf. */
#ifndef SPILLWAY_HV_MACHINE_STORE_H
#define SPILLWAY_HV_MACHINE_STORE_H

#include "mm/content/store.h"

/*
 * The store, or NULL with the reason logged.  A disk that does not carry our superblock is never
 * written, unless `format = yes` names it and its first MiB is all zero.  Boot CPU; polls.
 */
struct store *machine_store_open(void);
/* Makes the disks that VMs may have ready for pages to be read from them that were dropped for a
 * block (mm/space/identity.h).  Behind block_init(). */
void machine_guest_disks_open(void);

#endif
