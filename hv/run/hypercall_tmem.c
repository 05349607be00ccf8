/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/hypercall_tmem.h"

#include <string.h>

#include "base/bits.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"

#define CHUNK 16u /* entries read at a time: 1 KiB of stack */

/* RCX: how many are left; and how far a sweep of the first one has come. */
#define RCX_COUNT    BITS(31, 0)
#define RCX_POSITION BITS(63, 32)

_Static_assert(TMEM_PERSISTENT == SPILLWAY_TMEM_PERSISTENT, "ABI");
_Static_assert(TMEM_SHARED_GET == SPILLWAY_TMEM_SHARED_GET, "ABI");
_Static_assert(offsetof(struct spillway_tmem_op, status) == 4, "ABI");
_Static_assert(offsetof(struct spillway_tmem_op, pool) == 8, "ABI: status and pool are neighbours");

/* ---- one entry ------------------------------------------------------------------------------ */

struct call {
    struct vcpu *vcpu;
    struct tmem *tmem;
    struct space *space;
    gpa_t at;          /* of the entry that is being done */
    uint32_t position; /* of its sweep */
};

static enum tmem_result write_guest(struct call *call, gpa_t to, const void *from, size_t bytes)
{
    return tmem_of_memory(space_write(call->space, to, from, bytes, &call->vcpu->waiter));
}

/* Writes to the entry's status, and to the fields behind it if `bytes` is more. */
static enum tmem_result write_answer(struct call *call, const void *status, size_t bytes)
{
    gpa_t to = gpa(call->at.v + offsetof(struct spillway_tmem_op, status));

    return write_guest(call, to, status, bytes);
}

static enum tmem_result write_status(struct call *call, int32_t status)
{
    return write_answer(call, &status, sizeof(status));
}

/* Tells the guest the pool's id; destroys the pool again if that fails. */
static enum tmem_result create_pool(struct call *call, uint32_t flags)
{
    struct {
        int32_t status;
        uint32_t pool;
    } answer = {SPILLWAY_TMEM_OK, 0};
    enum tmem_result result = tmem_pool_create(call->tmem, flags, &answer.pool);
    uint32_t position = 0;

    if (result != TMEM_OK) {
        return result;
    }
    result = write_answer(call, &answer, sizeof(answer));
    if (result != TMEM_OK) {
        while (tmem_pool_destroy(call->tmem, answer.pool, &position) == TMEM_AGAIN) {
        }
    }
    return result;
}

static enum tmem_result query(struct call *call, gpa_t to)
{
    struct spillway_tmem_info info;
    struct tmem_stats stats;

    tmem_get_stats(call->tmem, &stats);
    info = (struct spillway_tmem_info){
        .quota = stats.quota,
        .persistent = stats.persistent,
        .ephemeral = stats.ephemeral,
        .pools = stats.pools,
    };
    return write_guest(call, to, &info, sizeof(info));
}

static enum tmem_result perform(struct call *call, const struct tmem_order *order)
{
    struct mm_waiter *waiter = &call->vcpu->waiter;
    const struct tmem_handle *handle = &order->handle;

    switch (order->op) {
    case SPILLWAY_TMEM_CREATE:
        return create_pool(call, order->flags);
    case SPILLWAY_TMEM_DESTROY:
        return tmem_pool_destroy(call->tmem, handle->pool, &call->position);
    case SPILLWAY_TMEM_PUT:
        return tmem_put(call->tmem, handle, order->address, waiter);
    case SPILLWAY_TMEM_GET:
        return tmem_get(call->tmem, handle, order->address, waiter);
    case SPILLWAY_TMEM_FLUSH_PAGE:
        return tmem_page_flush(call->tmem, handle);
    case SPILLWAY_TMEM_FLUSH_OBJECT:
        return tmem_object_flush(call->tmem, handle, &call->position);
    case SPILLWAY_TMEM_FLUSH_POOL:
        return tmem_pool_flush(call->tmem, handle->pool, &call->position);
    default: /* QUERY: decode lets nothing else in */
        return query(call, order->address);
    }
}

static int32_t status_of(enum tmem_result result)
{
    switch (result) {
    case TMEM_MISS:
        return SPILLWAY_TMEM_ENOENT;
    case TMEM_REFUSED:
        return SPILLWAY_TMEM_ENOMEM;
    case TMEM_BAD_POOL:
        return SPILLWAY_TMEM_EBADPOOL;
    case TMEM_FAULT:
        return SPILLWAY_TMEM_EFAULT;
    case TMEM_BROKEN:
        return SPILLWAY_TMEM_EIO;
    default:
        return SPILLWAY_TMEM_OK;
    }
}

static bool unfinished(enum tmem_result result)
{
    return result == TMEM_WAIT || result == TMEM_AGAIN || result == TMEM_LOST;
}

/*
 * TMEM_OK: done, its status is written.  Else it has to be begun again, so nothing may be done
 * twice that must not be: the status OK is written before the operation, since after an exclusive
 * get, a create or a destroy there is no way back.  An operation that failed can be tried again, so
 * its status may wait.
 */
static enum tmem_result do_entry(struct call *call, const struct spillway_tmem_op *raw)
{
    struct tmem_order order;
    int32_t status = hypercall_tmem_decode(raw, &order);
    enum tmem_result result;

    if (status != SPILLWAY_TMEM_OK) {
        return write_status(call, status);
    }
    if (raw->status != SPILLWAY_TMEM_OK) {
        result = write_status(call, SPILLWAY_TMEM_OK);
        if (result != TMEM_OK) {
            return result;
        }
    }
    result = perform(call, &order);
    if (unfinished(result) || result == TMEM_OK) {
        return result;
    }
    return write_status(call, status_of(result));
}

/* ---- the batch ------------------------------------------------------------------------------ */

/* Checks the call as a whole. */
static int32_t check_call(const struct vcpu *vcpu, const struct call *call, uint64_t count)
{
    uint64_t base = call->at.v, bytes = count * sizeof(struct spillway_tmem_op);

    if (call->tmem == NULL || tmem_quota(call->tmem) == 0) {
        return SPILLWAY_TMEM_EPERM;
    }
    if (count == 0 || count > SPILLWAY_TMEM_BATCH || !IS_ALIGNED(base, sizeof(uint64_t))) {
        return SPILLWAY_TMEM_EINVAL;
    }
    if (base + bytes < base) {
        return SPILLWAY_TMEM_EFAULT;
    }
    for (uint64_t page = base >> PAGE_SHIFT; page <= (base + bytes - 1) >> PAGE_SHIFT; page++) {
        if (!space_owns(vcpu->space, gfn(page))) {
            return SPILLWAY_TMEM_EFAULT;
        }
    }
    return SPILLWAY_TMEM_OK;
}

/* Starts the reads of the gets behind one that waits, so that they do not wait one by one. */
static void prefetch(struct call *call, const struct spillway_tmem_op *raw, uint64_t count)
{
    struct tmem_order order;

    for (uint64_t i = 0; i < count; i++) {
        if (hypercall_tmem_decode(&raw[i], &order) == SPILLWAY_TMEM_OK &&
            order.op == SPILLWAY_TMEM_GET) {
            tmem_prefetch(call->tmem, &order.handle);
        }
    }
}

/* As many entries as fit a chunk.  RBX and RCX are behind what has been done. */
static enum tmem_result do_chunk(struct call *call, uint64_t count)
{
    struct spillway_tmem_op raw[CHUNK];
    uint64_t *gpr = call->vcpu->regs.gpr;
    enum tmem_result result;

    count = MIN(count, CHUNK);
    result = tmem_of_memory(
        space_read(call->space, call->at, raw, count * sizeof(raw[0]), &call->vcpu->waiter));
    for (uint64_t i = 0; i < count && result == TMEM_OK; i++) {
        result = do_entry(call, &raw[i]);
        if (result == TMEM_OK) {
            call->at.v += sizeof(raw[i]);
            call->position = 0;
            gpr[GPR_RBX] = call->at.v;
            gpr[GPR_RCX] = FIELD_GET(RCX_COUNT, gpr[GPR_RCX]) - 1;
            if (call->vcpu->waiter.asked) {
                waiter_end_turn(&call->vcpu->waiter); /* the next entry queues behind the others */
            }
        } else if (result == TMEM_WAIT && raw[i].op == SPILLWAY_TMEM_GET) {
            prefetch(call, &raw[i + 1], count - i - 1);
        }
    }
    return result;
}

static enum exit_result end_call(struct vcpu *vcpu, int32_t result)
{
    vcpu->regs.gpr[GPR_RAX] = (uint64_t)(int64_t)result;
    return EXIT_RESUME;
}

enum exit_result hypercall_tmem(struct vcpu *vcpu, bool *again)
{
    uint64_t *gpr = vcpu->regs.gpr;
    struct call call = {
        .vcpu = vcpu,
        .tmem = vcpu->vm->run.tmem,
        .space = vcpu->space,
        .at = gpa(gpr[GPR_RBX]),
        .position = (uint32_t)FIELD_GET(RCX_POSITION, gpr[GPR_RCX]),
    };
    enum tmem_result result = TMEM_OK;
    int32_t wrong;

    if (machine_backend()->privilege(vcpu) != 0) {
        return end_call(vcpu, SPILLWAY_TMEM_EPERM);
    }
    wrong = check_call(vcpu, &call, FIELD_GET(RCX_COUNT, gpr[GPR_RCX]));
    if (wrong != SPILLWAY_TMEM_OK) {
        return end_call(vcpu, wrong);
    }
    while (result == TMEM_OK && gpr[GPR_RCX] != 0) {
        result = do_chunk(&call, FIELD_GET(RCX_COUNT, gpr[GPR_RCX]));
    }
    switch (result) {
    case TMEM_OK:
        return end_call(vcpu, SPILLWAY_TMEM_OK);
    case TMEM_WAIT:
        return EXIT_PARK;
    case TMEM_AGAIN:
        gpr[GPR_RCX] = FIELD_PREP(RCX_POSITION, call.position) | FIELD_GET(RCX_COUNT, gpr[GPR_RCX]);
        *again = true;
        return EXIT_RESUME;
    default:
        vm_lose_page(vcpu->vm, "a page that a tmem call needs");
        return EXIT_FAIL;
    }
}
