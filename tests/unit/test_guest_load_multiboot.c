/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/load/load.c hv/load/linux.c hv/load/elf.c
 * hv/load/multiboot.c hv/timer.c tests/unit/guest_images.c tests/unit/load_run.c */
/* The guest loader: multiboot and PVH kernels, and their modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guest_images.h"
#include "tests/unit/load_run.h"
#include "tests/unit/vdev_fake.h"

static void check_module(unsigned i, uint64_t at, uint64_t bytes, uint64_t words)
{
    assert_int_equal(at % 4096, 0);
    assert_true(at >= MIB && at + bytes <= 8 * MIB);
    assert_int_equal(bytes, load_modules[i].bytes);
    assert_memory_equal(vfake.memory + at, load_modules[i].data, bytes);
    assert_string_equal((char *)vfake.memory + words, load_modules[i].words);
}

static void many_modules(void **state)
{
    static char text[4096];
    size_t bytes;
    uint8_t *file;
    struct guest_load *load;
    uint64_t list;

    (void)state;
    vfake_start(1);
    vfake_memory(8 * MIB);
    load_set_modules(GUEST_MODULES_MAX);
    for (unsigned pvh = 0; pvh < 2; pvh++) {
        file = make_elf64(&bytes, !pvh);
        load = load_start(file, bytes, "");
        assert_non_null(load);
        load_run(load);
        list = pvh ? load_mem(0x90010, 8) : load_mem(0x90018, 4);
        assert_int_equal(pvh ? load_mem(0x9000c, 4) : load_mem(0x90014, 4), 1 + GUEST_MODULES_MAX);
        load_check_initrd(pvh ? load_mem(list, 8) : load_mem(list, 4));
        for (unsigned i = 0; i < GUEST_MODULES_MAX; i++) {
            list += pvh ? 32 : 16;
            if (pvh) {
                check_module(i, load_mem(list, 8), load_mem(list + 8, 8), load_mem(list + 16, 8));
            } else {
                check_module(i, load_mem(list, 4), load_mem(list + 4, 4) - load_mem(list, 4),
                             load_mem(list + 8, 4));
            }
        }
        guest_load_free(load);
        memset(text, 'w', 3560); /* with the others' words there is no room for so many */
        load_modules[2].words = text;
        load_expect_error(file, bytes, "", "words of all modules are too long");
        load_modules[2].words = "";
        load_modules[5].bytes = 7 * MIB;
        load_expect_error(file, bytes, "", "a module of 7340032 bytes does not fit");
        load_set_modules(GUEST_MODULES_MAX);
        free(file);
    }
    load_module_count = 0;
    vfake_stop();
}

static void pvh(void **state)
{
    size_t bytes;
    uint8_t *file = make_elf64(&bytes, false);
    struct guest_load *load;
    uint64_t list, map;

    (void)state;
    vfake_start(1);
    vfake_memory(8 * MIB);
    load = load_start(file, bytes, "a b");
    assert_non_null(load);
    load_run(load);
    load_check_flat_state(0x100080);
    assert_memory_equal(vfake.memory + 0x100000, file + 0x1000, 0x1000);
    assert_int_equal(load_mem(0x90000, 4), 0x336ec578);
    assert_int_equal(load_mem(0x90004, 4), 1);
    assert_int_equal(load_mem(0x9000c, 4), 1);
    list = load_mem(0x90010, 8);
    load_check_initrd(load_mem(list, 8));
    assert_int_equal(load_mem(list + 8, 8), sizeof(load_initrd));
    assert_string_equal((char *)vfake.memory + load_mem(0x90018, 8), "a b");
    assert_memory_equal(vfake.memory + load_mem(0x90020, 8), "RSD PTR ", 8);
    map = load_mem(0x90028, 8);
    assert_int_equal(load_mem(0x90030, 4), 6);
    assert_int_equal(load_mem(map + 4 * 24, 8), MIB);
    assert_int_equal(load_mem(map + 4 * 24 + 8, 8), 7 * MIB);
    assert_int_equal(load_mem(map + 4 * 24 + 16, 4), 1);
    guest_load_free(load);
    file[0x220] = 17; /* no entry note */
    load_expect_error(file, bytes, "", "neither a multiboot header nor a PVH entry");
    free(file);
    vfake_stop();
}

static void multiboot_elf(void **state)
{
    size_t bytes;
    uint8_t *file = make_elf64(&bytes, true);
    struct guest_load *load;
    uint64_t module, map;

    (void)state;
    vfake_start(1);
    vfake_memory(8 * MIB);
    load = load_start(file, bytes, "x=1");
    assert_non_null(load);
    load_run(load);
    load_check_flat_state(0x100040); /* e_entry, made physical */
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RAX], 0x2badb002);
    assert_int_equal(load_mem(0x90000, 4), 0x24d);
    assert_int_equal(load_mem(0x90004, 4), 640);
    assert_int_equal(load_mem(0x90008, 4), 7 * 1024);
    assert_string_equal((char *)vfake.memory + load_mem(0x90010, 4), "x=1");
    assert_int_equal(load_mem(0x90014, 4), 1);
    module = load_mem(0x90018, 4);
    load_check_initrd(load_mem(module, 4));
    assert_int_equal(load_mem(module + 4, 4) - load_mem(module, 4), sizeof(load_initrd));
    map = load_mem(0x90030, 4);
    assert_int_equal(load_mem(0x9002c, 4), 6 * 24);
    assert_int_equal(load_mem(map, 4), 20);
    assert_int_equal(load_mem(map + 4 * 24 + 4, 8), MIB);
    assert_string_equal((char *)vfake.memory + load_mem(0x90040, 4), "spillway");
    guest_load_free(load);
    put(file + 0x404, 7, 4); /* wants a video mode */
    put(file + 0x408, 0u - 0x1badb002u - 7u, 4);
    load_expect_error(file, bytes, "", "requires features 0x7");
    free(file);
    vfake_stop();
}

static void multiboot_flat(void **state)
{
    size_t bytes;
    uint8_t *file = make_flat(&bytes);
    struct guest_load *load;

    (void)state;
    vfake_start(1);
    vfake_memory(8 * MIB);
    load = load_start(file, bytes, NULL);
    assert_non_null(load);
    load_run(load);
    load_check_flat_state(0x200100);
    assert_memory_equal(vfake.memory + 0x200000, file, 0x1000);
    assert_int_equal(vfake.memory[0x201000], 0);
    guest_load_free(load);
    put(file + 0x24, 0x202000, 4); /* more than the file has */
    load_expect_error(file, bytes, "", "outside of the file");
    put(file + 0x24, 0, 4);
    put(file + 0x28, 0x200100, 4);
    load_expect_error(file, bytes, "", "bss ends before");
    put(file + 0x1c, 0x200020, 4);
    load_expect_error(file, bytes, "", "starts before the file");
    free(file);
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_modules),
        cmocka_unit_test(pvh),
        cmocka_unit_test(multiboot_elf),
        cmocka_unit_test(multiboot_flat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
