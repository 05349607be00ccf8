/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/platform_io.h"

#include <string.h>

#include "base/bits.h"
#include "hv/arch.h"

#define PORT_PIT_FIRST   0x40
#define PORT_PIT_COMMAND 0x43
#define PORT_KBC_DATA    0x60
#define PORT_SYSTEM_B    0x61
#define PORT_KBC_COMMAND 0x64
#define PORT_CMOS_INDEX  0x70
#define PORT_CMOS_DATA   0x71
#define PORT_POST        0x80
#define PORT_DELAY       0xed

#define NS_PER_S 1000000000ull

/* ---- PIT: 8254 datasheet ---- */

#define PIT_HZ         1193182ull
#define PIT_CHANNELS   3
#define PIT_READ_BACK  3
#define PIT_NO_COUNT   0x20 /* read-back: do not latch the count */
#define PIT_NO_STATUS  0x10
#define PORT61_GATE2   0x01
#define PORT61_SPEAKER 0x02
#define PORT61_REFRESH 0x10 /* toggles every 15 us */
#define PORT61_OUT2    0x20
#define PORT61_HALF_NS 15085
#define PIT_STATUS_OUT 0x80

/* Input clocks since counting began. */
static uint64_t pit_ticks(const struct pit_channel *channel)
{
    uint64_t ns = arch_clock_ns() - channel->start_ns;

    return ns / NS_PER_S * PIT_HZ + ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

static uint16_t pit_count(const struct pit_channel *channel)
{
    uint64_t ticks = pit_ticks(channel);

    switch (channel->mode) {
    case 2:
        return (uint16_t)(channel->reload - ticks % channel->reload);
    case 3: /* counts down by two */
        return (uint16_t)(channel->reload - ticks * 2 % channel->reload);
    default: /* goes on below zero */
        return (uint16_t)(channel->reload - ticks);
    }
}

static bool pit_output(const struct pit_channel *channel)
{
    uint64_t ticks = pit_ticks(channel);

    switch (channel->mode) {
    case 2:
        return ticks % channel->reload != channel->reload - 1;
    case 3:
        return ticks % channel->reload < (channel->reload + 1) / 2;
    default:
        return ticks >= channel->reload;
    }
}

static void pit_latch_count(struct pit_channel *channel)
{
    if (!channel->latched) {
        channel->latch = pit_count(channel);
        channel->latched = true;
        channel->read_high = false;
    }
}

static void pit_latch_status(struct pit_channel *channel)
{
    if (!channel->status_latched) {
        channel->status = (uint8_t)(channel->access << 4 | channel->mode << 1 |
                                    (pit_output(channel) ? PIT_STATUS_OUT : 0));
        channel->status_latched = true;
    }
}

static uint8_t pit_read(struct pit_channel *channel)
{
    uint16_t count;
    bool high;

    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->status;
    }
    count = channel->latched ? channel->latch : pit_count(channel);
    high = channel->access == 2 || (channel->access == 3 && channel->read_high);
    if (channel->access == 3) {
        channel->read_high = !channel->read_high;
    }
    if (channel->access != 3 || high) {
        channel->latched = false; /* read whole */
    }
    return (uint8_t)(high ? count >> 8 : count);
}

static void pit_start(struct pit_channel *channel, uint32_t reload)
{
    channel->reload = reload != 0 ? reload : 0x10000;
    channel->start_ns = arch_clock_ns();
}

static void pit_write(struct pit_channel *channel, uint8_t value)
{
    switch (channel->access) {
    case 1:
        pit_start(channel, value);
        break;
    case 2:
        pit_start(channel, (uint32_t)value << 8);
        break;
    default:
        if (channel->write_high) {
            pit_start(channel, (uint32_t)value << 8 | (channel->reload & 0xff));
        } else {
            channel->reload = (channel->reload & 0x1ff00) | value;
            channel->reload = channel->reload != 0 ? channel->reload : 0x10000;
        }
        channel->write_high = !channel->write_high;
        break;
    }
}

static void pit_read_back(struct vdev_platform *platform, uint8_t value)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        if (!(value & (2u << i))) {
            continue;
        }
        if (!(value & PIT_NO_COUNT)) {
            pit_latch_count(&platform->pit[i]);
        }
        if (!(value & PIT_NO_STATUS)) {
            pit_latch_status(&platform->pit[i]);
        }
    }
}

static void pit_command(struct vdev_platform *platform, uint8_t value)
{
    unsigned index = value >> 6;
    struct pit_channel *channel;

    if (index == PIT_READ_BACK) {
        pit_read_back(platform, value);
        return;
    }
    channel = &platform->pit[index];
    if ((value >> 4 & 3) == 0) {
        pit_latch_count(channel);
        return;
    }
    channel->access = value >> 4 & 3;
    channel->mode = value >> 1 & 7;
    if (channel->mode > 5) {
        channel->mode -= 4; /* 6 and 7 are 2 and 3 */
    }
    channel->write_high = false;
    channel->read_high = false;
    channel->latched = false;
    pit_start(channel, channel->reload);
}

static uint8_t port61_read(const struct vdev_platform *platform)
{
    uint8_t value = platform->port61;

    value |= pit_output(&platform->pit[2]) ? PORT61_OUT2 : 0;
    value |= arch_clock_ns() / PORT61_HALF_NS % 2 ? PORT61_REFRESH : 0;
    return value;
}

static void port61_write(struct vdev_platform *platform, uint8_t value)
{
    uint8_t before = platform->port61;

    platform->port61 = value & (PORT61_GATE2 | PORT61_SPEAKER);
    if ((value & PORT61_GATE2) && !(before & PORT61_GATE2)) {
        platform->pit[2].start_ns = arch_clock_ns(); /* the gate starts channel 2 */
    }
}

/* ---- CMOS clock: MC146818 datasheet, "Address Map" ---- */

enum cmos_register {
    CMOS_SECONDS = 0x00,
    CMOS_MINUTES = 0x02,
    CMOS_HOURS = 0x04,
    CMOS_WEEKDAY = 0x06,
    CMOS_DAY = 0x07,
    CMOS_MONTH = 0x08,
    CMOS_YEAR = 0x09,
    CMOS_STATUS_A = 0x0a,
    CMOS_STATUS_B = 0x0b,
    CMOS_STATUS_C = 0x0c,
    CMOS_STATUS_D = 0x0d,
    CMOS_CENTURY = 0x32,
};

#define STATUS_A_DIVIDER 0x26
#define STATUS_A_UPDATE  0x80 /* update in progress: read-only, and never seen here */
#define STATUS_B_BINARY  0x04
#define STATUS_B_24H     0x02
#define STATUS_D_VALID   0x80

struct calendar {
    unsigned year, month, day, weekday, hour, minute, second;
};

/* Gregorian calendar from days since 1970, in eras of 400 years that begin on a 1st of March. */
static void calendar_from_epoch(uint64_t seconds, struct calendar *c)
{
    uint64_t days = seconds / 86400;
    uint64_t shifted = days + 719468; /* since 0000-03-01 */
    uint64_t era = shifted / 146097;
    unsigned day_of_era = (unsigned)(shifted % 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;

    c->day = day_of_year - (153 * march_month + 2) / 5 + 1;
    c->month = march_month < 10 ? march_month + 3 : march_month - 9;
    c->year = (unsigned)(era * 400) + year_of_era + (c->month <= 2);
    c->weekday = (unsigned)((days + 4) % 7); /* 1970-01-01 was a Thursday */
    c->hour = (unsigned)(seconds / 3600 % 24);
    c->minute = (unsigned)(seconds / 60 % 60);
    c->second = (unsigned)(seconds % 60);
}

static uint8_t cmos_encode(const struct vdev_platform *platform, unsigned value)
{
    if (platform->cmos[CMOS_STATUS_B] & STATUS_B_BINARY) {
        return (uint8_t)value;
    }
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t cmos_hour(const struct vdev_platform *platform, unsigned hour)
{
    if (platform->cmos[CMOS_STATUS_B] & STATUS_B_24H) {
        return cmos_encode(platform, hour);
    }
    return cmos_encode(platform, (hour + 11) % 12 + 1) | (hour >= 12 ? 0x80 : 0);
}

static uint8_t cmos_read(const struct vdev_platform *platform)
{
    struct calendar c;

    calendar_from_epoch(arch_boot_epoch() + arch_clock_ns() / NS_PER_S, &c);
    switch (platform->cmos_index) {
    case CMOS_SECONDS:
        return cmos_encode(platform, c.second);
    case CMOS_MINUTES:
        return cmos_encode(platform, c.minute);
    case CMOS_HOURS:
        return cmos_hour(platform, c.hour);
    case CMOS_WEEKDAY:
        return cmos_encode(platform, c.weekday + 1);
    case CMOS_DAY:
        return cmos_encode(platform, c.day);
    case CMOS_MONTH:
        return cmos_encode(platform, c.month);
    case CMOS_YEAR:
        return cmos_encode(platform, c.year % 100);
    case CMOS_CENTURY:
        return cmos_encode(platform, c.year / 100);
    case CMOS_STATUS_C: /* no interrupt is pending: there are none */
        return 0;
    case CMOS_STATUS_D:
        return STATUS_D_VALID;
    default:
        return platform->cmos[platform->cmos_index];
    }
}

/* The clock cannot be set; alarms and the rest are memory. */
static void cmos_write(struct vdev_platform *platform, uint8_t value)
{
    if (platform->cmos_index == CMOS_STATUS_A) {
        value &= (uint8_t)~STATUS_A_UPDATE;
    }
    platform->cmos[platform->cmos_index] = value;
}

/* ---- keyboard controller, reset and sleep ---- */

#define KBC_STATUS       0x1c /* self test passed, not inhibited, buffers empty */
#define KBC_WRITE_OUTPUT 0xd1
#define KBC_PULSE_FIRST  0xf0
#define KBC_OUTPUT_RESET 0x01 /* active low, both in the output port and in a pulse command */
#define RESET_CPU        0x04
#define RESET_KEPT       0x0a /* which kind of reset: what bit 2 would do */
#define SLEEP_ENABLE     0x20
#define SLEEP_TYPE       BITS(4, 2)

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

/* ACPI 6.4, 4.8.3.7 "Sleep Control and Status Registers". */
static enum platform_action sleep_control(struct vdev_platform *platform, uint8_t value)
{
    platform->sleep_control = value & (uint8_t)~SLEEP_ENABLE; /* reads as zero */
    if ((value & SLEEP_ENABLE) && FIELD_GET(SLEEP_TYPE, value) == ACPI_SLEEP_TYPE_S5) {
        return PLATFORM_POWER_OFF;
    }
    return PLATFORM_NONE;
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
    case PORT_PIT_FIRST:
    case PORT_PIT_FIRST + 1:
    case PORT_PIT_FIRST + 2:
        *value = pit_read(&platform->pit[port - PORT_PIT_FIRST]);
        return true;
    case PORT_SYSTEM_B:
        *value = port61_read(platform);
        return true;
    case PORT_KBC_DATA:
        *value = 0;
        return true;
    case PORT_KBC_COMMAND:
        *value = KBC_STATUS;
        return true;
    case PORT_CMOS_DATA:
        *value = cmos_read(platform);
        return true;
    case ACPI_SLEEP_CONTROL_PORT:
        *value = platform->sleep_control;
        return true;
    case ACPI_SLEEP_STATUS_PORT:
        *value = 0;
        return true;
    case RESET_CONTROL_PORT:
        *value = platform->reset_control;
        return true;
    case PORT_PIT_COMMAND: /* write-only */
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
    case PORT_PIT_FIRST:
    case PORT_PIT_FIRST + 1:
    case PORT_PIT_FIRST + 2:
        pit_write(&platform->pit[port - PORT_PIT_FIRST], byte);
        return true;
    case PORT_PIT_COMMAND:
        pit_command(platform, byte);
        return true;
    case PORT_SYSTEM_B:
        port61_write(platform, byte);
        return true;
    case PORT_KBC_DATA:
        *action = kbc_data(platform, byte);
        return true;
    case PORT_KBC_COMMAND:
        *action = kbc_command(platform, byte);
        return true;
    case PORT_CMOS_INDEX:
        platform->cmos_index = byte & 0x7f; /* bit 7 masks NMI */
        return true;
    case PORT_CMOS_DATA:
        cmos_write(platform, byte);
        return true;
    case ACPI_SLEEP_CONTROL_PORT:
        *action = sleep_control(platform, byte);
        return true;
    case RESET_CONTROL_PORT:
        *action = reset_control(platform, byte);
        return true;
    case STATUS_PORT:
        *action = PLATFORM_STATUS;
        return true;
    case ACPI_SLEEP_STATUS_PORT: /* write one to clear; nothing is ever set */
    case PORT_POST:
    case PORT_DELAY:
        return true;
    default:
        return false;
    }
}

void vdev_platform_reset(struct vdev_platform *platform)
{
    memset(platform, 0, sizeof(*platform));
    platform->cmos[CMOS_STATUS_A] = STATUS_A_DIVIDER;
    platform->cmos[CMOS_STATUS_B] = STATUS_B_24H;
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        platform->pit[i].mode = 3;
        platform->pit[i].access = 3;
        pit_start(&platform->pit[i], 0);
    }
}
