/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with the NICs of tests/unit/nic_model.h, of which a test uses one: what it has taken
 * last is kept.  The tests run with each driver.
 */
#ifndef SPILLWAY_TESTS_UNIT_NIC_MACHINE_H
#define SPILLWAY_TESTS_UNIT_NIC_MACHINE_H

#include "drivers/nic.h"
#include "tests/unit/nic_model.h"

#define SECOND 1000000000ull
#define STEP   (SECOND / 1000)

struct nic_machine {
    unsigned taken;
    uint8_t frame[NIC_FRAME_MAX]; /* the last one */
    uint32_t bytes;
    uint64_t costs_ns; /* time passes while one is taken */
    unsigned delays;   /* at boot */
};

/* With each driver. */
#define FOR_ALL(name)                                                                              \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned number = 0; number < MODEL_NICS; number++) {                                 \
            name(number);                                                                          \
        }                                                                                          \
    }

extern struct nic_machine nic_machine;

/* NIC `number` is in use. */
struct nic *nic_machine_boot(unsigned number);
/* No time was waited for since the boot. */
void nic_machine_finish(void);
/* Polls, while so much time passes. */
void nic_machine_pass(uint64_t ns);
/* A frame of one piece. */
bool nic_machine_send(struct nic *nic, const void *frame, uint32_t bytes);
/* One frame each way. */
void nic_machine_passes_frames(unsigned number);

#endif
