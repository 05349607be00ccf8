/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem: an executable model of its rules, compared with several vCPUs of two VMs that do random
 * operations in too little memory, on a disk that is late and fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "tests/unit/support_tmem.h"

#define MODEL_VCPUS   5u
#define MODEL_POOLS   4u
#define MODEL_OBJECTS 3u
#define MODEL_INDICES 60u

struct model_pool {
    uint32_t id, flags;
    bool exists;
    uint64_t seed[MODEL_OBJECTS][MODEL_INDICES]; /* 0: nothing */
};

struct model_vm {
    struct model_pool pool[MODEL_POOLS];
};

enum model_kind {
    MODEL_PUT,
    MODEL_GET,
    MODEL_FLUSH,
    MODEL_FLUSH_OBJECT,
    MODEL_FLUSH_POOL,
    MODEL_DESTROY,
};

struct model_vcpu {
    struct mm_waiter waiter;
    unsigned vm, number;
    bool busy, parked;
    enum model_kind kind;
    unsigned pool, object, index;
    uint32_t id; /* of the pool when the operation began */
    uint64_t seed;
};

static struct model_vm model[VMS];
static struct model_vcpu vcpus[MODEL_VCPUS];
static uint64_t model_hits, model_broken, model_waits, model_refused;

static void model_wake(struct mm_waiter *w)
{
    struct model_vcpu *vcpu = CONTAINER_OF(w, struct model_vcpu, waiter);

    assert_true(vcpu->parked);
    vcpu->parked = false;
}

static uint64_t rnd(uint64_t below)
{
    return support_random_below(below);
}

static void model_begin(struct model_vcpu *vcpu)
{
    static const enum model_kind often[] = {MODEL_PUT, MODEL_PUT, MODEL_PUT, MODEL_PUT,  MODEL_GET,
                                            MODEL_GET, MODEL_GET, MODEL_GET, MODEL_FLUSH};
    struct model_pool *pool;

    vcpu->vm = (unsigned)rnd(VMS);
    vcpu->pool = (unsigned)rnd(MODEL_POOLS);
    vcpu->object = (unsigned)rnd(MODEL_OBJECTS);
    vcpu->index = (unsigned)rnd(MODEL_INDICES);
    vcpu->seed = 1 + rnd(1000000);
    vcpu->kind = rnd(100) != 0 ? often[rnd(ARRAY_SIZE(often))] : (enum model_kind)rnd(6);
    pool = &model[vcpu->vm].pool[vcpu->pool];
    if (!pool->exists) {
        memset(pool, 0, sizeof(*pool));
        pool->flags = vcpu->pool < 2 ? TMEM_PERSISTENT : vcpu->pool == 2 ? 0 : TMEM_SHARED_GET;
        assert_int_equal(tmem_pool_create(vms[vcpu->vm].tmem, pool->flags, &pool->id), TMEM_OK);
        pool->exists = true;
    }
    vcpu->id = pool->id;
    vcpu->busy = true;
}

static bool failures_happened(void)
{
    return disk.failed_reads + disk.corrupted != 0;
}

static bool model_dead(const struct model_vcpu *vcpu)
{
    const struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];

    return !pool->exists || pool->id != vcpu->id;
}

static enum tmem_result model_put(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct machine_vm *vm = &vms[vcpu->vm];
    uint64_t content[WORDS];
    gpa_t at = gpa((vcpu->number * 2 + 4) * PAGE_SIZE);
    enum tmem_result result;

    make_page(vcpu->seed, content);
    switch (space_write(vm->space, at, content, PAGE_SIZE, &vcpu->waiter)) {
    case MM_WAIT:
        return TMEM_WAIT;
    case MM_OK:
        break;
    default:
        return TMEM_LOST;
    }
    result = tmem_put(vm->tmem, h, at, &vcpu->waiter);
    if (result == TMEM_WAIT || result == TMEM_LOST) {
        return result;
    }
    if (model_dead(vcpu)) {
        assert_int_equal(result, TMEM_BAD_POOL);
        return result;
    }
    uint64_t *seed = &model[vcpu->vm].pool[vcpu->pool].seed[vcpu->object][vcpu->index];

    assert_true(result == TMEM_OK || result == TMEM_REFUSED);
    *seed = result == TMEM_OK ? vcpu->seed : 0;
    model_refused += result == TMEM_REFUSED;
    return result;
}

static void model_check_content(struct model_vcpu *vcpu, gpa_t at, uint64_t seed)
{
    uint64_t content[WORDS], expected[WORDS];

    /* It has just been written: it is resident, unless somebody else's time has come. */
    if (space_read(vms[vcpu->vm].space, at, content, PAGE_SIZE, &vcpu->waiter) != MM_OK) {
        waiter_cancel(&vcpu->waiter);
        return;
    }
    make_page(seed, expected);
    assert_memory_equal(content, expected, PAGE_SIZE);
    model_hits++;
}

static enum tmem_result model_get(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];
    gpa_t at = gpa((vcpu->number * 2 + 5) * PAGE_SIZE);
    enum tmem_result result = tmem_get(vms[vcpu->vm].tmem, h, at, &vcpu->waiter);

    if (result == TMEM_WAIT || result == TMEM_LOST) {
        return result;
    }
    if (model_dead(vcpu)) {
        assert_int_equal(result, TMEM_BAD_POOL);
        return result;
    }
    uint64_t *seed = &pool->seed[vcpu->object][vcpu->index];

    if (result == TMEM_OK) {
        assert_true(*seed != 0);
        model_check_content(vcpu, at, *seed);
        *seed = pool->flags == 0 ? 0 : *seed;
    } else if (result == TMEM_BROKEN) {
        assert_true(failures_happened() && *seed != 0);
        model_broken++;
    } else {
        assert_int_equal(result, TMEM_MISS);
        assert_true(*seed == 0 || !(pool->flags & TMEM_PERSISTENT));
        *seed = 0;
    }
    return result;
}

static enum tmem_result model_remove(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];
    struct tmem *of = vms[vcpu->vm].tmem;
    bool dead = model_dead(vcpu);
    enum tmem_result result;
    uint32_t position = 0;

    do {
        result = vcpu->kind == MODEL_FLUSH          ? tmem_page_flush(of, h)
                 : vcpu->kind == MODEL_FLUSH_OBJECT ? tmem_object_flush(of, h, &position)
                 : vcpu->kind == MODEL_FLUSH_POOL   ? tmem_pool_flush(of, vcpu->id, &position)
                                                    : tmem_pool_destroy(of, vcpu->id, &position);
    } while (result == TMEM_AGAIN);
    assert_int_equal(result, dead ? TMEM_BAD_POOL : TMEM_OK);
    if (dead) {
        return result;
    }
    if (vcpu->kind == MODEL_FLUSH) {
        pool->seed[vcpu->object][vcpu->index] = 0;
    } else if (vcpu->kind == MODEL_FLUSH_OBJECT) {
        memset(pool->seed[vcpu->object], 0, sizeof(pool->seed[0]));
    } else {
        memset(pool->seed, 0, sizeof(pool->seed));
        pool->exists = vcpu->kind != MODEL_DESTROY;
    }
    return result;
}

static void model_step(struct model_vcpu *vcpu)
{
    struct tmem_handle h;
    enum tmem_result result;

    if (vcpu->parked) {
        if (rnd(300) == 0) {
            waiter_cancel(&vcpu->waiter);
            vcpu->parked = vcpu->busy = false;
        }
        return;
    }
    if (!vcpu->busy) {
        model_begin(vcpu);
    }
    h = handle(vcpu->id, vcpu->object, vcpu->index);
    vcpu->parked = true; /* before, since wake() may come at once */
    switch (vcpu->kind) {
    case MODEL_PUT:
        result = model_put(vcpu, &h);
        break;
    case MODEL_GET:
        result = model_get(vcpu, &h);
        break;
    default:
        result = model_remove(vcpu, &h);
        break;
    }
    if (result == TMEM_WAIT) {
        model_waits++;
        return;
    }
    if (result == TMEM_LOST) {
        assert_true(failures_happened());
    }
    waiter_end_turn(&vcpu->waiter);
    vcpu->parked = vcpu->busy = false;
}

static void model_sums(void)
{
    for (unsigned v = 0; v < VMS; v++) {
        struct tmem_stats s;
        uint64_t pages[2] = {0, 0};

        tmem_get_stats(vms[v].tmem, &s);
        for (unsigned i = 0; i < TMEM_POOLS; i++) {
            struct tmem_pool_stats p;

            if (tmem_get_pool_stats(vms[v].tmem, i, &p)) {
                pages[(p.flags & TMEM_PERSISTENT) != 0] += p.pages;
            }
        }
        assert_int_equal(s.ephemeral, pages[0]);
        assert_int_equal(s.persistent, pages[1]);
        assert_true(s.persistent <= s.quota && s.resident <= s.persistent);
    }
}

static void model_machine(uint64_t step, bool failing)
{
    support_clock_advance(rnd(1000000));
    if (rnd(3) == 0) {
        fake_disk_step(&disk);
    }
    if (rnd(4) == 0) {
        pager_run();
    }
    if (rnd(500) == 0) {
        uint64_t free = frame_alloc_free_count();

        frame_alloc_set_watermarks(4, free / 2 + rnd(free), free / 2 + free);
    } else if (rnd(500) == 0) {
        watermarks_off();
    }
    if (failing && rnd(50) == 0) {
        support_fail_alloc(1 + (unsigned)rnd(3));
    }
    if (step % 5000 == 0) {
        model_sums();
    }
}

static void run_model(uint64_t steps, bool failing)
{
    memset(model, 0, sizeof(model));
    model_hits = model_broken = model_waits = model_refused = 0;
    for (unsigned i = 0; i < MODEL_VCPUS; i++) {
        vcpus[i] = (struct model_vcpu){.number = i, .waiter.wake = model_wake};
    }
    if (failing) {
        disk.fail_read_permille = 3;
        disk.rotten = 101;
        disk.corrupt_permille = 2;
        disk.fail_write_permille = 20;
    }
    for (uint64_t step = 0; step < steps; step++) {
        model_step(&vcpus[rnd(MODEL_VCPUS)]);
        model_machine(step, failing);
    }
    for (unsigned i = 0; i < MODEL_VCPUS; i++) {
        waiter_cancel(&vcpus[i].waiter);
    }
    support_fail_alloc(0);
    watermarks_off();
    assert_true(model_hits > steps / 20 && model_waits > 0 && model_refused > 0);
}

static void model_of_the_rules(void **state)
{
    struct store_stats figures;

    (void)state;
    support_seed(7);
    run_model(200000, false);
    store_get_stats(store, &figures);
    assert_true(figures.reads > 0 && figures.writes > 0);
    assert_int_equal(figures.retired, 0);
}

static void model_with_failing_disk_and_allocations(void **state)
{
    (void)state;
    support_log_level(-1);
    support_seed(11);
    run_model(100000, true);
    assert_true(model_broken > 0);
    support_log_level(LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TMEM_CASE(model_of_the_rules),
        TMEM_CASE(model_with_failing_disk_and_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
