/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/operator/line_edit.c */
/* The line editor against a terminal of one line: what is seen is what is in the line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/operator/line_edit.h"
#include "tests/unit/support.h"
#include "tests/unit/xorshift.h"

/* ---- the terminal ---- */

static char cell[4 * LINE_EDIT_MAX][5]; /* a character each, in UTF-8; empty: nothing yet */
static unsigned column, bells;

static void terminal_put(char c)
{
    size_t used;

    if (c == '\b') {
        assert_true(column > 0);
        column--;
    } else if (c == '\a') {
        bells++;
    } else if (((unsigned char)c & 0xc0) == 0x80) { /* belongs to the last one */
        assert_true(column > 0);
        used = strlen(cell[column - 1]);
        assert_true(used < 4);
        cell[column - 1][used] = c;
        cell[column - 1][used + 1] = '\0';
    } else {
        assert_true((unsigned char)c >= ' ');
        cell[column][0] = c;
        cell[column++][1] = '\0';
    }
}

static void echo(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        terminal_put(text[i]);
    }
}

static unsigned characters(const char *text, size_t bytes)
{
    unsigned count = 0;

    for (size_t i = 0; i < bytes; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

static void check(const struct line_edit *edit)
{
    char seen[4 * LINE_EDIT_MAX + 1] = "";
    unsigned cells = characters(edit->line, edit->used);

    assert_int_equal(strlen(edit->line), edit->used);
    for (unsigned i = 0; i < cells; i++) {
        strcat(seen, cell[i]);
    }
    assert_string_equal(seen, edit->line);
    assert_true(cell[cells][0] == '\0' || cell[cells][0] == ' '); /* nothing left behind it */
    assert_int_equal(column, characters(edit->line, edit->cursor));
    assert_int_equal(line_edit_tail(edit), cells - column);
}

static void fresh_line(struct line_edit *edit)
{
    memset(cell, 0, sizeof(cell));
    column = 0;
    line_edit_clear(edit);
}

static enum line_edit_result type(struct line_edit *edit, const char *keys)
{
    enum line_edit_result result = LINE_EDIT_MORE;

    for (; *keys != '\0'; keys++) {
        result = line_edit_input(edit, *keys);
    }
    return result;
}

static void expect(struct line_edit *edit, const char *keys, const char *line)
{
    assert_int_equal(type(edit, keys), LINE_EDIT_MORE);
    assert_string_equal(edit->line, line);
    check(edit);
}

static void enter(struct line_edit *edit, const char *line)
{
    assert_int_equal(type(edit, "\r"), LINE_EDIT_DONE);
    assert_string_equal(edit->line, line);
    fresh_line(edit);
}

/* ---- tests ---- */

static struct line_edit edit = {.echo = echo};

static int begin(void **state)
{
    (void)state;
    memset(&edit, 0, sizeof(edit));
    edit.echo = echo;
    fresh_line(&edit);
    return 0;
}

static void moves(void **state)
{
    (void)state;
    expect(&edit, "vmx\x7fs", "vms");
    expect(&edit, "\x1b[D\x1b[DX", "vXms");
    expect(&edit, "\x1b[3~", "vXs");      /* Delete */
    expect(&edit, "\x1b[H0", "0vXs");     /* Home */
    expect(&edit, "\x1bOFz", "0vXsz");    /* End, application mode */
    expect(&edit, "\x1b[1~\x04", "vXsz"); /* Home, Ctrl-D */
    expect(&edit, "\x1b[4~!\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D<", "<vXsz!");
    expect(&edit, "\x05\x1b[C>", "<vXsz!>");
    expect(&edit, "\x01\x0b", "");
    expect(&edit, "set alpha min=16M\x1b[1;5D\x1b[1;5DX", "set Xalpha min=16M");
    expect(&edit, "\x1b[1;5C\x1b[1;5CY", "set Xalpha min=16MY");
    expect(&edit, "\x17\x17", "set ");
    expect(&edit, "\033bZ", "Zset ");
    expect(&edit, "\x15", "set ");
    enter(&edit, "set ");
}

/* No key leaves the tail of its sequence in the line. */
static void unknown_keys(void **state)
{
    static const char *const keys[] = {
        "\x1b[15~",   /* F5 */
        "\x1bOP",     /* F1 */
        "\x1b[[A",    /* F1, Linux console */
        "\x1b[24;5~", /* Ctrl-F12 */
        "\x1b[2~",    /* Insert */
        "\x1b[5~",    "\x1b[Z",    "\x1b[?1;2c",
        "\x1bx",      "\x1b[200~", "\x1b[201~",
        "\t",         "\x0c",      "\x1b[1;2;3;4;5;6;7;8;9;10m",
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        expect(&edit, "ab\x1b[D", "ab");
        expect(&edit, keys[i], "ab");
        expect(&edit, "\x05\x15", "");
    }
    expect(&edit, "\x1b[200~vms\x1b[201~", "vms");
    expect(&edit, "\x1b\x1b[Dx", "vmxs"); /* ESC ESC: the second one counts */
}

static void utf8(void **state)
{
    (void)state;
    expect(&edit, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    expect(&edit, "\x7f", "a\xc3\xa4\xe2\x82\xac");
    expect(&edit, "\x1b[D\x7f", "a\xe2\x82\xac");
    expect(&edit, "\xc3\xbc", "a\xc3\xbc\xe2\x82\xac");
    expect(&edit, "\xa4\x04", "a\xc3\xbc"); /* a byte that continues nothing is dropped */
}

static void history(void **state)
{
    (void)state;
    expect(&edit, "vms", "vms");
    enter(&edit, "vms");
    expect(&edit, "mem", "mem");
    enter(&edit, "mem");
    expect(&edit, "\x1b[A", "mem");
    expect(&edit, "\x1b[A\x1b[A", "vms");
    expect(&edit, "\x1b[B", "mem");
    expect(&edit, "\x0e", "");
    expect(&edit, "\x10", "mem");
    expect(&edit, "\x03", "");
    expect(&edit, "\x10", "mem");
}

static void too_long(void **state)
{
    (void)state;
    bells = 0;
    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(line_edit_input(&edit, 'x'), LINE_EDIT_MORE);
    }
    check(&edit);
    assert_int_equal(edit.used, LINE_EDIT_MAX - 1);
    assert_int_equal(bells, 1);
    assert_int_equal(type(&edit, "\r"), LINE_EDIT_TOO_LONG);
    fresh_line(&edit);
    expect(&edit, "\x10", ""); /* not remembered */
    expect(&edit, "vms", "vms");
    enter(&edit, "vms");
    for (unsigned i = 0; i < LINE_EDIT_MAX; i++) {
        line_edit_input(&edit, 'x');
    }
    expect(&edit, "\x03vms", "vms");
    enter(&edit, "vms");
}

static void random_keys(void **state)
{
    static const char *const keys[] = {
        "a",      "b",      " ",      "\xc3\xa4", "\xe2\x82\xac", "\x7f",      "\x7f",
        "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B",   "\x1b[3~",      "\x1b[1;5D", "\x1b[1;5C",
        "\x1b[H", "\x1b[F", "\x17",   "\x0b",     "\x15",         "\033d",     "c",
        "d",      "e",      "f",
    };
    uint64_t random = support_seed(11);

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        type(&edit, keys[(xorshift64(&random) >> 32) % ARRAY_SIZE(keys)]);
        check(&edit);
        if ((xorshift64(&random) >> 32) % 50 == 0) {
            assert_int_equal(type(&edit, "\r"), LINE_EDIT_DONE);
            fresh_line(&edit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(moves, begin),    cmocka_unit_test_setup(unknown_keys, begin),
        cmocka_unit_test_setup(utf8, begin),     cmocka_unit_test_setup(history, begin),
        cmocka_unit_test_setup(too_long, begin), cmocka_unit_test_setup(random_keys, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
