/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/load_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vdev_fake.h"

char load_error[GUEST_LOAD_ERROR_MAX];
uint8_t load_initrd[0x3456];
struct guest_module load_modules[GUEST_MODULES_MAX];
unsigned load_module_count;

uint64_t load_mem(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, vfake.memory + address, bytes);
    return value;
}

struct guest_load *load_start(const uint8_t *file, size_t bytes, const char *cmdline)
{
    struct guest_image image = {.kernel = file,
                                .kernel_bytes = bytes,
                                .initrd = load_initrd,
                                .initrd_bytes = sizeof(load_initrd),
                                .cmdline = cmdline};

    for (size_t i = 0; i < sizeof(load_initrd); i++) {
        load_initrd[i] = (uint8_t)(i ^ 0x55);
    }
    memcpy(image.module, load_modules, sizeof(load_modules));
    image.modules = load_module_count;
    load_error[0] = '\0';
    return guest_load_start(&vfake.vm, &image, load_error);
}

unsigned load_run(struct guest_load *load)
{
    unsigned waits = 0;

    while (!guest_load_done(load)) {
        enum mm_result result = guest_load_step(load, NULL);

        assert_true(result == MM_OK || result == MM_WAIT);
        waits += result == MM_WAIT;
        assert_true(waits < 100000);
    }
    return waits;
}

void load_check_initrd(uint64_t address)
{
    assert_int_equal(address % 4096, 0);
    assert_memory_equal(vfake.memory + address, load_initrd, sizeof(load_initrd));
}

void load_expect_error(const uint8_t *file, size_t bytes, const char *cmdline, const char *part)
{
    assert_null(load_start(file, bytes, cmdline));
    if (strstr(load_error, part) == NULL) {
        fail_msg("error is \"%s\", expected \"%s\"", load_error, part);
    }
}

void load_check_flat_state(uint32_t rip)
{
    assert_int_equal(vfake.vcpu[0].regs.rip, rip);
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RBX], 0x90000);
    assert_int_equal(vfake.state.cr0 & 0x80000001, 1);
    assert_int_equal(vfake.state.efer, 0);
    assert_int_equal(vfake.state.segment[SEG_CS].limit, 0xffffffff);
    assert_int_equal(vfake.state.segment[SEG_CS].access, 0xc09b);
}

void load_set_modules(unsigned count)
{
    static uint8_t data[GUEST_MODULES_MAX][9000];
    static char words[GUEST_MODULES_MAX][20];

    load_module_count = count;
    for (unsigned i = 0; i < count; i++) {
        memset(data[i], (int)i + 1, sizeof(data[i]));
        snprintf(words[i], sizeof(words[i]), "word%u x", i);
        load_modules[i] = (struct guest_module){data[i], i == 3 ? 0 : 1 + 4096 * (i % 3), words[i]};
    }
}
