/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vm/tmem.h"

#include <stdio.h>

#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/vm/internal.h"

static struct tmem *create(const struct vm *vm, uint64_t quota)
{
    struct tmem_config config = {
        .name = vm->name,
        .space = vm->space,
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
    vm->tmem = create(vm, vm->tmem_pages);
    return vm->tmem != NULL;
}

/* The promise is there already. */
static const char *resize(struct vm *vm, uint64_t pages)
{
    static char message[96];
    struct tmem_stats stats;

    if (vm->tmem == NULL || tmem_set_quota(vm->tmem, pages)) {
        return NULL;
    }
    tmem_get_stats(vm->tmem, &stats);
    snprintf(message, sizeof(message), "expected at least what its persistent pools hold: %lu KiB",
             (unsigned long)(stats.persistent * (PAGE_SIZE / 1024)));
    return message;
}

bool vm_tmem_poll(struct vm *vm)
{
    if (vm->tmem != NULL || vm->tmem_pages == 0) {
        return false;
    }
    if (!frame_promise_gather(&vm->run.parts, (uint32_t)tmem_create_cost(vm->tmem_pages))) {
        return true;
    }
    frame_promise_use(&vm->run.parts);
    vm->tmem = create(vm, vm->tmem_pages); /* its vCPUs may find it from now on */
    frame_promise_use(NULL);
    frame_promise_end(&vm->run.parts);
    return vm->tmem == NULL;
}

const char *vm_tmem_set(struct vm *vm, uint64_t pages)
{
    static char refused[192];
    struct admission_terms terms = vm_terms(vm);
    const char *answer;

    if (!vm_is_up(vm)) {
        vm->tmem_pages = pages; /* for its next start */
        return NULL;
    }
    terms.tmem = pages;
    if (pages > vm->tmem_pages && !vm_promise(vm, &terms, refused, sizeof(refused))) {
        return refused;
    }
    answer = resize(vm, pages);
    if (answer == NULL) {
        vm->tmem_pages = pages;
    }
    /* Less than there was, or what there was: that is never refused. */
    terms = vm_terms(vm);
    vm_promise(vm, &terms, refused, sizeof(refused));
    loop_wake_vms(); /* vm_tmem_poll() */
    return answer;
}
