/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table format that is like no hardware's: present when a bit is 0, protection bits instead of
 * rights, the frame number at the top, and the level in every entry, which must be the one it is
 * looked at with.
 */
#ifndef SPILLWAY_TESTS_UNIT_FAKE_FORMAT_H
#define SPILLWAY_TESTS_UNIT_FAKE_FORMAT_H

#include "mm/table/format.h"

extern const struct table_format fake_format;

#endif
