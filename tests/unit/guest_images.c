/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/guest_images.h"

#include <stdlib.h>
#include <string.h>

void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    memcpy(p, &value, bytes);
}

uint8_t pattern(uint64_t i)
{
    return i / 4096 % 2 ? 0 : (uint8_t)(i * 7 + 1); /* every other page is zero */
}

uint8_t *make_bzimage(size_t *bytes)
{
    size_t code = (PAYLOAD_BYTES + 15) / 16 * 16;
    uint8_t *file = calloc(1, *bytes = 1024 + code);

    file[0x1f1] = 1;
    put(file + 0x1f4, code / 16, 4);
    put(file + 0x1fe, 0xaa55, 2);
    put(file + 0x200, 0x66eb, 2);
    memcpy(file + 0x202, "HdrS", 4);
    put(file + 0x206, 0x20f, 2);
    file[0x211] = 1;
    put(file + 0x22c, 0x7fffffff, 4);
    put(file + 0x236, 0x7f, 2);
    put(file + 0x238, 2047, 4);
    put(file + 0x258, KERNEL_ADDRESS, 8);
    put(file + 0x260, KERNEL_INIT, 4);
    for (size_t i = 0; i < code; i++) {
        file[1024 + i] = pattern(i);
    }
    return file;
}

uint8_t *make_elf64(size_t *bytes, bool multiboot)
{
    uint8_t *file = calloc(1, *bytes = 0x2000);
    uint8_t *ph = file + 64;

    memcpy(file, "\177ELF\2\1\1", 7);
    put(file + 18, 62, 2);
    put(file + 24, 0xffffffff80100040ull, 8); /* virtual */
    put(file + 32, 64, 8);
    put(file + 54, 56, 2);
    put(file + 56, 2, 2);
    put(ph, 1, 4);
    put(ph + 8, 0x1000, 8);
    put(ph + 16, 0xffffffff80100000ull, 8);
    put(ph + 24, 0x100000, 8);
    put(ph + 32, 0x1000, 8);
    put(ph + 40, 0x9000, 8);
    put(ph + 56, 4, 4);
    put(ph + 56 + 8, 0x200, 8);
    put(ph + 56 + 32, 0x30, 8);
    /* Another note first. */
    put(file + 0x200, 5, 4);
    put(file + 0x204, 1, 4);
    put(file + 0x208, 3, 4);
    memcpy(file + 0x20c, "abcd", 5);
    put(file + 0x218, 4, 4);
    put(file + 0x21c, 8, 4);
    put(file + 0x220, 18, 4);
    memcpy(file + 0x224, "Xen", 4);
    put(file + 0x228, 0x100080, 8);
    if (multiboot) {
        put(file + 0x400, 0x1badb002, 4);
        put(file + 0x404, 3, 4);
        put(file + 0x408, 0u - 0x1badb002u - 3u, 4);
    }
    for (size_t i = 0x1000; i < 0x2000; i++) {
        file[i] = (uint8_t)(i * 3 + 1);
    }
    return file;
}

uint8_t *make_flat(size_t *bytes)
{
    uint8_t *file = calloc(1, *bytes = 0x1800);
    const uint32_t header[] = {0x1badb002, 0x10000,  0u - 0x1badb002u - 0x10000u,
                               0x200010,   0x200000, 0x201000,
                               0x204000,   0x200100};

    memset(file, 0x77, *bytes);
    memcpy(file + 0x10, header, sizeof(header));
    return file;
}
