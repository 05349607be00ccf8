/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/exit.h"

#include "arch/x86/hw/vector.h"
#include "base/log.h"
#include "hv/guest/vm.h"
#include "hv/run/hypercall.h"
#include "hv/vdev/access.h"
#include "hv/vdev/kvmasync.h"

typedef enum exit_result (*exit_handler)(struct vcpu *vcpu, const struct vcpu_exit *exit);

/*
 * Length of the instruction that exited, before anything is done about it.  False: *result says
 * how the exit ended already (parked, or a fault is pending).
 */
static bool instruction_length(struct vcpu *vcpu, const struct vcpu_exit *exit, unsigned *length,
                               enum exit_result *result)
{
    if (exit->length != 0) {
        *length = exit->length;
        return true;
    }
    *result = arch_guest_instruction_length(vcpu, exit, length);
    return *result == EXIT_RESUME && *length != 0;
}

static enum exit_result on_interrupt(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    (void)vcpu;
    (void)exit;
    arch_take_interrupts();
    return EXIT_RESUME;
}

static enum exit_result on_nothing(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    (void)vcpu;
    (void)exit;
    return EXIT_RESUME;
}

static enum exit_result on_cpuid(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum exit_result result;
    unsigned length;

    if (!instruction_length(vcpu, exit, &length, &result)) {
        return result;
    }
    arch_guest_cpuid(vcpu);
    arch_guest_advance(vcpu, length);
    return EXIT_RESUME;
}

/* Skips the instruction; the exit then ends with `then`. */
static enum exit_result skip(struct vcpu *vcpu, const struct vcpu_exit *exit, enum exit_result then)
{
    enum exit_result result;
    unsigned length;

    if (!instruction_length(vcpu, exit, &length, &result)) {
        return result;
    }
    arch_guest_advance(vcpu, length);
    return then;
}

/* A pending debug exception ends HLT at once: that of a single step, or one that MOV SS has held
 * back. */
static enum exit_result on_hlt(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    return skip(vcpu, exit, arch_guest_traps(vcpu) ? EXIT_RESUME : EXIT_HALT);
}

/* PAUSE in a loop, WBINVD, INVD. */
static enum exit_result on_skip(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    return skip(vcpu, exit, EXIT_RESUME);
}

/* IN writes AL, AX or EAX; only the last clears the upper half of RAX. */
static void set_accumulator(struct vcpu *vcpu, unsigned size, uint32_t value)
{
    uint64_t *rax = &vcpu->regs.gpr[GPR_RAX];

    if (size == 4) {
        *rax = value;
    } else {
        uint64_t mask = size == 1 ? 0xff : 0xffff;

        *rax = (*rax & ~mask) | (value & mask);
    }
}

static enum bus_result port_access(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum bus_result result;
    uint32_t value;

    if (!exit->io.in) {
        return vdev_port_out(vcpu, exit->io.port, exit->io.size, (uint32_t)vcpu->regs.gpr[GPR_RAX]);
    }
    result = vdev_port_in(vcpu, exit->io.port, exit->io.size, &value);
    if (result == BUS_DONE) {
        set_accumulator(vcpu, exit->io.size, value);
    }
    return result;
}

static enum exit_result on_io(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum exit_result result;
    unsigned length;

    if (exit->io.string) {
        return arch_guest_string_io(vcpu, exit);
    }
    if (!instruction_length(vcpu, exit, &length, &result)) {
        return result;
    }
    if (port_access(vcpu, exit) == BUS_PARK) {
        return EXIT_PARK;
    }
    arch_guest_advance(vcpu, length);
    return EXIT_RESUME;
}

static enum exit_result on_memory(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    gfn_t page = gpa_to_gfn(exit->memory.address);
    enum exit_result result;

    if (arch_guest_overwrite(vcpu, exit, &result)) {
        return result;
    }
    switch (space_fault(vcpu->space, page, exit->memory.access, &vcpu->waiter)) {
    case MM_OK:
        return EXIT_RESUME;
    case MM_WAIT:
        return kvmasync_begin(vcpu) ? EXIT_RESUME : EXIT_PARK;
    case MM_NO_MEMSLOT:
        return arch_guest_mmio(vcpu, exit);
    case MM_LOST:
        break;
    }
    vm_lose_page(vcpu->vm, "page at guest-physical 0x%lx", (unsigned long)exit->memory.address.v);
    return EXIT_FAIL;
}

static enum exit_result on_undefined(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    (void)exit;
    vcpu_inject_exception(vcpu, VECTOR_UD);
    return EXIT_RESUME;
}

static enum exit_result on_hypercall(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum exit_result result;
    bool again = false;
    unsigned length;

    if (!instruction_length(vcpu, exit, &length, &result)) {
        return result;
    }
    result = hypercall_dispatch(vcpu, &again);
    if ((result == EXIT_RESUME || result == EXIT_YIELD) && !again) {
        arch_guest_advance(vcpu, length);
    }
    return result;
}

static enum exit_result on_triple_fault(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    arch_guest_dump(vcpu, exit);
    vm_triple_fault(vcpu->vm, vcpu->index, vcpu->regs.rip);
    return EXIT_FAIL;
}

static enum exit_result on_unknown(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    arch_guest_dump(vcpu, exit);
    vm_fail(vcpu->vm, "unhandled exit on vCPU %u: reason 0x%lx, 0x%lx, 0x%lx", vcpu->index,
            (unsigned long)exit->raw[0], (unsigned long)exit->raw[1], (unsigned long)exit->raw[2]);
    return EXIT_FAIL;
}

static const struct {
    const char *name;
    exit_handler handler;
} exits[EXIT_KIND_COUNT] = {
    [EXIT_KIND_INTERRUPT] = {"interrupt", on_interrupt},
    [EXIT_KIND_GUARD] = {"guard", on_interrupt},
    [EXIT_KIND_WINDOW] = {"window", on_nothing},
    [EXIT_KIND_CPUID] = {"cpuid", on_cpuid},
    [EXIT_KIND_HLT] = {"hlt", on_hlt},
    [EXIT_KIND_PAUSE] = {"pause", on_skip},
    [EXIT_KIND_IO] = {"io", on_io},
    [EXIT_KIND_RDMSR] = {"rdmsr", arch_guest_rdmsr},
    [EXIT_KIND_WRMSR] = {"wrmsr", arch_guest_wrmsr},
    [EXIT_KIND_CR] = {"cr", arch_guest_cr_access},
    [EXIT_KIND_XSETBV] = {"xsetbv", arch_guest_xsetbv},
    [EXIT_KIND_HYPERCALL] = {"hypercall", on_hypercall},
    [EXIT_KIND_MEMORY] = {"memory", on_memory},
    [EXIT_KIND_TASK_SWITCH] = {"task-switch", arch_guest_task_switch},
    [EXIT_KIND_WBINVD] = {"wbinvd", on_skip},
    [EXIT_KIND_UNDEFINED] = {"undefined", on_undefined},
    [EXIT_KIND_TRIPLE_FAULT] = {"triple-fault", on_triple_fault},
    [EXIT_KIND_RETRY] = {"retry", on_nothing},
    [EXIT_KIND_UNKNOWN] = {"unknown", on_unknown},
};

enum exit_result exit_dispatch(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    ASSERT(exit->kind < EXIT_KIND_COUNT && exits[exit->kind].handler != NULL);
    return exits[exit->kind].handler(vcpu, exit);
}

const char *exit_kind_name(enum exit_kind kind)
{
    return exits[kind].name;
}
