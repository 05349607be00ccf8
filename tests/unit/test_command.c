/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/operator/command.c hv/operator/command_look.c hv/operator/command_steer.c
 *          hv/operator/command_stats.c hv/operator/command_top.c hv/operator/figures.c
 *          hv/operator/stats.c hv/text.c tests/unit/command_machine.c */
/*
 * What the monitor's commands print, byte for byte: tests/unit/command_golden.txt has it.  Others
 * read these words and this JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/operator/command.h"
#include "hv/operator/console.h"
#include "hv/operator/figures.h"
#include "hv/operator/stats.h"
#include "tests/unit/command_machine.h"

#define GOLDEN "tests/unit/command_golden.txt"

static void enter(const char *line)
{
    char words[64];

    snprintf(words, sizeof(words), "%s", line);
    console_printf("> %s\n", line);
    if (setjmp(ended) == 0) {
        command_run(words);
    }
}

static void enter_all(const char *const *line)
{
    for (; *line != NULL; line++) {
        enter(*line);
    }
}

/* All commands, and what they say when they are given something else. */
static void look_at_all(void)
{
    static const char *const lines[] = {"help",
                                        "vms",
                                        "mem",
                                        "store",
                                        "nics",
                                        "tmem",
                                        "show alpha",
                                        "show a-name-of-thirty-one-characters",
                                        "show ended0",
                                        "show ended1",
                                        "show ended2",
                                        "show ended3",
                                        "show ended4",
                                        "show nobody",
                                        "stats",
                                        "stats alpha",
                                        "stats ended2",
                                        "stats json",
                                        "stats alpha json",
                                        "stats ended2 json",
                                        "stats a b",
                                        "stats a json b",
                                        "log",
                                        "log debug",
                                        "log everything",
                                        "nothing",
                                        "vms all",
                                        "set alpha",
                                        NULL};

    enter_all(lines);
}

static void steer_all(void)
{
    static const char *const lines[] = {"start alpha",
                                        "stop alpha",
                                        "pause alpha",
                                        "resume alpha",
                                        "reset alpha",
                                        "kill alpha",
                                        "kill nobody",
                                        "nmi alpha",
                                        "break alpha",
                                        "set alpha min",
                                        "set alpha min=1M",
                                        "set alpha max=1M",
                                        "console alpha",
                                        "console alpha ttyS0",
                                        "console alpha hvc0",
                                        "console alpha tty0",
                                        "poweroff",
                                        "reboot",
                                        NULL};

    enter_all(lines);
}

static void live_view(void)
{
    enter("top");
    assert_true(command_top_active());
    for (unsigned i = vms_used; i < VMS_MAX; i++) {
        char name[16];

        snprintf(name, sizeof(name), "more%u", i);
        add_vm(name, i % 2 ? VM_STOPPED : VM_LOADING);
    }
    command_top_refresh();
    command_top_end();
    assert_false(command_top_active());
}

/* Each way in which a store can be. */
static void stores(void)
{
    static const enum store_health health[] = {STORE_DOUBTED, STORE_AWAY, STORE_GONE, STORE_FULL};

    for (unsigned i = 0; i < 4; i++) {
        store_stats.read_health = health[i];
        store_stats.write_health = health[3 - i];
        enter("store");
    }
    enter("stats json");
    has_store = false;
    vms_used = 0;
    nics_used = 0;
    enter("store");
    enter("nics");
    enter("stats json");
    enter("stats");
    enter("start nobody");
}

static void read_golden(char *text)
{
    FILE *file = fopen(GOLDEN, "r");
    size_t bytes;

    assert_non_null(file);
    bytes = fread(text, 1, TEXT_BYTES - 1, file);
    text[bytes] = '\0';
    fclose(file);
}

static void same_bytes(void **state)
{
    static char golden[TEXT_BYTES];
    const char *expected = golden, *got = shown;

    (void)state;
    look_at_all();
    steer_all();
    live_view();
    stores();
    read_golden(golden);
    shown[shown_bytes] = '\0';
    while (*expected != '\0' || *got != '\0') { /* line by line, so that it says which */
        size_t length = strcspn(expected, "\n");
        char wanted[32768];

        snprintf(wanted, sizeof(wanted), "%.*s", (int)length, expected);
        expected += length + (expected[length] == '\n');
        length = strcspn(got, "\n");
        if (strlen(wanted) != length || memcmp(wanted, got, length) != 0) {
            print_error("got %.*s\n", (int)length, got);
            fail_msg("expected %s", wanted);
        }
        got += length + (got[length] == '\n');
    }
}

/* What a view may ask for, and what it may not. */
static void views(void **state)
{
    struct vm_stats stats = {.name = "alpha", .stall_us = 61007899, .memory.hole = 513};
    static const char view[] = "{name,6}|{name,-3.2}|{stall_us}|{stall_us:s0}|{stall_us:s1,6}|"
                               "{stall_us:s3,-8}|{hole}|{hole:M,2}|{nothing,2}|{hole:s1}|"
                               "{stall_us:M}|{stall_us:s4}|{name:M}|{exits:M}|{hole";

    (void)state;
    shown_bytes = 0;
    figures_print(&vm_figures, &stats, view);
    figures_print_headings(&vm_figures, "{name,6}|{stall_us:s1}|{hole,3}|{nothing}");
    shown[shown_bytes] = '\0';
    assert_string_equal(shown, " alpha|al |61007899|61|  61.0|61.007  |513| 2| ?|?|?|?|?|?|513"
                               "  NAME|STALL-S|  ?|?");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(same_bytes, command_machine_begin),
                                       cmocka_unit_test(views)};

    if (argc > 1 && strcmp(argv[1], "--print") == 0) { /* what a new golden file holds */
        command_machine_begin(NULL);
        look_at_all();
        steer_all();
        live_view();
        stores();
        fwrite(shown, 1, shown_bytes, stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
