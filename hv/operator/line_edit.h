/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line editor for a serial line.  Keys: Backspace, Delete, left and right, Home and End, by words
 * with Ctrl or Alt, history by up and down; Ctrl-A, B, D, E, F, K, N, P, U, W as in Emacs and
 * shells; Ctrl-C drops the line.  Every other control sequence (ECMA-48, 5.4 "Control sequences")
 * is taken whole and does nothing, the marks of a bracketed paste among them.  A character may be
 * several bytes, in UTF-8, and is taken to be one column wide.
 *
 * Pure: characters in, echo out, so that it is tested on the host.
 */
#ifndef SPILLWAY_HV_OPERATOR_LINE_EDIT_H
#define SPILLWAY_HV_OPERATOR_LINE_EDIT_H

#include "base/types.h"

#define LINE_EDIT_MAX        512 /* bytes, with the NUL */
#define LINE_EDIT_HISTORY    16
#define LINE_EDIT_PARAMETERS 8 /* bytes kept of a control sequence's parameters */

enum line_edit_result {
    LINE_EDIT_MORE,
    LINE_EDIT_DONE,     /* the line is complete */
    LINE_EDIT_TOO_LONG, /* it is, and some of it found no room: not to be run */
};

struct line_edit {
    void (*echo)(const char *text, size_t bytes);
    char line[LINE_EDIT_MAX]; /* NUL-terminated */
    unsigned used, cursor;    /* bytes; at the start of a character */
    unsigned missing;         /* bytes of the character that is being typed */
    bool too_long;
    char history[LINE_EDIT_HISTORY][LINE_EDIT_MAX];
    uint64_t entered; /* lines ever put into the history */
    uint64_t shown;   /* history entry on the line; == entered: a fresh line */
    uint8_t escape;   /* where in a control sequence we are */
    char parameters[LINE_EDIT_PARAMETERS + 1];
    uint8_t parameters_used;
};

/* When a line is complete, call line_edit_clear() once it has been dealt with.  The end of the line
 * is not echoed: that is the caller's. */
enum line_edit_result line_edit_input(struct line_edit *edit, char c);
void line_edit_clear(struct line_edit *edit);
/* Columns from the cursor to the line's end. */
unsigned line_edit_tail(const struct line_edit *edit);

#endif
