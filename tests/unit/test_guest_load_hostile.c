/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/load/load.c hv/load/linux.c hv/load/elf.c
 * hv/load/multiboot.c hv/timer.c tests/unit/guest_images.c tests/unit/load_run.c */
/* The guest loader, with files that are damaged: refused or loaded, and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guest_images.h"
#include "tests/unit/load_run.h"
#include "tests/unit/vdev_fake.h"

static uint64_t random_state = 0x5eed0001;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void damage(uint8_t *file, size_t bytes)
{
    static const uint64_t values[] = {
        0, 1, 0x7fffffff, 0xffffffff, UINT64_MAX, 0x8000000000000000, 0xfffffffffffff000};
    unsigned count = 1 + (unsigned)(next_random() % 4);
    size_t head = bytes < 0x500 ? bytes : 0x500;

    for (unsigned i = 0; i < count; i++) {
        size_t at = next_random() % (head - 8);
        uint64_t value = next_random() % 2 ? values[next_random() % 7] : next_random();

        put(file + at, value, 1u << (next_random() % 4));
    }
}

/* Random damage: refused, or loaded, but never a read beyond the file or a write beyond memory. */
static void hostile(void **state)
{
    unsigned loaded = 0;

    (void)state;
    vfake_start(1);
    vfake_memory(32 * MIB);
    for (unsigned i = 0; i < 12000; i++) {
        size_t bytes, kept;
        uint8_t *file = i % 4 == 0   ? make_bzimage(&bytes)
                        : i % 4 == 1 ? make_elf64(&bytes, false)
                        : i % 4 == 2 ? make_elf64(&bytes, true)
                                     : make_flat(&bytes);
        uint8_t *copy;
        struct guest_load *load;

        damage(file, bytes);
        kept = next_random() % 4 == 0 ? next_random() % bytes : bytes;
        load_set_modules(i % 4 != 0 ? (unsigned)next_random() % (GUEST_MODULES_MAX + 1) : 0);
        if (i % 8 == 0) {
            put(file + 0x206, 0x200 + next_random() % 0x11, 2);
        }
        copy = malloc(kept + !kept);
        memcpy(copy, file, kept);
        load = load_start(copy, kept, "");
        if (load != NULL) {
            load_run(load);
            loaded++;
        } else {
            assert_true(load_error[0] != '\0');
        }
        guest_load_free(load);
        free(copy);
        free(file);
    }
    assert_true(loaded > 1000);
    load_module_count = 0;
    vfake_stop();
}

/* Each field of each header, with each value that is likely to be wrong. */
static void every_field(void **state)
{
    static const uint64_t values[] = {
        0, 1, 0x7fffffff, 0xffffffff, 0xfffffff0, 0x8000000000000000, UINT64_MAX};

    (void)state;
    vfake_start(1);
    vfake_memory(8 * MIB);
    for (unsigned kind = 0; kind < 4; kind++) {
        size_t bytes;
        uint8_t *file = kind == 0   ? make_bzimage(&bytes)
                        : kind == 1 ? make_elf64(&bytes, false)
                        : kind == 2 ? make_elf64(&bytes, true)
                                    : make_flat(&bytes);
        size_t first = kind == 0 ? 0x1f0 : 0, last = kind == 0 ? 0x270 : 0x440;

        load_set_modules(kind == 0 ? 0 : 2);
        put(file + 0x258, kind == 0 ? 4 * MIB : get64(file + 0x258), 8);
        for (size_t i = 0; i < (last - first) * ARRAY_SIZE(values) * 3; i++) {
            size_t at = first + i / ARRAY_SIZE(values) / 3;
            uint64_t kept = get64(file + at);
            struct guest_load *load;

            put(file + at, values[i / 3 % ARRAY_SIZE(values)], 2u << (i % 3));
            load = load_start(file, bytes, "");
            assert_true((load == NULL) == (load_error[0] != '\0'));
            if (load != NULL) {
                load_run(load);
            }
            guest_load_free(load);
            put(file + at, kept, 8);
        }
        free(file);
    }
    load_module_count = 0;
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile),
        cmocka_unit_test(every_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
