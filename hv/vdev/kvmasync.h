/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous page faults: a guest's vCPU need not wait for a page that is being read, if its
 * kernel can do something else meanwhile (Linux, Documentation/virt/kvm/x86/msr.rst,
 * "MSR_KVM_ASYNC_PF_EN").
 *
 *     we                                              the guest
 *     fault, read begins ---> #PF, CR2 = token        suspends the task that has faulted
 *     read ends ------------> shared.token, interrupt lets it go on, clears shared.token
 *     the next one <--------- MSR_KVM_ASYNC_PF_ACK
 *
 * A token is FREE -> WAITS (its mm_waiter queues for the read) -> READY (that has ended) -> FREE
 * (the guest has been told): each that was given out is told once, or cancelled with all others
 * when the guest ends or begins the protocol anew, which the token ALL tells it; at INIT and at the
 * vCPU's end.  What is waited for ends by itself (page I/O).
 *
 * A guest that has nothing else to do has paid for two switches of tasks and an interrupt.  So when
 * a page comes it is looked at what the guest does: in ring 3 it runs another task.  When four
 * pages in a row have found it idle, the next faults park as without this: 1, 3, 7, up to 31 of
 * them, until one is tried again.
 *
 * A vCPU that waits for a frame parks, as without this: the frames that it is then promised must
 * not wait for the guest.
 *
 * Own CPU, no locks held, unless it says otherwise.  The shared page is pinned while in use.
 */
#ifndef SPILLWAY_HV_VDEV_KVMASYNC_H
#define SPILLWAY_HV_VDEV_KVMASYNC_H

#include "mm/space/space.h"

struct kvmasync;
struct vcpu;

#define KVMASYNC_TOKENS 64 /* of a vCPU */

/* NULL: out of memory. */
struct kvmasync *kvmasync_create(struct vcpu *vcpu);
/* The vCPU is stopped; NULL is allowed. */
void kvmasync_destroy(struct kvmasync *async);
/* As after power-on: at INIT. */
void kvmasync_release(struct kvmasync *async);

/* MSR_KVM_ASYNC_PF_EN, _INT and _ACK.  False: there is no such register. */
bool kvmasync_msr_read(const struct kvmasync *async, uint32_t msr, uint64_t *value);
/* MM_NO_MEMSLOT: #GP.  MM_WAIT: nothing has changed. */
enum mm_result kvmasync_msr_write(struct kvmasync *async, uint32_t msr, uint64_t value,
                                  struct mm_waiter *waiter);

/*
 * The guest's access has faulted, and vcpu->waiter waits for the page.  True: it does not wait any
 * more, and a #PF with a token is pending; false: nothing has changed.  vCPU loaded.
 */
bool kvmasync_begin(struct vcpu *vcpu);
/* VCPU_REQUEST_ASYNC: tells the guest of a page that has come, if it can hear that now. */
void kvmasync_tell(struct kvmasync *async);

#endif
