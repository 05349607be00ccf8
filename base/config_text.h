/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lines of spillway.conf: comments, quotes, lines that go on.  One reader for the loader, which
 * looks for the files to load, and for hv/config/config.c, which checks everything: they cannot
 * disagree.
 *
 *     key = value       # a comment: behind a blank, or at the start of a line
 *     key = "a # b"     quoted: \" is a quote, \\ a backslash, any other backslash itself
 *     key = one \       goes on: backslash, end of line and the blanks
 *           two         around them become one blank
 *     [section]
 *
 * Pure, calls nothing but memcpy(), allocates nothing.
 */
#ifndef SPILLWAY_BASE_CONFIG_TEXT_H
#define SPILLWAY_BASE_CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_LINE_MAX 8192 /* bytes of a line with all that it goes on with, and a NUL */

/* The place up to which it has been read. */
struct config_text {
    const char *at, *end;
    unsigned line; /* of the file, counted from 1: the one that was read last */
};

enum config_line_kind {
    CONFIG_LINE_KEY,     /* name = value */
    CONFIG_LINE_SECTION, /* [name] */
    CONFIG_LINE_BAD,     /* name: what the line holds; `expected`: what it should be */
};

struct config_line {
    enum config_line_kind kind;
    unsigned number;      /* of its first line in the file */
    const char *name;     /* without blanks around it; never NULL */
    const char *value;    /* likewise, quotes and backslashes undone */
    const char *expected; /* of a bad line */
    char text[CONFIG_LINE_MAX];
};

/* `text` need not end in a NUL.  A byte-order mark is skipped. */
void config_text_start(struct config_text *text, const char *begin, size_t bytes);
/* The next line that is neither empty nor a comment.  False: there is none. */
bool config_text_next(struct config_text *text, struct config_line *line);

#endif
