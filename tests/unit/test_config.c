/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/config.c hv/admission.c drivers/uart.c */
/* spillway.conf, admission and the line editor: pure logic of hv/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "drivers/platform.h"
#include "hv/admission.h"
#include "hv/config.h"

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

static bool file_there(const char *path)
{
    return strstr(path, "missing") == NULL;
}

static struct config config;
static char error[CONFIG_ERROR_MAX];

static bool parse(const char *text)
{
    /* From the heap, without a terminating NUL: reading past the end is seen by ASan. */
    size_t bytes = strlen(text);
    char *copy = malloc(bytes);
    bool good;

    memcpy(copy, text, bytes);
    error[0] = '\0';
    good = config_parse(copy, bytes, file_there, &config, error);
    free(copy);
    return good;
}

static void whole_file(void **state)
{
    (void)state;
    assert_true(parse("# demo\n[host]\npool = 384M   ; RAM\nstore=nvme0p2\r\nformat = yes\n"
                      "console = com2,57600\nwhen-idle = monitor\npanic = reset\n\n"
                      "[vm alpha]\nkernel = \\guest\\vmlinuz\ninitrd = /guest/initrd.img\n"
                      "cmdline = console=ttyS0 root=#1 quiet\nmemory = 256M\nvcpus = 4\n"
                      "autostart = no\nmin = 16M\nmax = 128M\nshares = 200\n"
                      "[vm beta]\nkernel=k\nmemory=0x4000000"));
    assert_int_equal(config.pool, 384ull << 20);
    assert_string_equal(config.store, "nvme0p2");
    assert_true(config.format && !config.idle_poweroff && config.panic_reset);
    assert_int_equal(config.console_port, 0x2f8);
    assert_int_equal(config.console_baud, 57600);
    assert_int_equal(config.vm_count, 2);
    assert_string_equal(config.vm[0].name, "alpha");
    assert_string_equal(config.vm[0].kernel, "\\guest\\vmlinuz");
    assert_string_equal(config.vm[0].cmdline, "console=ttyS0 root=#1 quiet");
    assert_int_equal(config.vm[0].memory, 256ull << 20);
    assert_int_equal(config.vm[0].vcpus, 4);
    assert_false(config.vm[0].autostart);
    assert_int_equal(config.vm[0].min, 16ull << 20);
    assert_int_equal(config.vm[0].max, 128ull << 20);
    assert_int_equal(config.vm[0].shares, 200);
    assert_int_equal(config.vm[1].memory, 64ull << 20);
    assert_int_equal(config.vm[1].vcpus, 1);
    assert_true(config.vm[1].autostart);
}

static void defaults(void **state)
{
    (void)state;
    assert_true(parse(""));
    assert_int_equal(config.pool, 0);
    assert_string_equal(config.store, "auto");
    assert_true(config.idle_poweroff);
    assert_int_equal(config.console_port, 0x3f8);
}

static void errors(void **state)
{
    static const struct {
        const char *text;
        const char *error; /* must be contained, line number first */
    } bad[] = {
        {"[host]\npoool = 1G\n", "spillway.conf:2: unknown key 'poool': expected one of pool,"},
        {"[host]\npool = 1Q\n", "spillway.conf:2: bad value '1Q': expected a size"},
        {"[host]\npool = 4097\n", "spillway.conf:2: bad value '4097'"},
        {"[host]\npool = 99999999999999999999G\n", "spillway.conf:2: bad value"},
        {"[host]\npool = -1M\n", "spillway.conf:2: bad value '-1M'"},
        {"[host]\nformat = maybe\n", "spillway.conf:2: bad value 'maybe': expected yes or no"},
        {"[host]\nstore = sda\n", "spillway.conf:2: bad value 'sda': expected auto, none"},
        {"[host]\nconsole = com9\n", "spillway.conf:2: bad value 'com9': expected com1..com4"},
        {"[host]\nwhen-idle = sleep\n", "expected poweroff or monitor"},
        {"[host]\n[host]\n", "spillway.conf:2: duplicate section 'host'"},
        {"[host\n", "spillway.conf:1: bad section"},
        {"[disk]\n", "spillway.conf:1: bad section 'disk': expected [host] or [vm NAME]"},
        {"pool = 1G\n", "spillway.conf:1: key outside of a section 'pool'"},
        {"[host]\npool\n", "spillway.conf:2: bad line 'pool': expected KEY = VALUE"},
        {"[host]\npool=64M\npool=64M\n", "spillway.conf:3: duplicate key 'pool'"},
        {"[vm a]\nkernel=k\nmemory=64M\n[vm a]\n", "spillway.conf:4: duplicate VM name 'a'"},
        {"[vm a/b]\n", "spillway.conf:1: bad VM name 'a/b'"},
        {"[vm ]\n", "spillway.conf:1: bad VM name ''"},
        {"[vm a]\nkernel=missing\n", "spillway.conf:2: no such file 'missing'"},
        {"[vm a]\nmemory=64M\n", "VM 'a': expected a line 'kernel = PATH'"},
        {"[vm a]\nkernel=k\n[host]\n", "VM 'a': expected a line 'memory = SIZE'"},
        {"[vm a]\nkernel=k\nmemory=64M\nvcpus=9\n", "spillway.conf:4: bad value '9'"},
        {"[vm a]\nkernel=k\nmemory=64M\nvcpus=0\n", "expected a number, 1 to 8"},
        {"[vm a]\nkernel=k\nmemory=64M\nmin=65M\n", "min of VM 'a': expected no more than"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(parse(bad[i].text));
        if (strstr(error, bad[i].error) == NULL) {
            fail_msg("for %s got: %s; expected: %s", bad[i].text, error, bad[i].error);
        }
        assert_null(strchr(error, '\n'));
    }
}

static void random_text(void **state)
{
    static const char alphabet[] = "[]host vm=#;\n\r\\/ kernelmory0123456789MGK\t\x80\xff";
    unsigned seed = 20261121;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char text[200];
        size_t bytes = (size_t)rand_r(&seed) % (sizeof(text) - 1);

        for (size_t i = 0; i < bytes; i++) {
            text[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
        }
        text[bytes] = '\0';
        parse(text);
    }
}

static void sizes(void **state)
{
    uint64_t bytes;

    (void)state;
    assert_true(config_parse_size("16k", &bytes) && bytes == 16384);
    assert_true(config_parse_size("2G", &bytes) && bytes == 2ull << 30);
    assert_false(config_parse_size("", &bytes));
    assert_false(config_parse_size("1MM", &bytes));
    assert_false(config_parse_size("99999999999T", &bytes));
}

/* All in pages of 4 KiB: a pool of 384 MiB of which 6 are kept, a store of 512 MiB. */
static const struct admission_supply supply = {.pool = 98304, .kept = 1536, .slots = 131072};

static bool admitted(const struct admission_demand *others, const struct admission_terms *terms,
                     char message[192])
{
    struct admission_demand want = admission_demand(terms);

    message[0] = '\0';
    return admission_check(&supply, others, &want, message, 192);
}

/* Pages: each has a place in a frame or in a slot. */
static void admission(void **state)
{
    struct admission_terms terms = {.memory = 65536, .vcpus = 1};
    struct admission_demand others = {0}, want = admission_demand(&terms);
    char message[192];

    (void)state;
    assert_true(admitted(&others, &terms, message));
    others = admission_add(&others, &want);
    others = admission_add(&others, &want);
    others = admission_add(&others, &want);
    assert_false(admitted(&others, &terms, message));
    assert_non_null(strstr(message, "needs 256 MiB at the worst, expected at most"));
    assert_non_null(strstr(message, "store 512 - promised 768 MiB"));
    terms.memory = 98304 - 1536 + 131072 - 196608 - 4 * want.fixed;
    assert_true(admitted(&others, &terms, message));
    terms.memory += want.fixed;
    assert_false(admitted(&others, &terms, message));
    terms.memory -= want.fixed;
    terms.tmem = want.fixed;
    assert_false(admitted(&others, &terms, message));
}

/* Who may have little in memory needs slots for the rest. */
static void admission_max(void **state)
{
    struct admission_supply no_store = {.pool = 98304, .kept = 1536};
    struct admission_terms terms = {.memory = 65536, .max = 16384, .vcpus = 1};
    struct admission_demand others = {0}, want = admission_demand(&terms);
    char message[192];

    (void)state;
    assert_true(admitted(&others, &terms, message));
    assert_false(admission_check(&no_store, &others, &want, message, sizeof(message)));
    assert_non_null(strstr(message, "expected at most 64 MiB"));
    terms.max = 0;
    want = admission_demand(&terms);
    assert_true(admission_check(&no_store, &others, &want, message, sizeof(message)));
}

/* min, what each vCPU needs to go on, and what is not paged: in frames, for all at a time. */
static void admission_floors(void **state)
{
    struct admission_terms terms = {.memory = 32768, .min = 32256, .vcpus = 8};
    struct admission_demand others = {0}, want = admission_demand(&terms);
    char message[192];

    (void)state;
    assert_int_equal(want.floor, 32768); /* 8 vCPUs, 64 pages each */
    assert_true(admitted(&others, &terms, message));
    others = admission_add(&want, &want);
    assert_false(admitted(&others, &terms, message));
    assert_non_null(strstr(message, "that stay in memory (min, tables, 256 KiB for each vCPU)"));
    terms.min = 98304 - 1536 - 2 * (want.floor + want.fixed) - want.fixed - 512;
    assert_true(admitted(&others, &terms, message));
    terms.min++;
    assert_false(admitted(&others, &terms, message));
    terms.min = 32256;
    terms.max = 16384;
    assert_int_equal(admission_demand(&terms).floor, 16384);
}

/* A store that has lost slots. */
static void admission_broken(void **state)
{
    struct admission_terms terms = {.memory = 98304 + 65536, .vcpus = 1};
    struct admission_demand all = admission_demand(&terms);
    struct admission_supply left = supply;

    (void)state;
    assert_int_equal(admission_missing(&left, &all), 0);
    left.slots = 65536;
    assert_int_equal(admission_missing(&left, &all), 1536 + all.fixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_file),
        cmocka_unit_test(defaults),
        cmocka_unit_test(errors),
        cmocka_unit_test(random_text),
        cmocka_unit_test(sizes),
        cmocka_unit_test(admission),
        cmocka_unit_test(admission_max),
        cmocka_unit_test(admission_floors),
        cmocka_unit_test(admission_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
