/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line editor for a dumb serial line: backspace, Ctrl-U, Ctrl-C, history by arrow keys or Ctrl-P
 * and Ctrl-N.  Pure: characters in, echo out, so that it is tested on the host.
 */
#ifndef SPILLWAY_HV_LINE_EDIT_H
#define SPILLWAY_HV_LINE_EDIT_H

#include "base/types.h"

#define LINE_EDIT_MAX     128
#define LINE_EDIT_HISTORY 16

struct line_edit {
    void (*echo)(const char *text, size_t bytes);
    char line[LINE_EDIT_MAX]; /* NUL-terminated */
    unsigned used;
    char history[LINE_EDIT_HISTORY][LINE_EDIT_MAX];
    uint64_t entered; /* lines ever put into the history */
    uint64_t shown;   /* history entry on the line; == entered: a fresh line */
    uint8_t escape;   /* characters seen of an escape sequence */
};

/* True: line holds a complete command; call line_edit_clear() when it has been run.  The end of the
 * line is not echoed: that is the caller's. */
bool line_edit_input(struct line_edit *edit, char c);
void line_edit_clear(struct line_edit *edit);

#endif
