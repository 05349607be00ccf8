/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/config/config.c hv/config/config_devices.c hv/config/config_value.c
 * hv/config/admission.c drivers/uart.c */
/* What a good spillway.conf comes to (test_config_table has the bad ones); admission. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "drivers/platform.h"
#include "hv/config/admission.h"
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

static bool file_there(const char *path)
{
    return strstr(path, "missing") == NULL;
}

static struct config config;

static const char *expected; /* the start of an error; NULL: has been seen */

static void report(const char *error)
{
    if (expected != NULL && strncmp(error, expected, strlen(expected)) == 0) {
        expected = NULL;
    }
    assert_true(strlen(error) < CONFIG_ERROR_MAX);
    assert_null(strchr(error, '\n'));
}

static bool parse(const char *text)
{
    /* From the heap, without a terminating NUL: reading past the end is seen by ASan. */
    size_t bytes = strlen(text);
    char *copy = malloc(bytes + (bytes == 0));
    struct config_source source = {
        .name = "c", .text = copy, .bytes = bytes, .file_exists = file_there, .report = report};
    bool good;

    memcpy(copy, text, bytes);
    good = config_parse(&source, &config) == 0;
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
    assert_true(parse("[vm a]\nkernel=k\nmemory=64M\n"));
    assert_int_equal(config.pool, 0);
    assert_string_equal(config.store, "auto");
    assert_true(config.idle_poweroff);
    assert_int_equal(config.console_port, 0x3f8);
}

/* Each is a file and words, as often as there may be. */
static void modules(void **state)
{
    char text[2000], *end = text + sprintf(text, "[vm a]\nkernel=k\nmemory=64M\n");

    (void)state;
    end += sprintf(
        end, "module = \\one\nmodule=/two  a b=\"c\"\t# d\nmodule=\"\\\\three \\\"x\\\" ; y\"\n");
    assert_true(parse(text));
    assert_int_equal(config.vm[0].modules, 3);
    assert_string_equal(config.vm[0].module[0].path, "\\one");
    assert_string_equal(config.vm[0].module[0].words, "");
    assert_string_equal(config.vm[0].module[1].path, "/two");
    assert_string_equal(config.vm[0].module[1].words, "a b=\"c\"");
    assert_string_equal(config.vm[0].module[2].path, "\\three");
    assert_string_equal(config.vm[0].module[2].words, "\"x\" ; y");
    expected = "c:7: module: expected a file that is on the boot volume, got '\\missing'";
    sprintf(end, "module = \\missing x\n");
    assert_false(parse(text));
    assert_null(expected);
    expected = "c:7: module: expected the path of a file on the boot volume, got ''";
    sprintf(end, "module =\n");
    assert_false(parse(text));
    assert_null(expected);
    expected = "c:7: module: expected a path of at most 119 characters, got '0000";
    sprintf(end, "module = %0120u\n", 0);
    assert_false(parse(text));
    assert_null(expected);
    for (unsigned i = 3; i < CONFIG_MODULES_MAX; i++) {
        end += sprintf(end, "module = %0119u\n", i);
    }
    assert_true(parse(text));
    assert_int_equal(config.vm[0].modules, CONFIG_MODULES_MAX);
    expected = "c:12: module: expected at most 8 modules, got 'more'";
    sprintf(end, "module = more\n");
    assert_false(parse(text));
    assert_null(expected);
}

/* 256 VMs of 64 vCPUs, and not one more; of their command lines 256 KiB. */
static void limits(void **state)
{
    size_t room = 1 << 21, used = 0;
    char *text = malloc(room);

    (void)state;
    for (unsigned i = 0; i < CONFIG_VMS_MAX; i++) {
        used +=
            (size_t)snprintf(text + used, room - used,
                             "[vm v%u]\nkernel=k\nmemory=4M\nvcpus=64\ncmdline=%01023u\n", i, i);
    }
    assert_true(parse(text));
    assert_int_equal(config.vm_count, 256);
    for (unsigned i = 0; i < CONFIG_VMS_MAX; i++) {
        assert_int_equal(config.vm[i].vcpus, 64);
        assert_int_equal(strlen(config.vm[i].cmdline), 1023);
        assert_int_equal(atoi(config.vm[i].cmdline), i);
    }
    snprintf(text + used, room - used, "[vm last]\nkernel=k\nmemory=4M\n");
    expected = "c:1281: VM: expected at most 256 VMs, got 'last'";
    assert_false(parse(text));
    assert_null(expected);
    text[used - 1] = 'x'; /* a character more than there is room for */
    snprintf(text + used, room - used, "\n");
    expected =
        "c:1280: cmdline: expected at most 256K in command lines and modules of all VMs, got '";
    assert_false(parse(text));
    assert_null(expected);
    free(text);
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
    assert_false(config_parse_size("010M", &bytes));
}

/* Each VM has its own, with what was said of each. */
static void disks(void **state)
{
    static const char text[] = "[vm a]\nkernel=k\nmemory=64M\ndisk3=nvme1p2,ro\ndisk0=vd1\n"
                               "[vm b]\nkernel=k\nmemory=64M\n"
                               "[vm c]\nkernel=k\nmemory=64M\ndisk1=ata0,share\n";
    const struct disk_config *disk;

    (void)state;
    assert_true(parse(text));
    assert_int_equal(config.vm[0].disks, 2);
    assert_int_equal(config.vm[1].disks, 0);
    assert_int_equal(config.vm[2].disks, 1);
    disk = &config.disk[config.vm[0].first_disk];
    assert_string_equal(disk[0].device, "nvme1p2");
    assert_true(disk[0].number == 3 && disk[0].read_only && !disk[0].share && disk[0].line == 4);
    assert_true(disk[1].number == 0 && !disk[1].read_only && !disk[1].share);
    disk = &config.disk[config.vm[2].first_disk];
    assert_true(disk->number == 1 && disk->read_only && disk->share);
}

/* Each VM has its own, on the switch that it names, with an address that stays. */
static void nics(void **state)
{
    static const char text[] = "[switch x]\n[vm a]\nkernel=k\nmemory=64M\nnet2=lan\n"
                               "net0=x,mac=0a:01:02:03:04:ff\n"
                               "[vm b]\nkernel=k\nmemory=64M\nnet2=lan\n[switch lan]\n";
    static const uint8_t mac[] = {0x0a, 1, 2, 3, 4, 0xff};
    const struct net_config *nic = config.nic;
    uint8_t made[6];

    (void)state;
    assert_true(parse(text));
    assert_int_equal(config.nets_used, 2);
    assert_true(config.vm[0].nics == 2 && config.vm[0].first_nic == 0);
    assert_true(config.vm[1].nics == 1 && config.vm[1].first_nic == 2);
    assert_true(nic[0].number == 2 && nic[0].net == 1 && nic[0].line == 5);
    assert_true(nic[1].number == 0 && nic[1].net == 0);
    assert_memory_equal(nic[1].mac, mac, 6);
    assert_true(nic[0].mac[0] == 2 && nic[0].mac[5] == 2);
    assert_memory_not_equal(nic[0].mac, nic[2].mac, 6);
    memcpy(made, nic[2].mac, 6);
    assert_true(parse("[switch y]\n[vm b]\nkernel=k\nmemory=64M\nnet2=y\n"));
    assert_memory_equal(nic[0].mac, made, 6);
}

static void disks_that_overlap(void **state)
{
    static const char uuid[] = "PARTUUID=4f0d9d0b-7f4c-4e2c-9df5-0a1b2c3d4e5f";

    (void)state;
    assert_true(config_disks_overlap("nvme1", "nvme1"));
    assert_true(config_disks_overlap("nvme1", "nvme1p7"));
    assert_true(config_disks_overlap("vd0p1", "vd0"));
    assert_true(config_disks_overlap("vd0p1", "vd0p1"));
    assert_false(config_disks_overlap("vd0p1", "vd0p2"));
    assert_false(config_disks_overlap("vd0p1", "vd0p11"));
    assert_false(config_disks_overlap("vd1", "vd11"));
    assert_false(config_disks_overlap("vd1", "ata1"));
    assert_false(config_disks_overlap("auto", "nvme0"));
    assert_true(config_disks_overlap(uuid, uuid));
    assert_false(config_disks_overlap(uuid, "nvme0"));
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
        cmocka_unit_test(limits),
        cmocka_unit_test(modules),
        cmocka_unit_test(random_text),
        cmocka_unit_test(sizes),
        cmocka_unit_test(admission),
        cmocka_unit_test(admission_max),
        cmocka_unit_test(admission_floors),
        cmocka_unit_test(admission_broken),
        cmocka_unit_test(disks),
        cmocka_unit_test(nics),
        cmocka_unit_test(disks_that_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
