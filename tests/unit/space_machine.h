/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with one space, whose pages a test looks at one by one: what each one's entry says,
 * what its frame holds, what a fault answers.  Nothing but the test works the disk.
 */
#ifndef SPILLWAY_TESTS_UNIT_SPACE_MACHINE_H
#define SPILLWAY_TESTS_UNIT_SPACE_MACHINE_H

#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define PAGES     1100u /* of the slot at 0: two 2 MiB regions and a bit */
#define DEVICE    2000u /* behind it: nobody's */
#define FRAMES    1500u
#define NOT_WOKEN 0
#define WOKEN     1

typedef void test_case(void);

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

extern struct fake_disk disk;
extern struct store *store;
extern struct space *space;
extern int woken;
extern uint64_t free_at_start;
extern struct mm_waiter waiter;

void wake(struct mm_waiter *from);
/* The space, and its end. */
void create_space(const struct table_format *format);
void destroy_space(void);
/* A machine whose store has that many slots. */
void machine_up(uint64_t slots);
/* No slot is used any more, and each frame is free. */
void machine_down(void);
/* What the page's entry says. */
enum place_kind kind_of(uint64_t page);
/* The frame that the page has. */
uint64_t *memory_of(uint64_t page);
/* space_fault() by `waiter`. */
enum mm_result fault(uint64_t page, unsigned how);
uint64_t *entry_of(uint64_t page);
void set_accessed(uint64_t page, bool accessed);
/* As the guest would: fault, write, and the D bit. */
void touch(uint64_t page, uint64_t value);
/* All that is resident leaves, if it can. */
void evict_all(void);
/* A page whose content is distinct from a pattern. */
void store_page(uint64_t page);
struct space_stats stats_now(void);
/* Page 9 has left, and comes back when it is read. */
void page_comes_back_from_store(void);
/* Faults until the page is there, with time passing. */
void settle_until(uint64_t page, unsigned how);
/* Runs it in a machine of its own; each of them, under each format. */
void run_case(test_case *run, const struct table_format *format, uint64_t slots);
void run_cases(test_case *const *run, unsigned count);

#endif
