/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vhpet.h"

#include <string.h>

#include "base/bits.h"
#include "hv/arch.h"
#include "hv/timer.h"

#define PERIOD_NS 10u
#define PERIOD_FS (PERIOD_NS * 1000000ull)

#define REG_CAPABILITIES 0x000
#define REG_CONFIG       0x010
#define REG_STATUS       0x020
#define REG_COUNTER      0x0f0
#define REG_TIMERS       0x100
#define TIMER_BYTES      0x20
#define TIMER_COMPARATOR 0x08

#define CONFIG_ENABLE BIT(0)
#define CONFIG_LEGACY BIT(1)

#define TIMER_LEVEL     BIT(1)
#define TIMER_INTERRUPT BIT(2)
#define TIMER_PERIODIC  BIT(3)
#define TIMER_CAN       (BIT(4) | BIT(5)) /* be periodic; 64 bits */
#define TIMER_SET_VALUE BIT(6)
#define TIMER_32        BIT(8)
#define TIMER_ROUTE     BITS(13, 9)
#define TIMER_WRITABLE                                                                             \
    (TIMER_LEVEL | TIMER_INTERRUPT | TIMER_PERIODIC | TIMER_SET_VALUE | TIMER_32 | TIMER_ROUTE)
#define ROUTES 0x00f00000u /* pins 20 to 23 */

/* Matches further away than this are never: years. */
#define FAR_CLOCKS BIT(56)
#define MATCHES    1000u /* as many as are counted */

/* ---- the counter ---- */

static bool is_on(const struct vhpet *hpet)
{
    return hpet->config & CONFIG_ENABLE;
}

static uint64_t counter(const struct vhpet *hpet)
{
    return hpet->count + (is_on(hpet) ? (arch_clock_ns() - hpet->begin_ns) / PERIOD_NS : 0);
}

static uint64_t width_of(const struct vhpet_timer *timer)
{
    return timer->config & TIMER_32 ? UINT32_MAX : UINT64_MAX;
}

/* When the counter is at the comparator next; it is by equality, so perhaps after it has wrapped.
 */
static void aim(const struct vhpet *hpet, struct vhpet_timer *timer)
{
    uint64_t now = counter(hpet);
    uint64_t left = (timer->comparator - now) & width_of(timer);

    if (!is_on(hpet) || left > FAR_CLOCKS) {
        timer->next_ns = TIMER_NEVER;
    } else {
        timer->next_ns = hpet->begin_ns + (now - hpet->count + left) * PERIOD_NS;
    }
}

static void aim_all(struct vhpet *hpet)
{
    for (unsigned i = 0; i < VHPET_TIMERS; i++) {
        aim(hpet, &hpet->timer[i]);
    }
}

static void set_config(struct vhpet *hpet, uint32_t value)
{
    uint64_t count = counter(hpet);

    hpet->count = count;
    hpet->begin_ns = arch_clock_ns();
    hpet->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
    aim_all(hpet);
}

/* ---- matches ---- */

bool vhpet_is_legacy(const struct vhpet *hpet)
{
    return hpet->config & CONFIG_LEGACY;
}

unsigned vhpet_elapse(struct vhpet *hpet, unsigned index)
{
    struct vhpet_timer *timer = &hpet->timer[index];
    uint64_t now = arch_clock_ns();
    uint64_t matches = 1;

    if (now < timer->next_ns) {
        return 0;
    }
    if ((timer->config & TIMER_PERIODIC) && timer->period != 0) {
        matches += (now - timer->next_ns) / PERIOD_NS / timer->period;
        timer->comparator = (timer->comparator + matches * timer->period) & width_of(timer);
        aim(hpet, timer);
    } else {
        /* Behind the match, so that it is not this one again. */
        timer->next_ns = timer->config & TIMER_32 ? timer->next_ns + (UINT32_MAX + 1ull) * PERIOD_NS
                                                  : TIMER_NEVER;
    }
    if (!(timer->config & TIMER_INTERRUPT)) {
        return 0;
    }
    if (timer->config & TIMER_LEVEL) {
        hpet->status |= 1u << index;
    }
    return (unsigned)MIN(matches, MATCHES);
}

uint64_t vhpet_next_ns(const struct vhpet *hpet, unsigned index)
{
    const struct vhpet_timer *timer = &hpet->timer[index];

    return timer->config & TIMER_INTERRUPT ? timer->next_ns : TIMER_NEVER;
}

unsigned vhpet_pin(const struct vhpet *hpet, unsigned index)
{
    return FIELD_GET(TIMER_ROUTE, hpet->timer[index].config);
}

bool vhpet_line(const struct vhpet *hpet, unsigned index)
{
    uint32_t config = hpet->timer[index].config;

    return (config & TIMER_LEVEL) && (config & TIMER_INTERRUPT) && (hpet->status >> index & 1);
}

/* ---- registers: 64 bits at each offset ---- */

static uint64_t read_timer(const struct vhpet_timer *timer, unsigned offset)
{
    switch (offset) {
    case 0:
        return (uint64_t)ROUTES << 32 | TIMER_CAN | timer->config;
    case TIMER_COMPARATOR:
        return timer->comparator;
    default:
        return 0; /* messages: none */
    }
}

static uint64_t read_register(const struct vhpet *hpet, unsigned offset)
{
    unsigned index = (offset - REG_TIMERS) / TIMER_BYTES;

    switch (offset) {
    case REG_CAPABILITIES:
        return PERIOD_FS << 32 | VHPET_ID;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return counter(hpet);
    default:
        if (offset < REG_TIMERS || index >= VHPET_TIMERS) {
            return 0;
        }
        return read_timer(&hpet->timer[index], offset % TIMER_BYTES);
    }
}

uint64_t vhpet_read(const struct vhpet *hpet, unsigned offset, unsigned size)
{
    uint64_t value = read_register(hpet, offset & ~7u) >> (8 * (offset & 7));

    return size == 8 ? value : value & (BIT(size * 8) - 1);
}

static void set_timer(const struct vhpet *hpet, struct vhpet_timer *timer, uint32_t value)
{
    unsigned route = FIELD_GET(TIMER_ROUTE, value);

    timer->config = value & TIMER_WRITABLE;
    if (!(ROUTES >> route & 1)) {
        timer->config &= ~(uint32_t)TIMER_ROUTE; /* 2.3.8: such a write takes no effect */
    }
    if (value & TIMER_32) {
        timer->comparator = (uint32_t)timer->comparator;
        timer->period = (uint32_t)timer->period;
    }
    aim(hpet, timer);
}

/* A periodic one takes the value as its period, and as its comparator if that has been asked for.
 */
static void set_comparator(const struct vhpet *hpet, struct vhpet_timer *timer, uint64_t value)
{
    value &= width_of(timer);
    if (!(timer->config & TIMER_PERIODIC) || (timer->config & TIMER_SET_VALUE)) {
        timer->comparator = value;
    }
    if (timer->config & TIMER_PERIODIC) {
        timer->period = value;
    }
    timer->config &= ~(uint32_t)TIMER_SET_VALUE;
    aim(hpet, timer);
}

static void write_timer(const struct vhpet *hpet, struct vhpet_timer *timer, unsigned offset,
                        uint64_t value)
{
    if (offset == 0) {
        set_timer(hpet, timer, (uint32_t)value);
    } else if (offset == TIMER_COMPARATOR) {
        set_comparator(hpet, timer, value);
    }
}

static void write_register(struct vhpet *hpet, unsigned offset, uint64_t value)
{
    unsigned index = (offset - REG_TIMERS) / TIMER_BYTES;

    switch (offset) {
    case REG_CONFIG:
        set_config(hpet, (uint32_t)value);
        break;
    case REG_STATUS:
        hpet->status &= ~(uint32_t)value;
        break;
    case REG_COUNTER:
        hpet->count = value;
        hpet->begin_ns = arch_clock_ns();
        aim_all(hpet);
        break;
    default:
        if (offset >= REG_TIMERS && index < VHPET_TIMERS) {
            write_timer(hpet, &hpet->timer[index], offset % TIMER_BYTES, value);
        }
        break;
    }
}

/* What a write of half a register leaves of the other half; of the status that is nothing. */
static uint64_t merge(const struct vhpet *hpet, unsigned offset, uint64_t value)
{
    unsigned whole = offset & ~7u;
    unsigned index = (whole - REG_TIMERS) / TIMER_BYTES;
    uint64_t old = whole == REG_STATUS ? 0 : read_register(hpet, whole);

    if (whole >= REG_TIMERS && index < VHPET_TIMERS && whole % TIMER_BYTES == TIMER_COMPARATOR &&
        (hpet->timer[index].config & TIMER_PERIODIC)) {
        old = hpet->timer[index].period;
    }
    return offset & 4 ? (old & UINT32_MAX) | value << 32
                      : (old & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
}

/* 2.3.2: accesses are of 32 or 64 bits, aligned; others do nothing. */
void vhpet_write(struct vhpet *hpet, unsigned offset, unsigned size, uint64_t value)
{
    if (size < 4 || offset % size != 0) {
        return;
    }
    write_register(hpet, offset & ~7u, size == 8 ? value : merge(hpet, offset, value));
}

void vhpet_reset(struct vhpet *hpet)
{
    memset(hpet, 0, sizeof(*hpet));
    for (unsigned i = 0; i < VHPET_TIMERS; i++) {
        hpet->timer[i].comparator = UINT64_MAX;
        hpet->timer[i].next_ns = TIMER_NEVER;
    }
}
