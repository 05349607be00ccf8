/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/testdev.h"

#include <string.h>

#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/lines.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define PORT_REGISTER 0xe0u
#define PORT_EVICT    0xe4u
#define PORT_LINES    0x2000u
#define LINES         24u
#define ISA_LINES     16u
#define ISA_CASCADE   2u
#define BIOS_LINE     11u

#define MEMORY_BASE  0xff000000ull
#define MEMORY_ORDER 4u
#define MEMORY_BYTES (PAGE_SIZE << MEMORY_ORDER)

bool testdev_create(struct vm_devices *devices)
{
    pfn_t memory;

    if (!frame_alloc_zeroed(MEMORY_ORDER, ALLOC_META, 0, &memory)) {
        return false;
    }
    devices->test.memory = memory;
    return true;
}

void testdev_reset(struct vm_devices *devices)
{
    devices->test.word = 0;
    devices->pic.chip[1].imr &= (uint8_t)~BIT(BIOS_LINE - 8);
}

void testdev_destroy(struct vm_devices *devices)
{
    frame_free(devices->test.memory);
}

static uint8_t *register_at(struct vm_devices *devices, uint16_t port, unsigned size)
{
    unsigned offset = port - PORT_REGISTER;

    if (offset >= sizeof(devices->test.word) || size > sizeof(devices->test.word) - offset) {
        return NULL;
    }
    return (uint8_t *)&devices->test.word + offset;
}

bool testdev_port_in(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t *value)
{
    struct vm_devices *devices = vcpu->vm->run.devices;
    const uint8_t *word = register_at(devices, port, size);

    if (word == NULL) {
        return false;
    }
    *value = 0;
    spin_lock(&devices->lock);
    memcpy(value, word, size);
    spin_unlock(&devices->lock);
    return true;
}

/* A pulse that a CPU with IF = 0 has not taken yet lasts until it does, as QEMU's 8259s latch it.
 */
static bool lasts(const struct vm_devices *devices, unsigned line)
{
    return vpic_is_open(&devices->pic, line) && vpic_is_requested(&devices->pic, line);
}

static void set_line(struct vm_devices *devices, unsigned line, bool level)
{
    if (line < ISA_LINES && line != ISA_CASCADE && !level && lasts(devices, line)) {
        return;
    }
    if (line < ISA_LINES && line != ISA_CASCADE) {
        lines_set(devices, line, level);
    } else {
        ioapic_set_pin(&devices->ioapic, line, level);
    }
}

bool testdev_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    struct vm_devices *devices = vcpu->vm->run.devices;
    uint8_t *word = register_at(devices, port, size);
    bool is_line = port - PORT_LINES < LINES;

    if (port == PORT_EVICT) {
        space_evict(vcpu->space, gpa_to_gfn(gpa(value)));
        return true;
    }
    if (word == NULL && !is_line) {
        return false;
    }
    spin_lock(&devices->lock);
    if (is_line) {
        set_line(devices, port - PORT_LINES, value != 0);
    } else {
        memcpy(word, &value, size);
    }
    spin_unlock(&devices->lock);
    return true;
}

bool testdev_owns_mmio(gpa_t address)
{
    return address.v - MEMORY_BASE < MEMORY_BYTES;
}

static uint8_t *memory_at(struct vm_devices *devices, gpa_t address)
{
    return (uint8_t *)mm_frame_ptr(devices->test.memory) + (address.v - MEMORY_BASE);
}

uint64_t testdev_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size)
{
    struct vm_devices *devices = vcpu->vm->run.devices;
    uint64_t value = 0;

    spin_lock(&devices->lock);
    memcpy(&value, memory_at(devices, address), size);
    spin_unlock(&devices->lock);
    return value;
}

void testdev_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    struct vm_devices *devices = vcpu->vm->run.devices;

    spin_lock(&devices->lock);
    memcpy(memory_at(devices, address), &value, size);
    spin_unlock(&devices->lock);
}
