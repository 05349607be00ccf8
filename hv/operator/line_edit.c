/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/line_edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define CTRL(letter) ((letter)&0x1f)
#define KEY_BS       0x08
#define KEY_ESCAPE   0x1b
#define KEY_DEL      0x7f
#define BELL         "\a"

/* What follows ESC. */
enum {
    ESCAPE_NONE,
    ESCAPE_START,    /* ESC */
    ESCAPE_CSI,      /* ESC [ : parameters and a final byte */
    ESCAPE_SS3,      /* ESC O : one byte */
    ESCAPE_FUNCTION, /* ESC [ [ : one byte, the Linux console's F1 to F5 */
};

/* ---- characters and columns ---- */

/* Not the first byte of a character in UTF-8. */
static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static unsigned columns(const char *text, unsigned bytes)
{
    unsigned count = 0;

    for (unsigned i = 0; i < bytes; i++) {
        count += !continues(text[i]);
    }
    return count;
}

static unsigned before(const struct line_edit *edit, unsigned at)
{
    while (at > 0 && continues(edit->line[--at])) {
    }
    return at;
}

static unsigned behind(const struct line_edit *edit, unsigned at)
{
    at += at < edit->used;
    while (at < edit->used && continues(edit->line[at])) {
        at++;
    }
    return at;
}

static unsigned word_before(const struct line_edit *edit, unsigned at)
{
    while (at > 0 && edit->line[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && edit->line[at - 1] != ' ') {
        at--;
    }
    return at;
}

static unsigned word_behind(const struct line_edit *edit, unsigned at)
{
    while (at < edit->used && edit->line[at] == ' ') {
        at++;
    }
    while (at < edit->used && edit->line[at] != ' ') {
        at++;
    }
    return at;
}

unsigned line_edit_tail(const struct line_edit *edit)
{
    return columns(edit->line + edit->cursor, edit->used - edit->cursor);
}

/* ---- the line, and what is seen of it ---- */

static void echo_times(const struct line_edit *edit, char c, unsigned times)
{
    while (times-- > 0) {
        edit->echo(&c, 1);
    }
}

static void move_to(struct line_edit *edit, unsigned at)
{
    if (at < edit->cursor) {
        echo_times(edit, '\b', columns(edit->line + at, edit->cursor - at));
    } else {
        edit->echo(edit->line + edit->cursor, at - edit->cursor);
    }
    edit->cursor = at;
}

/* The bytes from `begin` to `end`; the cursor is left where they were. */
static void erase(struct line_edit *edit, unsigned begin, unsigned end)
{
    unsigned gone = columns(edit->line + begin, end - begin);

    if (begin == end) {
        return;
    }
    move_to(edit, begin);
    memmove(edit->line + begin, edit->line + end, edit->used - end + 1);
    edit->used -= end - begin;
    edit->echo(edit->line + begin, edit->used - begin);
    echo_times(edit, ' ', gone);
    echo_times(edit, '\b', gone + line_edit_tail(edit));
}

/* Bytes that follow the first one of a character. */
static unsigned following(char first)
{
    unsigned char byte = (unsigned char)first;

    return (byte >= 0xc0) + (byte >= 0xe0) + (byte >= 0xf0);
}

/* A character is shown when all of it is there. */
static void insert(struct line_edit *edit, char c)
{
    unsigned start;

    if (edit->used == LINE_EDIT_MAX - 1) {
        if (!edit->too_long) {
            edit->echo(BELL, 1);
        }
        edit->too_long = true;
        return;
    }
    memmove(edit->line + edit->cursor + 1, edit->line + edit->cursor,
            edit->used - edit->cursor + 1);
    edit->line[edit->cursor++] = c;
    edit->used++;
    edit->missing = continues(c) && edit->missing > 0 ? edit->missing - 1 : following(c);
    if (edit->missing == 0) {
        start = before(edit, edit->cursor);
        edit->echo(edit->line + start, edit->used - start);
        echo_times(edit, '\b', line_edit_tail(edit));
    }
}

static void replace(struct line_edit *edit, const char *text)
{
    erase(edit, 0, edit->used);
    strcpy(edit->line, text);
    edit->used = (unsigned)strlen(text);
    move_to(edit, edit->used);
}

/* ---- history ---- */

static void show_history(struct line_edit *edit, int step)
{
    uint64_t oldest = edit->entered > LINE_EDIT_HISTORY ? edit->entered - LINE_EDIT_HISTORY : 0;

    if ((step < 0 && edit->shown == oldest) || (step > 0 && edit->shown == edit->entered)) {
        return;
    }
    edit->shown = step < 0 ? edit->shown - 1 : edit->shown + 1;
    replace(edit,
            edit->shown == edit->entered ? "" : edit->history[edit->shown % LINE_EDIT_HISTORY]);
}

static void remember(struct line_edit *edit)
{
    if (edit->used != 0 && !edit->too_long) {
        strcpy(edit->history[edit->entered++ % LINE_EDIT_HISTORY], edit->line);
    }
    edit->shown = edit->entered;
}

/* ---- keys ---- */

/* ESC [ NUMBER ~ : the keys of the VT220. */
static void numbered_key(struct line_edit *edit, int number)
{
    switch (number) {
    case 1: /* Home */
    case 7:
        move_to(edit, 0);
        break;
    case 3: /* Delete */
        erase(edit, edit->cursor, behind(edit, edit->cursor));
        break;
    case 4: /* End */
    case 8:
        move_to(edit, edit->used);
        break;
    }
}

/* The cursor keys end with the same letter in each kind of sequence; with Ctrl or Alt they have
 * two parameters. */
static void lettered_key(struct line_edit *edit, char letter, bool word)
{
    switch (letter) {
    case 'A':
        show_history(edit, -1);
        break;
    case 'B':
        show_history(edit, 1);
        break;
    case 'C':
        move_to(edit, (word ? word_behind : behind)(edit, edit->cursor));
        break;
    case 'D':
        move_to(edit, (word ? word_before : before)(edit, edit->cursor));
        break;
    case 'F':
        move_to(edit, edit->used);
        break;
    case 'H':
        move_to(edit, 0);
        break;
    }
}

static void control_sequence(struct line_edit *edit, char c)
{
    if ((unsigned char)c >= ' ' && c < '@') { /* parameters, intermediate bytes */
        if (edit->parameters_used < LINE_EDIT_PARAMETERS) {
            edit->parameters[edit->parameters_used++] = c;
        }
        return;
    }
    edit->parameters[edit->parameters_used] = '\0';
    if (c == '[' && edit->parameters_used == 0) {
        edit->escape = ESCAPE_FUNCTION;
        return;
    }
    edit->escape = ESCAPE_NONE;
    if (c == '~') {
        numbered_key(edit, atoi(edit->parameters));
    } else {
        lettered_key(edit, c, strchr(edit->parameters, ';') != NULL);
    }
}

/* ESC and a letter, as Alt and a key send it. */
static void alt_key(struct line_edit *edit, char c)
{
    switch (c) {
    case 'b':
        move_to(edit, word_before(edit, edit->cursor));
        break;
    case 'd':
        erase(edit, edit->cursor, word_behind(edit, edit->cursor));
        break;
    case 'f':
        move_to(edit, word_behind(edit, edit->cursor));
        break;
    case KEY_DEL:
        erase(edit, word_before(edit, edit->cursor), edit->cursor);
        break;
    }
}

static void escape_input(struct line_edit *edit, char c)
{
    uint8_t state = edit->escape;

    if (state == ESCAPE_CSI) {
        control_sequence(edit, c);
        return;
    }
    edit->escape = ESCAPE_NONE;
    if (state == ESCAPE_SS3) {
        lettered_key(edit, c, false);
    } else if (state == ESCAPE_START && c == '[') {
        edit->escape = ESCAPE_CSI;
        edit->parameters_used = 0;
    } else if (state == ESCAPE_START && c == 'O') {
        edit->escape = ESCAPE_SS3;
    } else if (state == ESCAPE_START) {
        alt_key(edit, c);
    }
}

static void erase_key(struct line_edit *edit, char c)
{
    switch (c) {
    case KEY_BS:
    case KEY_DEL:
        erase(edit, before(edit, edit->cursor), edit->cursor);
        break;
    case CTRL('C'):
        erase(edit, 0, edit->used);
        edit->too_long = false;
        edit->shown = edit->entered;
        break;
    case CTRL('D'):
        erase(edit, edit->cursor, behind(edit, edit->cursor));
        break;
    case CTRL('K'):
        erase(edit, edit->cursor, edit->used);
        break;
    case CTRL('U'):
        erase(edit, 0, edit->cursor);
        break;
    case CTRL('W'):
        erase(edit, word_before(edit, edit->cursor), edit->cursor);
        break;
    }
}

static void control_input(struct line_edit *edit, char c)
{
    switch (c) {
    case KEY_ESCAPE:
        edit->escape = ESCAPE_START;
        break;
    case CTRL('A'):
        move_to(edit, 0);
        break;
    case CTRL('B'):
        move_to(edit, before(edit, edit->cursor));
        break;
    case CTRL('E'):
        move_to(edit, edit->used);
        break;
    case CTRL('F'):
        move_to(edit, behind(edit, edit->cursor));
        break;
    case CTRL('N'):
        show_history(edit, 1);
        break;
    case CTRL('P'):
        show_history(edit, -1);
        break;
    default:
        erase_key(edit, c);
        break;
    }
}

enum line_edit_result line_edit_input(struct line_edit *edit, char c)
{
    if (c == '\r' || c == '\n') {
        edit->escape = ESCAPE_NONE;
        remember(edit);
        return edit->too_long ? LINE_EDIT_TOO_LONG : LINE_EDIT_DONE;
    }
    if (c == KEY_ESCAPE ||
        (edit->escape == ESCAPE_NONE && ((unsigned char)c < ' ' || c == KEY_DEL))) {
        control_input(edit, c);
    } else if (edit->escape != ESCAPE_NONE) {
        escape_input(edit, c);
    } else if (!continues(c) || edit->missing > 0) {
        insert(edit, c);
    }
    return LINE_EDIT_MORE;
}

void line_edit_clear(struct line_edit *edit)
{
    edit->used = edit->cursor = 0;
    edit->too_long = false;
    memset(edit->line, 0, sizeof(edit->line));
}
