/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux bzImage by the 64-bit boot protocol, or by the 32-bit one if it has no 64-bit entry: Linux,
 * Documentation/x86/boot.rst ("64-bit Boot Protocol", "32-bit Boot Protocol") and zero-page.rst.
 * A relocatable one goes where it wants to be, too: all that is there is ours to lay out.
 */
#include "hv/load/internal.h"

/* Setup header: offsets in the file and, from 0x1f1 on, in boot_params as well. */
#define HDR_SETUP_SECTS  0x1f1
#define HDR_SYSSIZE      0x1f4 /* of the protected-mode part, in 16 bytes */
#define HDR_VID_MODE     0x1fa
#define HDR_BOOT_FLAG    0x1fe
#define HDR_JUMP         0x200
#define HDR_MAGIC        0x202
#define HDR_VERSION      0x206
#define HDR_LOADER       0x210
#define HDR_LOADFLAGS    0x211
#define HDR_CODE32_START 0x214
#define HDR_RAMDISK      0x218
#define HDR_RAMDISK_SIZE 0x21c
#define HDR_CMD_LINE_PTR 0x228
#define HDR_INITRD_MAX   0x22c
#define HDR_XLOADFLAGS   0x236
#define HDR_CMDLINE_SIZE 0x238
#define HDR_PREF_ADDRESS 0x258
#define HDR_INIT_SIZE    0x260
#define HDR_END_OLD      0x23c /* of what is read here, in the oldest protocol, ... */
#define HDR_END          0x268 /* ... and since 2.10 */
#define HDR_END_MAX      0x290 /* room for the header in boot_params */

/* boot_params */
#define PARAM_ACPI_RSDP        0x070
#define PARAM_EXT_RAMDISK      0x0c0 /* bits 63:32 of HDR_RAMDISK and of its size */
#define PARAM_EXT_RAMDISK_SIZE 0x0c4
#define PARAM_E820_ENTRIES     0x1e8
#define PARAM_E820_TABLE       0x2d0
#define E820_ENTRY_BYTES       20

#define BOOT_FLAG        0xaa55
#define HDR_MAGIC_VALUE  0x53726448u /* "HdrS" */
#define VERSION_2_06     0x0206      /* first with cmdline_size */
#define VERSION_2_10     0x020a      /* first with pref_address and init_size */
#define VERSION_2_12     0x020c      /* first with xloadflags */
#define LOADER_UNDEFINED 0xff
#define LOADFLAG_HIGH    0x01
#define XLOADFLAG_64     0x0001
#define XLOADFLAG_ABOVE  0x0002 /* the initrd may lie above 4 GiB */
#define VID_MODE_NORMAL  0xffff
#define SECTOR           512ull
#define PARAGRAPH        16ull
#define SETUP_SECTS_OLD  4
#define ENTRY64_OFFSET   0x200
#define LOAD_LIMIT       0x100000000ull /* the identity map */

/* Before 2.10 a kernel does not say where it wants to be and how much memory it takes to unpack
 * itself: "Loading The Rest of The Kernel", and no kernel grows by more than that. */
#define ADDRESS_OLD 0x100000ull
#define GROWTH_OLD  3u

bool load_is_linux(const struct guest_image *image)
{
    const uint8_t *file = image->kernel;

    return image->kernel_bytes >= HDR_END_OLD && get16(file + HDR_BOOT_FLAG) == BOOT_FLAG &&
           get32(file + HDR_MAGIC) == HDR_MAGIC_VALUE;
}

/* Taken from the checked header. */
struct linux_header {
    unsigned version;
    uint64_t code_offset, code_bytes; /* protected-mode part, in the file */
    uint64_t address, init_size;
    uint64_t initrd_limit;
    size_t cmdline_size; /* with the final 0 */
    bool entry64;
    bool initrd_above; /* 4 GiB */
};

/* Where the kernel goes, and how much memory it takes there. */
static void read_place(const uint8_t *file, struct linux_header *h)
{
    if (h->version < VERSION_2_10) {
        h->address = ADDRESS_OLD;
        h->init_size = h->code_bytes * GROWTH_OLD;
    } else {
        h->address = get64(file + HDR_PREF_ADDRESS);
        h->init_size = MAX(get32(file + HDR_INIT_SIZE), h->code_bytes);
    }
}

static bool read_header(const struct guest_image *image, struct linux_header *h, char *error)
{
    const uint8_t *file = image->kernel;
    uint64_t sects = file[HDR_SETUP_SECTS] != 0 ? file[HDR_SETUP_SECTS] : SETUP_SECTS_OLD;
    uint16_t xloadflags;

    h->version = get16(file + HDR_VERSION);
    if (h->version < VERSION_2_06 || !(file[HDR_LOADFLAGS] & LOADFLAG_HIGH)) {
        return load_error(error, "bzImage of boot protocol %x.%02x%s, expected 2.06 or later",
                          file[HDR_VERSION + 1], file[HDR_VERSION],
                          file[HDR_LOADFLAGS] & LOADFLAG_HIGH ? "" : ", loaded below 1 MiB");
    }
    if (h->version >= VERSION_2_10 && image->kernel_bytes < HDR_END) {
        return load_error(error, "bzImage is truncated: %llu bytes",
                          (unsigned long long)image->kernel_bytes);
    }
    xloadflags = h->version >= VERSION_2_12 ? get16(file + HDR_XLOADFLAGS) : 0;
    h->entry64 = (xloadflags & XLOADFLAG_64) != 0;
    h->initrd_above = h->entry64 && (xloadflags & XLOADFLAG_ABOVE);
    h->code_offset = (sects + 1) * SECTOR;
    h->code_bytes = get32(file + HDR_SYSSIZE) * PARAGRAPH;
    if (h->code_offset > image->kernel_bytes || h->code_bytes <= ENTRY64_OFFSET ||
        h->code_bytes > ALIGN_UP(image->kernel_bytes - h->code_offset, PARAGRAPH)) {
        return load_error(error, "bzImage is truncated: %llu bytes, its header says %llu",
                          (unsigned long long)image->kernel_bytes,
                          (unsigned long long)(h->code_offset + h->code_bytes));
    }
    /* The header counts whole paragraphs, the file need not end with one. */
    h->code_bytes = MIN(h->code_bytes, image->kernel_bytes - h->code_offset);
    read_place(file, h);
    if (!IS_ALIGNED(h->address, PAGE_SIZE) || h->address >= LOAD_LIMIT) {
        return load_error(error, "bzImage wants to be loaded at 0x%llx",
                          (unsigned long long)h->address);
    }
    h->initrd_limit = get32(file + HDR_INITRD_MAX) + 1ull;
    h->cmdline_size = get32(file + HDR_CMDLINE_SIZE) + (size_t)1;
    return true;
}

static void write_e820(struct guest_load *load, uint8_t *params)
{
    struct load_range range[LOAD_RANGES];
    unsigned n = load_memory_map(load, range);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *entry = params + PARAM_E820_TABLE + i * E820_ENTRY_BYTES;

        memcpy(entry, &range[i].base, 8);
        memcpy(entry + 8, &range[i].bytes, 8);
        put32(entry + 16, range[i].type);
    }
    params[PARAM_E820_ENTRIES] = (uint8_t)n;
}

/* The zero page: the file's setup header with the loader's fields filled in, and the E820 map. */
static void write_boot_params(struct guest_load *load, const struct linux_header *h,
                              uint64_t initrd)
{
    const uint8_t *file = load->image.kernel;
    uint8_t *params = area_ptr(load, AREA_INFO);
    const uint16_t vid_mode = VID_MODE_NORMAL;
    const uint64_t rsdp = ACPI_TABLES_BASE;
    /* "The end of setup header": the offset byte of the jump at 0x200. */
    size_t end = MIN((size_t)HDR_MAGIC + file[HDR_JUMP + 1], (size_t)HDR_END_MAX);

    end = MAX(end, (size_t)(h->version < VERSION_2_10 ? HDR_END_OLD : HDR_END));
    end = MIN(end, load->image.kernel_bytes);
    memcpy(params + HDR_SETUP_SECTS, file + HDR_SETUP_SECTS, end - HDR_SETUP_SECTS);
    params[HDR_LOADER] = LOADER_UNDEFINED;
    memcpy(params + HDR_VID_MODE, &vid_mode, sizeof(vid_mode));
    put32(params + HDR_CODE32_START, (uint32_t)h->address);
    put32(params + HDR_RAMDISK, (uint32_t)initrd);
    put32(params + HDR_RAMDISK_SIZE, initrd != 0 ? (uint32_t)load->image.initrd_bytes : 0);
    put32(params + PARAM_EXT_RAMDISK, (uint32_t)(initrd >> 32));
    put32(params + PARAM_EXT_RAMDISK_SIZE,
          initrd != 0 ? (uint32_t)(load->image.initrd_bytes >> 32) : 0);
    put32(params + HDR_CMD_LINE_PTR, (uint32_t)AREA_CMDLINE);
    memcpy(params + PARAM_ACPI_RSDP, &rsdp, sizeof(rsdp));
    write_e820(load, params);
}

bool load_plan_linux(struct guest_load *load, char *error)
{
    const uint8_t *file = load->image.kernel;
    struct linux_header h;
    uint64_t initrd;

    if (load->image.modules != 0) {
        return load_error(error, "a bzImage takes an initrd and no modules");
    }
    if (!read_header(&load->image, &h, error) ||
        !load_add(load, "kernel", h.address, file + h.code_offset, h.code_bytes, h.init_size,
                  error) ||
        !load_add_initrd(load, h.initrd_limit, h.initrd_above, &initrd, error) ||
        !load_add_cmdline(load, h.cmdline_size, error)) {
        return false;
    }
    write_boot_params(load, &h, initrd);
    if (h.entry64) {
        load_set_entry64(load, h.address + ENTRY64_OFFSET);
    } else {
        load_set_entry32(load, (uint32_t)h.address); /* EBP, EDI and EBX are 0 */
    }
    load->registers.gpr[GPR_RSI] = AREA_INFO;
    return true;
}
