/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vplatform.h"

#include <string.h>

#include "hv/arch.h"

#define PORT_CMOS_INDEX PLATFORM_CMOS_PORT
#define PORT_CMOS_DATA  (PLATFORM_CMOS_PORT + 1)
#define PORT_POST       0x80
#define PORT_DELAY      0xed

/* ---- port 0x61 ---- */

#define PORT61_HALF_NS 15085

static uint8_t port61_read(struct vdev_platform *platform)
{
    uint8_t value = platform->port61;

    value |= vpit_output(&platform->pit, VPIT_SPEAKER) ? SYSTEM_B_OUT2 : 0;
    value |= arch_clock_ns() / PORT61_HALF_NS % 2 ? SYSTEM_B_REFRESH : 0;
    return value;
}

static void port61_write(struct vdev_platform *platform, uint8_t value)
{
    platform->port61 = value & (SYSTEM_B_GATE2 | SYSTEM_B_SPEAKER);
    vpit_gate(&platform->pit, VPIT_SPEAKER, (value & SYSTEM_B_GATE2) != 0);
}

/* ---- keyboard controller, reset ---- */

#define KBC_STATUS       0x1c /* self test passed, not inhibited, buffers empty */
#define KBC_WRITE_OUTPUT 0xd1
#define KBC_PULSE_FIRST  0xf0
#define KBC_OUTPUT_RESET 0x01 /* active low, both in the output port and in a pulse command */
#define RESET_CPU        0x04
#define RESET_KEPT       0x0a /* which kind of reset: what bit 2 would do */

static enum platform_action kbc_command(struct vdev_platform *platform, uint8_t value)
{
    platform->kbc_command = value;
    if (value >= KBC_PULSE_FIRST && !(value & KBC_OUTPUT_RESET)) {
        return PLATFORM_RESET;
    }
    return PLATFORM_NONE;
}

static enum platform_action kbc_data(struct vdev_platform *platform, uint8_t value)
{
    bool output = platform->kbc_command == KBC_WRITE_OUTPUT;

    platform->kbc_command = 0;
    return output && !(value & KBC_OUTPUT_RESET) ? PLATFORM_RESET : PLATFORM_NONE;
}

static enum platform_action reset_control(struct vdev_platform *platform, uint8_t value)
{
    platform->reset_control = value & RESET_KEPT;
    return value & RESET_CPU ? PLATFORM_RESET : PLATFORM_NONE;
}

/* ---- ports ---- */

static bool in_byte(struct vdev_platform *platform, uint16_t port, uint8_t *value)
{
    switch (port) {
    case IOPORT_PIT:
    case IOPORT_PIT + 1:
    case IOPORT_PIT + 2:
        *value = vpit_read(&platform->pit, port - IOPORT_PIT);
        return true;
    case IOPORT_SYSTEM_B:
        *value = port61_read(platform);
        return true;
    case IOPORT_KBC_DATA:
        *value = 0;
        return true;
    case IOPORT_KBC_COMMAND:
        *value = KBC_STATUS;
        return true;
    case PORT_CMOS_DATA:
        *value = vcmos_read(platform->cmos);
        return true;
    case IOPORT_RESET_CONTROL:
        *value = platform->reset_control;
        return true;
    case IOPORT_PIT_COMMAND: /* write-only */
    case PORT_CMOS_INDEX:
    case PORT_POST:
    case PORT_DELAY:
    case STATUS_PORT:
        *value = 0xff;
        return true;
    default:
        return false;
    }
}

bool vdev_platform_in(struct vdev_platform *platform, uint16_t port, unsigned size, uint32_t *value)
{
    uint8_t byte;

    if (!in_byte(platform, port, &byte)) {
        return false;
    }
    /* Eight-bit devices: the other byte lanes float. */
    *value = size == 1 ? byte : (0xffffff00u | byte);
    return true;
}

bool vdev_platform_out(struct vdev_platform *platform, uint16_t port, unsigned size, uint32_t value,
                       enum platform_action *action)
{
    uint8_t byte = (uint8_t)value;

    (void)size;
    *action = PLATFORM_NONE;
    switch (port) {
    case IOPORT_PIT:
    case IOPORT_PIT + 1:
    case IOPORT_PIT + 2:
        vpit_write(&platform->pit, port - IOPORT_PIT, byte);
        return true;
    case IOPORT_PIT_COMMAND:
        vpit_command(&platform->pit, byte);
        return true;
    case IOPORT_SYSTEM_B:
        port61_write(platform, byte);
        return true;
    case IOPORT_KBC_DATA:
        *action = kbc_data(platform, byte);
        return true;
    case IOPORT_KBC_COMMAND:
        *action = kbc_command(platform, byte);
        return true;
    case PORT_CMOS_INDEX:
        vcmos_select(platform->cmos, byte);
        return true;
    case PORT_CMOS_DATA:
        vcmos_write(platform->cmos, byte);
        return true;
    case IOPORT_RESET_CONTROL:
        *action = reset_control(platform, byte);
        return true;
    case STATUS_PORT:
        *action = PLATFORM_STATUS;
        return true;
    case PORT_POST:
    case PORT_DELAY:
        return true;
    default:
        return false;
    }
}

void vdev_platform_reset(struct vdev_platform *platform, struct vcmos *cmos)
{
    memset(platform, 0, sizeof(*platform));
    platform->cmos = cmos;
    vcmos_reset(cmos);
    vpit_reset(&platform->pit);
}
