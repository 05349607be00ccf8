/* SPDX-License-Identifier: BSD-2-Clause */
/* MC146818 datasheet, "Address Map". */
#include "hv/vdev/cmos.h"

#include <string.h>

#include "hv/arch.h"

#define NS_PER_S 1000000000ull

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

static uint8_t encode(const struct cmos *cmos, unsigned value)
{
    if (cmos->byte[CMOS_STATUS_B] & STATUS_B_BINARY) {
        return (uint8_t)value;
    }
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t encode_hour(const struct cmos *cmos, unsigned hour)
{
    if (cmos->byte[CMOS_STATUS_B] & STATUS_B_24H) {
        return encode(cmos, hour);
    }
    return encode(cmos, (hour + 11) % 12 + 1) | (hour >= 12 ? 0x80 : 0);
}

uint8_t cmos_read(const struct cmos *cmos)
{
    struct calendar c;

    calendar_from_epoch(arch_boot_epoch() + arch_clock_ns() / NS_PER_S, &c);
    switch (cmos->index) {
    case CMOS_SECONDS:
        return encode(cmos, c.second);
    case CMOS_MINUTES:
        return encode(cmos, c.minute);
    case CMOS_HOURS:
        return encode_hour(cmos, c.hour);
    case CMOS_WEEKDAY:
        return encode(cmos, c.weekday + 1);
    case CMOS_DAY:
        return encode(cmos, c.day);
    case CMOS_MONTH:
        return encode(cmos, c.month);
    case CMOS_YEAR:
        return encode(cmos, c.year % 100);
    case CMOS_CENTURY:
        return encode(cmos, c.year / 100);
    case CMOS_STATUS_C: /* no interrupt is pending: there are none */
        return 0;
    case CMOS_STATUS_D:
        return STATUS_D_VALID;
    default:
        return cmos->byte[cmos->index];
    }
}

void cmos_write(struct cmos *cmos, uint8_t value)
{
    if (cmos->index == CMOS_STATUS_A) {
        value &= (uint8_t)~STATUS_A_UPDATE;
    }
    cmos->byte[cmos->index] = value;
}

void cmos_select(struct cmos *cmos, uint8_t value)
{
    cmos->index = value & (CMOS_BYTES - 1);
}

void cmos_reset(struct cmos *cmos)
{
    memset(cmos, 0, sizeof(*cmos));
    cmos->byte[CMOS_STATUS_A] = STATUS_A_DIVIDER;
    cmos->byte[CMOS_STATUS_B] = STATUS_B_24H;
}
