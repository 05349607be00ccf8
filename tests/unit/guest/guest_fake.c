/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/guest/guest_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/paging.h"
#include "hv/vdev/access.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmasync.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vdev/kvmsteal.h"

#define ROOT 0x2000u

struct fake_machine fake;
static uint64_t next_table;

/* ---- space ---- */

static bool waits(void)
{
    return ++fake.calls == fake.wait_at;
}

static bool in_ram(gpa_t at, size_t bytes)
{
    return at.v < sizeof(fake.ram) && bytes <= sizeof(fake.ram) - at.v;
}

bool space_owns(const struct space *space, gfn_t page)
{
    (void)space;
    return page.v < FAKE_RAM_PAGES;
}

enum mm_result space_fault(struct space *space, gfn_t page, unsigned access,
                           struct mm_waiter *waiter)
{
    (void)space;
    (void)access;
    (void)waiter;
    if (page.v >= FAKE_RAM_PAGES) {
        return MM_NO_MEMSLOT;
    }
    return waits() ? MM_WAIT : MM_OK;
}

enum mm_result space_read(struct space *space, gpa_t from, void *to, size_t bytes,
                          struct mm_waiter *waiter)
{
    (void)space;
    (void)waiter;
    if (!in_ram(from, bytes)) {
        return MM_NO_MEMSLOT;
    }
    if (waits()) {
        return MM_WAIT;
    }
    memcpy(to, fake.ram + from.v, bytes);
    return MM_OK;
}

enum mm_result space_write(struct space *space, gpa_t to, const void *from, size_t bytes,
                           struct mm_waiter *waiter)
{
    (void)space;
    (void)waiter;
    if (!in_ram(to, bytes)) {
        return MM_NO_MEMSLOT;
    }
    if (waits()) {
        return MM_WAIT;
    }
    memcpy(fake.ram + to.v, from, bytes);
    return MM_OK;
}

enum mm_result space_cmpxchg(struct space *space, gpa_t at, size_t bytes, uint64_t *expected,
                             uint64_t desired, bool *done, struct mm_waiter *waiter)
{
    uint64_t present = 0;

    (void)space;
    (void)waiter;
    if (!in_ram(at, bytes) || at.v % bytes) {
        return MM_NO_MEMSLOT;
    }
    if (waits()) {
        return MM_WAIT;
    }
    memcpy(&present, fake.ram + at.v, bytes);
    *done = present == *expected;
    *expected = present;
    if (*done) {
        memcpy(fake.ram + at.v, &desired, bytes);
    }
    return MM_OK;
}

enum mm_result space_lend_ones(struct space *space, gfn_t page, struct mm_waiter *waiter)
{
    (void)space;
    (void)waiter;
    assert_true(page.v >= FAKE_RAM_PAGES);
    if (waits()) {
        return MM_WAIT;
    }
    fake.lent++;
    return MM_OK;
}

void space_take_ones(struct space *space, const gfn_t *pages, unsigned count)
{
    (void)space;
    (void)pages;
    assert_true(count <= fake.lent);
    fake.lent -= count;
}

void waiter_cancel(struct mm_waiter *waiter)
{
    (void)waiter;
}

/* ---- devices ---- */

static bool parks(void)
{
    return ++fake.device_calls == fake.device_parks_at;
}

enum bus_result vdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t *value)
{
    uint64_t offset = address.v - fake.device_base;

    (void)vcpu;
    if (parks()) {
        return BUS_PARK;
    }
    *value = ~0ull;
    fake.device_access++;
    if (offset < FAKE_DEVICE_PAGE && size <= FAKE_DEVICE_PAGE - offset) {
        memcpy(value, fake.device + offset, size);
    }
    return BUS_DONE;
}

enum bus_result vdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    uint64_t offset = address.v - fake.device_base;

    (void)vcpu;
    if (parks()) {
        return BUS_PARK;
    }
    fake.device_access++;
    if (offset < FAKE_DEVICE_PAGE && size <= FAKE_DEVICE_PAGE - offset) {
        memcpy(fake.device + offset, &value, size);
    }
    return BUS_DONE;
}

bool vdev_mmio_owned(const struct vcpu *vcpu, gpa_t address)
{
    (void)vcpu;
    return address.v - fake.device_base < FAKE_DEVICE_PAGE;
}

enum bus_result vdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value)
{
    (void)vcpu;
    (void)size;
    if (parks()) {
        return BUS_PARK;
    }
    fake.device_access++;
    *value = port * 0x01010101u + fake.port_bytes++;
    return BUS_DONE;
}

enum bus_result vdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    (void)vcpu;
    (void)port;
    if (parks()) {
        return BUS_PARK;
    }
    fake.device_access++;
    for (unsigned i = 0; i < size && fake.port_bytes < sizeof(fake.port_log); i++) {
        fake.port_log[fake.port_bytes++] = (char)(value >> (8 * i));
    }
    return BUS_DONE;
}

bool vlapic_owns_msr(uint32_t msr)
{
    return msr == MSR_IA32_APIC_BASE || msr == MSR_IA32_TSC_DEADLINE || (msr >> 8) == 8;
}

bool vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    *value = msr;
    return true;
}

bool vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    (void)msr;
    return value != ~0ull;
}

uint64_t vlapic_get_tpr(struct vlapic *vlapic)
{
    (void)vlapic;
    return 5;
}

void vlapic_set_tpr(struct vlapic *vlapic, uint64_t cr8)
{
    (void)vlapic;
    (void)cr8;
}

void vlapic_tsc_changed(struct vcpu *vcpu)
{
    (void)vcpu;
}

enum mm_result kvmclock_update(struct vcpu *vcpu, uint64_t tsc_offset, struct mm_waiter *waiter)
{
    (void)vcpu;
    (void)tsc_offset;
    (void)waiter;
    return waits() ? MM_WAIT : MM_OK;
}

enum mm_result kvmclock_set_system_time(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    (void)waiter;
    if ((value & ~1ull) >= sizeof(fake.ram)) {
        return MM_NO_MEMSLOT;
    }
    vcpu->msr_kvm_system_time = value;
    return MM_OK;
}

enum mm_result kvmclock_set_wall_clock(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    (void)waiter;
    vcpu->msr_kvm_wall_clock = value;
    return MM_OK;
}

enum mm_result vlapic_eoi_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    (void)waiter;
    vcpu->msr_kvm_eoi = value;
    return waits() ? MM_WAIT : MM_OK;
}

bool kvmasync_msr_read(const struct kvmasync *async, uint32_t msr, uint64_t *value)
{
    (void)async;
    *value = msr;
    return true;
}

enum mm_result kvmasync_msr_write(struct kvmasync *async, uint32_t msr, uint64_t value,
                                  struct mm_waiter *waiter)
{
    (void)async;
    (void)msr;
    (void)waiter;
    return value == 0 ? MM_NO_MEMSLOT : waits() ? MM_WAIT : MM_OK;
}

enum mm_result kvmsteal_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    (void)waiter;
    vcpu->msr_kvm_steal_time = value;
    return waits() ? MM_WAIT : MM_OK;
}

/* ---- machine ---- */

uint64_t arch_tsc(void)
{
    return fake.tsc;
}

void fpu_get_register(struct vcpu *vcpu, bool mmx, unsigned number, uint8_t bytes[32])
{
    (void)vcpu;
    if (mmx) {
        memcpy(bytes, &fake.mm[number], 8);
    } else {
        memcpy(bytes, fake.ymm[number], 32);
    }
}

void fpu_set_register(struct vcpu *vcpu, bool mmx, unsigned number, const uint8_t bytes[32])
{
    (void)vcpu;
    if (mmx) {
        memcpy(&fake.mm[number], bytes, 8);
    } else {
        memcpy(fake.ymm[number], bytes, 32);
    }
}

void fpu_clear_above(struct vcpu *vcpu, unsigned number)
{
    (void)vcpu;
    (void)number;
}

uint64_t fpu_xcr0(struct vcpu *vcpu)
{
    return vcpu->xcr0;
}

void guest_debug_cause(uint64_t bits)
{
    fake.dr6 |= bits;
}

void guest_load_tsc_aux(struct vcpu *vcpu)
{
    (void)vcpu;
}

/* What the guest wrote is in vcpu->xcr0 already: this CPU intercepts XSETBV. */
void guest_store_xcr0(struct vcpu *vcpu)
{
    (void)vcpu;
}

void guest_load_xcr0(struct vcpu *vcpu)
{
    (void)vcpu;
}

void vm_fail(struct vm *vm, const char *format, ...)
{
    (void)vm;
    (void)format;
    fake.failures++;
}

void vm_lose_page(struct vm *vm, const char *format, ...)
{
    (void)vm;
    (void)format;
    fake.failures++;
}

void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    (void)vm;
    (void)level;
    (void)format;
    fake.messages++;
}

void vm_triple_fault(struct vm *vm, unsigned vcpu, uint64_t rip)
{
    (void)vm;
    (void)vcpu;
    (void)rip;
    fake.triple_faults++;
}

static void set_nmi_masked(struct vcpu *vcpu, bool masked)
{
    (void)vcpu;
    fake.nmi_masked = masked;
}

static bool request_step(struct vcpu *vcpu)
{
    (void)vcpu;
    fake.steps++;
    return !fake.step_refused;
}

static void get_state(struct vcpu *vcpu, struct guest_state *state)
{
    (void)vcpu;
    *state = fake.state;
}

static void set_state(struct vcpu *vcpu, const struct guest_state *state)
{
    (void)vcpu;
    fake.state = *state;
}

static void clear_shadow(struct vcpu *vcpu)
{
    fake.shadow_cleared_at = vcpu->regs.rip;
    fake.shadow_cleared_flags = vcpu->regs.rflags;
}

const struct vcpu_backend *arch_backend(void)
{
    static const struct vcpu_backend backend = {
        .name = "fake",
        .get_state = get_state,
        .set_state = set_state,
        .set_nmi_masked = set_nmi_masked,
        .request_step = request_step,
        .clear_shadow = clear_shadow,
    };

    return &backend;
}

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.device_base = 0xfee00000;
    fake.vm.name = "fake";
    fake.vm.run.vcpu_count = 4;
    fake.vm.tsc_khz = 1000000;
    fake.vm.run.vcpu[0] = &fake.vcpu;
    fake.vcpu.vm = &fake.vm;
    fake.vcpu.xcr0 = 1;
    fake.vcpu.regs.rip = 0x1000;
    fake.vcpu.regs.rflags = RFLAGS_FIXED;
    fake.state.cr0 = CR0_PE | CR0_ET;
    fake.state.cr4 = CR4_PAE;
    fake.state.efer = EFER_LME | EFER_LMA;
    fake.state.pat = PAT_RESET;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        fake.state.segment[i] = (struct guest_segment){.limit = 0xffffffff, .access = 0xc093};
    }
    fake.state.segment[SEG_CS].access = 0xa09b;
    next_table = ROOT + PAGE_SIZE;
}

void fake_code(const void *bytes, unsigned count)
{
    memcpy(fake.ram + fake.vcpu.regs.rip, bytes, count);
}

void fake_paging_on(void)
{
    fake.state.cr0 |= CR0_PG | CR0_WP;
    fake.state.efer |= EFER_NXE;
    fake.state.cr3 = ROOT;
}

static uint64_t *entry_at(uint64_t table, uint64_t linear, unsigned level)
{
    uint64_t index = (linear >> (12 + 9 * level)) & 511;

    return (uint64_t *)(void *)(fake.ram + table + 8 * index);
}

uint64_t *fake_leaf(uint64_t linear)
{
    uint64_t table = ROOT;

    for (unsigned level = 3; level > 0; level--) {
        table = *entry_at(table, linear, level) & PTE_ADDRESS;
    }
    return entry_at(table, linear, 0);
}

void fake_map(uint64_t linear, uint64_t physical, uint64_t rights, uint64_t leaf)
{
    uint64_t table = ROOT;

    for (unsigned level = 3; level > 0; level--) {
        uint64_t *entry = entry_at(table, linear, level);

        if (!(*entry & PTE_P)) {
            *entry = next_table | PTE_P;
            next_table += PAGE_SIZE;
        }
        *entry |= rights;
        table = *entry & PTE_ADDRESS;
    }
    *entry_at(table, linear, 0) = physical | PTE_P | rights | leaf;
}
