/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that uses asynchronous page faults, for their tests: reads that end when a test says so,
 * and what the guest's handlers see. */
#ifndef SPILLWAY_TESTS_UNIT_ASYNC_GUEST_H
#define SPILLWAY_TESTS_UNIT_ASYNC_GUEST_H

#include "hv/vdev/kvmasync.h"
#include "tests/unit/vlapic_access.h"

#define AT     0x3040u
#define ON     (AT | 9u)
#define ALWAYS 2u
#define VECTOR 0xf3u
#define ALL    UINT32_MAX

#define TOKENS KVMASYNC_TOKENS

extern struct kvmasync *async;

/* The other side of mm/. */
extern bool waits_for_frame;         /* and not for a read */
extern uint32_t vacant;              /* page I/O */
extern struct mm_waiter *last_taken; /* by which the last one waits */

void read_ends(struct mm_waiter *waiter);

void up(uint64_t enable); /* MSR_KVM_ASYNC_PF_EN */
void down(void);

/* What guest and device share. */
uint32_t *shared(unsigned word);
enum mm_result write_msr(uint32_t msr, uint64_t value);
/* The interrupt's handler: the token, or 0 without an interrupt. */
uint32_t hear(void);
void acknowledge(void);
/* The token of all has been told. */
void begin(void);

/* A fault; its token, or 0: it parks. */
uint32_t fault(void);
/* The same, and the guest has taken the #PF. */
uint32_t fault_taken(void);

#endif
