/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vm/tmem.h"

#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/vm/internal.h"

static struct tmem *create(const struct vm *vm, uint64_t quota)
{
    struct tmem_config config = {
        .name = vm->name,
        .space = vm->run.space,
        .store = machine_store(),
        .quota = quota,
        .ephemeral_max = vm->memory_pages,
        .shares = vm->shares,
        .seed = arch_random(),
    };

    return tmem_create(&config);
}

bool vm_tmem_create(struct vm *vm)
{
    if (vm->tmem_pages == 0) {
        return true;
    }
    vm->run.tmem = create(vm, vm->tmem_pages);
    return vm->run.tmem != NULL;
}

/* The promise is there already. */
static bool resize(struct vm *vm, uint64_t pages, struct vm_answer *answer)
{
    struct tmem_stats stats;

    if (vm->run.tmem == NULL || tmem_set_quota(vm->run.tmem, pages)) {
        return true;
    }
    tmem_get_stats(vm->run.tmem, &stats);
    return vm_refuse(answer, "expected at least what its persistent pools hold: %lu KiB",
                     (unsigned long)(stats.persistent * (PAGE_SIZE / 1024)));
}

bool vm_tmem_poll(struct vm *vm)
{
    if (vm->run.tmem != NULL || vm->tmem_pages == 0) {
        return false;
    }
    if (!frame_promise_gather(&vm->run.parts, (uint32_t)tmem_create_cost(vm->tmem_pages))) {
        return true;
    }
    frame_promise_use(&vm->run.parts);
    vm->run.tmem = create(vm, vm->tmem_pages); /* its vCPUs may find it from now on */
    frame_promise_use(NULL);
    frame_promise_end(&vm->run.parts);
    return vm->run.tmem == NULL;
}

bool vm_tmem_set(struct vm *vm, uint64_t pages, struct vm_answer *answer)
{
    struct admission_terms terms = vm_terms(vm);
    struct vm_answer unread;
    bool done;

    if (!vm_is_up(vm)) {
        vm->tmem_pages = pages; /* for its next start */
        return true;
    }
    terms.tmem = pages;
    if (pages > vm->tmem_pages && !vm_promise(vm, &terms, answer)) {
        return false;
    }
    done = resize(vm, pages, answer);
    if (done) {
        vm->tmem_pages = pages;
    }
    /* Less than there was, or what there was: that is never refused. */
    terms = vm_terms(vm);
    vm_promise(vm, &terms, &unread);
    loop_wake_vms(); /* vm_tmem_poll() */
    return done;
}
