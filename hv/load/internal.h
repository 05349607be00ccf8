/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the files of the guest loader and nobody else.
 *
 * A format (Linux, multiboot, PVH) checks the image and turns it into a plan:
 * segments of guest memory, and the boot vCPU's state.  load/load.c carries the
 * plan out.
 *
 * The data of the boot protocols lies at a fixed place below 640 KiB:
 *   0x90000  boot_params, multiboot info or hvm_start_info
 *   0x91000  GDT
 *   0x92000  page tables: PML4, PDPT, 4 x PD (identity map of 4 GiB)
 *   0x98000  command line
 *   0x99000  memory map (multiboot, PVH)
 *   0x9a000  module list (multiboot, PVH), and behind it the modules' words
 *   0x9c000  end of the stack, which has one page
 */
#ifndef SPILLWAY_HV_LOAD_INTERNAL_H
#define SPILLWAY_HV_LOAD_INTERNAL_H

#include <string.h>

#include "base/bits.h"
#include "hv/guest/vcpu.h"
#include "hv/load/load.h"
#include "hv/vdev/legacy/acpi.h"

#define AREA_BASE      0x90000ull
#define AREA_INFO      0x90000ull
#define AREA_GDT       0x91000ull
#define AREA_PML4      0x92000ull
#define AREA_PDPT      0x93000ull
#define AREA_PD        0x94000ull
#define AREA_CMDLINE   0x98000ull
#define AREA_MAP       0x99000ull
#define AREA_MODULE    0x9a000ull
#define AREA_WORDS     0x9a200ull
#define AREA_WORDS_END 0x9b000ull
#define AREA_STACK     0x9c000ull /* top */
#define AREA_BYTES     0xc000ull

#define LOW_MEMORY_END 0xa0000ull
#define HIGH_START     0x100000ull

#define LOAD_SEGMENTS 48
#define LOAD_RANGES   7

/* GDT selectors: __BOOT_CS and __BOOT_DS of the Linux boot protocol. */
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18

/* A piece of guest memory: data from the image, then zeroes. */
struct load_segment {
    uint64_t address;
    const uint8_t *data;
    uint64_t data_bytes;
    uint64_t memory_bytes;
};

enum load_range_type {
    /* as in E820, multiboot and PVH memory maps */
    RANGE_RAM = 1,
    RANGE_RESERVED = 2,
    RANGE_ACPI = 3,
};

struct load_range {
    uint64_t base, bytes;
    enum load_range_type type;
};

/* Where a module is, and the address of its words. */
struct load_module {
    uint64_t address, bytes, words;
};

#define LOAD_MODULES (1 + GUEST_MODULES_MAX) /* with the initrd */

struct guest_load {
    struct vm *vm;
    struct guest_image image;
    uint64_t low_bytes, high_bytes; /* RAM below and above 4 GiB */

    struct load_segment segment[LOAD_SEGMENTS];
    unsigned segments;
    unsigned current; /* segment being copied */
    uint64_t copied;  /* bytes of it */
    bool done;

    struct guest_state state; /* of vCPU 0 when it starts */
    struct guest_registers registers;

    uint8_t area[AREA_BYTES];
    uint8_t acpi[ACPI_TABLES_BYTES];
};

/* `at` is within the area. */
static inline uint8_t *area_ptr(struct guest_load *load, uint64_t at)
{
    return load->area + (at - AREA_BASE);
}

/* Little-endian fields of a file, at any alignment. */
static inline uint16_t get16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t get32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t get64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void put32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* ---- load/load.c ---- */

/* Formats the reason into `error`. */
void load_set_error(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the value false, so that `return load_error(...)` ends a check. */
#define load_error(...) (load_set_error(__VA_ARGS__), false)
/* Adds a segment; it must lie in RAM and overlap no other.  False: error is set. */
bool load_add(struct guest_load *load, const char *what, uint64_t address, const uint8_t *data,
              uint64_t data_bytes, uint64_t memory_bytes, char *error);
/* Places the initrd, if there is one, as high as possible, ending at or below `limit` (of what the
 * protocol allows), or above 4 GiB if it does not fit there and `above` allows it.  *address is 0
 * when there is none. */
bool load_add_initrd(struct guest_load *load, uint64_t limit, bool above, uint64_t *address,
                     char *error);
/* Places the initrd, as module 0 without words, and all modules below 3 GiB, each on a page of its
 * own, and their words in the area.  How many they are, in *count. */
bool load_add_modules(struct guest_load *load, struct load_module module[LOAD_MODULES],
                      unsigned *count, char *error);
/* Copies the command line into the area; it must be shorter than `limit` bytes. */
bool load_add_cmdline(struct guest_load *load, size_t limit, char *error);
/* The memory map in ascending order.  Number of ranges, at most LOAD_RANGES. */
unsigned load_memory_map(const struct guest_load *load, struct load_range range[LOAD_RANGES]);
/* Registers and segments for an entry at `rip` in flat 32-bit protected mode without paging, or in
 * 64-bit mode on the identity map; also fills the GDT and the page tables. */
void load_set_entry32(struct guest_load *load, uint32_t rip);
void load_set_entry64(struct guest_load *load, uint64_t rip);

/*
 * ---- formats: is it one; plan it ----
 *
 * load_is_*() looks at the image's first bytes only.  load_plan_*() checks all that it uses of it,
 * plans the copies and the boot vCPU's state; false: one line in error[GUEST_LOAD_ERROR_MAX].
 */
bool load_is_linux(const struct guest_image *image);
bool load_plan_linux(struct guest_load *load, char *error);
bool load_is_multiboot(const struct guest_image *image);
bool load_plan_multiboot(struct guest_load *load, char *error);
bool load_is_elf(const struct guest_image *image);
bool load_plan_pvh(struct guest_load *load, char *error);

/* ---- load/elf.c ---- */

/* Adds all PT_LOAD segments at their physical addresses; *entry is e_entry made physical. */
bool load_add_elf(struct guest_load *load, uint64_t *entry, char *error);

#endif
