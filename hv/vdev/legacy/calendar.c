/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/calendar.h"

#include "base/bits.h"

/* Days in eras of 400 years that begin on a 1st of March: the leap day is the last of a year. */
#define ERA_DAYS   146097
#define EPOCH_DAYS 719468 /* 1970-01-01 since 0000-03-01 */
#define DAY_S      86400

#define FIRST_SECOND (-62135596800ll) /* 0001-01-01 */
#define LAST_SECOND  253402300799ll   /* 9999-12-31 23:59:59 */

void calendar_from_seconds(int64_t seconds, struct calendar *c)
{
    int64_t within = MIN(MAX(seconds, FIRST_SECOND), LAST_SECOND);
    uint64_t shifted = (uint64_t)(within + EPOCH_DAYS * (int64_t)DAY_S);
    uint64_t days = shifted / DAY_S;
    unsigned day_of_era = (unsigned)(days % ERA_DAYS);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;

    c->day = day_of_year - (153 * march_month + 2) / 5 + 1;
    c->month = march_month < 10 ? march_month + 3 : march_month - 9;
    c->year = (unsigned)(days / ERA_DAYS * 400) + year_of_era + (c->month <= 2);
    c->weekday = (unsigned)((days + 3) % 7); /* 0000-03-01 was a Wednesday */
    c->hour = (unsigned)(shifted / 3600 % 24);
    c->minute = (unsigned)(shifted / 60 % 60);
    c->second = (unsigned)(shifted % 60);
}

int64_t calendar_to_seconds(const struct calendar *c)
{
    unsigned month = MIN(MAX(c->month, 1u), 12u);
    int64_t year = (int64_t)MIN(MAX(c->year, 1u), 9999u) - (month <= 2);
    int64_t year_of_era = year % 400;
    int64_t march_month = month > 2 ? month - 3 : month + 9;
    int64_t day_of_year = (153 * march_month + 2) / 5 + MAX(c->day, 1u) - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    int64_t days = year / 400 * ERA_DAYS + day_of_era - EPOCH_DAYS;

    return ((days * 24 + c->hour) * 60 + c->minute) * 60 + c->second;
}
