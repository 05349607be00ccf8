/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/config/config.c hv/config/config_devices.c hv/config/config_value.c drivers/uart.c */
/*
 * spillway.conf, mistake by mistake: for each text all that is reported, word by word.  The rows
 * are in config_table.h and config_table_vm.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "drivers/platform.h"
#include "hv/config/config.h"

/* drivers/uart.c is here for the names of its ports; no interrupt is ever asked for. */
int platform_irq_alloc(unsigned cpu, platform_irq_handler handler, void *owner)
{
    (void)cpu;
    (void)handler;
    (void)owner;
    return -1;
}

bool platform_irq_route_isa(unsigned irq, int vector)
{
    (void)irq;
    (void)vector;
    return false;
}

static bool file_exists(const char *path)
{
    return strstr(path, "nowhere") == NULL;
}

static char reported[4096];

static void report(const char *error)
{
    assert_true(strlen(error) < CONFIG_ERROR_MAX);
    strncat(reported, error, sizeof(reported) - strlen(reported) - 2);
    strcat(reported, "\n");
}

/* A text of which some bytes may be NUL, and what is to be reported, a line each. */
struct row {
    const char *text;
    size_t bytes;
    const char *errors;
};

#define ROW(text, errors)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, errors                                                             \
    }
#define VM "[vm a]\nkernel=k\nmemory=64M\n" /* a good one, in three lines */

static const struct row rows[] = {
#include "tests/unit/config_table.h"
#include "tests/unit/config_table_vm.h"
};

_Static_assert(ARRAY_SIZE(rows) >= 150, "each key, each kind of mistake");

static struct config config;

static unsigned parse(const char *text, size_t bytes)
{
    /* From the heap, without a terminating NUL: reading past the end is seen by ASan. */
    char *copy = malloc(bytes != 0 ? bytes : 1);
    struct config_source source = {
        .name = "c", .text = copy, .bytes = bytes, .file_exists = file_exists, .report = report};
    unsigned errors;

    memcpy(copy, text, bytes);
    reported[0] = '\0';
    errors = config_parse(&source, &config);
    free(copy);
    return errors;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

static void table(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned errors = parse(rows[i].text, rows[i].bytes);

        if (strcmp(reported, rows[i].errors) != 0 || errors != count_lines(reported)) {
            printf("--- row %zu:\n%s\n--- got %u:\n%s--- expected:\n%s", i, rows[i].text, errors,
                   reported, rows[i].errors);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* Every text cut off at every place: nothing is read that is not there, and every error ends. */
static void truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (size_t bytes = 0; bytes < rows[i].bytes; bytes++) {
            unsigned errors = parse(rows[i].text, bytes);

            assert_int_equal(errors, count_lines(reported));
        }
    }
}

/* A line that is just not too long, and one that is: with a value, and going on over many lines. */
static void long_lines(void **state)
{
    static char text[20000];

    (void)state;
    for (unsigned length = 4090; length < 4100; length++) {
        sprintf(text, VM "cmdline = %0*d", (int)length, 0);
        assert_int_equal(parse(text, strlen(text)), length < CONFIG_CMDLINE_MAX ? 0 : 1);
        if (length >= CONFIG_CMDLINE_MAX) {
            char expected[128];

            sprintf(expected,
                    "c:4: cmdline: expected at most 4095 characters, got '%u characters'\n",
                    length);
            assert_string_equal(reported, expected);
        } else {
            assert_int_equal(strlen(config.vm[0].cmdline), length);
        }
    }
    strcpy(text, VM "cmdline = ");
    for (unsigned i = 0; i < 1000; i++) {
        strcat(text, "123456789 \\\n");
    }
    assert_int_equal(parse(text, strlen(text)), 1);
    assert_string_equal(
        reported, "c:4: bad line: expected at most 8191 characters in a line, got 'cmdline'\n");
}

/* Each value that quotes and backslashes make. */
static void values(void **state)
{
    static const struct {
        const char *line, *cmdline;
    } good[] = {
        {"cmdline = a b", "a b"},
        {"cmdline = a  b  # c", "a  b"},
        {"cmdline = a#b;c", "a#b;c"},
        {"cmdline =#b", "#b"},
        {"cmdline = # b", ""},
        {"cmdline =", ""},
        {"cmdline = \"\"", ""},
        {"cmdline = \"a # b ; c\"", "a # b ; c"},
        {"cmdline = \" a \" # c", " a "},
        {"cmdline = \"a \\\"b\\\" \\\\ \\c\"", "a \"b\" \\ \\c"},
        {"cmdline = x=\"a b\" y", "x=\"a b\" y"},
        {"cmdline = a=b=c", "a=b=c"},
        {"cmdline = a \\\n  b", "a b"},
        {"cmdline = a\\\nb", "a b"},
        {"cmdline = a \\\r\n\tb\r", "a b"},
        {"cmdline = \\\n a \\\n b \\\n c # d", "a b c"},
        {"cmdline = \"a \\\n  b\"", "a b"},
        {"cmdline = a \\\n # b", "a"},
        {"cmdline = a\\b", "a\\b"},
        {"cmdline = a \\\n \\b c", "a \\b c"},
        {"cmdline = a # b \\\nvcpus = 1", "a"},
        {"\tcmdline\t=\ta\t", "a"},
        {"cmdline = \\", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        char text[200];

        sprintf(text, VM "%s\n", good[i].line);
        if (good[i].cmdline == NULL) {
            assert_int_equal(parse(text, strlen(text) - 1), 1);
            continue;
        }
        if (parse(text, strlen(text)) != 0 || strcmp(config.vm[0].cmdline, good[i].cmdline) != 0) {
            fail_msg("for %s got '%s' %s", good[i].line, config.vm[0].cmdline, reported);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(truncated),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
