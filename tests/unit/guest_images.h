/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that a guest may boot from, each sound and as small as can be.  The caller frees them. */
#ifndef SPILLWAY_TESTS_UNIT_GUEST_IMAGES_H
#define SPILLWAY_TESTS_UNIT_GUEST_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_BYTES  0x5123
#define KERNEL_ADDRESS 0x1000000ull
#define KERNEL_INIT    0x20000

/* Stores a number of so many bytes, the lowest first. */
void put(uint8_t *p, uint64_t value, unsigned bytes);
/* What a byte of a bzImage's kernel is. */
uint8_t pattern(uint64_t i);

/* A bzImage with a setup header, one setup sector and the pattern as kernel. */
uint8_t *make_bzimage(size_t *bytes);
/* An ELF file with one PT_LOAD at 1 MiB and a note segment with a PVH entry. */
uint8_t *make_elf64(size_t *bytes, bool multiboot);
/* A flat multiboot image with address fields: header at 0x10, loaded at 0x200000. */
uint8_t *make_flat(size_t *bytes);

#endif
