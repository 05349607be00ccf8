/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/admission.c */
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

#include "hv/admission.h"
#include "mm/env.h"
#include "mm/pager.h"
#include "mm/space_internal.h"
#include "mm/tmem_internal.h"
#include "mm/wait.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define VMS            4u
#define VCPUS          3u
#define CONTROL_FRAMES 4u    /* of a vCPU: hv/admission.c */
#define MEMORY_MAX     1200u /* pages of a VM */
#define QUOTA_MAX      200u
#define EPHEMERAL      64u  /* handles of the ephemeral pool that are looked at again */
#define BURST          200u /* puts of others */
#define HANDLES        50000u
#define TOUCH_MAX      48u /* pages of one access */
#define WORDS          (PAGE_SIZE / sizeof(uint64_t))
#define MACHINE_LIFE   400u /* promises */
#define TURNS_MAX      700u /* that an access may take while the disk is well */
#define SLOW           10u  /* a disk that fails many requests is so much slower */
#define OUTAGE_MAX_MS  400u
#define BACKOFF_MAX_MS                                                                             \
    2100u /* mm/store_io.c: how long it may take to see that the disk is back                      \
           */

enum kind {
    TOUCH,
    PUT,
    GET,
    FLUSH,
    PUT_EPHEMERAL,
    GET_EPHEMERAL,
    BURST_EPHEMERAL, /* many puts, of handles that are not looked at again */
};

struct access {
    enum kind kind;
    unsigned count;
    uint32_t page[TOUCH_MAX];
    bool write;
    uint32_t index; /* of the handle */
};

/* How long something waits: in all, or since the disk came back. */
struct wait_watch {
    unsigned turns;
    bool outage; /* there was one */
};

struct vm;

struct test_vcpu {
    struct mm_waiter waiter;
    struct vm *vm;
    struct access access;
    bool busy, parked;
    struct wait_watch watch;
    uint32_t next_page; /* of a walk through all memory */
};

struct vm {
    bool up;
    uint64_t number; /* in the order of starts */
    struct admission_terms terms;
    struct admission_demand promised;
    struct space *space;
    struct tmem *tmem;
    uint32_t pool[2]; /* persistent, ephemeral */
    struct test_vcpu vcpu[VCPUS];
    pfn_t control[CONTROL_FRAMES * VCPUS];
    bool quiet;                 /* it begins nothing */
    unsigned walk;              /* of 16 accesses, so many go on in order */
    uint64_t stamp[MEMORY_MAX]; /* first word of each page */
    uint64_t persistent[QUOTA_MAX], ephemeral[EPHEMERAL]; /* of what was put; 0: nothing */
};

static struct fake_disk disk;
static struct store *store;
static struct vm vms[VMS];
static struct admission_demand promised;
static uint64_t pool, next_stamp;
static unsigned outage_left; /* ms */
static bool fills, reads;    /* all memory is being written, or read, in order */
static bool may_lose;        /* the disk has bad blocks: pages may be lost, and promises broken */
static unsigned worst_turns[3]; /* of accesses: without an outage, with one, on a bad disk */
static uint64_t accesses, promises_made, cut_down, lost, broken, waits;

static uint64_t below(uint64_t limit)
{
    return support_random_below(limit);
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void wake(struct mm_waiter *waiter)
{
    CONTAINER_OF(waiter, struct test_vcpu, waiter)->parked = false;
}

static void machine_up(void)
{
    uint64_t frames = 500 + below(below(2) ? 600 : 3000);
    uint64_t slots = below(6) == 0 ? 0 : 50 + below(below(2) ? 600 : 4000);

    support_memory_init(frames);
    frame_alloc_set_watermarks(12, 24, 40);
    store = NULL;
    may_lose = false;
    if (slots != 0) {
        fake_disk_init(&disk, slots + 2, 1 + below(UINT32_MAX));
        store = support_open_store(&disk);
        assert_non_null(store);
        if (below(5) == 0) {
            disk.fail_read_permille = (unsigned)below(300);
            disk.fail_write_permille = (unsigned)below(300);
            may_lose = true;
        }
    }
    outage_left = 0;
    promised = (struct admission_demand){0};
    pool = frame_stats_get().frames - frame_stats_get().meta;
}

static struct admission_supply supply_now(void)
{
    struct admission_supply supply = {.pool = pool, .kept = frame_alloc_high() + ADMISSION_ROOM};
    struct store_stats stats;

    if (store != NULL) {
        store_get_stats(store, &stats);
        supply.slots = stats.slots - stats.retired;
    }
    return supply;
}

static void disk_turn(void)
{
    if (store == NULL) {
        return;
    }
    if (outage_left > 0 && --outage_left == 0) {
        disk.reads_down = disk.writes_down = false;
    }
    if (outage_left == 0 && below(20000) == 0) {
        outage_left = 1 + (unsigned)below(OUTAGE_MAX_MS);
        disk.reads_down = below(2);
        disk.writes_down = !disk.reads_down || below(2);
    }
    fake_disk_step(&disk);
    if (below(2)) {
        fake_disk_step(&disk);
    }
}

static void machine_down(void)
{
    struct store_stats stats;

    assert_int_equal(frame_stats_get().guest + frame_stats_get().tmem, 0);
    assert_int_equal(frame_stats_get().frames - frame_stats_get().meta, pool);
    if (store != NULL) {
        store_get_stats(store, &stats);
        assert_int_equal(stats.slots_used, 0);
        disk.reads_down = disk.writes_down = false;
        support_store_settle(&disk);
    }
    support_memory_free();
    if (store != NULL) {
        fake_disk_free(&disk);
    }
}

/* ---- accesses ------------------------------------------------------------------------------- */

static bool resident(const struct space *space, uint64_t page)
{
    unsigned level;
    uint64_t value = table_entry_get(table_leaf(&space->table, gfn(page), &level));

    return entry_kind(space, value, level) == PAGE_FRAME;
}

/* What the CPU does on its way to the page, which is resident: where it is. */
static uint64_t *walk_hardware(struct space *space, uint64_t page, bool write)
{
    const struct table_format *format = space->table.format;
    pfn_t self = space->table.root;
    unsigned at = format->levels;

    for (;; at--) {
        uint64_t *entry = (uint64_t *)mm_frame_ptr(self) +
                          (page >> (TABLE_INDEX_BITS * (at - 1)) & (REGION_PAGES - 1));
        bool leaf = format->classify(*entry, at) == ENTRY_LEAF;

        self = format->pfn(*entry, at);
        if (leaf) {
            *entry |= format->accessed_bit | (write ? format->dirty_bit : 0);
            return mm_frame_ptr(pfn(self.v + page % table_level_pages(at)));
        }
        if (format->nonleaf_accessed) {
            *entry |= format->accessed_bit;
        }
    }
}

/* All of the pages are there at once, or one of them has to be waited for. */
static enum mm_result touch(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    const struct access *access = &vcpu->access;

    for (unsigned i = 0; i < access->count; i++) {
        enum mm_result result = MM_OK;

        if (!resident(vm->space, access->page[i])) {
            result = space_fault(vm->space, gfn(access->page[i]),
                                 access->write ? FAULT_WRITE : FAULT_READ, &vcpu->waiter);
        }
        if (result != MM_OK) {
            return result;
        }
    }
    for (unsigned i = 0; i < access->count; i++) {
        uint32_t page = access->page[i];
        uint64_t *word = walk_hardware(vm->space, page, access->write);

        if (word[0] != vm->stamp[page] || word[WORDS - 1] != vm->stamp[page]) {
            panic("page %u holds 0x%llx and 0x%llx, expected 0x%llx", page,
                  (unsigned long long)word[0], (unsigned long long)word[WORDS - 1],
                  (unsigned long long)vm->stamp[page]);
        }
        if (access->write) {
            vm->stamp[page] = ++next_stamp;
            word[0] = word[WORDS - 1] = next_stamp;
            word[1] = ~next_stamp; /* all pages differ */
        }
    }
    return MM_OK;
}

static uint64_t frames_of(const struct vm *vm)
{
    return vm->space->where[WHERE_RESIDENT] + vm->space->where[WHERE_TRANSIT];
}

static bool others_queue(const struct test_vcpu *than)
{
    for (unsigned v = 0; v < VMS; v++) {
        for (unsigned i = 0; vms[v].up && i < vms[v].terms.vcpus; i++) {
            const struct test_vcpu *vcpu = &vms[v].vcpu[i];

            if (vcpu != than && (vcpu->waiter.queue == MM_WAITS_FRAME ||
                                 (vcpu->vm == than->vm && vcpu->waiter.queue == MM_WAITS_ROOM))) {
                return true;
            }
        }
    }
    return false;
}

/* First come, first served: who has not been served takes no frame while others queue for one, and
 * who has been finds one. */
static enum mm_result touch_in_order(struct test_vcpu *vcpu)
{
    bool queue = others_queue(vcpu), served = vcpu->waiter.served;
    uint64_t before = frames_of(vcpu->vm);
    enum mm_result result = touch(vcpu);

    if (queue && !served && frames_of(vcpu->vm) > before) {
        panic("a newcomer has taken a frame while others queue");
    }
    if (served && frames_of(vcpu->vm) == before && vcpu->waiter.queue == MM_WAITS_FRAME) {
        panic("one that was served found nothing");
    }
    return result;
}

static struct tmem_handle handle_of(const struct vm *vm, bool ephemeral, uint32_t index)
{
    return (struct tmem_handle){.object = {index % 7}, .pool = vm->pool[ephemeral], .index = index};
}

static bool is_ephemeral(enum kind kind)
{
    return kind >= PUT_EPHEMERAL;
}

/* Where it is noted what the handle holds. */
static uint64_t *noted(struct vm *vm, const struct access *access)
{
    return is_ephemeral(access->kind) ? &vm->ephemeral[access->index]
                                      : &vm->persistent[access->index];
}

static enum tmem_result put(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    const struct access *access = &vcpu->access;
    struct tmem_handle handle = handle_of(vm, is_ephemeral(access->kind), access->index);
    uint64_t *held = noted(vm, access);
    enum tmem_result result =
        tmem_put(vm->tmem, &handle, gpa(access->page[0] * PAGE_SIZE), &vcpu->waiter);

    if (result != TMEM_WAIT) {
        *held = result == TMEM_OK ? vm->stamp[access->page[0]] + 1 : 0;
    }
    return result == TMEM_REFUSED ? TMEM_OK : result;
}

static enum tmem_result burst(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    enum tmem_result result = TMEM_OK;

    for (unsigned i = 0; i < BURST && (result == TMEM_OK || result == TMEM_REFUSED); i++) {
        struct tmem_handle handle = handle_of(vm, true, EPHEMERAL + (uint32_t)below(HANDLES));

        result = tmem_put(vm->tmem, &handle, gpa(vcpu->access.page[0] * PAGE_SIZE), &vcpu->waiter);
    }
    return result == TMEM_REFUSED ? TMEM_OK : result;
}

static enum tmem_result get(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    const struct access *access = &vcpu->access;
    bool ephemeral = is_ephemeral(access->kind);
    struct tmem_handle handle = handle_of(vm, ephemeral, access->index);
    uint64_t *held = noted(vm, access);
    enum tmem_result result =
        tmem_get(vm->tmem, &handle, gpa(access->page[0] * PAGE_SIZE), &vcpu->waiter);

    if (result == TMEM_OK) {
        assert_int_not_equal(*held, 0);
        vm->stamp[access->page[0]] = *held - 1;
    }
    if (result == TMEM_MISS) {
        assert_true(ephemeral || *held == 0);
        result = TMEM_OK;
    }
    if (ephemeral && result == TMEM_OK) {
        *held = 0;
    }
    return result == TMEM_BROKEN && may_lose ? TMEM_LOST : result;
}

static enum mm_result of_tmem(enum tmem_result result)
{
    switch (result) {
    case TMEM_OK:
        return MM_OK;
    case TMEM_WAIT:
        return MM_WAIT;
    case TMEM_LOST:
        return MM_LOST;
    default:
        panic("tmem: result %d", (int)result);
    }
}

static enum mm_result perform(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct tmem_handle handle;

    switch (vcpu->access.kind) {
    case TOUCH:
        return touch_in_order(vcpu);
    case PUT:
    case PUT_EPHEMERAL:
        return of_tmem(put(vcpu));
    case GET:
    case GET_EPHEMERAL:
        return of_tmem(get(vcpu));
    case BURST_EPHEMERAL:
        return of_tmem(burst(vcpu));
    case FLUSH:
        break;
    }
    handle = handle_of(vm, false, vcpu->access.index);
    vm->persistent[vcpu->access.index] = 0;
    return of_tmem(tmem_page_flush(vm->tmem, &handle));
}

static void choose_pages(struct test_vcpu *vcpu)
{
    struct access *access = &vcpu->access;
    uint64_t memory = vcpu->vm->terms.memory;
    bool walks = fills || reads || below(16) < vcpu->vm->walk;

    access->count = below(32) == 0 ? 1 + (unsigned)below(TOUCH_MAX) : 1;
    access->write = fills || (!reads && below(4) != 0);
    for (unsigned i = 0; i < access->count; i++) {
        access->page[i] = (uint32_t)(walks ? vcpu->next_page++ % memory : below(memory));
    }
}

static void choose_access(struct test_vcpu *vcpu)
{
    static const enum kind kinds[] = {
        PUT, PUT, PUT, GET, GET, FLUSH, PUT_EPHEMERAL, GET_EPHEMERAL, BURST_EPHEMERAL};
    struct access *access = &vcpu->access;

    access->kind = TOUCH;
    if (vcpu->vm->tmem != NULL && below(3) == 0) {
        access->kind = kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
    }
    access->index = (uint32_t)below(is_ephemeral(access->kind) ? EPHEMERAL : QUOTA_MAX);
    choose_pages(vcpu);
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
        const struct vm *vm = &vms[v];

        if (!vm->up) {
            continue;
        }
        printf("VM %u: memory %lu, min %lu, max %lu, tmem %lu; resident %lu, transit %lu, stored "
               "%lu\n",
               v, (unsigned long)vm->terms.memory, (unsigned long)vm->terms.min,
               (unsigned long)vm->terms.max, (unsigned long)vm->terms.tmem,
               (unsigned long)vm->space->where[WHERE_RESIDENT],
               (unsigned long)vm->space->where[WHERE_TRANSIT],
               (unsigned long)vm->space->where[WHERE_STORED]);
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
    if (watch->turns <= TURNS_MAX * (may_lose ? SLOW : 1) + (watch->outage ? BACKOFF_MAX_MS : 0)) {
        return;
    }
    if (promises_hold()) {
        describe();
        fail_msg("%s does not end", what);
    }
    /* As hv/vm_watch.c does it. */
    struct vm *newest = NULL;

    for (unsigned v = 0; v < VMS; v++) {
        if (vms[v].up && (newest == NULL || vms[v].number > newest->number)) {
            newest = &vms[v];
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
        choose_access(vcpu);
        vcpu->busy = true;
        vcpu->watch = (struct wait_watch){0};
    }
    watch_wait(&vcpu->watch, "an access");
    if (vcpu->parked || !vcpu->vm->up) {
        return;
    }
    vcpu->parked = true; /* before, since wake() may come at once */
    result = perform(vcpu);
    if (result == MM_WAIT) {
        waits++;
        return;
    }
    vcpu->parked = vcpu->busy = false;
    space_end_turn(&vcpu->waiter);
    unsigned kind = may_lose ? 2 : vcpu->watch.outage;

    worst_turns[kind] = MAX(worst_turns[kind], vcpu->watch.turns);
    accesses++;
    if (result == MM_LOST) {
        assert_true(may_lose);
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
        for (unsigned i = 0; vms[v].up && i < vms[v].terms.vcpus; i++) {
            vcpu_turn(&vms[v].vcpu[i]);
        }
    }
    machine_turn();
}

/* ---- promises ------------------------------------------------------------------------------- */

static void stop_vm(struct vm *vm)
{
    vm->up = false;
    for (unsigned i = 0; i < vm->terms.vcpus; i++) {
        space_cancel_wait(&vm->vcpu[i].waiter);
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
        .working_pages = vm->terms.vcpus * ADMISSION_WORKING,
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
    assert_true(space_add_slot(vm->space, gfn(0), vm->terms.memory, 0));
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
    uint64_t least = VCPUS * ADMISSION_WORKING + 64;

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
    struct vm *vm = &vms[below(VMS)];

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
        turns = vms[v].up ? MAX(turns, vms[v].terms.memory / vms[v].terms.vcpus) : turns;
    }
    fills = write;
    reads = !write;
    for (turns = turns * 3 / 2; turns > 0; turns--) {
        turn();
    }
    fills = reads = false;
}

static void time_between(void)
{
    unsigned turns = (unsigned)(below(25) == 0 ? below(1000) : below(40));

    for (unsigned v = 0; v < VMS; v++) {
        vms[v].quiet = below(4) == 0;
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
        if (vms[v].up) {
            stop_vm(&vms[v]);
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
