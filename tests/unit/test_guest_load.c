/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/load/load.c hv/load/linux.c hv/load/elf.c
 * hv/load/multiboot.c hv/timer.c tests/unit/guest_images.c */
/* The guest loader: each format, what a guest finds in memory, waits at every call, hostile files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/load/internal.h"
#include "tests/unit/guest_images.h"
#include "tests/unit/vdev_fake.h"

#define MIB 0x100000ull

static char error[GUEST_LOAD_ERROR_MAX];
static uint8_t initrd[0x3456];
static struct guest_module modules[GUEST_MODULES_MAX]; /* that go with it */
static unsigned module_count;

static uint64_t mem(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, vfake.memory + address, bytes);
    return value;
}

/* The image from the heap, so that ASan sees reads beyond it. */
static struct guest_load *start(const uint8_t *file, size_t bytes, const char *cmdline)
{
    struct guest_image image = {.kernel = file,
                                .kernel_bytes = bytes,
                                .initrd = initrd,
                                .initrd_bytes = sizeof(initrd),
                                .cmdline = cmdline};

    for (size_t i = 0; i < sizeof(initrd); i++) {
        initrd[i] = (uint8_t)(i ^ 0x55);
    }
    memcpy(image.module, modules, sizeof(modules));
    image.modules = module_count;
    error[0] = '\0';
    return guest_load_start(&vfake.vm, &image, error);
}

static unsigned run(struct guest_load *load)
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

static void check_initrd(uint64_t address)
{
    assert_int_equal(address % 4096, 0);
    assert_memory_equal(vfake.memory + address, initrd, sizeof(initrd));
}

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
    assert_int_equal(mem(s->gdtr.base + 0x10, 8), 0x00af9b000000ffffull);
    assert_int_equal(mem(s->gdtr.base + 0x18, 8), 0x00cf93000000ffffull);
    /* Page tables: the last byte of 4 GiB maps to itself. */
    assert_int_equal(mem(s->cr3, 8), 0x93003);
    assert_int_equal(mem(0x93000 + 8 * 3, 8), 0x97003);
    assert_int_equal(mem(0x97000 + 8 * 511, 8), 0xffe00083);
    assert_int_equal(mem(0x94000, 8), 0x83);
    assert_memory_equal(vfake.memory + KERNEL_ADDRESS, file + 1024, PAYLOAD_BYTES);
    assert_memory_equal(vfake.memory + zero + 0x202, "HdrS", 4);
    assert_int_equal(mem(zero + 0x210, 1), 0xff);
    assert_int_equal(mem(zero + 0x21c, 4), sizeof(initrd));
    check_initrd(mem(zero + 0x218, 4));
    assert_string_equal((char *)vfake.memory + mem(zero + 0x228, 4), "console=ttyS0 quiet");
    assert_int_equal(mem(zero + 0x70, 8), 0xe0000);
    assert_int_equal(mem(zero + 0x1e8, 1), 6);
    assert_int_equal(mem(zero + 0x2d0 + 4 * 20 + 8, 8), 31 * MIB);
    assert_int_equal(mem(zero + 0x2d0 + 5 * 20, 8), VPCI_ECAM_BASE);
    assert_int_equal(mem(zero + 0x2d0 + 5 * 20 + 16, 4), 2); /* reserved */
}

static void linux_image(void **state)
{
    size_t bytes;
    uint8_t *file = make_bzimage(&bytes);
    struct guest_load *load;

    (void)state;
    vfake_start(2);
    vfake_memory(32 * MIB);
    load = start(file, bytes, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_int_equal(run(load), 0);
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
    load = start(file, bytes, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_true(run(load) > 10);
    check_linux(file);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

static void expect_error(const uint8_t *file, size_t bytes, const char *cmdline, const char *part)
{
    assert_null(start(file, bytes, cmdline));
    if (strstr(error, part) == NULL) {
        fail_msg("error is \"%s\", expected \"%s\"", error, part);
    }
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
    expect_error(file, bytes, longline, "command line of 2999 characters, expected at most 2047");
    expect_error(file, bytes - 16, "", "truncated");
    put(file + 0x260, 0x20000000, 4);
    expect_error(file, bytes, "", "needs memory at 0x1000000-0x21000000");
    put(file + 0x260, KERNEL_INIT, 4);
    put(file + 0x258, UINT64_MAX, 8);
    expect_error(file, bytes, "", "wants to be loaded");
    put(file + 0x258, 0x90000, 8);
    expect_error(file, bytes, "", "needs memory");
    put(file + 0x258, 0x80000, 8);
    put(file + 0x260, 0x12000, 4);
    expect_error(file, bytes, "", "overlaps");
    put(file + 0x258, MIB, 8);
    put(file + 0x260, 31 * MIB - 0x3000, 4);
    expect_error(file, bytes, "", "initrd");
    put(file + 0x22c, 0x1fffff, 4); /* the initrd has to end where the kernel begins */
    put(file + 0x258, MIB + 0x3000, 8);
    put(file + 0x260, MIB, 4);
    expect_error(file, bytes, "", "initrd");
    put(file + 0x260, KERNEL_INIT, 4);
    put(file + 0x22c, 0x7fffffff, 4);
    put(file + 0x258, KERNEL_ADDRESS, 8);
    put(file + 0x206, 0x205, 2);
    expect_error(file, bytes, "", "boot protocol 2.05, expected 2.06 or later");
    put(file + 0x206, 0x20f, 2);
    expect_error(file, 0x260, "", "truncated");
    module_count = 1;
    expect_error(file, bytes, "", "no modules");
    module_count = 0;
    file[0x211] = 0;
    expect_error(file, bytes, "", "loaded below 1 MiB");
    file[0x211] = 1;
    vfake.vm.memory_pages = 256;
    expect_error(file, bytes, "", "more than 1 MiB");
    expect_error((const uint8_t *)longline, 3000, "", "more than 1 MiB");
    vfake.vm.memory_pages = 8192;
    expect_error((const uint8_t *)longline, 3000, "", "format not known");
    expect_error((const uint8_t *)longline, 0, "", "format not known");
    free(longline);
    free(file);
    vfake_stop();
}

static void check_flat_state(uint32_t rip)
{
    assert_int_equal(vfake.vcpu[0].regs.rip, rip);
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RBX], 0x90000);
    assert_int_equal(vfake.state.cr0 & 0x80000001, 1);
    assert_int_equal(vfake.state.efer, 0);
    assert_int_equal(vfake.state.segment[SEG_CS].limit, 0xffffffff);
    assert_int_equal(vfake.state.segment[SEG_CS].access, 0xc09b);
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
    load = start(file, bytes - 15, "console=ttyS0 quiet");
    assert_non_null(load);
    assert_int_equal(run(load), 0);
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
        load = start(file, bytes, "console=ttyS0 quiet");
        assert_non_null(load);
        assert_int_equal(run(load), 0);
        assert_int_equal(vfake.vcpu[0].regs.rip, MIB);
        assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RSI], 0x90000);
        assert_int_equal(vfake.state.cr0 & 0x80000001, 1);
        assert_memory_equal(vfake.memory + MIB, file + 1024, PAYLOAD_BYTES);
        assert_int_equal(mem(0x90214, 4), MIB);
        assert_int_equal(mem(0x9023c, 8), 0);
        at = mem(0x90218, 4);
        check_initrd(at);
        guest_load_free(load);
        /* The initrd keeps clear of what the kernel unpacks itself to. */
        put(file + 0x22c, MIB + 3 * 0x5130 + 0x3fff, 4);
        assert_null(start(file, bytes, ""));
        put(file + 0x22c, MIB + 3 * 0x5130 + 0x4fff, 4);
        load = start(file, bytes, "");
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
    load = start(file, bytes, "");
    assert_non_null(load);
    run(load);
    check_initrd(mem(0x90218, 4)); /* low as long as it fits */
    assert_int_equal(mem(0x900c0, 8), 0);
    guest_load_free(load);
    put(file + 0x22c, 0x101fff, 4);
    load = start(file, bytes, "");
    assert_non_null(load);
    run(load);
    assert_int_equal(mem(0x900c0, 4) << 32 | mem(0x90218, 4), at);
    assert_int_equal(mem(0x900c4, 4), 0);
    assert_int_equal(mem(0x9021c, 4), sizeof(initrd));
    check_initrd(at);
    assert_int_equal(mem(0x901e8, 1), 7);
    guest_load_free(load);
    put(file + 0x236, 0x7d, 2); /* not XLF_CAN_BE_LOADED_ABOVE_4G */
    expect_error(file, bytes, "", "initrd");
    put(file + 0x236, 0x7e, 2); /* no 64-bit entry */
    expect_error(file, bytes, "", "initrd");
    put(file + 0x236, 0x7f, 2);
    put(file + 0x206, 0x20b, 2); /* no such flags yet */
    expect_error(file, bytes, "", "initrd");
    put(file + 0x206, 0x20c, 2);
    vfake.vm.memory_pages = 3072 * MIB >> PAGE_SHIFT; /* no memory there */
    expect_error(file, bytes, "", "initrd");
    vfake.vm.memory_pages = (3072 * MIB + 0x3000) >> PAGE_SHIFT; /* not enough */
    expect_error(file, bytes, "", "initrd");
    vfake.vm.memory_pages++;
    load = start(file, bytes, "");
    assert_non_null(load);
    guest_load_free(load);
    free(file);
    vfake_stop();
}

/* As many as there may be, on pages of their own, each with its words. */
static void set_modules(unsigned count)
{
    static uint8_t data[GUEST_MODULES_MAX][9000];
    static char words[GUEST_MODULES_MAX][20];

    module_count = count;
    for (unsigned i = 0; i < count; i++) {
        memset(data[i], (int)i + 1, sizeof(data[i]));
        snprintf(words[i], sizeof(words[i]), "word%u x", i);
        modules[i] = (struct guest_module){data[i], i == 3 ? 0 : 1 + 4096 * (i % 3), words[i]};
    }
}

static void check_module(unsigned i, uint64_t at, uint64_t bytes, uint64_t words)
{
    assert_int_equal(at % 4096, 0);
    assert_true(at >= MIB && at + bytes <= 8 * MIB);
    assert_int_equal(bytes, modules[i].bytes);
    assert_memory_equal(vfake.memory + at, modules[i].data, bytes);
    assert_string_equal((char *)vfake.memory + words, modules[i].words);
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
    set_modules(GUEST_MODULES_MAX);
    for (unsigned pvh = 0; pvh < 2; pvh++) {
        file = make_elf64(&bytes, !pvh);
        load = start(file, bytes, "");
        assert_non_null(load);
        run(load);
        list = pvh ? mem(0x90010, 8) : mem(0x90018, 4);
        assert_int_equal(pvh ? mem(0x9000c, 4) : mem(0x90014, 4), 1 + GUEST_MODULES_MAX);
        check_initrd(pvh ? mem(list, 8) : mem(list, 4));
        for (unsigned i = 0; i < GUEST_MODULES_MAX; i++) {
            list += pvh ? 32 : 16;
            if (pvh) {
                check_module(i, mem(list, 8), mem(list + 8, 8), mem(list + 16, 8));
            } else {
                check_module(i, mem(list, 4), mem(list + 4, 4) - mem(list, 4), mem(list + 8, 4));
            }
        }
        guest_load_free(load);
        memset(text, 'w', 3560); /* with the others' words there is no room for so many */
        modules[2].words = text;
        expect_error(file, bytes, "", "words of all modules are too long");
        modules[2].words = "";
        modules[5].bytes = 7 * MIB;
        expect_error(file, bytes, "", "a module of 7340032 bytes does not fit");
        set_modules(GUEST_MODULES_MAX);
        free(file);
    }
    module_count = 0;
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
    load = start(file, bytes, "a b");
    assert_non_null(load);
    run(load);
    check_flat_state(0x100080);
    assert_memory_equal(vfake.memory + 0x100000, file + 0x1000, 0x1000);
    assert_int_equal(mem(0x90000, 4), 0x336ec578);
    assert_int_equal(mem(0x90004, 4), 1);
    assert_int_equal(mem(0x9000c, 4), 1);
    list = mem(0x90010, 8);
    check_initrd(mem(list, 8));
    assert_int_equal(mem(list + 8, 8), sizeof(initrd));
    assert_string_equal((char *)vfake.memory + mem(0x90018, 8), "a b");
    assert_memory_equal(vfake.memory + mem(0x90020, 8), "RSD PTR ", 8);
    map = mem(0x90028, 8);
    assert_int_equal(mem(0x90030, 4), 6);
    assert_int_equal(mem(map + 4 * 24, 8), MIB);
    assert_int_equal(mem(map + 4 * 24 + 8, 8), 7 * MIB);
    assert_int_equal(mem(map + 4 * 24 + 16, 4), 1);
    guest_load_free(load);
    file[0x220] = 17; /* no entry note */
    expect_error(file, bytes, "", "neither a multiboot header nor a PVH entry");
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
    load = start(file, bytes, "x=1");
    assert_non_null(load);
    run(load);
    check_flat_state(0x100040); /* e_entry, made physical */
    assert_int_equal(vfake.vcpu[0].regs.gpr[GPR_RAX], 0x2badb002);
    assert_int_equal(mem(0x90000, 4), 0x24d);
    assert_int_equal(mem(0x90004, 4), 640);
    assert_int_equal(mem(0x90008, 4), 7 * 1024);
    assert_string_equal((char *)vfake.memory + mem(0x90010, 4), "x=1");
    assert_int_equal(mem(0x90014, 4), 1);
    module = mem(0x90018, 4);
    check_initrd(mem(module, 4));
    assert_int_equal(mem(module + 4, 4) - mem(module, 4), sizeof(initrd));
    map = mem(0x90030, 4);
    assert_int_equal(mem(0x9002c, 4), 6 * 24);
    assert_int_equal(mem(map, 4), 20);
    assert_int_equal(mem(map + 4 * 24 + 4, 8), MIB);
    assert_string_equal((char *)vfake.memory + mem(0x90040, 4), "spillway");
    guest_load_free(load);
    put(file + 0x404, 7, 4); /* wants a video mode */
    put(file + 0x408, 0u - 0x1badb002u - 7u, 4);
    expect_error(file, bytes, "", "requires features 0x7");
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
    load = start(file, bytes, NULL);
    assert_non_null(load);
    run(load);
    check_flat_state(0x200100);
    assert_memory_equal(vfake.memory + 0x200000, file, 0x1000);
    assert_int_equal(vfake.memory[0x201000], 0);
    guest_load_free(load);
    put(file + 0x24, 0x202000, 4); /* more than the file has */
    expect_error(file, bytes, "", "outside of the file");
    put(file + 0x24, 0, 4);
    put(file + 0x28, 0x200100, 4);
    expect_error(file, bytes, "", "bss ends before");
    put(file + 0x1c, 0x200020, 4);
    expect_error(file, bytes, "", "starts before the file");
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

/* ---- hostile files ---- */

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
        set_modules(i % 4 != 0 ? (unsigned)next_random() % (GUEST_MODULES_MAX + 1) : 0);
        if (i % 8 == 0) {
            put(file + 0x206, 0x200 + next_random() % 0x11, 2);
        }
        copy = malloc(kept + !kept);
        memcpy(copy, file, kept);
        load = start(copy, kept, "");
        if (load != NULL) {
            run(load);
            loaded++;
        } else {
            assert_true(error[0] != '\0');
        }
        guest_load_free(load);
        free(copy);
        free(file);
    }
    assert_true(loaded > 1000);
    module_count = 0;
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

        set_modules(kind == 0 ? 0 : 2);
        put(file + 0x258, kind == 0 ? 4 * MIB : get64(file + 0x258), 8);
        for (size_t i = 0; i < (last - first) * ARRAY_SIZE(values) * 3; i++) {
            size_t at = first + i / ARRAY_SIZE(values) / 3;
            uint64_t kept = get64(file + at);
            struct guest_load *load;

            put(file + at, values[i / 3 % ARRAY_SIZE(values)], 2u << (i % 3));
            load = start(file, bytes, "");
            assert_true((load == NULL) == (error[0] != '\0'));
            if (load != NULL) {
                run(load);
            }
            guest_load_free(load);
            put(file + at, kept, 8);
        }
        free(file);
    }
    module_count = 0;
    vfake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_image),   cmocka_unit_test(waits_everywhere),
        cmocka_unit_test(linux32),       cmocka_unit_test(linux_refusals),
        cmocka_unit_test(linux_old),     cmocka_unit_test(initrd_above),
        cmocka_unit_test(many_modules),  cmocka_unit_test(pvh),
        cmocka_unit_test(multiboot_elf), cmocka_unit_test(multiboot_flat),
        cmocka_unit_test(layout),        cmocka_unit_test(hostile),
        cmocka_unit_test(every_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
