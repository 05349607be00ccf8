/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/balloon.c hv/vm/balloon_target.c hv/vm/set.c hv/config/config_devices.c
 *          hv/config/config_value.c */
/* The setting `balloon` of a VM, and what the guest is asked for by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/config/config.h"
#include "hv/run/sched.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/virtio/vballoon.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "hv/vm/tmem.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

#define VMS    3u
#define MEMORY 65536u /* pages */
#define KEPT   1024u  /* its min */
#define MIB    256u

static struct vm vms[VMS];
static char balloons[VMS]; /* what pointers to them point at */
static bool has_balloon[VMS];
static struct vballoon_stats stats[VMS];
static unsigned polls[VMS];
static uint64_t free_frames;

unsigned vm_count(void)
{
    return VMS;
}

struct vm *vm_at(unsigned index)
{
    return &vms[index];
}

struct vballoon *vm_devices_balloon(const struct vm *vm)
{
    return has_balloon[vm->index] ? (struct vballoon *)&balloons[vm->index] : NULL;
}

static unsigned index_of(const struct vballoon *balloon)
{
    return (unsigned)((const char *)balloon - balloons);
}

void vballoon_poll(struct vballoon *balloon, uint32_t target)
{
    polls[index_of(balloon)]++;
    stats[index_of(balloon)].target = target;
}

void vballoon_get_stats(struct vballoon *balloon, struct vballoon_stats *out)
{
    *out = stats[index_of(balloon)];
}

void space_get_stats(struct space *space, struct space_stats *out)
{
    assert_null(space);
    memset(out, 0, sizeof(*out));
    out->resident = 30000;
    out->transit = 5;
}

uint64_t frame_alloc_free_count(void)
{
    return free_frames;
}

uint64_t frame_alloc_high(void)
{
    return 8192;
}

bool vm_refuse(struct vm_answer *answer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->text, sizeof(answer->text), format, args);
    va_end(args);
    return false;
}

/* ---- what other settings need ---- */

void space_set_limits(struct space *space, uint64_t min_pages, uint64_t max_pages, uint32_t shares)
{
    (void)space;
    (void)min_pages;
    (void)max_pages;
    (void)shares;
}

void sched_set_weight(struct vm *vm, uint32_t weight)
{
    (void)vm;
    (void)weight;
}

void tmem_set_shares(struct tmem *tmem, uint32_t shares)
{
    (void)tmem;
    (void)shares;
}

bool vm_tmem_set(struct vm *vm, uint64_t quota, struct vm_answer *answer)
{
    (void)vm;
    (void)quota;
    (void)answer;
    return false;
}

struct admission_terms vm_terms(const struct vm *vm)
{
    return (struct admission_terms){.memory = vm->memory_pages};
}

bool vm_promise(struct vm *vm, const struct admission_terms *terms, struct vm_answer *answer)
{
    (void)vm;
    (void)terms;
    (void)answer;
    return true;
}

uint32_t vm_cpu_shares(const struct vm *vm)
{
    return vm->shares;
}

static int begin(void **state)
{
    (void)state;
    memset(vms, 0, sizeof(vms));
    memset(stats, 0, sizeof(stats));
    memset(polls, 0, sizeof(polls));
    free_frames = 20000; /* neither short nor plenty */
    for (unsigned i = 0; i < VMS; i++) {
        spin_init(&vms[i].lock, RANK_VM, "vm");
        vms[i].index = i;
        vms[i].state = VM_RUNNING;
        vms[i].memory_pages = MEMORY;
        vms[i].min_pages = KEPT;
        has_balloon[i] = true;
    }
    return 0;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void accept(const char *value, enum balloon_mode mode, uint64_t pages)
{
    struct vm_answer answer;

    assert_true(vm_set(&vms[0], "balloon", value, &answer));
    assert_int_equal(vms[0].balloon.mode, mode);
    assert_int_equal(vms[0].balloon.bytes / PAGE_SIZE, pages);
}

static void refuse(const char *value)
{
    struct balloon_setting before = vms[0].balloon;
    struct vm_answer answer;

    assert_false(vm_set(&vms[0], "balloon", value, &answer));
    assert_memory_equal(&vms[0].balloon, &before, sizeof(before));
    assert_non_null(strstr(answer.text, "expected auto, off, or a size"));
    assert_non_null(strstr(answer.text, "258048 KiB"));
}

static void test_setting(void **state)
{
    (void)state;
    accept("64M", BALLOON_SIZE, 64 * MIB);
    accept("off", BALLOON_OFF, 0);
    accept("252M", BALLOON_SIZE, MEMORY - KEPT);
    refuse("256M");
    refuse("257M");
    refuse("1");
    refuse("");
    refuse("autox");
    refuse("AUTO");
    accept("auto", BALLOON_AUTO, 0);
    accept("0", BALLOON_SIZE, 0);
    refuse("-1M");
}

static void test_targets(void **state)
{
    struct vm_answer answer;

    (void)state;
    accept("64M", BALLOON_SIZE, 64 * MIB);
    vms[1].balloon.mode = BALLOON_OFF;
    stats[1].target = 500; /* it was something else before */
    stats[2] =
        (struct vballoon_stats){.target = 700, .actual = 700, .available = 60000, .known = true};
    vm_balloons_poll();
    assert_int_equal(stats[0].target, 64 * MIB);
    assert_int_equal(stats[1].target, 0);
    assert_int_equal(stats[2].target, 700);
    free_frames = 100;
    vm_balloons_poll();
    assert_int_equal(stats[0].target, 64 * MIB);
    assert_int_equal(stats[2].target, 700 + MEMORY / 64);
    free_frames = 50000;
    vm_balloons_poll();
    assert_int_equal(stats[2].target, 700);
    assert_true(vm_set(&vms[0], "min", "200M", &answer)); /* what is promised comes first */
    vm_balloons_poll();
    assert_int_equal(stats[0].target, 56 * MIB);
}

/* One without a balloon, and one that is paused, are not asked. */
static void test_who_is_asked(void **state)
{
    (void)state;
    has_balloon[1] = false;
    vms[2].state = VM_PAUSED;
    vm_balloons_poll();
    assert_int_equal(polls[0], 1);
    assert_int_equal(polls[1] + polls[2], 0);
    vms[0].state = VM_STOPPED;
    vms[2].state = VM_RUNNING;
    vm_balloons_poll();
    assert_int_equal(polls[0], 1);
    assert_int_equal(polls[2], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_setting, begin),
        cmocka_unit_test_setup(test_targets, begin),
        cmocka_unit_test_setup(test_who_is_asked, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
