/* SPDX-License-Identifier: BSD-2-Clause */
/* 8254 datasheet, "Operational Description"; counting in BCD is not there. */
#include "hv/vdev/pit.h"

#include <string.h>

#include "hv/arch.h"

#define NS_PER_S 1000000000ull

#define PIT_HZ         1193182ull
#define PIT_READ_BACK  3
#define PIT_NO_COUNT   0x20 /* read-back: do not latch the count */
#define PIT_NO_STATUS  0x10
#define PIT_STATUS_OUT 0x80

/* Input clocks since counting began. */
static uint64_t ticks_of(const struct pit_channel *channel)
{
    uint64_t ns = arch_clock_ns() - channel->start_ns;

    return ns / NS_PER_S * PIT_HZ + ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

static uint16_t count_of(const struct pit_channel *channel)
{
    uint64_t ticks = ticks_of(channel);

    switch (channel->mode) {
    case 2:
        return (uint16_t)(channel->reload - ticks % channel->reload);
    case 3: /* counts down by two */
        return (uint16_t)(channel->reload - ticks * 2 % channel->reload);
    default: /* goes on below zero */
        return (uint16_t)(channel->reload - ticks);
    }
}

static bool output(const struct pit_channel *channel)
{
    uint64_t ticks = ticks_of(channel);

    switch (channel->mode) {
    case 2:
        return ticks % channel->reload != channel->reload - 1;
    case 3:
        return ticks % channel->reload < (channel->reload + 1) / 2;
    default:
        return ticks >= channel->reload;
    }
}

static void latch_count(struct pit_channel *channel)
{
    if (!channel->latched) {
        channel->latch = count_of(channel);
        channel->latched = true;
        channel->read_high = false;
    }
}

static void latch_status(struct pit_channel *channel)
{
    if (!channel->status_latched) {
        channel->status = (uint8_t)(channel->access << 4 | channel->mode << 1 |
                                    (output(channel) ? PIT_STATUS_OUT : 0));
        channel->status_latched = true;
    }
}

uint8_t pit_read(struct pit *pit, unsigned index)
{
    struct pit_channel *channel = &pit->channel[index];
    uint16_t count;
    bool high;

    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->status;
    }
    count = channel->latched ? channel->latch : count_of(channel);
    high = channel->access == 2 || (channel->access == 3 && channel->read_high);
    if (channel->access == 3) {
        channel->read_high = !channel->read_high;
    }
    if (channel->access != 3 || high) {
        channel->latched = false; /* read whole */
    }
    return (uint8_t)(high ? count >> 8 : count);
}

static void start(struct pit_channel *channel, uint32_t reload)
{
    channel->reload = reload != 0 ? reload : 0x10000;
    channel->start_ns = arch_clock_ns();
}

void pit_write(struct pit *pit, unsigned index, uint8_t value)
{
    struct pit_channel *channel = &pit->channel[index];

    switch (channel->access) {
    case 1:
        start(channel, value);
        break;
    case 2:
        start(channel, (uint32_t)value << 8);
        break;
    default:
        if (channel->write_high) {
            start(channel, (uint32_t)value << 8 | (channel->reload & 0xff));
        } else {
            channel->reload = (channel->reload & 0x1ff00) | value;
            channel->reload = channel->reload != 0 ? channel->reload : 0x10000;
        }
        channel->write_high = !channel->write_high;
        break;
    }
}

static void read_back(struct pit *pit, uint8_t value)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        if (!(value & (2u << i))) {
            continue;
        }
        if (!(value & PIT_NO_COUNT)) {
            latch_count(&pit->channel[i]);
        }
        if (!(value & PIT_NO_STATUS)) {
            latch_status(&pit->channel[i]);
        }
    }
}

void pit_command(struct pit *pit, uint8_t value)
{
    unsigned index = value >> 6;
    struct pit_channel *channel;

    if (index == PIT_READ_BACK) {
        read_back(pit, value);
        return;
    }
    channel = &pit->channel[index];
    if ((value >> 4 & 3) == 0) {
        latch_count(channel);
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
    start(channel, channel->reload);
}

bool pit_output(const struct pit *pit, unsigned index)
{
    return output(&pit->channel[index]);
}

void pit_gate(struct pit *pit, unsigned index)
{
    pit->channel[index].start_ns = arch_clock_ns();
}

void pit_reset(struct pit *pit)
{
    memset(pit, 0, sizeof(*pit));
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        pit->channel[i].mode = 3;
        pit->channel[i].access = 3;
        start(&pit->channel[i], 0);
    }
}
