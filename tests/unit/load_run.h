/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads an image, an initrd and modules into the VM of tests/unit/vdev_fake.h, and looks at what is
 * there then. */
#ifndef SPILLWAY_TESTS_UNIT_LOAD_RUN_H
#define SPILLWAY_TESTS_UNIT_LOAD_RUN_H

#include "hv/load/internal.h"

#define MIB 0x100000ull

extern char load_error[GUEST_LOAD_ERROR_MAX]; /* of the last one; "": none */
extern uint8_t load_initrd[0x3456];
extern struct guest_module load_modules[GUEST_MODULES_MAX]; /* that go with it */
extern unsigned load_module_count;

/* As many as there may be, on pages of their own, each with its words. */
void load_set_modules(unsigned count);
/* The image from the heap, so that ASan sees reads beyond it.  NULL: it is refused. */
struct guest_load *load_start(const uint8_t *file, size_t bytes, const char *cmdline);
/* To its end; how often it had to wait. */
unsigned load_run(struct guest_load *load);
/* It is refused, and the reason has this part. */
void load_expect_error(const uint8_t *file, size_t bytes, const char *cmdline, const char *part);

/* A number in the guest's memory. */
uint64_t load_mem(uint64_t address, unsigned bytes);
void load_check_initrd(uint64_t address);
/* 32-bit protected mode without paging, at that instruction. */
void load_check_flat_state(uint32_t rip);

#endif
