/* SPDX-License-Identifier: BSD-2-Clause */
/* MC146818 datasheet, "Address Map", "Registers", "Update Cycle". */
#include "hv/vdev/legacy/vcmos.h"

#include <string.h>

#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "hv/arch.h"
#include "hv/timer.h"
#include "hv/vdev/legacy/calendar.h"

enum vcmos_register {
    CMOS_SECONDS = 0x00,
    CMOS_SECONDS_ALARM = 0x01,
    CMOS_MINUTES = 0x02,
    CMOS_MINUTES_ALARM = 0x03,
    CMOS_HOURS = 0x04,
    CMOS_HOURS_ALARM = 0x05,
    CMOS_WEEKDAY = 0x06,
    CMOS_DAY = 0x07,
    CMOS_MONTH = 0x08,
    CMOS_YEAR = 0x09,
    CMOS_STATUS_A = 0x0a,
    CMOS_STATUS_B = 0x0b,
    CMOS_STATUS_C = 0x0c,
    CMOS_STATUS_D = 0x0d,
};

#define STATUS_A_UPDATE  0x80 /* update in progress: read-only */
#define STATUS_A_DIVIDER 0x70
#define DIVIDER_32768    0x20
#define DIVIDER_RESET    0x60 /* and with bit 4 */
#define STATUS_A_RATE    0x0f
#define STATUS_B_SET     0x80
#define STATUS_B_ENABLES 0x70 /* the interrupts of the flags in register C, bit by bit */
#define STATUS_B_SQUARE  0x08
#define STATUS_B_BINARY  0x04
#define STATUS_B_24H     0x02
#define STATUS_C_ANY     0x80
#define FLAG_PERIODIC    0x40
#define FLAG_ALARM       0x20
#define FLAG_UPDATE      0x10
#define STATUS_D_VALID   0x80

#define ALARM_ANY      0xc0 /* an alarm byte with both bits matches always */
#define HOUR_PM        0x80
#define UPDATE_WARNING 244000u /* UIP is set so long before an update */
#define DIVIDER_HZ     32768ull
#define SEARCH_STEPS   256u

/* ---- the clock ---- */

struct moment {
    int64_t s;
    uint32_t ns;
};

static struct moment host_now(void)
{
    uint64_t ns = arch_boot_epoch_ns() + arch_clock_ns();

    return (struct moment){(int64_t)(ns / NS_PER_S), (uint32_t)(ns % NS_PER_S)};
}

static bool is_stopped(const struct vcmos *cmos)
{
    return (cmos->byte[CMOS_STATUS_A] & DIVIDER_RESET) == DIVIDER_RESET;
}

static bool is_set(const struct vcmos *cmos)
{
    return cmos->byte[CMOS_STATUS_B] & STATUS_B_SET;
}

static struct moment clock_now(const struct vcmos *cmos)
{
    struct moment now = host_now();

    if (is_stopped(cmos)) {
        return (struct moment){cmos->stopped_s, 0};
    }
    now.s += cmos->offset_s;
    now.ns += cmos->offset_ns;
    if (now.ns >= NS_PER_S) {
        now.ns -= (uint32_t)NS_PER_S;
        now.s++;
    }
    return now;
}

static void set_clock(struct vcmos *cmos, struct moment to)
{
    struct moment host = host_now();
    bool borrow = to.ns < host.ns;

    cmos->stopped_s = to.s;
    cmos->offset_s = to.s - host.s - borrow;
    cmos->offset_ns = (uint32_t)(to.ns + (borrow ? NS_PER_S : 0) - host.ns);
    cmos->seen_s = to.s;
}

/* When the host's clock is there; a moment that is over: now. */
static uint64_t host_ns(const struct vcmos *cmos, struct moment at)
{
    struct moment now = clock_now(cmos);
    int64_t ns = (at.s - now.s) * (int64_t)NS_PER_S + at.ns - now.ns;

    return arch_clock_ns() + (uint64_t)MAX(ns, 0);
}

/* ---- time in registers ---- */

static bool is_binary(const struct vcmos *cmos)
{
    return cmos->byte[CMOS_STATUS_B] & STATUS_B_BINARY;
}

static bool is_24h(const struct vcmos *cmos)
{
    return cmos->byte[CMOS_STATUS_B] & STATUS_B_24H;
}

static uint8_t encode(const struct vcmos *cmos, unsigned value)
{
    return (uint8_t)(is_binary(cmos) ? value : value / 10 % 10 << 4 | value % 10);
}

static unsigned decode(const struct vcmos *cmos, uint8_t byte)
{
    return is_binary(cmos) ? byte : (byte >> 4) * 10u + (byte & 0xf);
}

static uint8_t encode_hour(const struct vcmos *cmos, unsigned hour)
{
    if (is_24h(cmos)) {
        return encode(cmos, hour);
    }
    return encode(cmos, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct vcmos *cmos, uint8_t byte)
{
    if (is_24h(cmos)) {
        return decode(cmos, byte);
    }
    return decode(cmos, byte & (uint8_t)~HOUR_PM) % 12 + (byte & HOUR_PM ? 12 : 0);
}

static bool is_time(unsigned index)
{
    return index == CMOS_SECONDS || index == CMOS_MINUTES || index == CMOS_HOURS ||
           (index >= CMOS_WEEKDAY && index <= CMOS_YEAR) || index == CMOS_CENTURY;
}

/* The registers show that second. */
static void store_time(struct vcmos *cmos, int64_t seconds)
{
    uint8_t *byte = cmos->byte;
    struct calendar c;

    calendar_from_seconds(seconds, &c);
    byte[CMOS_SECONDS] = encode(cmos, c.second);
    byte[CMOS_MINUTES] = encode(cmos, c.minute);
    byte[CMOS_HOURS] = encode_hour(cmos, c.hour);
    byte[CMOS_WEEKDAY] = encode(cmos, (c.weekday + cmos->weekday_shift) % 7 + 1);
    byte[CMOS_DAY] = encode(cmos, c.day);
    byte[CMOS_MONTH] = encode(cmos, c.month);
    byte[CMOS_YEAR] = encode(cmos, c.year % 100);
    byte[CMOS_CENTURY] = encode(cmos, c.year / 100);
}

/* The clock goes on from what they show. */
static int64_t load_time(struct vcmos *cmos)
{
    const uint8_t *byte = cmos->byte;
    struct calendar c = {
        .year = decode(cmos, byte[CMOS_CENTURY]) * 100 + decode(cmos, byte[CMOS_YEAR]) % 100,
        .month = decode(cmos, byte[CMOS_MONTH]),
        .day = decode(cmos, byte[CMOS_DAY]),
        .hour = decode_hour(cmos, byte[CMOS_HOURS]),
        .minute = decode(cmos, byte[CMOS_MINUTES]),
        .second = decode(cmos, byte[CMOS_SECONDS]),
    };
    unsigned weekday = decode(cmos, byte[CMOS_WEEKDAY]) + 6; /* Sunday is 1 */
    int64_t seconds = calendar_to_seconds(&c);

    calendar_from_seconds(seconds, &c);
    cmos->weekday_shift = (uint8_t)((weekday + 7 - c.weekday) % 7);
    return seconds;
}

/* ---- flags ---- */

static bool alarm_byte_matches(uint8_t alarm, uint8_t value)
{
    return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

/* The first second after `seconds` that the alarm matches, or INT64_MAX. */
static int64_t next_alarm(const struct vcmos *cmos, int64_t seconds)
{
    const uint8_t *byte = cmos->byte;
    int64_t at = seconds + 1;

    for (unsigned i = 0; i < SEARCH_STEPS; i++) {
        struct calendar c;

        calendar_from_seconds(at, &c);
        if (!alarm_byte_matches(byte[CMOS_HOURS_ALARM], encode_hour(cmos, c.hour))) {
            at += 3600 - (int64_t)(c.minute * 60 + c.second);
        } else if (!alarm_byte_matches(byte[CMOS_MINUTES_ALARM], encode(cmos, c.minute))) {
            at += 60 - (int64_t)c.second;
        } else if (!alarm_byte_matches(byte[CMOS_SECONDS_ALARM], encode(cmos, c.second))) {
            at++;
        } else {
            return at;
        }
    }
    return INT64_MAX;
}

/* Bits of the 32,768 Hz divider below the rate's: a period is 1 << shift.  0: no periodic one. */
static unsigned period_clocks(const struct vcmos *cmos)
{
    unsigned rate = cmos->byte[CMOS_STATUS_A] & STATUS_A_RATE;

    if (rate == 0 || is_stopped(cmos)) {
        return 0;
    }
    return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t divider(struct moment now)
{
    return (uint64_t)now.s * DIVIDER_HZ + now.ns * DIVIDER_HZ / NS_PER_S;
}

/* From this moment on. */
static void look_anew(struct vcmos *cmos)
{
    struct moment now = clock_now(cmos);
    unsigned period = period_clocks(cmos);

    cmos->seen_s = now.s;
    cmos->seen_period = period != 0 ? divider(now) / period : 0;
    cmos->alarm_s = next_alarm(cmos, now.s);
}

static void elapse_period(struct vcmos *cmos, struct moment now)
{
    unsigned period = period_clocks(cmos);

    if (period != 0 && divider(now) / period != cmos->seen_period) {
        cmos->seen_period = divider(now) / period;
        cmos->byte[CMOS_STATUS_C] |= FLAG_PERIODIC;
    }
}

bool vcmos_elapse(struct vcmos *cmos)
{
    struct moment now = clock_now(cmos);
    uint8_t *flags = &cmos->byte[CMOS_STATUS_C];

    elapse_period(cmos, now);
    if (is_set(cmos) || is_stopped(cmos) || now.s == cmos->seen_s) {
        return false;
    }
    cmos->seen_s = now.s;
    *flags |= FLAG_UPDATE;
    if (now.s < cmos->alarm_s) {
        return false;
    }
    *flags |= FLAG_ALARM;
    cmos->alarm_s = next_alarm(cmos, now.s);
    return cmos->byte[CMOS_STATUS_B] & FLAG_ALARM;
}

bool vcmos_line(const struct vcmos *cmos)
{
    return cmos->byte[CMOS_STATUS_C] & cmos->byte[CMOS_STATUS_B] & STATUS_B_ENABLES;
}

uint64_t vcmos_next_ns(const struct vcmos *cmos)
{
    uint8_t wanted = cmos->byte[CMOS_STATUS_B] & (uint8_t)~cmos->byte[CMOS_STATUS_C];
    struct moment now = clock_now(cmos);
    unsigned period = period_clocks(cmos);
    uint64_t next = TIMER_NEVER;

    if ((wanted & FLAG_PERIODIC) && period != 0) {
        uint64_t clocks = period - divider(now) % period;

        next = arch_clock_ns() + (clocks * NS_PER_S + DIVIDER_HZ - 1) / DIVIDER_HZ;
    }
    if (is_set(cmos) || is_stopped(cmos)) {
        return next;
    }
    if (wanted & FLAG_UPDATE) {
        next = MIN(next, host_ns(cmos, (struct moment){cmos->seen_s + 1, 0}));
    }
    if ((wanted & FLAG_ALARM) && cmos->alarm_s != INT64_MAX) {
        next = MIN(next, host_ns(cmos, (struct moment){cmos->alarm_s, 0}));
    }
    return next;
}

/* ---- ports ---- */

static uint8_t read_status_a(const struct vcmos *cmos)
{
    bool updating =
        !is_set(cmos) && !is_stopped(cmos) && clock_now(cmos).ns >= NS_PER_S - UPDATE_WARNING;

    return cmos->byte[CMOS_STATUS_A] | (updating ? STATUS_A_UPDATE : 0);
}

static uint8_t read_status_c(struct vcmos *cmos)
{
    uint8_t flags = cmos->byte[CMOS_STATUS_C] | (vcmos_line(cmos) ? STATUS_C_ANY : 0);

    cmos->byte[CMOS_STATUS_C] = 0;
    return flags;
}

uint8_t vcmos_read(struct vcmos *cmos)
{
    if (is_time(cmos->index) && !is_set(cmos)) {
        store_time(cmos, clock_now(cmos).s);
    }
    switch (cmos->index) {
    case CMOS_STATUS_A:
        return read_status_a(cmos);
    case CMOS_STATUS_C:
        return read_status_c(cmos);
    case CMOS_STATUS_D:
        return STATUS_D_VALID;
    default:
        return cmos->byte[cmos->index];
    }
}

/* A divider that leaves its reset makes its first update half a second later. */
static void write_status_a(struct vcmos *cmos, uint8_t value)
{
    bool was = is_stopped(cmos);
    int64_t seconds = clock_now(cmos).s;

    cmos->byte[CMOS_STATUS_A] = value & (uint8_t)~STATUS_A_UPDATE;
    if (was || is_stopped(cmos)) {
        set_clock(cmos, (struct moment){seconds, (uint32_t)(NS_PER_S / 2)});
    }
}

/* SET stops the updates: the registers keep the time that they show until it is cleared. */
static void write_status_b(struct vcmos *cmos, uint8_t value)
{
    struct moment now = clock_now(cmos);
    bool was = is_set(cmos);

    if (!was && (value & STATUS_B_SET)) {
        store_time(cmos, now.s);
        value &= (uint8_t)~FLAG_UPDATE; /* "clears UIE" */
    }
    cmos->byte[CMOS_STATUS_B] = value;
    if (was && !(value & STATUS_B_SET)) {
        now.s = load_time(cmos);
        set_clock(cmos, now);
    }
}

/* While the clock runs it goes on from the new value. */
static void write_time(struct vcmos *cmos, uint8_t value)
{
    struct moment now = clock_now(cmos);

    if (is_set(cmos)) {
        cmos->byte[cmos->index] = value;
        return;
    }
    store_time(cmos, now.s);
    cmos->byte[cmos->index] = value;
    now.s = load_time(cmos);
    set_clock(cmos, now);
}

void vcmos_write(struct vcmos *cmos, uint8_t value)
{
    (void)vcmos_elapse(cmos);
    switch (cmos->index) {
    case CMOS_STATUS_A:
        write_status_a(cmos, value);
        break;
    case CMOS_STATUS_B:
        write_status_b(cmos, value);
        break;
    case CMOS_STATUS_C:
    case CMOS_STATUS_D:
        return; /* read-only */
    default:
        if (is_time(cmos->index)) {
            write_time(cmos, value);
        } else {
            cmos->byte[cmos->index] = value;
        }
        break;
    }
    look_anew(cmos);
}

void vcmos_select(struct vcmos *cmos, uint8_t value)
{
    cmos->index = value & (VCMOS_BYTES - 1);
}

/* "RESET" of the pin descriptions; a guest that was reset while it set the time has not set it. */
void vcmos_reset(struct vcmos *cmos)
{
    if (!cmos->kept) {
        memset(cmos, 0, sizeof(*cmos));
        cmos->kept = true;
        cmos->byte[CMOS_STATUS_B] = STATUS_B_24H;
        cmos->byte[CMOS_STATUS_A] = DIVIDER_32768 | 6;
    }
    cmos->index = 0;
    if (is_stopped(cmos)) {
        write_status_a(cmos, DIVIDER_32768 | 6);
    }
    cmos->byte[CMOS_STATUS_B] &= STATUS_B_BINARY | STATUS_B_24H;
    cmos->byte[CMOS_STATUS_C] = 0;
    look_anew(cmos);
}
