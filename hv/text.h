/* SPDX-License-Identifier: BSD-2-Clause */
/* Text that grows in a buffer of fixed size: so that a line goes out in one piece. */
#ifndef SPILLWAY_HV_TEXT_H
#define SPILLWAY_HV_TEXT_H

#include "base/types.h"

struct text {
    char *buffer;
    size_t size;
    size_t used; /* without the terminating NUL; never more than size - 1 */
};

/* Adds text; cuts off what does not fit. */
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
