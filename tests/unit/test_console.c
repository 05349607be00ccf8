/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/operator/console.c hv/operator/console_guest.c hv/operator/console_input.c
 *          hv/operator/serial_line.c hv/operator/emulator_port.c tests/unit/console_port.c */
/* The console between guests that mean no good and an operator who reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/operator/console.h"
#include "hv/operator/console_input.h"
#include "hv/operator/emulator_port.h"
#include "hv/operator/serial_line.h"
#include "hv/operator/sink.h"
#include "tests/unit/console_port.h"
#include "tests/unit/support.h"

/* ---- another sink, which takes so many bytes at a time ---- */

static struct {
    size_t room;
    char text[1 << 21];
    size_t bytes;
    bool more;
    unsigned finishes;
    const char *ended;
} other;

static size_t other_take(struct sink *sink, const char *text, size_t bytes,
                         enum sink_patience patience)
{
    size_t taken = patience == SINK_NOW && other.room < bytes ? other.room : bytes;

    (void)sink;
    memcpy(other.text + other.bytes, text, taken);
    other.bytes += taken;
    other.room -= patience == SINK_NOW ? taken : 0;
    return taken;
}

static void other_expect(struct sink *sink, bool more)
{
    (void)sink;
    other.more = more;
}

static void other_finish(struct sink *sink)
{
    (void)sink;
    other.finishes++;
}

static void other_end(struct sink *sink, const char *line)
{
    (void)sink;
    other.ended = line;
}

static struct sink other_sink = {
    .take = other_take,
    .expect = other_expect,
    .finish = other_finish,
    .end = other_end,
};

/* ---- tests ---- */

static struct vm alpha = {.name = "alpha", .index = 0};
static struct vm beta = {.name = "beta", .index = 1};
static struct vm gamma_vm = {.name = "gamma", .index = CONFIG_VMS_MAX - 1};

static void print(struct vm *vm, const char *text)
{
    for (; *text != '\0'; text++) {
        guest_serial_output(vm, text, 1);
    }
}

static const char *shown(void)
{
    console_flush();
    port[port_bytes] = '\0';
    port_bytes = 0;
    return port;
}

static void lines(void **state)
{
    char text[CONSOLE_LINE_MAX + 3];

    (void)state;
    print(&alpha, "one\r\ntw");
    print(&beta, "other\n");
    print(&alpha, "o\n");
    assert_string_equal(shown(), "alpha| one\r\nbeta| other\r\nalpha| two\r\n");
    print(&alpha, "unfinished");
    guest_serial_flush(&alpha);
    assert_string_equal(shown(), "alpha| unfinished\r\n");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 2] = '\n';
    text[sizeof(text) - 1] = '\0';
    print(&alpha, text); /* in two pieces, each with the name */
    assert_string_equal(shown() + 7 + CONSOLE_LINE_MAX, "\r\nalpha| x\r\n");
}

static void control_characters(void **state)
{
    (void)state;
    print(&alpha, "a\x1b[2J\x08\x7f\x9b"
                  "31m\tz\n");
    assert_string_equal(shown(), "alpha| a.[2J...31m\tz\r\n");
    print(&alpha, "\rspillway: power off: all guests ok\n");
    assert_string_equal(shown(), "alpha| spillway: power off: all guests ok\r\n");
}

/* Whatever guests print, what the hypervisor says afterwards comes out whole, and so does what
 * guests say that print little.  Who floods its port sees what is missing, and where. */
static void flood(void **state)
{
    char answer[40];
    const char *text;
    unsigned lost, first;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(answer, sizeof(answer), "flood %05u\n", i);
        print(&alpha, answer);
    }
    print(&beta, "heard\n");
    for (unsigned i = 0; i < 500; i++) {
        console_printf("answer %u of the monitor\n", i);
    }
    text = shown();
    for (unsigned i = 0; i < 500; i++) {
        snprintf(answer, sizeof(answer), "\nanswer %u of the monitor\r\n", i);
        assert_non_null(strstr(text, answer));
    }
    assert_null(strstr(text, "lost"));
    guest_serial_flush(&beta);
    guest_serial_flush(&alpha);
    text = shown();
    assert_ptr_equal(strstr(text, "beta| heard\r\n"), text);
    assert_int_equal(sscanf(strstr(text, "alpha| ("),
                            "alpha| (%u lines lost)\r\nalpha| flood %u\r\n", &lost, &first),
                     2);
    /* From there on all of it, and before there as many as were told. */
    for (unsigned i = first; i < 100000; i++) {
        snprintf(answer, sizeof(answer), "alpha| flood %05u\r\n", i);
        text = strstr(text, answer);
        assert_non_null(text);
    }
    assert_true(lost <= first && first - lost < 100); /* some were shown before */
}

/* Two that flood have every other line. */
static void in_turn(void **state)
{
    unsigned alphas = 0, betas = 0;
    const char *text;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        print(&alpha, "aaaaaaaa\n");
    }
    print(&beta, "b1\nb2\nb3\n");
    while (console_drain() && betas < 3) {
        text = port;
        port[port_bytes] = '\0';
        for (alphas = betas = 0; *text != '\0'; text++) {
            alphas += strncmp(text, "alpha| ", 7) == 0;
            betas += strncmp(text, "beta| ", 6) == 0;
        }
    }
    assert_int_equal(betas, 3);
    assert_true(alphas < 300); /* long before the flood is over */
    while (console_drain()) {
    }
    (void)shown();
}

/* What an ending VM has printed comes before what is said of its end. */
static void at_the_end(void **state)
{
    const char *text;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        print(&alpha, "much of it\n");
    }
    print(&alpha, "its last words");
    guest_serial_flush(&alpha);
    console_write_line("hv: it has ended");
    text = shown();
    assert_non_null(strstr(text, "alpha| its last words\r\nhv: it has ended\r\n"));
    /* The port's ring has no room: the count is shown all the same. */
    for (unsigned i = 0; i < 3; i++) {
        struct vm *const flooders[] = {&alpha, &beta, &gamma_vm};

        for (unsigned j = 0; j < CONSOLE_SCROLLBACK; j++) {
            print(flooders[i], "\n");
        }
        guest_serial_flush(flooders[i]);
    }
    assert_non_null(strstr(shown(), "gamma| ("));
}

static void attached(void **state)
{
    const char *text;

    (void)state;
    print(&alpha, "before\n");
    (void)shown();
    console_attach(&alpha);
    print(&alpha, "\x1b[1m");
    print(&beta, "later\n");
    text = shown();
    assert_non_null(strstr(text, "before\n\x1b[1m"));
    assert_null(strstr(text, "later"));
    for (unsigned i = 0; i < 1000000; i++) {
        guest_serial_output(&alpha, "x", 1);
    }
    (void)shown();
    console_attach(NULL);
    console_write_line("hv: still here");
    text = shown();
    assert_non_null(strstr(text, "beta| later\r\nhv: still here\r\n"));
    assert_null(strstr(text, "alpha|")); /* it has been seen */
}

/* A live view: lines wait for its end. */
static void held(void **state)
{
    (void)state;
    console_hold_guests(true);
    print(&alpha, "one\n");
    print(&beta, "two");
    guest_serial_flush(&beta);
    console_printf("view\n");
    assert_string_equal(shown(), "view\r\n");
    console_hold_guests(false);
    assert_string_equal(shown(), "alpha| one\r\nbeta| two\r\n");
}

/* A prompt does not end its line. */
static void unfinished(void **state)
{
    (void)state;
    now_ns = 5000000000;
    print(&alpha, "login: ");
    console_show_unfinished();
    assert_string_equal(shown(), "");
    now_ns += 1000000000;
    console_show_unfinished();
    assert_string_equal(shown(), "alpha| login: \r\n");
    console_show_unfinished();
    assert_string_equal(shown(), "");
    print(&alpha, "\r\nnext\n\n"); /* its end is no line; an empty line is one */
    assert_string_equal(shown(), "alpha| next\r\nalpha| \r\n");
}

/* The attached guest waits for the line, and hears when it need not. */
static void attached_waits(void **state)
{
    unsigned sent = 0;

    (void)state;
    console_attach(&alpha);
    (void)shown();
    while (!guest_serial_busy(&alpha)) {
        guest_serial_output(&alpha, "x", 1);
        assert_true(++sent < 100000);
    }
    assert_false(guest_serial_busy(&beta));
    assert_false(console_take_ready());
    wakes = 0;
    while (console_drain()) {
        assert_true(wants_transmit);
    }
    assert_false(wants_transmit);
    assert_int_equal(wakes, 1);
    assert_true(console_take_ready());
    assert_false(console_take_ready());
    assert_int_equal(strlen(shown()), sent);
    console_attach(NULL);
}

static void input(void **state)
{
    static char text[3 * CONSOLE_INPUT_BYTES];
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)(i * 7 % 251);
    }
    assert_int_equal(console_input_peek(), -1);
    serial_line_enable_interrupts();
    typed = text;
    typed_bytes = sizeof(text);
    wakes = 0;
    on_interrupt(NULL);
    assert_int_equal(wakes, 1);
    assert_int_equal(sizeof(text) - typed_bytes, CONSOLE_INPUT_BYTES);
    assert_false(ready); /* the other side has been asked to wait */
    for (; at < sizeof(text); at++) {
        if (console_input_peek() < 0) {
            assert_true(ready);
            serial_line_poll();
        }
        assert_int_equal(console_input_peek(), (unsigned char)text[at]);
        console_input_drop();
    }
    assert_int_equal(console_input_peek(), -1);
    assert_true(ready);
    typed = "abc]def]";
    typed_bytes = 8;
    port_overruns++;
    support_log_watch("lost characters that were typed, 1 times");
    serial_line_poll();
    serial_line_poll();
    assert_int_equal(support_log_seen(), 1); /* told once */
    assert_false(console_input_skip_to('x'));
    assert_int_equal(console_input_peek(), 'a');
    assert_true(console_input_skip_to(']'));
    console_input_drop();
    assert_int_equal(console_input_peek(), 'd');
}

/* All sinks are shown the same.  A slow one is waited for only when the console is flushed, or when
 * the ring is full of what it has yet to take: then nobody is shown what comes. */
static void sinks(void **state)
{
    const char *line = "spillway: power off: all guests ok";

    (void)state;
    (void)shown();
    console_add_sink(&other_sink);
    console_printf("0123456789");
    other.room = 4;
    assert_true(console_drain()); /* the serial line has all of it */
    assert_int_equal(port_bytes, 10);
    assert_false(wants_transmit);
    assert_int_equal(other.bytes, 4);
    assert_true(other.more);
    other.room = 100;
    assert_false(console_drain());
    assert_false(other.more);
    assert_int_equal(other.bytes, 10);
    for (unsigned i = 0; i < 120000; i++) { /* more than the ring holds, and `other` is full */
        console_printf("line %05u\n", i);
        console_drain();
    }
    assert_true(other.more);
    console_flush();
    assert_int_equal(other.finishes, 1);
    assert_in_range(port_bytes, 1 << 20, 120000 * 12);
    assert_int_equal(port_bytes, other.bytes);
    assert_memory_equal(port, other.text, other.bytes);
    other.bytes = port_bytes = 0;
    console_write_line(line);
    console_end(line);
    assert_string_equal(shown(), "spillway: power off: all guests ok\r\n");
    assert_string_equal(told, line);
    assert_ptr_equal(other.ended, line);
    other.room = SIZE_MAX;
}

/* A panic: no lock, no attached guest, and every sink. */
static void panicking(void **state)
{
    (void)state;
    console_attach(&alpha);
    (void)shown();
    told[0] = '\0';
    print(&alpha, "on its way");
    console_panic_mode();
    emulator_port_open();
    serial_line_open_default(); /* both are there */
    console_printf("panic\n");
    console_end("panic");
    assert_string_equal(shown(), "on its waypanic\r\n");
    assert_string_equal(told, "panic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),          cmocka_unit_test(control_characters),
        cmocka_unit_test(flood),          cmocka_unit_test(in_turn),
        cmocka_unit_test(at_the_end),     cmocka_unit_test(attached),
        cmocka_unit_test(held),           cmocka_unit_test(unfinished),
        cmocka_unit_test(attached_waits), cmocka_unit_test(input),
        cmocka_unit_test(sinks),          cmocka_unit_test(panicking),
    };

    console_printf("before there was a port\n");
    assert_true(console_drain());
    emulator_port_open();
    serial_line_open(0x3f8, 115200);
    if (strcmp(shown(), "before there was a port\r\n") != 0) {
        return 1;
    }

    console_init(CONFIG_VMS_MAX);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
