/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/access.h"

#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/vlapic.h"

static uint64_t mask_of(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

/* Nobody answers: ones, and it is counted. */
static enum bus_result count_nobody(_Atomic uint64_t *count, struct bus_access *access)
{
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    access->value = UINT64_MAX;
    return BUS_DONE;
}

/* ---- ports ---- */

static enum bus_result port_access(uint16_t port, struct bus_access *access)
{
    struct vm *vm = access->vcpu->vm;
    enum bus_result result = bus_transfer(&vm->devices->ports, port, access);

    return result == BUS_NOBODY ? count_nobody(&vm->unowned_io, access) : result;
}

enum bus_result vdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value)
{
    struct bus_access access = {.vcpu = vcpu, .size = size};
    enum bus_result result = port_access(port, &access);

    *value = (uint32_t)(access.value & mask_of(size));
    return result;
}

enum bus_result vdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    struct bus_access access = {
        .vcpu = vcpu, .size = size, .write = true, .value = value & mask_of(size)};

    return port_access(port, &access);
}

/* ---- memory ---- */

static enum bus_result mmio_access(gpa_t address, struct bus_access *access)
{
    struct vm *vm = access->vcpu->vm;
    enum bus_result result = bus_transfer(&vm->devices->memory, address.v, access);

    return result == BUS_NOBODY ? count_nobody(&vm->unowned_mmio, access) : result;
}

/* A vCPU's own APIC lies in front of the bus, wherever IA32_APIC_BASE puts it. */
enum bus_result vdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t *value)
{
    struct bus_access access = {.vcpu = vcpu, .size = size};
    enum bus_result result;

    if (vlapic_owns_mmio(vcpu, address)) {
        *value = vlapic_mmio_read(vcpu, address.v & ~PAGE_MASK, size);
        return BUS_DONE;
    }
    result = mmio_access(address, &access);
    *value = access.value & mask_of(size);
    return result;
}

enum bus_result vdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    struct bus_access access = {
        .vcpu = vcpu, .size = size, .write = true, .value = value & mask_of(size)};

    if (vlapic_owns_mmio(vcpu, address)) {
        vlapic_mmio_write(vcpu, address.v & ~PAGE_MASK, size, access.value);
        return BUS_DONE;
    }
    return mmio_access(address, &access);
}

bool vdev_mmio_owned(const struct vcpu *vcpu, gpa_t address)
{
    return vlapic_owns_mmio(vcpu, address) ||
           !bus_is_free(&vcpu->vm->devices->memory, address.v & PAGE_MASK, PAGE_SIZE);
}
