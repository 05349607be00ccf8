/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of tmem share: two VMs with tmem in a machine of 8 MiB with a store, and
 * operations of the first one that run the pager and the disk for as long as they have to wait.
 *
 * Life: TMEM_CASE() puts a test between set-up and tear-down; the latter asserts that no frame and
 * no slot is left.
 * Errors: what must not happen here fails the test.  Context: one thread, unless said otherwise.
 */
#ifndef SPILLWAY_TESTS_UNIT_SUPPORT_TMEM_H
#define SPILLWAY_TESTS_UNIT_SUPPORT_TMEM_H

#include "mm/env.h"
#include "mm/space/space_internal.h"
#include "mm/tmem/internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define FRAMES        2048u
#define SLOTS         4096u
#define PAGES         64u /* of guest memory */
#define NOWHERE       (PAGES + 10)
#define WORDS         (PAGE_SIZE / sizeof(uint64_t))
#define VMS           2u
#define QUOTA         400u
#define EPHEMERAL_MAX 100000u

#define TMEM_CASE(name)                                                                            \
    cmocka_unit_test_setup_teardown(name, support_tmem_set_up, support_tmem_tear_down)

struct machine_vm {
    struct space *space;
    struct tmem *tmem;
};

extern struct fake_disk disk;
extern struct store *store;
extern struct machine_vm vms[VMS];
/* Of the first VM. */
extern struct space *space;
extern struct tmem *tmem;
extern struct mm_waiter waiter;

/* ---- the machine ---------------------------------------------------------------------------- */

int support_tmem_set_up(void **state);
int support_tmem_tear_down(void **state);
/* Memory, disk and store, without a VM. */
void machine_up(void);
/* Asserts that nothing is left. */
void machine_down(void);
/* Quota in pages.  False: no memory; vm_down() cleans up then, too. */
bool vm_up(struct machine_vm *vm, uint64_t quota);
void vm_down(struct machine_vm *vm);

/* The pager has nothing to do from now on. */
void watermarks_off(void);
/* All that can leave memory does, in so many turns of the pager and the disk. */
void squeeze(unsigned steps);
/* Runs pager and disk until `waiter` has been woken. */
void wait_woken(void);

/* ---- the first VM --------------------------------------------------------------------------- */

/* Content that a seed stands for: one word now and then, else all different. */
void make_page(uint64_t seed, uint64_t *page);
void guest_write(uint64_t page, const void *content);

struct tmem_handle handle(uint32_t pool, uint64_t object, uint32_t index);
uint32_t new_pool(uint32_t flags);
/* Any thread. */
enum tmem_result destroy_of(struct tmem *of, uint32_t pool);
enum tmem_result destroy(uint32_t pool);

/* From a page of the guest that is not touched. */
enum tmem_result put_from(uint32_t pool, uint64_t object, uint32_t index, uint64_t page);
enum tmem_result put(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed);
/* On TMEM_OK the page must be what the seed stands for. */
enum tmem_result get(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed);
enum tmem_result flush(uint32_t pool, uint64_t object, uint32_t index);
enum tmem_result flush_object(uint32_t pool, uint64_t object);
enum tmem_result flush_pool(uint32_t pool);

struct tmem_stats stats_now(void);
/* Of a page that is there. */
enum place_kind where(uint32_t pool, uint64_t object, uint32_t index);

#endif
