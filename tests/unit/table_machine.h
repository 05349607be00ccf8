/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with one table, and the array that says what each of its pages is; operations change
 * both.
 */
#ifndef SPILLWAY_TESTS_UNIT_TABLE_MACHINE_H
#define SPILLWAY_TESTS_UNIT_TABLE_MACHINE_H

#include "tests/unit/table_model.h"

#define FRAMES 2000u

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

extern struct table table;
extern struct page_model model[MODEL_PAGES];

/* An empty table, and an array that says so; at the end no frame is lost. */
void begin_table(const struct table_format *format);
uint64_t free_frames(void);
void end_table(void);
/* The table is what the array says, and has as many pages as it should. */
void check_pages(void);
/* A leaf of 4 KiB, or an absent entry. */
void set_page(unsigned page, struct page_model value);
void fill_region(unsigned region, uint64_t first, unsigned flags);
void count_unmapped(void *owner, gfn_t first, uint64_t entry, unsigned level);
void put_gigabyte(void);

#endif
