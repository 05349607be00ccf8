/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vplatform.h"

#include "hv/guest/vm.h"

#define PORT_POST  0x80
#define PORT_DELAY 0xed

/* What a write asks of the whole VM. */
enum note {
    NOTE_NOTHING,
    NOTE_RESET,
    NOTE_STATUS, /* the value written is the status */
};

/* ---- keyboard controller, reset ---- */

#define KBC_STATUS       0x1c /* self test passed, not inhibited, buffers empty */
#define KBC_WRITE_OUTPUT 0xd1
#define KBC_PULSE_FIRST  0xf0
#define KBC_OUTPUT_RESET 0x01 /* active low, both in the output port and in a pulse command */
#define RESET_CPU        0x04
#define RESET_KEPT       0x0a /* which kind of reset: what bit 2 would do */

static enum note kbc_command(struct vplatform *platform, uint8_t value)
{
    platform->kbc_command = value;
    if (value >= KBC_PULSE_FIRST && !(value & KBC_OUTPUT_RESET)) {
        return NOTE_RESET;
    }
    return NOTE_NOTHING;
}

static enum note kbc_data(struct vplatform *platform, uint8_t value)
{
    bool output = platform->kbc_command == KBC_WRITE_OUTPUT;

    platform->kbc_command = 0;
    return output && !(value & KBC_OUTPUT_RESET) ? NOTE_RESET : NOTE_NOTHING;
}

static enum note reset_control(struct vplatform *platform, uint8_t value)
{
    platform->reset_control = value & RESET_KEPT;
    return value & RESET_CPU ? NOTE_RESET : NOTE_NOTHING;
}

/* ---- ports ---- */

static uint8_t read_port(const struct vplatform *platform, uint64_t port)
{
    switch (port) {
    case IOPORT_KBC_DATA:
        return 0;
    case IOPORT_KBC_COMMAND:
        return KBC_STATUS;
    case IOPORT_RESET_CONTROL:
        return platform->reset_control;
    default: /* write-only */
        return 0xff;
    }
}

/* Eight-bit devices: the other byte lanes float. */
static enum bus_result platform_read(struct bus_access *access)
{
    access->value = 0xffffff00u | read_port(access->range->owner, access->range->first);
    return BUS_DONE;
}

static enum bus_result platform_write(struct bus_access *access)
{
    struct vplatform *platform = access->range->owner;
    uint8_t value = (uint8_t)access->value;

    switch (access->range->first) {
    case IOPORT_KBC_DATA:
        access->note = kbc_data(platform, value);
        break;
    case IOPORT_KBC_COMMAND:
        access->note = kbc_command(platform, value);
        break;
    case IOPORT_RESET_CONTROL:
        access->note = reset_control(platform, value);
        break;
    case STATUS_PORT:
        access->note = NOTE_STATUS;
        break;
    default:
        break;
    }
    return BUS_DONE;
}

static void platform_after(struct bus_access *access)
{
    struct vm *vm = access->vcpu->vm;
    uint32_t status = (uint32_t)access->value;

    if (access->note == NOTE_RESET) {
        vm_reset_request(vm);
    } else if (access->note == NOTE_STATUS) {
        vm_end(vm, status == 0 ? VM_OUTCOME_OK : VM_OUTCOME_FAILED, status);
    }
}

static const struct bus_ops platform_ops = {
    .read = platform_read, .write = platform_write, .after = platform_after};

/* ---- life ---- */

void vplatform_reset(struct vplatform *platform)
{
    spin_lock(&platform->lock);
    platform->kbc_command = 0;
    platform->reset_control = 0;
    spin_unlock(&platform->lock);
}

bool vplatform_init(struct vplatform *platform, struct bus_map *ports)
{
    static const uint16_t port[VPLATFORM_RANGES] = {IOPORT_KBC_DATA, IOPORT_KBC_COMMAND,
                                                    PORT_POST,       PORT_DELAY,
                                                    STATUS_PORT,     IOPORT_RESET_CONTROL};

    spin_init(&platform->lock, RANK_VDEV, "vplatform");
    vplatform_reset(platform);
    for (unsigned i = 0; i < VPLATFORM_RANGES; i++) {
        platform->range[i] =
            (struct bus_range){.ops = &platform_ops, .owner = platform, .lock = &platform->lock};
        if (!bus_add(ports, &platform->range[i], port[i], 1)) {
            return false;
        }
    }
    return true;
}
