/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tmem hypercall: a batch of operations in guest memory (guests/include/spillway_tmem.h).
 *
 * Each entry is read once, decoded and checked as a whole, and then done.  Progress is in the
 * guest's own RBX and RCX, so that a call can be left at any point: for a page that has to be
 * brought in, for an interrupt, or for ever.
 */
#ifndef SPILLWAY_HV_RUN_HYPERCALL_TMEM_H
#define SPILLWAY_HV_RUN_HYPERCALL_TMEM_H

#include "guests/include/spillway_tmem.h"
#include "hv/guest/vcpu.h"
#include "mm/tmem/tmem.h"

/* A checked operation.  Object, index and pool may have any value. */
struct tmem_order {
    uint32_t op;    /* SPILLWAY_TMEM_* */
    uint32_t flags; /* CREATE: TMEM_* of mm/tmem/tmem.h */
    struct tmem_handle handle;
    gpa_t address; /* PUT, GET: page-aligned; QUERY: 8-byte aligned */
};

/* SPILLWAY_TMEM_OK, or why the entry is not valid.  Pure. */
int32_t hypercall_tmem_decode(const struct spillway_tmem_op *raw, struct tmem_order *order);

/* As hypercall_dispatch. */
enum exit_result hypercall_tmem(struct vcpu *vcpu, bool *again);

#endif
