/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/config/admission.c tests/unit/promise_model.c tests/unit/promise_machine.c */
/*
 * Random promises to random VMs in a small machine; one rule: every access of every vCPU of a VM
 * that admission let in ends, soon, whatever the others do and the disk does.
 *
 * A promise is a start, another min or max, or another quota of tmem, chosen near what admission
 * lets in more often than not.  Between promises the vCPUs touch memory, several pages at once as
 * instructions do, and put and get tmem; content is checked.  A turn is one access by each vCPU
 * that does not wait, one step of the pager, one or two requests of the disk, and a millisecond.
 *
 *     PROMISES=N   so many (default 20000)        SEED=N   another sequence
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "tests/unit/promise_machine.h"
#include "tests/unit/promise_model.h"
#include "tests/unit/support.h"

#define MACHINE_LIFE 400u /* promises */
#define TURNS_MAX    700u /* that an access may take while the disk is well */
#define SLOW         10u  /* a disk that fails many requests is so much slower */

#define BACKOFF_MAX_MS                                                                             \
    2100u /* mm/content/store_io.c: how long it may take to see that the disk is back              \
           */

static unsigned worst_turns[3]; /* of accesses: without an outage, with one, on a bad disk */
static uint64_t accesses, promises_made, cut_down, lost, broken, waits;

/* ---- the machine ---------------------------------------------------------------------------- */

static void wake(struct mm_waiter *waiter)
{
    CONTAINER_OF(waiter, struct test_vcpu, waiter)->parked = false;
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void describe(void)
{
    struct store_stats stats = {0};

    if (store != NULL) {
        store_get_stats(store, &stats);
    }
    printf("pool %lu, free %lu; store: %lu of %lu slots, %lu retired\n", (unsigned long)pool,
           (unsigned long)frame_alloc_free_count(), (unsigned long)stats.slots_used,
           (unsigned long)stats.slots, (unsigned long)stats.retired);
    for (unsigned v = 0; v < VMS; v++) {
        const struct vm *vm = &model_vms[v];

        if (!vm->up) {
            continue;
        }
        printf("VM %u: memory %lu, min %lu, max %lu, tmem %lu; resident %lu, transit %lu, stored "
               "%lu\n",
               v, (unsigned long)vm->terms.memory, (unsigned long)vm->terms.min,
               (unsigned long)vm->terms.max, (unsigned long)vm->terms.tmem,
               (unsigned long)vm->space->where[PLACE_FRAME],
               (unsigned long)(space_in_frames(vm->space) - vm->space->where[PLACE_FRAME]),
               (unsigned long)vm->space->where[PLACE_SLOT]);
        for (unsigned i = 0; i < vm->terms.vcpus; i++) {
            printf("  vCPU %u: access %d, %u turns, %s, queue %d\n", i,
                   (int)vm->vcpu[i].access.kind, vm->vcpu[i].watch.turns,
                   vm->vcpu[i].parked ? "waits" : "runs", (int)vm->vcpu[i].waiter.queue);
        }
    }
}

static bool promises_hold(void)
{
    struct admission_supply supply = supply_now();

    return admission_missing(&supply, &promised) == 0;
}

static void stop_vm(struct vm *vm);

/* Something has been waiting for one more turn. */
static void watch_wait(struct wait_watch *watch, const char *what)
{
    if (outage_left > 0) {
        *watch = (struct wait_watch){.outage = true};
    }
    watch->turns++;
    if (watch->turns <=
        TURNS_MAX * (model_may_lose ? SLOW : 1) + (watch->outage ? BACKOFF_MAX_MS : 0)) {
        return;
    }
    if (promises_hold()) {
        describe();
        fail_msg("%s does not end", what);
    }
    /* As hv/vm/watch.c does it. */
    struct vm *newest = NULL;

    for (unsigned v = 0; v < VMS; v++) {
        if (model_vms[v].up && (newest == NULL || model_vms[v].number > newest->number)) {
            newest = &model_vms[v];
        }
    }
    if (newest != NULL) {
        broken++;
        stop_vm(newest);
    }
    *watch = (struct wait_watch){0};
}

static void vcpu_turn(struct test_vcpu *vcpu)
{
    enum mm_result result;

    if (!vcpu->busy) {
        if (vcpu->vm->quiet) {
            return;
        }
        model_choose_access(vcpu);
        vcpu->busy = true;
        vcpu->watch = (struct wait_watch){0};
    }
    watch_wait(&vcpu->watch, "an access");
    if (vcpu->parked || !vcpu->vm->up) {
        return;
    }
    vcpu->parked = true; /* before, since wake() may come at once */
    result = model_perform(vcpu);
    if (result == MM_WAIT) {
        waits++;
        return;
    }
    vcpu->parked = vcpu->busy = false;
    waiter_end_turn(&vcpu->waiter);
    unsigned kind = model_may_lose ? 2 : vcpu->watch.outage;

    worst_turns[kind] = MAX(worst_turns[kind], vcpu->watch.turns);
    accesses++;
    if (result == MM_LOST) {
        assert_true(model_may_lose);
        lost++;
        stop_vm(vcpu->vm);
    }
}

static void machine_turn(void)
{
    support_clock_advance(1000000);
    disk_turn();
    pager_run();
}

static void turn(void)
{
    for (unsigned v = 0; v < VMS; v++) {
        for (unsigned i = 0; model_vms[v].up && i < model_vms[v].terms.vcpus; i++) {
            vcpu_turn(&model_vms[v].vcpu[i]);
        }
    }
    machine_turn();
}

/* ---- promises ------------------------------------------------------------------------------- */

static void stop_vm(struct vm *vm)
{
    vm->up = false;
    for (unsigned i = 0; i < vm->terms.vcpus; i++) {
        waiter_cancel(&vm->vcpu[i].waiter);
    }
    if (vm->tmem != NULL) {
        tmem_close(vm->tmem);
    }
    space_close(vm->space);
    while ((vm->tmem != NULL && !tmem_drain(vm->tmem)) || !space_drain(vm->space)) {
        machine_turn();
    }
    if (vm->tmem != NULL) {
        tmem_free(vm->tmem);
    }
    space_free(vm->space);
    for (unsigned i = 0; i < CONTROL_FRAMES * vm->terms.vcpus; i++) {
        frame_free(vm->control[i]);
    }
    promised = admission_subtract(&promised, &vm->promised);
    vm->promised = (struct admission_demand){0};
}

static uint32_t choose_shares(void)
{
    static const uint32_t shares[] = {1, 100, 10000};

    return shares[below(3)];
}

static bool create_space(struct vm *vm)
{
    static const struct table_format *formats[] = {SUPPORT_FORMATS};
    struct space_config config = {
        .name = "vm",
        .format = formats[below(3)],
        .store = store,
        .min_pages = vm->terms.min,
        .max_pages = vm->terms.max,
        .working_pages = admission_working(&vm->terms),
        .shares = choose_shares(),
    };

    vm->space = space_create(&config);
    return vm->space != NULL;
}

static bool create_tmem(struct vm *vm)
{
    struct tmem_config config = {
        .name = "vm",
        .space = vm->space,
        .store = store,
        .quota = vm->terms.tmem,
        .ephemeral_max = HANDLES, /* they are not to be in the way, however many they are */
        .shares = 100,
        .seed = 1 + below(UINT32_MAX),
    };

    vm->tmem = NULL;
    if (vm->terms.tmem != 0) {
        vm->tmem = tmem_create(&config);
    }
    return vm->terms.tmem == 0 || vm->tmem != NULL;
}

/* What it is made of has been promised, but may have to be waited for. */
static void create(struct vm *vm)
{
    struct frame_promise parts = {0};
    struct wait_watch watch = {0};

    while (!frame_promise_gather(&parts, admission_start_cost(&vm->terms))) {
        watch_wait(&watch, "a start");
        turn();
    }
    frame_promise_use(&parts);
    assert_true(create_space(vm));
    assert_true(space_add_memslot(vm->space, gfn(0), vm->terms.memory, 0));
    assert_true(create_tmem(vm));
    for (unsigned i = 0; i < CONTROL_FRAMES * vm->terms.vcpus; i++) {
        assert_true(frame_alloc(0, ALLOC_META, 0, &vm->control[i]));
    }
    frame_promise_use(NULL);
    frame_promise_end(&parts);
}

static bool ask(struct vm *vm, const struct admission_terms *terms)
{
    struct admission_supply supply = supply_now();
    struct admission_demand want = admission_demand(terms);
    struct admission_demand others = admission_subtract(&promised, &vm->promised);
    char message[192];

    return admission_check(&supply, &others, &want, message, sizeof(message));
}

static void grant(struct vm *vm, const struct admission_terms *terms)
{
    struct admission_demand want = admission_demand(terms);

    promised = admission_subtract(&promised, &vm->promised);
    promised = admission_add(&promised, &want);
    vm->promised = want;
    vm->terms = *terms;
}

/* As much of it as is let in: *field, between nothing and what it is, or up to that as chance has
 * it. */
static bool ask_for_most(struct vm *vm, struct admission_terms *terms, uint64_t *field)
{
    uint64_t low = 0, high = *field;

    if (ask(vm, terms)) {
        return true;
    }
    cut_down++;
    while (high - low > 1) {
        *field = low + (high - low) / 2;
        if (ask(vm, terms)) {
            low = *field;
        } else {
            high = *field;
        }
    }
    *field = low;
    return ask(vm, terms);
}

static uint64_t choose_max(uint64_t memory)
{
    uint64_t least = VCPUS * ADMISSION_WORKING + ADMISSION_VM_PINS + 64;

    return below(3) == 0 ? least + (memory > least ? below(memory - least) : 0) : 0;
}

static uint64_t choose_min(const struct admission_terms *terms)
{
    uint64_t most = terms->max != 0 ? MIN(terms->max, terms->memory) : terms->memory;

    switch (below(4)) {
    case 0:
        return most;
    case 1:
        return below(most + 1);
    default:
        return 0;
    }
}

static void start_vm(struct vm *vm)
{
    struct admission_terms terms = {
        .memory = 20 + below(below(2) ? MEMORY_MAX - 20 : 200),
        .vcpus = 1 + (unsigned)below(VCPUS),
        .tmem = below(3) == 0 ? 1 + below(QUOTA_MAX) : 0,
    };

    terms.max = choose_max(terms.memory);
    if (!ask_for_most(vm, &terms, &terms.memory) || terms.memory < 20) {
        return;
    }
    terms.min = choose_min(&terms);
    if (!ask_for_most(vm, &terms, &terms.min)) {
        return;
    }
    memset(vm, 0, sizeof(*vm));
    grant(vm, &terms);
    create(vm);
    for (unsigned i = 0; i < terms.vcpus; i++) {
        vm->vcpu[i].vm = vm;
        vm->vcpu[i].waiter.wake = wake;
        list_init(&vm->vcpu[i].waiter.link);
    }
    if (vm->tmem != NULL) {
        assert_int_equal(tmem_pool_create(vm->tmem, TMEM_PERSISTENT, &vm->pool[0]), TMEM_OK);
        assert_int_equal(tmem_pool_create(vm->tmem, 0, &vm->pool[1]), TMEM_OK);
    }
    vm->walk = (unsigned)below(17);
    vm->number = promises_made;
    vm->up = true;
}

static void set_limits(struct vm *vm)
{
    struct admission_terms terms = vm->terms;

    terms.max = choose_max(terms.memory);
    terms.min = choose_min(&terms);
    if (ask_for_most(vm, &terms, &terms.min)) {
        grant(vm, &terms);
        space_set_limits(vm->space, terms.min, terms.max, choose_shares());
    }
}

static void set_quota(struct vm *vm)
{
    struct admission_terms terms = vm->terms;

    if (vm->tmem == NULL) {
        return;
    }
    terms.tmem = 1 + below(QUOTA_MAX);
    if (ask_for_most(vm, &terms, &terms.tmem) && terms.tmem != 0 &&
        tmem_set_quota(vm->tmem, terms.tmem)) {
        grant(vm, &terms);
    }
}

static void one_promise(void)
{
    struct vm *vm = &model_vms[below(VMS)];

    promises_made++;
    if (!vm->up) {
        start_vm(vm);
    } else if (below(5) == 0) {
        stop_vm(vm);
    } else if (below(3) == 0) {
        set_quota(vm);
    } else {
        set_limits(vm);
    }
}

/* All VMs that are not quiet walk over all of their memory. */
static void walk_all(bool write)
{
    uint64_t turns = 0;

    for (unsigned v = 0; v < VMS; v++) {
        turns = model_vms[v].up ? MAX(turns, model_vms[v].terms.memory / model_vms[v].terms.vcpus)
                                : turns;
    }
    model_fills = write;
    model_reads = !write;
    for (turns = turns * 3 / 2; turns > 0; turns--) {
        turn();
    }
    model_fills = model_reads = false;
}

static void time_between(void)
{
    unsigned turns = (unsigned)(below(25) == 0 ? below(1000) : below(40));

    for (unsigned v = 0; v < VMS; v++) {
        model_vms[v].quiet = below(4) == 0;
    }
    if (below(16) == 0) {
        walk_all(below(3) != 0);
    }
    while (turns-- > 0) {
        turn();
    }
}

static void machine_life(void)
{
    uint64_t end = promises_made + MACHINE_LIFE;

    machine_up();
    while (promises_made < end) {
        one_promise();
        time_between();
    }
    for (unsigned v = 0; v < VMS; v++) {
        if (model_vms[v].up) {
            stop_vm(&model_vms[v]);
        }
    }
    machine_down();
}

static void every_access_ends(void **state)
{
    const char *text = getenv("PROMISES");
    uint64_t wanted = text != NULL ? strtoull(text, NULL, 0) : 20000;

    (void)state;
    support_seed(1);
    support_log_level(-1);
    while (promises_made < wanted) {
        machine_life();
    }
    printf(
        "promises: %lu, %lu of them cut down, %lu accesses, %lu waits; the longest: %u turns, %u "
        "with an outage, %u on a bad disk; %lu VMs lost a page and %lu their promise to one\n",
        (unsigned long)promises_made, (unsigned long)cut_down, (unsigned long)accesses,
        (unsigned long)waits, worst_turns[0], worst_turns[1], worst_turns[2], (unsigned long)lost,
        (unsigned long)broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_access_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
