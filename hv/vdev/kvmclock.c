/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/kvmclock.h"

#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"

#define ADDRESS_LIMIT BIT(52)

/* struct pvclock_vcpu_time_info */
struct pvclock_time {
    uint32_t version; /* odd while the rest is being changed */
    uint32_t reserved_4;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t reserved_30[2];
};
_Static_assert(sizeof(struct pvclock_time) == 32, "pvclock ABI");
_Static_assert(offsetof(struct pvclock_time, flags) == 29, "pvclock ABI");

#define PVCLOCK_TSC_STABLE    0x01
#define PVCLOCK_GUEST_STOPPED 0x02 /* the guest clears it */

/* struct pvclock_wall_clock */
struct pvclock_wall {
    uint32_t version;
    uint32_t seconds;
    uint32_t nanoseconds;
};
_Static_assert(sizeof(struct pvclock_wall) == 12, "pvclock ABI");

void kvmclock_scale(uint64_t tsc_khz, uint32_t *multiplier, int8_t *shift)
{
    uint64_t hz = (tsc_khz != 0 ? tsc_khz : 1) * 1000;
    int8_t s = 0;

    /* 1 GHz < hz <= 2 GHz makes 2^31 <= multiplier < 2^32: all bits used. */
    while (hz <= NS_PER_S) {
        hz <<= 1;
        s++;
    }
    while (hz > 2 * NS_PER_S) {
        hz >>= 1;
        s--;
    }
    *multiplier = (uint32_t)((NS_PER_S << 32) / hz);
    *shift = s;
}

static uint64_t tsc_khz(const struct vm *vm)
{
    return vm->tsc_khz != 0 ? vm->tsc_khz : arch_tsc_khz();
}

/* Nanoseconds that the guest's clock shows now. */
static uint64_t system_time_now(const struct vm *vm)
{
    uint64_t ticks = arch_tsc() - vm->run.devices->clock_base_tsc;
    uint32_t multiplier;
    int8_t shift;

    kvmclock_scale(tsc_khz(vm), &multiplier, &shift);
    ticks = shift >= 0 ? ticks << shift : ticks >> -shift;
    return (uint64_t)((__uint128_t)ticks * multiplier >> 32);
}

/*
 * Puts a structure that begins with a version into guest memory: odd version, contents, even
 * version, in this order.  Interrupted by MM_WAIT it starts over, and the version stays odd.
 */
static enum mm_result write_versioned(struct space *space, uint64_t address, void *data,
                                      size_t bytes, struct mm_waiter *waiter)
{
    uint32_t version;
    enum mm_result result = space_read(space, gpa(address), &version, sizeof(version), waiter);

    if (result != MM_OK) {
        return result;
    }
    version |= 1;
    result = space_write(space, gpa(address), &version, sizeof(version), waiter);
    if (result != MM_OK) {
        return result;
    }
    *(uint32_t *)data = version;
    result = space_write(space, gpa(address), data, bytes, waiter);
    if (result != MM_OK) {
        return result;
    }
    version++;
    return space_write(space, gpa(address), &version, sizeof(version), waiter);
}

/* Flags that the page shall have: of a pause that the guest has not seen yet, too. */
static enum mm_result read_flags(struct vcpu *vcpu, uint64_t msr, uint8_t *flags,
                                 struct mm_waiter *waiter)
{
    gpa_t at = gpa((msr & ~KVMCLOCK_ENABLE) + offsetof(struct pvclock_time, flags));
    enum mm_result result = MM_OK;

    *flags = 0;
    if (msr == vcpu->msr_kvm_system_time) {
        result = space_read(vcpu->space, at, flags, sizeof(*flags), waiter);
    }
    *flags &= PVCLOCK_GUEST_STOPPED;
    *flags |= PVCLOCK_TSC_STABLE | (vcpu->was_paused ? PVCLOCK_GUEST_STOPPED : 0);
    return result;
}

static enum mm_result write_time(struct vcpu *vcpu, uint64_t msr, uint64_t tsc_offset,
                                 struct mm_waiter *waiter)
{
    enum mm_result result;
    struct pvclock_time time = {
        /* The same point for every vCPU, so that no vCPU is ahead of another. */
        .tsc_timestamp = vcpu->vm->run.devices->clock_base_tsc + tsc_offset,
        .system_time = 0,
    };

    result = read_flags(vcpu, msr, &time.flags, waiter);
    if (result != MM_OK) {
        return result;
    }
    kvmclock_scale(tsc_khz(vcpu->vm), &time.tsc_to_system_mul, &time.tsc_shift);
    result = write_versioned(vcpu->space, msr & ~KVMCLOCK_ENABLE, &time, sizeof(time), waiter);
    if (result == MM_OK) {
        vcpu->was_paused = false;
    }
    return result;
}

void kvmclock_paused(struct vcpu *vcpu)
{
    vcpu->was_paused = true;
    vcpu_request(vcpu, VCPU_REQUEST_CLOCK);
}

enum mm_result kvmclock_set_system_time(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    if (value & KVMCLOCK_ENABLE) {
        enum mm_result result;

        if (value >= ADDRESS_LIMIT || (value & 2)) {
            return MM_NO_MEMSLOT;
        }
        result = write_time(vcpu, value, vcpu->msr_tsc_offset, waiter);
        if (result != MM_OK) {
            return result;
        }
    }
    vcpu->msr_kvm_system_time = value;
    return MM_OK;
}

enum mm_result kvmclock_set_wall_clock(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    uint64_t now = arch_boot_epoch_ns() + arch_clock_ns();
    uint64_t at_zero = now - system_time_now(vcpu->vm);
    struct pvclock_wall wall = {
        .seconds = (uint32_t)(at_zero / NS_PER_S),
        .nanoseconds = (uint32_t)(at_zero % NS_PER_S),
    };
    enum mm_result result;

    if (value >= ADDRESS_LIMIT || (value & 3)) {
        return MM_NO_MEMSLOT;
    }
    result = write_versioned(vcpu->space, value, &wall, sizeof(wall), waiter);
    if (result == MM_OK) {
        vcpu->msr_kvm_wall_clock = value;
    }
    return result;
}

enum mm_result kvmclock_update(struct vcpu *vcpu, uint64_t tsc_offset, struct mm_waiter *waiter)
{
    if (!(vcpu->msr_kvm_system_time & KVMCLOCK_ENABLE)) {
        return MM_OK;
    }
    return write_time(vcpu, vcpu->msr_kvm_system_time, tsc_offset, waiter);
}

void kvmclock_refresh(struct vcpu *vcpu)
{
    if (kvmclock_update(vcpu, vcpu->msr_tsc_offset, &vcpu->waiter) == MM_WAIT) {
        /* Not worth parking for: the next entry tries again. */
        waiter_cancel(&vcpu->waiter);
        atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_CLOCK);
    }
}
