/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer on the decoder of the tmem hypercall alone: 64 bytes, any.
 *
 *     make fuzz-decode [FUZZ_RUNS=10000000]
 */
#include <stdlib.h>
#include <string.h>

#include "hv/run/hypercall_tmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What the header promises about an entry that is accepted, and that nothing got lost. */
static void check_accepted(const struct spillway_tmem_op *raw, const struct tmem_order *order)
{
    bool create = raw->op == SPILLWAY_TMEM_CREATE;

    check(raw->op >= SPILLWAY_TMEM_CREATE && raw->op <= SPILLWAY_TMEM_QUERY);
    check(raw->reserved == 0 && raw->reserved2 == 0);
    check(create ? raw->flags <= SPILLWAY_TMEM_SHARED_GET : raw->flags == 0);
    if (raw->op == SPILLWAY_TMEM_PUT || raw->op == SPILLWAY_TMEM_GET) {
        check(raw->address % 4096 == 0);
    }
    check(raw->op != SPILLWAY_TMEM_QUERY || raw->address % 8 == 0);
    check(order->op == raw->op && order->flags == raw->flags);
    check(order->handle.pool == raw->pool && order->handle.index == raw->index);
    check(memcmp(order->handle.object, raw->object, sizeof(raw->object)) == 0);
    check(order->address.v == raw->address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spillway_tmem_op raw = {0};
    struct tmem_order order;
    int32_t status;

    memcpy(&raw, data, size < sizeof(raw) ? size : sizeof(raw));
    status = hypercall_tmem_decode(&raw, &order);
    check(status == SPILLWAY_TMEM_OK || status == SPILLWAY_TMEM_EINVAL);
    if (status == SPILLWAY_TMEM_OK) {
        check_accepted(&raw, &order);
    }
    return 0;
}
