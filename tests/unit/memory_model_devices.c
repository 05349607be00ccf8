/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/memory_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mm/env.h"

static struct model_pin pins[PINS];

bool model_is_pinned(const struct model_space *in, unsigned page, unsigned level)
{
    for (unsigned i = 0; i < PINS; i++) {
        if (pins[i].in == in && model_gfn(pins[i].page).v / table_level_pages(level) ==
                                    model_gfn(page).v / table_level_pages(level)) {
            return true;
        }
    }
    return false;
}

static struct model_pin *free_pin(void)
{
    for (unsigned i = 0; i < PINS; i++) {
        if (pins[i].in == NULL) {
            return &pins[i];
        }
    }
    return NULL;
}

/* A device that reads all of a page from a disk writes to it before anybody looks. */
static void overwrite(struct model_pin *pin, uint64_t value)
{
    uint64_t *at = mm_frame_ptr(pin->frame);

    for (unsigned i = 0; i < WORDS; i++) {
        at[i] = value * (i + 3);
        pin->in->word[pin->page][i] = at[i];
    }
    pin->written = true;
}

enum mm_result model_pin_page(struct model_vcpu *vcpu, const struct op *op)
{
    struct model_pin *pin = free_pin();
    unsigned how = op->bytes & 1 ? ACCESS_WRITE : ACCESS_READ;
    enum mm_result result;

    if (pin == NULL) {
        return MM_OK;
    }
    how |= op->bytes & 2 ? SPACE_PIN_LASTING : 0;
    how |= op->bytes & 4 ? SPACE_PIN_OVERWRITE : 0;
    result = space_pin(vcpu->in->space, model_gfn(op->page), how, &pin->frame, &vcpu->waiter);
    if (result == MM_OK) {
        pin->in = vcpu->in;
        pin->page = op->page;
        pin->written = false;
        model_counts.pins++;
        if (how & SPACE_PIN_OVERWRITE) {
            overwrite(pin, op->value);
        }
    }
    return result;
}

static void unpin(struct model_pin *pin)
{
    space_unpin(pin->in->space, model_gfn(pin->page), pin->written);
    pin->in = NULL;
}

void model_end_pins(void)
{
    for (unsigned i = 0; i < PINS; i++) {
        if (pins[i].in != NULL) {
            unpin(&pins[i]);
        }
    }
}

void model_run_devices(void)
{
    struct model_pin *pin = &pins[model_random(PINS)];

    if (pin->in == NULL) {
        return;
    }
    if (model_random(4) == 0) {
        unpin(pin);
    } else if (model_random(2) == 0) {
        model_compare_page(pin->in, pin->page, mm_frame_ptr(pin->frame));
    } else {
        unsigned word = (unsigned)model_random(WORDS);
        uint64_t value = model_random(UINT64_MAX);

        ((uint64_t *)mm_frame_ptr(pin->frame))[word] = value;
        pin->in->word[pin->page][word] = value;
        pin->written = true;
        model_counts.device_writes++;
    }
}
