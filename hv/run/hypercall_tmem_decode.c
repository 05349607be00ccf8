/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/bits.h"
#include "hv/run/hypercall_tmem.h"

static bool flags_valid(uint32_t op, uint32_t flags)
{
    if (op != SPILLWAY_TMEM_CREATE) {
        return flags == 0;
    }
    /* A get never removes a persistent page: both at once is a misunderstanding. */
    return flags == 0 || flags == SPILLWAY_TMEM_PERSISTENT || flags == SPILLWAY_TMEM_SHARED_GET;
}

static bool address_valid(uint32_t op, uint64_t address)
{
    switch (op) {
    case SPILLWAY_TMEM_PUT:
    case SPILLWAY_TMEM_GET:
        return IS_ALIGNED(address, PAGE_SIZE);
    case SPILLWAY_TMEM_QUERY:
        return IS_ALIGNED(address, sizeof(uint64_t));
    default:
        return true;
    }
}

int32_t hypercall_tmem_decode(const struct spillway_tmem_op *raw, struct tmem_order *order)
{
    if (raw->op < SPILLWAY_TMEM_CREATE || raw->op > SPILLWAY_TMEM_QUERY ||
        !flags_valid(raw->op, raw->flags) || !address_valid(raw->op, raw->address) ||
        raw->reserved != 0 || raw->reserved2 != 0) {
        return SPILLWAY_TMEM_EINVAL;
    }
    *order = (struct tmem_order){
        .op = raw->op,
        .flags = raw->flags,
        .handle = {.object = {raw->object[0], raw->object[1], raw->object[2]},
                   .pool = raw->pool,
                   .index = raw->index},
        .address = gpa(raw->address),
    };
    return SPILLWAY_TMEM_OK;
}
