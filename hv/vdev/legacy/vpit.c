/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vpit.h"

#include "arch/x86/hw/ports.h"
#include <string.h>

#include "base/bits.h"
#include "hv/arch.h"
#include "hv/timer.h"

#define PIT_READ_BACK  3
#define PIT_NO_COUNT   0x20 /* read-back: do not latch the count */
#define PIT_NO_STATUS  0x10
#define PIT_STATUS_OUT 0x80
#define PIT_STATUS_NEW 0x40 /* null count: what was written has not been loaded yet */

#define EDGES_MAX 1000u /* as many as are counted */

#define BINARY_COUNTS  0x10000u
#define DECIMAL_COUNTS 10000u

enum vpit_mode {
    INTERRUPT_ON_TERMINAL_COUNT,
    ONE_SHOT,
    RATE_GENERATOR,
    SQUARE_WAVE,
    SOFTWARE_STROBE,
    HARDWARE_STROBE,
};

/* ---- time ---- */

static uint64_t clocks_now(void)
{
    uint64_t ns = arch_clock_ns();

    return ns / NS_PER_S * PIT_HZ + ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

/* The first nanosecond at which so many input clocks are over. */
static uint64_t ns_of(uint64_t clocks)
{
    return clocks / PIT_HZ * NS_PER_S + (clocks % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

static bool is_periodic(const struct vpit_channel *channel)
{
    return channel->mode == RATE_GENERATOR || channel->mode == SQUARE_WAVE;
}

/* The gate's rising edge starts it; its level does not matter. */
static bool is_triggered(const struct vpit_channel *channel)
{
    return channel->mode == ONE_SHOT || channel->mode == HARDWARE_STROBE;
}

static bool is_counting(const struct vpit_channel *channel)
{
    return channel->started && (channel->gate || is_triggered(channel));
}

/* Input clocks since counting began. */
static uint64_t elapsed_of(const struct vpit_channel *channel)
{
    return is_counting(channel) ? clocks_now() - channel->start : channel->elapsed;
}

/* A period that is over makes way for a new count: it began at the end of the old one. */
static void settle(struct vpit_channel *channel)
{
    uint64_t elapsed = elapsed_of(channel);

    if (channel->next != 0 && is_periodic(channel) && is_counting(channel) &&
        elapsed >= channel->reload) {
        channel->start += channel->reload;
        channel->reload = channel->next;
        channel->next = 0;
    }
}

/* ---- count and output ---- */

static uint32_t to_bcd(uint32_t value)
{
    return value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

static uint32_t from_bcd(uint32_t value)
{
    return (value >> 12 & 0xf) * 1000 + (value >> 8 & 0xf) * 100 + (value >> 4 & 0xf) * 10 +
           (value & 0xf);
}

static uint32_t counts_of(const struct vpit_channel *channel)
{
    return channel->bcd ? DECIMAL_COUNTS : BINARY_COUNTS;
}

/* Counts down by two: from an even number, or from an odd one less one. */
static uint32_t square_count(const struct vpit_channel *channel, uint64_t elapsed)
{
    uint32_t at = (uint32_t)(elapsed % channel->reload);
    uint32_t half = (channel->reload + 1) / 2;

    return (channel->reload & ~1u) - 2 * (at < half ? at : at - half);
}

static uint16_t count_of(struct vpit_channel *channel)
{
    uint64_t elapsed;
    uint32_t counts = counts_of(channel), count;

    settle(channel);
    elapsed = elapsed_of(channel);
    switch (channel->mode) {
    case RATE_GENERATOR:
        count = channel->reload - (uint32_t)(elapsed % channel->reload);
        break;
    case SQUARE_WAVE:
        count = square_count(channel, elapsed);
        break;
    default: /* goes on below zero */
        count = channel->reload + counts - (uint32_t)(elapsed % counts);
        break;
    }
    count %= counts;
    return (uint16_t)(channel->bcd ? to_bcd(count) : count);
}

static bool output(struct vpit_channel *channel)
{
    uint64_t elapsed;

    settle(channel);
    elapsed = elapsed_of(channel);
    if (!channel->started) {
        return channel->mode != INTERRUPT_ON_TERMINAL_COUNT;
    }
    switch (channel->mode) {
    case RATE_GENERATOR:
        return !channel->gate || elapsed % channel->reload != channel->reload - 1;
    case SQUARE_WAVE:
        return !channel->gate || elapsed % channel->reload < (channel->reload + 1) / 2;
    case SOFTWARE_STROBE:
    case HARDWARE_STROBE:
        return elapsed != channel->reload;
    default:
        return elapsed >= channel->reload;
    }
}

bool vpit_output(struct vpit *pit, unsigned index)
{
    return output(&pit->channel[index]);
}

/* ---- rising edges of IRQ 0 ---- */

/* Input clocks from the start at which the output rises next after `elapsed`; 0: never. */
static uint64_t next_edge(const struct vpit_channel *channel, uint64_t elapsed)
{
    uint64_t once = channel->reload + (channel->mode >= SOFTWARE_STROBE);

    if (!is_counting(channel)) {
        return 0;
    }
    if (is_periodic(channel)) {
        return (elapsed / channel->reload + 1) * channel->reload;
    }
    return elapsed < once ? once : 0;
}

static void aim(struct vpit *pit)
{
    struct vpit_channel *channel = &pit->channel[VPIT_SYSTEM];
    uint64_t edge;

    settle(channel);
    edge = next_edge(channel, elapsed_of(channel));
    pit->edge_ns = edge == 0 ? TIMER_NEVER : ns_of(channel->start + edge);
}

unsigned vpit_elapse(struct vpit *pit)
{
    const struct vpit_channel *channel = &pit->channel[VPIT_SYSTEM];
    uint64_t now = arch_clock_ns();
    uint64_t edges = 1;

    if (now < pit->edge_ns) {
        return 0;
    }
    if (is_periodic(channel)) {
        edges += (now - pit->edge_ns) / ns_of(channel->reload);
    }
    aim(pit);
    return (unsigned)MIN(edges, EDGES_MAX);
}

bool vpit_line(struct vpit *pit)
{
    struct vpit_channel *channel = &pit->channel[VPIT_SYSTEM];

    return channel->mode > ONE_SHOT || output(channel);
}

/* ---- counting ---- */

static void start(struct vpit_channel *channel)
{
    channel->started = true;
    channel->next = 0;
    channel->elapsed = 0;
    channel->start = clocks_now();
}

/* A count has been written whole. */
static void load(struct vpit *pit, struct vpit_channel *channel, uint32_t count)
{
    if (channel->bcd) {
        count = from_bcd(count);
    }
    count = count != 0 ? count : counts_of(channel);
    settle(channel);
    if (channel->loaded && is_periodic(channel) && is_counting(channel)) {
        /* At the end of this period: it is the first one from now on. */
        channel->start += elapsed_of(channel) / channel->reload * channel->reload;
        channel->next = count;
        return;
    }
    channel->loaded = true;
    if (is_triggered(channel) && channel->started) {
        channel->next = count; /* until the next trigger */
        return;
    }
    channel->reload = count;
    if (!is_triggered(channel)) {
        start(channel);
    }
    if (channel == &pit->channel[VPIT_SYSTEM]) {
        aim(pit);
    }
}

void vpit_gate(struct vpit *pit, unsigned index, bool level)
{
    struct vpit_channel *channel = &pit->channel[index];
    bool rises = level && !channel->gate;

    settle(channel);
    if (!level) {
        channel->elapsed = elapsed_of(channel);
        channel->gate = false;
        return;
    }
    channel->gate = true;
    if (!rises || !channel->loaded) {
        return;
    }
    if (is_triggered(channel) || is_periodic(channel)) {
        channel->reload = channel->next != 0 ? channel->next : channel->reload;
        start(channel);
    } else {
        channel->start = clocks_now() - channel->elapsed;
    }
}

/* ---- ports ---- */

static void latch_count(struct vpit_channel *channel)
{
    if (!channel->latched) {
        channel->latch = count_of(channel);
        channel->latched = true;
        channel->read_high = false;
    }
}

static void latch_status(struct vpit_channel *channel)
{
    if (!channel->status_latched) {
        bool out = output(channel);
        bool fresh = !channel->loaded || channel->next != 0;

        channel->status =
            (uint8_t)((out ? PIT_STATUS_OUT : 0) | (fresh ? PIT_STATUS_NEW : 0) |
                      channel->access << 4 | channel->mode << 1 | (channel->bcd ? 1 : 0));
        channel->status_latched = true;
    }
}

uint8_t vpit_read(struct vpit *pit, unsigned index)
{
    struct vpit_channel *channel = &pit->channel[index];
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

/* The first of two bytes ends the counting of mode 0. */
static void write_low(struct vpit *pit, struct vpit_channel *channel, uint8_t value)
{
    channel->low = value;
    if (channel->mode == INTERRUPT_ON_TERMINAL_COUNT) {
        channel->elapsed = elapsed_of(channel);
        channel->started = false;
        if (channel == &pit->channel[VPIT_SYSTEM]) {
            aim(pit);
        }
    }
}

void vpit_write(struct vpit *pit, unsigned index, uint8_t value)
{
    struct vpit_channel *channel = &pit->channel[index];

    switch (channel->access) {
    case 1:
        load(pit, channel, value);
        break;
    case 2:
        load(pit, channel, (uint32_t)value << 8);
        break;
    default:
        if (channel->write_high) {
            load(pit, channel, (uint32_t)value << 8 | channel->low);
        } else {
            write_low(pit, channel, value);
        }
        channel->write_high = !channel->write_high;
        break;
    }
}

static void read_back(struct vpit *pit, uint8_t value)
{
    for (unsigned i = 0; i < VPIT_CHANNELS; i++) {
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

/* A mode: the output goes to its first level, and it waits for a count. */
static void set_mode(struct vpit *pit, struct vpit_channel *channel, uint8_t value)
{
    channel->access = value >> 4 & 3;
    channel->mode = value >> 1 & 7;
    if (channel->mode > HARDWARE_STROBE) {
        channel->mode -= 4; /* 6 and 7 are 2 and 3 */
    }
    channel->bcd = (value & 1) != 0;
    channel->loaded = channel->started = false;
    channel->write_high = channel->read_high = channel->latched = false;
    channel->next = 0;
    channel->elapsed = 0;
    if (channel == &pit->channel[VPIT_SYSTEM]) {
        aim(pit);
    }
}

void vpit_command(struct vpit *pit, uint8_t value)
{
    unsigned index = value >> 6;

    if (index == PIT_READ_BACK) {
        read_back(pit, value);
    } else if ((value >> 4 & 3) == 0) {
        latch_count(&pit->channel[index]);
    } else {
        set_mode(pit, &pit->channel[index], value);
    }
}

void vpit_reset(struct vpit *pit)
{
    memset(pit, 0, sizeof(*pit));
    for (unsigned i = 0; i < VPIT_CHANNELS; i++) {
        struct vpit_channel *channel = &pit->channel[i];

        channel->mode = SQUARE_WAVE;
        channel->access = 3;
        channel->gate = i != VPIT_SPEAKER;
        channel->reload = BINARY_COUNTS;
        channel->loaded = true;
        start(channel);
    }
    aim(pit);
}
