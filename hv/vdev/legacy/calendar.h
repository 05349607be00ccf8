/* SPDX-License-Identifier: BSD-2-Clause */
/* Dates of the Gregorian calendar and seconds since 1970-01-01, years 1 to 9999.  Pure. */
#ifndef SPILLWAY_HV_VDEV_LEGACY_CALENDAR_H
#define SPILLWAY_HV_VDEV_LEGACY_CALENDAR_H

#include "base/types.h"

struct calendar {
    unsigned year, month, day; /* from 1 */
    unsigned weekday;          /* 0: Sunday */
    unsigned hour, minute, second;
};

/* Seconds outside of these years are those of the nearest one. */
void calendar_from_seconds(int64_t seconds, struct calendar *c);
/* Fields that are too large count on into the next one: a 31st of June is the 1st of July. */
int64_t calendar_to_seconds(const struct calendar *c);

#endif
