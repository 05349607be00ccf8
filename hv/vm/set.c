/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of a VM that can be changed while it runs. */
#include <string.h>

#include "base/bits.h"
#include "hv/config/config.h"
#include "hv/run/sched.h"
#include "hv/vm/balloon_target.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "hv/vm/tmem.h"

/* Puts the settings that are stored into force. */
static bool apply(struct vm *vm)
{
    spin_lock(&vm->lock);
    if (vm->run.space != NULL && vm->state != VM_ENDING) {
        space_set_limits(vm->run.space, vm->min_pages, vm->max_pages, vm->shares);
        sched_set_weight(vm, vm_cpu_shares(vm));
    }
    if (vm->run.tmem != NULL) {
        tmem_set_shares(vm->run.tmem, vm->shares);
    }
    spin_unlock(&vm->lock);
    return true;
}

static bool set_limits(struct vm *vm, uint64_t min_pages, uint64_t max_pages,
                       struct vm_answer *answer)
{
    struct admission_terms terms = vm_terms(vm);

    terms.min = min_pages;
    terms.max = max_pages;
    if (max_pages != 0 && min_pages > max_pages) {
        return vm_refuse(answer, "min would be %lu KiB, expected at most max, %lu KiB",
                         (unsigned long)(min_pages * (PAGE_SIZE / 1024)),
                         (unsigned long)(max_pages * (PAGE_SIZE / 1024)));
    }
    if (vm_is_up(vm) && !vm_promise(vm, &terms, answer)) {
        return false;
    }
    vm->min_pages = min_pages;
    vm->max_pages = max_pages;
    return apply(vm);
}

/* In pages. */
static bool parse_pages(const char *value, uint64_t *pages)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes) || bytes % PAGE_SIZE != 0) {
        return false;
    }
    *pages = bytes / PAGE_SIZE;
    return true;
}

static bool parse_shares(const char *value, uint64_t least, uint32_t *shares)
{
    uint64_t number;

    /* A number, not a size: no unit. */
    if (strspn(value, "0123456789") != strlen(value) || !config_parse_size(value, &number) ||
        number < least || number > CONFIG_SHARES_MAX) {
        return false;
    }
    *shares = (uint32_t)number;
    return true;
}

static bool set_min(struct vm *vm, const char *value, struct vm_answer *answer)
{
    uint64_t pages;

    if (!parse_pages(value, &pages) || pages > vm->memory_pages) {
        return vm_refuse(answer,
                         "min = %s: expected a size such as 16M, at most the VM's memory, %lu KiB",
                         value, (unsigned long)(vm->memory_pages * (PAGE_SIZE / 1024)));
    }
    return set_limits(vm, pages, vm->max_pages, answer);
}

static bool set_max(struct vm *vm, const char *value, struct vm_answer *answer)
{
    uint64_t pages;

    if (!parse_pages(value, &pages) || (pages != 0 && pages < CONFIG_MEMORY_MIN / PAGE_SIZE)) {
        return vm_refuse(answer, "max = %s: expected a size from %uM on, or 0: no limit", value,
                         (unsigned)(CONFIG_MEMORY_MIN >> 20));
    }
    return set_limits(vm, vm->min_pages, pages, answer);
}

static bool set_shares(struct vm *vm, const char *value, struct vm_answer *answer)
{
    if (!parse_shares(value, 1, &vm->shares)) {
        return vm_refuse(answer, "shares = %s: expected a number, 1 to %u", value,
                         CONFIG_SHARES_MAX);
    }
    return apply(vm);
}

static bool set_cpu_shares(struct vm *vm, const char *value, struct vm_answer *answer)
{
    if (!parse_shares(value, 0, &vm->cpu_shares)) {
        return vm_refuse(answer, "cpu-shares = %s: expected a number, 1 to %u, or 0: as shares",
                         value, CONFIG_SHARES_MAX);
    }
    return apply(vm);
}

static bool set_tmem(struct vm *vm, const char *value, struct vm_answer *answer)
{
    uint64_t pages;

    if (!parse_pages(value, &pages)) {
        return vm_refuse(answer, "tmem = %s: expected a size such as 64M", value);
    }
    return vm_tmem_set(vm, pages, answer);
}

/* In force within a second; hv/vm/balloon.c. */
static bool set_balloon(struct vm *vm, const char *value, struct vm_answer *answer)
{
    uint64_t most = balloon_most(vm->memory_pages, vm->min_pages);
    struct balloon_setting setting;

    if (!config_parse_balloon(value, &setting) || setting.bytes / PAGE_SIZE > most) {
        return vm_refuse(
            answer,
            "balloon = %s: expected auto, off, or a size such as 64M, at most what its "
            "memory has more than its min, %lu KiB",
            value, (unsigned long)(most * (PAGE_SIZE / 1024)));
    }
    vm->balloon = setting;
    return true;
}

bool vm_set(struct vm *vm, const char *key, const char *value, struct vm_answer *answer)
{
    static const struct {
        const char *key;
        bool (*set)(struct vm *vm, const char *value, struct vm_answer *answer);
    } settings[] = {
        {"min", set_min},       {"max", set_max},
        {"shares", set_shares}, {"cpu-shares", set_cpu_shares},
        {"tmem", set_tmem},     {"balloon", set_balloon},
    };

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        if (strcmp(settings[i].key, key) == 0) {
            return settings[i].set(vm, value, answer);
        }
    }
    return vm_refuse(
        answer, "unknown key '%s': expected min, max, shares, cpu-shares, tmem or balloon", key);
}
