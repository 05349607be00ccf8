/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/load/load.c hv/load/linux.c hv/load/elf.c
 * hv/load/multiboot.c hv/timer.c tests/unit/guest_images.c tests/unit/load_run.c */
/* The guest loader: Linux by each of its protocols, what it finds in memory, waits at every call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guest_images.h"
#include "tests/unit/load_run.h"
#include "tests/unit/vdev_fake.h"

static void check_linux(const uint8_t *file)
{
    const struct guest_state *s = &vfake.state;
    const struct guest_registers *r = &vfake.vcpu[0].regs;
    uint64_t zero = 0x90000;

    assert_int_equal(vfake.states, 1);
    assert_int_equal(r->rip, KERNEL_ADDRESS + 0x200);
    assert_int_equal(r->gpr[GPR_RSI], zero);
    assert_int_equal(r->rflags, 2);
    assert_int_equal(s->cr0 & 0x80000001, 0x80000001);
    assert_int_equal(s->efer, 0x500);
    assert_int_equal(s->cr4, 0x20);
    assert_int_equal(s->segment[SEG_CS].selector, 0x10);
    assert_int_equal(s->segment[SEG_DS].selector, 0x18);
    assert_int_equal(load_mem(s->gdtr.base + 0x10, 8), 0x00af9b000000ffffull);
    assert_int_equal(load_mem(s->gdtr.base + 0x18, 8), 0x00cf93000000ffffull);
    /* Page tables: the last byte of 4 GiB maps to itself. */
    assert_int_equal(load_mem(s->cr3, 8), 0x93003);
    assert_int_equal(load_mem(0x93000 + 8 * 3, 8), 0x97003);
    assert_int_equal(load_mem(0x97000 + 8 * 511, 8), 0xffe00083);
    assert_int_equal(load_mem(0x94000, 8), 0x83);
    assert_memory_equal(vfake.memory + KERNEL_ADDRESS, file + 1024, PAYLOAD_BYTES);
    assert_memory_equal(vfake.memory + zero + 0x202, "HdrS", 4);
    assert_int_equal(load_mem(zero + 0x210, 1), 0xff);
    assert_int_equal(load_mem(zero + 0x21c, 4), sizeof(load_initrd));
    load_check_initrd(load_mem(zero + 0x218, 4));
    assert_string_equal((char *)vfake.memory + load_mem(zero + 0x228, 4), "console=ttyS0 quiet");
    assert_int_equal(load_mem(zero + 0x70, 8), 0xe0000);
    assert_int_equal(load_mem(zero + 0x1e8, 1), 6);
    assert_int_equal(load_mem(zero + 0x2d0 + 4 * 20 + 8, 8), 31 * MIB);
    assert_int_equal(load_mem(zero + 0x2d0 + 5 * 20, 8), VPCI_ECAM_BASE);
    assert_int_equal(load_mem(zero + 0x2d0 + 5 * 20 + 16, 4), 2); /* reserved */
}

static void linux_image(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    struct guest_load *load;

    (void)state;
    vfake_start(2);
    vfake_memory(32 * MIB);
    load = load_start(file, bytes, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_int_equal(load_run(load), 0);
    assert_true(vfake.writes < 12 + 4 + 6 + 4); /* zero pages are not written */
    assert_memory_equal(vfake.memory + 0xffff0, "\xb0\x06\xba\xf9\x0c\xee\xf4", 7);
    check_linux(file);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

/* Guest memory is short at every single call. */
static void waits_everywhere(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    struct guest_load *load;

    (void)state;
    vfake_start(1);
    vfake_memory(32 * MIB);
    vfake.wait_often = true;
    load = load_start(file, bytes, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_true(load_run(load) > 10);
    check_linux(file);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

static void linux_refusals(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    char *longline = malloc(3000);

    (void)state;
    vfake_start(1);
    vfake_memory(32 * MIB);
    memset(longline, 'x', 2999);
    longline[2999] = '\0';
    load_expect_error(file, bytes, longline,
                      "command line of 2999 characters, expected at most 2047");
    load_expect_error(file, bytes - 16, "", "truncated");
    put(file + 0x260, 0x20000000, 4);
    load_expect_error(file, bytes, "", "needs memory at 0x1000000-0x21000000");
    put(file + 0x260, KERNEL_INIT, 4);
    put(file + 0x258, UINT64_MAX, 8);
    load_expect_error(file, bytes, "", "wants to be loaded");
    put(file + 0x258, 0x90000, 8);
    load_expect_error(file, bytes, "", "needs memory");
    put(file + 0x258, 0x80000, 8);
    put(file + 0x260, 0x12000, 4);
    load_expect_error(file, bytes, "", "overlaps");
    put(file + 0x258, MIB, 8);
    put(file + 0x260, 31 * MIB - 0x3000, 4);
    load_expect_error(file, bytes, "", "initrd");
    put(file + 0x22c, 0x1fffff, 4); /* the load_initrd has to end where the kernel begins */
    put(file + 0x258, MIB + 0x3000, 8);
    put(file + 0x260, MIB, 4);
    load_expect_error(file, bytes, "", "initrd");
    put(file + 0x260, KERNEL_INIT, 4);
    put(file + 0x22c, 0x7fffffff, 4);
    put(file + 0x258, KERNEL_ADDRESS, 8);
    put(file + 0x206, 0x205, 2);
    load_expect_error(file, bytes, "", "boot protocol 2.05, expected 2.06 or later");
    put(file + 0x206, 0x20f, 2);
    load_expect_error(file, 0x260, "", "truncated");
    load_module_count = 1;
    load_expect_error(file, bytes, "", "no modules");
    load_module_count = 0;
    file[0x211] = 0;
    load_expect_error(file, bytes, "", "loaded below 1 MiB");
    file[0x211] = 1;
    vfake.vm.memory_pages = 256;
    load_expect_error(file, bytes, "", "more than 1 MiB");
    load_expect_error((const uint8_t *)longline, 3000, "", "more than 1 MiB");
    vfake.vm.memory_pages = 8192;
    load_expect_error((const uint8_t *)longline, 3000, "", "format not known");
    load_expect_error((const uint8_t *)longline, 0, "", "format not known");
    free(longline);
    free(file);
    vfake_stop();
}

/* Without a 64-bit entry, and with a last paragraph that is not whole. */
static void linux32(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    struct guest_load *load;

    (void)state;
    vfake_start(1);
    vfake_memory(32 * MIB);
    put(file + 0x236, 0, 2);
    load = load_start(file, bytes - 15, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_int_equal(load_run(load), 0);
    assert_int_equal(vfake.vcpu[0].regs.rip, KERNEL_ADDRESS);
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RSI], 0x90000);
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RBX], 0);
    assert_int_equal(vfake.state.cr0 & 0x80000001, 1);
    assert_int_equal(vfake.state.efer, 0);
    assert_int_equal(vfake.state.segment[SEG_CS].selector, 0x10);
    assert_int_equal(vfake.state.segment[SEG_DS].selector, 0x18);
    assert_int_equal(vfake.memory[KERNEL_ADDRESS + bytes - 1024 - 16], file[bytes - 16]);
    assert_int_equal(vfake.memory[KERNEL_ADDRESS + bytes - 1024 - 1], 0);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

/* Before 2.10: at 1 MiB, with room to unpack itself, whatever stands where later headers go on. */
static void linux_old(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);

    (void)state;
    vfake_start(1);
    vfake_memory(32 * MIB);
    for (unsigned version = 0x206; version < 0x20a; version++) {
        struct guest_load *load;
        uint64_t at;

        put(file + 0x206, version, 2);
        put(file + 0x200, 0x3aeb, 2); /* the header ends at 0x23c */
        put(file + 0x236, 0x7f, 2);
        memset(file + 0x23c, 0xff, 0x100);
        load = load_start(file, bytes, "console=ttyS0 quiet");
        assert_non_null(load);
        assert_int_equal(load_run(load), 0);
        assert_int_equal(vfake.vcpu[0].regs.rip, MIB);
        assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RSI], 0x90000);
        assert_int_equal(vfake.state.cr0 & 0x80000001, 1);
        assert_memory_equal(vfake.memory + MIB, file + 1024, PAYLOAD_BYTES);
        assert_int_equal(load_mem(0x90214, 4), MIB);
        assert_int_equal(load_mem(0x9023c, 8), 0);
        at = load_mem(0x90218, 4);
        load_check_initrd(at);
        guest_load_free(load);
        /* The load_initrd keeps clear of what the kernel unpacks itself to. */
        put(file + 0x22c, MIB + 3 * 0x5130 + 0x3fff, 4);
        assert_null(load_start(file, bytes, ""));
        put(file + 0x22c, MIB + 3 * 0x5130 + 0x4fff, 4);
        load = load_start(file, bytes, "");
        assert_non_null(load);
        guest_load_free(load);
        put(file + 0x22c, 0x7fffffff, 4);
    }
    free(file);
    vfake_stop();
}

/* One that does not fit low goes high, if the kernel says that it may. */
static void initrd_above(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    struct guest_load *load;
    uint64_t at = 0x104000000 - 0x4000;

    (void)state;
    vfake_start(1);
    vfake_memory(0x104000000); /* with a hole, which nothing is put into */
    vfake.vm.memory_pages = (3072 + 64) * MIB >> PAGE_SHIFT;
    load = load_start(file, bytes, "");
    assert_non_null(load);
    load_run(load);
    load_check_initrd(load_mem(0x90218, 4)); /* low as long as it fits */
    assert_int_equal(load_mem(0x900c0, 8), 0);
    guest_load_free(load);
    put(file + 0x22c, 0x101fff, 4);
    load = load_start(file, bytes, "");
    assert_non_null(load);
    load_run(load);
    assert_int_equal(load_mem(0x900c0, 4) << 32 | load_mem(0x90218, 4), at);
    assert_int_equal(load_mem(0x900c4, 4), 0);
    assert_int_equal(load_mem(0x9021c, 4), sizeof(load_initrd));
    load_check_initrd(at);
    assert_int_equal(load_mem(0x901e8, 1), 7);
    guest_load_free(load);
    put(file + 0x236, 0x7d, 2); /* not XLF_CAN_BE_LOADED_ABOVE_4G */
    load_expect_error(file, bytes, "", "initrd");
    put(file + 0x236, 0x7e, 2); /* no 64-bit entry */
    load_expect_error(file, bytes, "", "initrd");
    put(file + 0x236, 0x7f, 2);
    put(file + 0x206, 0x20b, 2); /* no such flags yet */
    load_expect_error(file, bytes, "", "initrd");
    put(file + 0x206, 0x20c, 2);
    vfake.vm.memory_pages = 3072 * MIB >> PAGE_SHIFT; /* no memory there */
    load_expect_error(file, bytes, "", "initrd");
    vfake.vm.memory_pages = (3072 * MIB + 0x3000) >> PAGE_SHIFT; /* not enough */
    load_expect_error(file, bytes, "", "initrd");
    vfake.vm.memory_pages++;
    load = load_start(file, bytes, "");
    assert_non_null(load);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

static void layout(void **state)
{
    struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS];

    (void)state;
    assert_int_equal(guest_layout(256 * MIB, memslot), 1);
    assert_int_equal(memslot[0].base.v, 0);
    assert_int_equal(memslot[0].pages, 65536);
    assert_int_equal(guest_layout(3072 * MIB, memslot), 1);
    assert_int_equal(guest_layout(3073 * MIB, memslot), 2);
    assert_int_equal(memslot[0].pages, 0xc0000);
    assert_int_equal(memslot[1].base.v, 0x100000);
    assert_int_equal(memslot[1].pages, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_image),    cmocka_unit_test(waits_everywhere),
        cmocka_unit_test(linux_refusals), cmocka_unit_test(linux32),
        cmocka_unit_test(linux_old),      cmocka_unit_test(initrd_above),
        cmocka_unit_test(layout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
