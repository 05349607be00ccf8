/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/line_edit.h"

#include <string.h>

#include "base/bits.h"

#define KEY_CTRL_C 0x03
#define KEY_BS     0x08
#define KEY_CTRL_N 0x0e
#define KEY_CTRL_P 0x10
#define KEY_CTRL_U 0x15
#define KEY_ESCAPE 0x1b
#define KEY_DEL    0x7f

static void erase(struct line_edit *edit, unsigned count)
{
    while (count-- > 0 && edit->used > 0) {
        edit->line[--edit->used] = '\0';
        edit->echo("\b \b", 3);
    }
}

static void replace(struct line_edit *edit, const char *text)
{
    erase(edit, edit->used);
    strncpy(edit->line, text, LINE_EDIT_MAX - 1);
    edit->used = (unsigned)strlen(edit->line);
    edit->echo(edit->line, edit->used);
}

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
    if (edit->used == 0) {
        return;
    }
    strcpy(edit->history[edit->entered++ % LINE_EDIT_HISTORY], edit->line);
}

/* ESC [ A and ESC [ B: up and down; any other sequence of three is swallowed. */
static void escape_input(struct line_edit *edit, char c)
{
    if (edit->escape == 1) {
        edit->escape = c == '[' ? 2 : 0;
        return;
    }
    edit->escape = 0;
    if (c == 'A' || c == 'B') {
        show_history(edit, c == 'A' ? -1 : 1);
    }
}

static void control_input(struct line_edit *edit, char c)
{
    switch (c) {
    case KEY_ESCAPE:
        edit->escape = 1;
        break;
    case KEY_BS:
    case KEY_DEL:
        erase(edit, 1);
        break;
    case KEY_CTRL_C:
    case KEY_CTRL_U:
        erase(edit, edit->used);
        break;
    case KEY_CTRL_P:
        show_history(edit, -1);
        break;
    case KEY_CTRL_N:
        show_history(edit, 1);
        break;
    }
}

bool line_edit_input(struct line_edit *edit, char c)
{
    if (edit->escape != 0) {
        escape_input(edit, c);
        return false;
    }
    if (c == '\r' || c == '\n') {
        remember(edit);
        edit->shown = edit->entered;
        return true;
    }
    if ((unsigned char)c < ' ' || c == KEY_DEL) {
        control_input(edit, c);
        return false;
    }
    if (edit->used < LINE_EDIT_MAX - 1) {
        edit->line[edit->used++] = c;
        edit->line[edit->used] = '\0';
        edit->echo(&c, 1);
    }
    return false;
}

void line_edit_clear(struct line_edit *edit)
{
    edit->used = 0;
    memset(edit->line, 0, sizeof(edit->line));
}
