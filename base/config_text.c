/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/config_text.h"

#include <string.h>

enum quote {
    QUOTE_NONE,
    QUOTE_OPEN,
    QUOTE_CLOSED,
};

/* A line while it is being read. */
struct reader {
    struct config_text *text;
    struct config_line *line;
    size_t used;    /* bytes of line->text */
    size_t value;   /* where the value begins; 0: there was no '=' yet */
    size_t trimmed; /* the end of line->text if it were trimmed now */
    enum quote quote;
    bool comment;
    bool going_on; /* behind the end of a line that goes on: blanks do not count */
    bool fresh;    /* the character is the first that counts there */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Reports the first thing that is wrong with a line. */
static void bad(struct reader *r, const char *expected)
{
    if (r->line->expected == NULL) {
        r->line->expected = expected;
    }
}

static void put(struct reader *r, char c)
{
    if (r->used == CONFIG_LINE_MAX - 1) {
        bad(r, "at most 8191 characters in a line");
        return;
    }
    r->line->text[r->used++] = c;
    if (!is_blank(c) || r->quote == QUOTE_OPEN) {
        r->trimmed = r->used;
    }
}

/* At the start of the line, or of its value: blanks do not count, and a quote may begin. */
static bool at_start(const struct reader *r)
{
    return r->used == r->value;
}

/* Is the rest of the physical line empty? */
static bool ends_line(const struct config_text *text)
{
    const char *c = text->at;

    return c == text->end || *c == '\n' || (*c == '\r' && c + 1 < text->end && c[1] == '\n');
}

/* A backslash was the last of its line: reading goes on in the next one. */
static void go_on(struct reader *r)
{
    while (r->text->at < r->text->end && *r->text->at != '\n') {
        r->text->at++; /* a carriage return */
    }
    if (r->text->at == r->text->end) {
        bad(r, "a line after one that ends in a backslash");
        return;
    }
    r->text->at++;
    r->text->line++;
    while (!at_start(r) && is_blank(r->line->text[r->used - 1])) {
        r->used--;
    }
    if (!at_start(r)) {
        put(r, ' ');
    }
    r->going_on = true;
}

static void in_quotes(struct reader *r, char c)
{
    const char *next = r->text->at;

    if (c == '"') {
        r->quote = QUOTE_CLOSED;
        return;
    }
    if (c == '\\' && next < r->text->end && (*next == '"' || *next == '\\')) {
        c = *r->text->at++;
    } else if (c == '\\' && ends_line(r->text)) {
        go_on(r);
        return;
    }
    put(r, c);
}

/* The key is complete. */
static void begin_value(struct reader *r)
{
    r->used = r->trimmed;
    put(r, '\0');
    r->value = r->trimmed = r->used;
}

static void outside(struct reader *r, char c)
{
    bool section = r->used != 0 && r->line->text[0] == '[';
    bool after_blank = (at_start(r) && r->value == 0) || r->fresh || is_blank(r->text->at[-2]);

    if ((c == '#' || c == ';') && after_blank) {
        r->comment = true;
    } else if (c == '\\' && ends_line(r->text)) {
        go_on(r);
    } else if (is_blank(c) && (at_start(r) || r->quote == QUOTE_CLOSED)) {
        return;
    } else if (r->quote == QUOTE_CLOSED) {
        bad(r, "nothing but a comment after the closing quote");
    } else if (c == '"' && r->value != 0 && at_start(r)) {
        r->quote = QUOTE_OPEN;
    } else if (c == '=' && r->value == 0 && !section) {
        begin_value(r);
    } else {
        put(r, c);
    }
}

static void read_line(struct reader *r)
{
    struct config_text *text = r->text;

    while (text->at < text->end && *text->at != '\n') {
        char c = *text->at++;

        if (c == '\0') {
            bad(r, "text without NUL characters");
            continue;
        }
        if (r->comment || (r->going_on && is_blank(c))) {
            continue;
        }
        r->fresh = r->going_on;
        r->going_on = false;
        if (r->quote == QUOTE_OPEN) {
            in_quotes(r, c);
        } else {
            outside(r, c);
        }
    }
    text->at += text->at < text->end;
    if (r->quote == QUOTE_OPEN) {
        bad(r, "a closing quote");
    }
}

/* `[name]` and nothing else: takes the brackets off. */
static bool take_section(struct config_line *line, size_t length)
{
    char *text = line->text;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == ']' && i == length - 1) {
            text[i] = '\0';
            line->name = text + 1;
            return true;
        }
        if (text[i] == ']') {
            break;
        }
    }
    return false;
}

static void bad_line(struct config_line *line, const char *expected)
{
    line->kind = CONFIG_LINE_BAD;
    line->expected = expected;
}

/* What kind of line it is, once it has been read.  False: an empty one. */
static bool finish(struct reader *r)
{
    struct config_line *line = r->line;
    char *text = line->text;

    text[r->trimmed] = '\0';
    line->name = text;
    line->value = r->value != 0 ? text + r->value : "";
    if (line->expected != NULL) {
        line->kind = CONFIG_LINE_BAD;
        return true;
    }
    line->kind = text[0] == '[' ? CONFIG_LINE_SECTION : CONFIG_LINE_KEY;
    if (line->kind == CONFIG_LINE_SECTION && !take_section(line, r->trimmed)) {
        bad_line(line, "[host], [vm NAME] or [switch NAME]");
    } else if (line->kind == CONFIG_LINE_KEY && r->value == 0) {
        bad_line(line, "KEY = VALUE or [SECTION]");
    }
    return r->trimmed != 0;
}

void config_text_start(struct config_text *text, const char *begin, size_t bytes)
{
    static const char mark[] = {'\xef', '\xbb', '\xbf'};

    *text = (struct config_text){.at = begin, .end = begin + bytes};
    if (bytes >= sizeof(mark) && memcmp(begin, mark, sizeof(mark)) == 0) {
        text->at += sizeof(mark);
    }
}

bool config_text_next(struct config_text *text, struct config_line *line)
{
    while (text->at < text->end) {
        struct reader r = {.text = text, .line = line};

        line->expected = NULL;
        line->number = ++text->line;
        read_line(&r);
        if (finish(&r)) {
            return true;
        }
    }
    return false;
}
