/* SPDX-License-Identifier: BSD-2-Clause */
/* The tmem of a VM: made with it, resized by the operator; and the promise that backs it. */
#ifndef SPILLWAY_HV_VM_TMEM_H
#define SPILLWAY_HV_VM_TMEM_H

#include "hv/vm/control.h"

/* Makes the tmem of a VM that is being started, of vm->tmem_pages; 0: none.  False: no memory. */
bool vm_tmem_create(struct vm *vm);
/* Live.  False: refused.  vm_list_lock held.  The first tmem of a VM
 * that runs is made by vm_tmem_poll(), as soon as there is memory for it. */
bool vm_tmem_set(struct vm *vm, uint64_t pages, struct vm_answer *answer);
/* Of a VM that is up.  True: call again soon.  vm_list_lock held. */
bool vm_tmem_poll(struct vm *vm);

#endif
