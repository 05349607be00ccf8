/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/bits.h"

void text_add(struct text *text, const char *format, ...)
{
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text->buffer + text->used, text->size - text->used, format, args);
    va_end(args);
    text->used = MIN(text->used + (size_t)MAX(bytes, 0), text->size - 1);
}
