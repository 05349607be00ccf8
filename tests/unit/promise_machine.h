/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small machine of test_promises.c: of any size, with or without a store, whose disk may fail
 * often and be away for a while.
 */
#ifndef SPILLWAY_TESTS_UNIT_PROMISE_MACHINE_H
#define SPILLWAY_TESTS_UNIT_PROMISE_MACHINE_H

#include "hv/config/admission.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/promise_model.h"

#define OUTAGE_MAX_MS 400u

extern struct fake_disk disk;
extern struct store *store;
extern struct admission_demand promised;
extern uint64_t pool;
extern unsigned outage_left; /* ms */

/* A machine of a random kind. */
void machine_up(void);
/* What admission has to give. */
struct admission_supply supply_now(void);
/* A millisecond of the disk. */
void disk_turn(void);
/* No frame and no slot is used. */
void machine_down(void);

#endif
