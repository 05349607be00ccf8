/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the hypervisor's code finds around it when it runs as a host program: log, panic, CPU ids
 * (support.c), frames, clock, shootdown, failing allocations (support_memory.c), a store on a fake
 * disk (support_store.c).  All of it is in an archive: a test gets what it needs, and may define
 * a function of its own instead if it replaces the whole file.
 *
 * Threads play CPUs: each gets a CPU id of its own, or sets one.
 */
#ifndef SPILLWAY_TESTS_UNIT_SUPPORT_H
#define SPILLWAY_TESTS_UNIT_SUPPORT_H

#include <setjmp.h>
#include <stdbool.h>

#include "arch/x86/svm/npt_format.h"
#include "arch/x86/vmx/ept_format.h"
#include "tests/unit/fake_format.h"

struct fake_disk;
struct space;
struct store;

/* Every suite runs under each of these. */
#define SUPPORT_FORMATS &fake_format, &ept_format, &npt_format

/* ---- support.c ---- */

/* The CPU that this thread plays, below 64. */
void support_set_cpu(unsigned cpu);
unsigned support_cpu(void);
/* Log lines of this level and above are printed; LOG_WARN until it is set. */
void support_log_level(int level);
/* From now on counts the log lines, printed or not, in which `text` stands; how many that were. */
void support_log_watch(const char *text);
unsigned support_log_seen(void);

/* Runs the statement; it must panic, with a message that contains `text`.  Not in threads. */
#define EXPECT_PANIC(text, statement)                                                              \
    do {                                                                                           \
        support_panic_expected = true;                                                             \
        if (setjmp(support_panic_jump) == 0) {                                                     \
            statement;                                                                             \
            support_panic_expected = false;                                                        \
            fail_msg("no panic");                                                                  \
        }                                                                                          \
        support_panic_expected = false;                                                            \
        if (strstr(support_panic_text, text) == NULL) {                                            \
            fail_msg("panic: %s", support_panic_text);                                             \
        }                                                                                          \
    } while (0)

extern bool support_panic_expected;
extern char support_panic_text[256];
extern jmp_buf support_panic_jump;

/* A number that decides random tests: of the environment variable SEED, else the fallback; it is
 * printed.  Then numbers from it, xorshift64*. */
uint64_t support_seed(uint64_t fallback);
uint64_t support_random(void);
/* 0 .. below - 1 */
uint64_t support_random_below(uint64_t below);

/* ---- support_memory.c ---- */

/* First frame number of the fake memory: high, so that frame numbers and indices differ. */
#define SUPPORT_FIRST_FRAME 0x100200u

/* Makes frame database and allocator anew, with that many frames of RAM, all free, and the default
 * watermarks.  mm_frame_ptr() of any other frame panics. */
void support_memory_init(uint64_t frames);
/* The same without a range: the test adds its own, within the next `frames` frames. */
void support_memory_init_empty(uint64_t frames);
void support_memory_free(void);
/* Called once, by the next support_memory_free(), before anything is freed. */
void support_before_memory_free(void (*call)(void));

/* The n-th frame_alloc() from now fails (1: the next); 0: none does. */
void support_fail_alloc(unsigned n);
/* Has that failure happened? */
bool support_alloc_failed(void);

/* Called by mm_tlb_shootdown(); NULL: none. */
void support_on_shootdown(void (*shootdown)(struct space *space));
void support_clock_advance(uint64_t ns);
/* How often mm_pager_wake() and mm_tlb_shootdown() have been called. */
unsigned support_pager_wakes(void);
unsigned support_shootdowns(void);

/* ---- support_store.c ---- */

/* Formats the disk and opens it as a store, until support_memory_free(). */
struct store *support_open_store(struct fake_disk *disk);
/* Completes one request, and lets a millisecond pass for those that wait to be tried again. */
void support_store_step(struct fake_disk *disk);
/* Completes all requests, with time passing as they are tried again. */
void support_store_settle(struct fake_disk *disk);

#endif
