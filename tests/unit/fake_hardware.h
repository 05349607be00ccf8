/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware under the queue engine that is a list of commands, and requests for it.
 *
 * It does nothing by itself: a test answers, loses or forgets commands.  What is checked at each
 * command, in all tests: its tag was free, no page moves twice at a time, the queue is not stopped,
 * and no more urgent ones go in a row than may while another request waits.
 */
#ifndef SPILLWAY_TESTS_FAKE_HARDWARE_H
#define SPILLWAY_TESTS_FAKE_HARDWARE_H

#include "drivers/block.h"
#include "drivers/disk_queue.h"
#include "tests/unit/disk_machine.h"

#define SECOND   1000000000ull
#define STEP     (SECOND / 20) /* between two polls */
#define TIMEOUT  BLOCK_COMMAND_TIMEOUT_NS
#define SLACK    (BLOCK_TIMEOUT_CHECK_NS + STEP) /* an overdue command is noticed so late */
#define REQUESTS 512
#define RESET_NS (3 * SECOND)
#define DEADLINE (5 * SECOND) /* of a reset */
#define NEVER    UINT64_MAX

enum { CODE_GOOD, CODE_AGAIN, CODE_FAILED };

/* One queue of the hardware. */
struct fake_queue {
    struct disk_queue common;
    unsigned room;    /* commands that the ring takes */
    uint64_t has;     /* tags that it was given */
    uint64_t told;    /* and told of */
    uint64_t answers; /* tags whose answers are on the ring */
    uint16_t code[BLOCK_TAGS];
    unsigned urgent_run;
};

struct fake_hw {
    struct disk_hardware hardware;
    struct fake_queue queue[DISK_QUEUES];
    struct block_device disk, partition;
    bool can_abort;    /* else an abort asks for a reset */
    uint64_t reset_ns; /* how long a reset takes */
    bool reset_fails;
    uint64_t reset_at;
    unsigned aborts, resets, given_up, given_up_late;
};

struct fake_jobs {
    struct block_request request[REQUESTS];
    uint64_t flying[REQUESTS], moved[REQUESTS]; /* pages */
    bool done[REQUESTS];
    enum block_status status[REQUESTS];
    unsigned issued[REQUESTS]; /* at the so many-th command its first slice was issued, from 1 */
    unsigned submitted, ended, commands;
};

extern struct fake_hw fake_hw;
extern struct fake_jobs fake_jobs;
extern struct disk_ops fake_hw_ops;

/* So many queues, each of so many tags. */
void fake_hw_begin(unsigned queues, unsigned tags, uint32_t max_pages);
/* Every request has ended, once, and no tag is in use. */
void fake_hw_finish(void);
/* By the CPU of that number; its number. */
unsigned fake_hw_submit(unsigned cpu, enum block_op op, bool urgent, uint32_t pages);
/* Of one page, by CPU 0. */
unsigned fake_hw_write_back(void);
unsigned fake_hw_urgent_read(void);
/* The command has ended so (CODE_*); whoever polls next is told. */
void fake_hw_answer(struct fake_queue *f, unsigned tag, uint16_t code);
void fake_hw_answer_all(uint16_t code);
void fake_hw_poll(unsigned cpu);
/* Answers and polls until nothing is in flight. */
void fake_hw_settle(void);
/* Polls for so long, by all CPUs in turn; how many requests ended. */
unsigned fake_hw_pass(uint64_t ns);
/* All that were submitted have ended so. */
void fake_hw_expect_all(enum block_status status);

#endif
