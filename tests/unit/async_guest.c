/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/async_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/vector.h"
#include "mm/content/page_io.h"
#include "mm/owner/wait.h"

struct kvmasync *async;

/* ---- the other side of mm/ ---- */

bool waits_for_frame;
uint32_t vacant;
struct mm_waiter *last_taken;

bool wait_hand_over(struct mm_waiter *from, struct mm_waiter *to)
{
    assert_ptr_equal(from, &vfake.vcpu[0].waiter);
    assert_int_equal(to->queue, MM_WAITS_NOT); /* free */
    if (waits_for_frame) {
        return false;
    }
    to->queue = MM_WAITS_READ;
    last_taken = to;
    return true;
}

uint32_t page_io_vacant(void)
{
    return vacant;
}

void read_ends(struct mm_waiter *waiter)
{
    assert_int_equal(waiter->queue, MM_WAITS_READ);
    waiter->queue = MM_WAITS_NOT;
    waiter->wake(waiter);
}

/* ---- the guest ---- */

uint32_t *shared(unsigned word)
{
    return (uint32_t *)(void *)(vfake.memory + AT) + word;
}

enum mm_result write_msr(uint32_t msr, uint64_t value)
{
    return kvmasync_msr_write(async, msr, value, NULL);
}

void up(uint64_t enable)
{
    vfake_start(2);
    vfake_memory(0x10000);
    vfake.ring = 3;
    vacant = 128;
    waits_for_frame = false;
    async = vfake.vcpu[0].async = kvmasync_create(&vfake.vcpu[0]);
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_INT, VECTOR), MM_OK);
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_EN, enable), MM_OK);
}

void down(void)
{
    kvmasync_destroy(async);
    vfake_stop();
    assert_int_equal(vfake.pins, 0);
}

uint32_t hear(void)
{
    uint32_t token = *shared(1);
    int vector = take(0);

    assert_int_equal(vector, token != 0 ? (int)VECTOR : -1);
    *shared(1) = 0;
    return token;
}

void acknowledge(void)
{
    assert_int_equal(write_msr(MSR_KVM_ASYNC_PF_ACK, 1), MM_OK);
}

uint32_t fault(void)
{
    struct vcpu *vcpu = &vfake.vcpu[0];
    struct guest_event before = vcpu->event;
    uint32_t flags = *shared(0);

    if (!kvmasync_begin(vcpu)) {
        assert_memory_equal(&before, &vcpu->event, sizeof(before));
        assert_int_equal(*shared(0), flags);
        return 0;
    }
    assert_true(vcpu->event.valid && vcpu->event.has_error_code);
    assert_int_equal(vcpu->event.vector, VECTOR_PF);
    assert_int_equal(vcpu->event.type, EVENT_EXCEPTION);
    assert_int_equal(vcpu->event.error_code, 0);
    assert_int_equal(*shared(0), 1);
    assert_int_equal(vcpu->regs.cr2 >> 32, 0);
    return (uint32_t)vcpu->regs.cr2;
}

uint32_t fault_taken(void)
{
    uint32_t token = fault();

    if (token != 0) {
        vfake.vcpu[0].event.valid = false;
        *shared(0) = 0;
    }
    return token;
}

void begin(void)
{
    assert_int_equal(hear(), ALL);
    acknowledge();
    assert_int_equal(hear(), 0);
}
