/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device in host memory whose requests complete late, in any order and, if told so, with
 * failures.  A write takes half of its data when it is submitted and half when it completes, as
 * DMA may.  Any thread may submit and step.  Completion is by fake_disk_step(), or by block_op
 * `poll`.
 */
#ifndef SPILLWAY_TESTS_UNIT_FAKE_DISK_H
#define SPILLWAY_TESTS_UNIT_FAKE_DISK_H

#include <pthread.h>

#include "base/block.h"

struct fake_disk {
    struct block_device device;
    pthread_mutex_t mutex; /* queue, random, failures; never held while data moves or done() runs */
    uint8_t *data;
    struct list queue;
    unsigned queued;
    uint64_t random;
    /* The n-th request from now fails (1: the next); 0: none does. */
    unsigned fail_read_in, fail_write_in;
    /* Of 1000 requests, so many fail; and of pages read, so many arrive changed.  Not the last
     * block: slots fail, while the disk is well. */
    unsigned fail_read_permille, fail_write_permille, corrupt_permille;
    uint64_t bad_block;           /* fails always, read and write; 0: none */
    uint64_t rotten;              /* reads of every block that this divides fail; 0: none */
    bool lies;                    /* writes succeed and change nothing */
    bool reads_down, writes_down; /* all of them fail */
    uint64_t thin; /* writes of blocks from here on fail, but of the last one; 0: none */
    uint64_t failed_reads, failed_writes, corrupted, flushes, discards;
    uint8_t *stable; /* as much as `data`: what flushes have saved; NULL: none */
    bool forgets;    /* a flush that fails has lost all that no flush has saved */
};

/* What discarded sectors hold. */
#define FAKE_DISK_DISCARDED 0xdd

void fake_disk_init(struct fake_disk *disk, uint64_t blocks, uint64_t seed);
void fake_disk_free(struct fake_disk *disk);
/* Completes one request, chosen at random; false: there is none. */
bool fake_disk_step(struct fake_disk *disk);
/* Completes all, and those that completions submit. */
void fake_disk_settle(struct fake_disk *disk);

#endif
