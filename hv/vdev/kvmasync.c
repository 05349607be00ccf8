/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/kvmasync.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/vector.h"
#include "hv/guest/vcpu.h"
#include "hv/machine.h"
#include "hv/vdev/irq/vlapic.h"
#include "mm/content/page_io.h"
#include "mm/env.h"
#include "mm/owner/wait.h"

/* MSR_KVM_ASYNC_PF_EN */
#define ASYNC_ENABLE      BIT(0)
#define ASYNC_SEND_ALWAYS BIT(1) /* in ring 0, too */
#define ASYNC_BY_EXIT     BIT(2) /* to a guest's own guest: there are none */
#define ASYNC_BY_VECTOR   BIT(3) /* a page that has come */
#define ASYNC_RESERVED    BITS(5, 4)
#define ASYNC_ADDRESS     BITS(51, 6)
#define ASYNC_IN_USE      (ASYNC_ENABLE | ASYNC_BY_VECTOR)

#define TOKEN_ALL   UINT32_MAX
#define TOKEN_VCPU  BITS(11, 0)
#define TOKEN_COUNT BITS(31, 12)
#define NAMES       0xffffeu /* values of TOKEN_COUNT, but for 0 and that of TOKEN_ALL */

/* Reads that a guest which does not wait for them leaves to others. */
#define READS_FOR_OTHERS 32u

/* Faults that park at most, until it is tried again whether the guest has something else to do. */
#define PARKS_MAX 31u
/* Pages in a row that found it idle: one alone may have come too soon to tell. */
#define IN_VAIN 4u

/* struct kvm_vcpu_pv_apf_data */
struct shared {
    _Atomic uint32_t flags; /* 1: the #PF is ours; the guest clears it */
    _Atomic uint32_t token; /* of a page that has come; the guest clears it */
    uint8_t reserved_8[56];
};
_Static_assert(sizeof(struct shared) == 64, "KVM ABI");

#define NOT_PRESENT 1u /* "KVM_PV_REASON_PAGE_NOT_PRESENT" */

enum token_state {
    TOKEN_FREE,
    TOKEN_WAITS,
    TOKEN_READY,
};

struct token {
    struct mm_waiter waiter;
    struct kvmasync *async;
    _Atomic uint32_t state; /* enum token_state; WAITS -> READY by whoever ends the read */
    uint32_t name;
    bool judged;
};

struct kvmasync {
    struct vcpu *vcpu;
    uint64_t enabled;      /* MSR_KVM_ASYNC_PF_EN */
    uint64_t vector;       /* MSR_KVM_ASYNC_PF_INT */
    struct shared *shared; /* in a pinned page; NULL: not in use */
    bool owes_all;         /* TOKEN_ALL */
    uint32_t parks;        /* faults that are still to park ... */
    uint32_t parks_next;   /* ... and how many, if the next token is good for nothing */
    uint32_t in_vain;      /* pages in a row */
    uint32_t count;        /* for names */
    unsigned next;         /* looked at first for one that is READY, so that none waits for ever */
    struct token token[KVMASYNC_TOKENS];
};

_Static_assert(sizeof(struct kvmasync) <= 2 * PAGE_SIZE, "a vCPU's heap: hv/machine/memory.c");

static void wake(struct mm_waiter *waiter)
{
    struct token *token = CONTAINER_OF(waiter, struct token, waiter);

    atomic_store(&token->state, TOKEN_READY);
    vcpu_request(token->async->vcpu, VCPU_REQUEST_ASYNC);
}

/* ---- life ---- */

struct kvmasync *kvmasync_create(struct vcpu *vcpu)
{
    struct kvmasync *async = calloc(1, sizeof(*async));

    if (async == NULL) {
        return NULL;
    }
    async->vcpu = vcpu;
    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        async->token[i].async = async;
        async->token[i].waiter.wake = wake;
        list_init(&async->token[i].waiter.link);
    }
    return async;
}

/* Nothing is outstanding any more. */
static void cancel(struct kvmasync *async)
{
    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        struct token *token = &async->token[i];

        if (atomic_load(&token->state) != TOKEN_FREE) {
            waiter_cancel(&token->waiter);
            atomic_store(&token->state, TOKEN_FREE);
        }
    }
    async->owes_all = false;
}

/* The guest has ended the protocol. */
static void leave(struct kvmasync *async)
{
    cancel(async);
    async->in_vain = async->parks = async->parks_next = 0;
    if (async->shared != NULL) {
        space_unpin(async->vcpu->space, gpa_to_gfn(gpa(async->enabled & ASYNC_ADDRESS)), true);
        async->shared = NULL;
    }
}

void kvmasync_release(struct kvmasync *async)
{
    leave(async);
    async->enabled = 0;
    async->vector = 0;
}

void kvmasync_destroy(struct kvmasync *async)
{
    if (async != NULL) {
        leave(async);
        free(async);
    }
}

/* ---- pages that have come ---- */

static struct token *find_ready(struct kvmasync *async)
{
    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        unsigned index = (async->next + i) % KVMASYNC_TOKENS;

        if (atomic_load(&async->token[index].state) == TOKEN_READY) {
            async->next = (index + 1) % KVMASYNC_TOKENS;
            return &async->token[index];
        }
    }
    return NULL;
}

/* The guest has cleared the last one, and the APIC has taken the vector. */
static bool tell(struct kvmasync *async, uint32_t name)
{
    if (!vlapic_deliver(async->vcpu, (unsigned)async->vector, false)) {
        return false;
    }
    atomic_store(&async->shared->token, name);
    return true;
}

static void tell_next(struct kvmasync *async)
{
    struct token *token;

    if (async->shared == NULL || atomic_load(&async->shared->token) != 0) {
        return;
    }
    if (async->owes_all) {
        async->owes_all = !tell(async, TOKEN_ALL);
        return;
    }
    token = find_ready(async);
    if (token != NULL && tell(async, token->name)) {
        /* wake() is over, or about to be: the waiter is used again only then. */
        waiter_cancel(&token->waiter);
        atomic_store(&token->state, TOKEN_FREE);
    }
}

/* Has the guest something to do?  The idle loop is in ring 0, whether it halts or polls; but a
 * guest that wants its #PF in ring 0, too, may do its work there. */
static bool guest_works(const struct kvmasync *async)
{
    struct vcpu *vcpu = async->vcpu;

    return vcpu->activity == ACTIVITY_ACTIVE &&
           ((async->enabled & ASYNC_SEND_ALWAYS) || machine_backend()->privilege(vcpu) != 0);
}

/* A page has come: has the guest done something else meanwhile? */
static void judge(struct kvmasync *async)
{
    bool any = false;

    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        struct token *token = &async->token[i];

        if (atomic_load(&token->state) == TOKEN_READY && !token->judged) {
            token->judged = any = true;
        }
    }
    if (!any) {
        return;
    }
    if (guest_works(async)) {
        async->in_vain = async->parks = async->parks_next = 0;
    } else if (++async->in_vain >= IN_VAIN) {
        async->parks = async->parks_next = MIN(2 * async->parks_next + 1, PARKS_MAX);
    }
}

void kvmasync_tell(struct kvmasync *async)
{
    judge(async);
    tell_next(async);
}

/* ---- faults ---- */

static struct token *find_free(struct kvmasync *async)
{
    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        if (atomic_load(&async->token[i].state) == TOKEN_FREE) {
            return &async->token[i];
        }
    }
    return NULL;
}

/* Can the guest take a #PF now that it would not expect, and suspend what it is doing? */
static bool guest_can(struct vcpu *vcpu)
{
    const struct kvmasync *async = vcpu->async;

    return async->shared != NULL && vcpu->lent_pages == 0 &&
           ((async->enabled & ASYNC_SEND_ALWAYS) || machine_backend()->privilege(vcpu) != 0) &&
           machine_backend()->interruptible(vcpu) && atomic_load(&async->shared->flags) == 0;
}

static bool name_is_used(const struct kvmasync *async, uint32_t name)
{
    for (unsigned i = 0; i < KVMASYNC_TOKENS; i++) {
        if (atomic_load(&async->token[i].state) != TOKEN_FREE && async->token[i].name == name) {
            return true;
        }
    }
    return false;
}

/* Neither 0 nor TOKEN_ALL, and of no other that is outstanding, however long that has been so. */
static uint32_t new_name(struct kvmasync *async)
{
    uint32_t name;

    do {
        async->count = async->count % NAMES + 1;
        name = (uint32_t)(FIELD_PREP(TOKEN_COUNT, async->count) |
                          FIELD_PREP(TOKEN_VCPU, async->vcpu->index));
    } while (name_is_used(async, name));
    return name;
}

bool kvmasync_begin(struct vcpu *vcpu)
{
    struct kvmasync *async = vcpu->async;
    struct token *token;

    if (!guest_can(vcpu) || page_io_vacant() < READS_FOR_OTHERS) {
        return false;
    }
    if (async->parks > 0) {
        async->parks--;
        return false;
    }
    token = find_free(async);
    if (token == NULL) {
        return false;
    }
    token->name = new_name(async);
    token->judged = false;
    atomic_store(&token->state, TOKEN_WAITS);
    if (!wait_hand_over(&vcpu->waiter, &token->waiter)) {
        atomic_store(&token->state, TOKEN_FREE);
        return false;
    }
    atomic_store(&async->shared->flags, NOT_PRESENT);
    vcpu_inject_fault(vcpu, VECTOR_PF, 0);
    vcpu->regs.cr2 = token->name;
    return true;
}

/* ---- registers ---- */

bool kvmasync_msr_read(const struct kvmasync *async, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_KVM_ASYNC_PF_EN:
        *value = async->enabled;
        return true;
    case MSR_KVM_ASYNC_PF_INT:
        *value = async->vector;
        return true;
    case MSR_KVM_ASYNC_PF_ACK:
        *value = 0;
        return true;
    default:
        return false;
    }
}

/* The guest begins anew: whatever it has been told to wait for is over. */
static enum mm_result enable(struct kvmasync *async, uint64_t value, struct mm_waiter *waiter)
{
    gpa_t address = gpa(value & ASYNC_ADDRESS);
    enum mm_result result;
    pfn_t frame;

    if (value & (ASYNC_RESERVED | ASYNC_BY_EXIT | ~(ASYNC_ADDRESS | BITS(5, 0)))) {
        return MM_NO_MEMSLOT;
    }
    if ((value & ASYNC_IN_USE) != ASYNC_IN_USE) {
        leave(async);
        async->enabled = value;
        return MM_OK;
    }
    result = space_pin(async->vcpu->space, gpa_to_gfn(address), ACCESS_WRITE | SPACE_PIN_LASTING,
                       &frame, waiter);
    if (result != MM_OK) {
        return result;
    }
    leave(async);
    async->enabled = value;
    async->shared = (struct shared *)((char *)mm_frame_ptr(frame) + (address.v & ~PAGE_MASK));
    async->owes_all = true;
    tell_next(async);
    return MM_OK;
}

enum mm_result kvmasync_msr_write(struct kvmasync *async, uint32_t msr, uint64_t value,
                                  struct mm_waiter *waiter)
{
    switch (msr) {
    case MSR_KVM_ASYNC_PF_EN:
        return enable(async, value, waiter);
    case MSR_KVM_ASYNC_PF_INT:
        if (value > UINT8_MAX) {
            return MM_NO_MEMSLOT;
        }
        async->vector = value;
        return MM_OK;
    default: /* MSR_KVM_ASYNC_PF_ACK */
        if (value & 1) {
            tell_next(async);
        }
        return MM_OK;
    }
}
