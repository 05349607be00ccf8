/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/promise_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "mm/env.h"
#include "tests/unit/support.h"

struct vm model_vms[VMS];
bool model_fills, model_reads, model_may_lose;

static uint64_t next_stamp;

static bool resident(const struct space *space, uint64_t page)
{
    unsigned level;
    uint64_t value = table_entry_get(table_leaf(&space->table, gfn(page), &level));

    return entry_kind(space, value, level) == PLACE_FRAME;
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
                                 access->write ? ACCESS_WRITE : ACCESS_READ, &vcpu->waiter);
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
    return space_in_frames(vm->space);
}

static bool others_queue(const struct test_vcpu *than)
{
    for (unsigned v = 0; v < VMS; v++) {
        for (unsigned i = 0; model_vms[v].up && i < model_vms[v].terms.vcpus; i++) {
            const struct test_vcpu *vcpu = &model_vms[v].vcpu[i];

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
    return result == TMEM_BROKEN && model_may_lose ? TMEM_LOST : result;
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

/* What stays is in a large page that could not be split. */
static enum mm_result discard(struct test_vcpu *vcpu)
{
    const struct access *access = &vcpu->access;
    struct vm *vm = vcpu->vm;

    for (unsigned i = 0; i < access->count; i++) {
        struct gfn_range range = {gfn(access->page[i]), 1};

        if (space_discard(vm->space, &range, 1) == 1) {
            vm->stamp[access->page[i]] = 0;
        }
    }
    return MM_OK;
}

enum mm_result model_perform(struct test_vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct tmem_handle handle;

    switch (vcpu->access.kind) {
    case TOUCH:
        return touch_in_order(vcpu);
    case DISCARD:
        return discard(vcpu);
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
    bool walks = model_fills || model_reads || below(16) < vcpu->vm->walk;

    access->count = below(32) == 0 ? 1 + (unsigned)below(TOUCH_MAX) : 1;
    access->write = model_fills || (!model_reads && below(4) != 0);
    for (unsigned i = 0; i < access->count; i++) {
        access->page[i] = (uint32_t)(walks ? vcpu->next_page++ % memory : below(memory));
    }
}

void model_choose_access(struct test_vcpu *vcpu)
{
    static const enum kind kinds[] = {
        PUT, PUT, PUT, GET, GET, FLUSH, PUT_EPHEMERAL, GET_EPHEMERAL, BURST_EPHEMERAL};
    struct access *access = &vcpu->access;

    access->kind = !model_fills && !model_reads && below(50) == 0 ? DISCARD : TOUCH;
    if (vcpu->vm->tmem != NULL && below(3) == 0) {
        access->kind = kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
    }
    access->index = (uint32_t)below(is_ephemeral(access->kind) ? EPHEMERAL : QUOTA_MAX);
    choose_pages(vcpu);
}
