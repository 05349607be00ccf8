/* SPDX-License-Identifier: BSD-2-Clause */
/* The sum of all promises to VMs.  The list's lock is held. */
#include "base/log.h"
#include "hv/config/admission.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "mm/content/store.h"
#include "mm/frame/frame_alloc.h"

static struct admission_demand promised;
static uint64_t pool; /* frames that were there when nothing was promised */

static struct admission_supply supply_now(void)
{
    struct admission_supply supply = {.pool = pool, .kept = frame_alloc_high() + ADMISSION_ROOM};
    struct store_stats store;

    if (machine_store() != NULL) {
        store_get_stats(machine_store(), &store);
        supply.slots = store.slots - store.retired;
        if (store.write_health == STORE_GONE || store.write_health == STORE_FULL) {
            supply.slots = store.slots_used; /* there will be no more */
        }
    }
    return supply;
}

/* Leaves out the frames that the hypervisor itself has taken by now: they stay taken. */
static void measure_pool(void)
{
    struct frame_stats frames = frame_stats_get();

    pool = frames.frames - frames.meta;
}

static bool asks_for_no_more(const struct admission_demand *want,
                             const struct admission_demand *have)
{
    return want->pages <= have->pages && want->cap >= have->cap && want->floor <= have->floor &&
           want->fixed <= have->fixed;
}

struct admission_terms vm_terms(const struct vm *vm)
{
    return (struct admission_terms){
        .memory = vm->memory_pages,
        .min = vm->min_pages,
        .max = vm->max_pages,
        .tmem = vm->tmem_pages,
        .vcpus = vm->config->vcpus,
        .disks = vm->config->disks,
        .nics = vm->config->nics,
    };
}

bool vm_promise(struct vm *vm, const struct admission_terms *terms, struct vm_answer *answer)
{
    struct admission_demand want = admission_demand(terms);
    struct admission_demand others = admission_subtract(&promised, &vm->promised);
    struct admission_supply supply;

    if (promised.pages == 0) {
        measure_pool();
    }
    supply = supply_now();
    if (!asks_for_no_more(&want, &vm->promised) &&
        !admission_check(&supply, &others, &want, answer->text, sizeof(answer->text))) {
        return false;
    }
    vm->promised = want;
    promised = admission_add(&others, &want);
    return true;
}

uint64_t vm_promises_broken(void)
{
    struct admission_supply supply = supply_now();

    return admission_missing(&supply, &promised);
}

void vm_unpromise(struct vm *vm)
{
    promised = admission_subtract(&promised, &vm->promised);
    vm->promised = (struct admission_demand){0};
}
