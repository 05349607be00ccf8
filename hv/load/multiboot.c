/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot Specification version 0.6.96: ELF files and, by the address fields, flat images. */
#include "hv/load/internal.h"

#define HEADER_SEARCH    8192u
#define HEADER_MAGIC     0x1badb002u
#define BOOT_MAGIC       0x2badb002u
#define FLAG_PAGE_ALIGN  BIT(0)
#define FLAG_MEMORY_INFO BIT(1)
#define FLAG_ADDRESSES   BIT(16)
#define FLAGS_REQUIRED   BITS(15, 0)
#define FLAGS_KNOWN      (FLAG_PAGE_ALIGN | FLAG_MEMORY_INFO)

#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MAP     BIT(6)
#define INFO_LOADER  BIT(9)

/* "3.3 Boot information format", as far as it is given here. */
struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper; /* KiB, from 0 and from 1 MiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
    uint32_t reserved_68[13];
};
_Static_assert(sizeof(struct multiboot_info) == 120, "multiboot 3.3");
_Static_assert(offsetof(struct multiboot_info, boot_loader_name) == 64, "multiboot 3.3");

struct multiboot_module {
    uint32_t start, end, string, reserved_12;
};
_Static_assert(sizeof(struct multiboot_module) == 16, "multiboot 3.3");
_Static_assert(LOAD_MODULES * sizeof(struct multiboot_module) <= AREA_WORDS - AREA_MODULE, "list");

struct multiboot_map_entry {
    uint32_t size; /* of what follows */
    uint64_t base, bytes;
    uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct multiboot_map_entry) == 24, "multiboot 3.3");

#define LOADER_NAME "spillway"

/* Offset of the header in the file, or SIZE_MAX. */
static size_t find_header(const struct guest_image *image)
{
    const uint8_t *file = image->kernel;
    size_t end = MIN(image->kernel_bytes, (size_t)HEADER_SEARCH);

    for (size_t at = 0; at + 12 <= end; at += 4) {
        if (get32(file + at) == HEADER_MAGIC &&
            get32(file + at) + get32(file + at + 4) + get32(file + at + 8) == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

bool load_is_multiboot(const struct guest_image *image)
{
    return find_header(image) != SIZE_MAX;
}

/* "3.1.3 The address fields of Multiboot header": where a file without ELF headers goes. */
static bool add_flat(struct guest_load *load, size_t at, uint64_t *entry, char *error)
{
    const uint8_t *file = load->image.kernel;
    uint32_t header_addr, load_addr, load_end, bss_end;
    uint64_t offset, data_bytes, memory_bytes;

    if (load->image.kernel_bytes - at < 32) {
        return load_error(error, "multiboot header is cut off");
    }
    header_addr = get32(file + at + 12);
    load_addr = get32(file + at + 16);
    load_end = get32(file + at + 20);
    bss_end = get32(file + at + 24);
    *entry = get32(file + at + 28);
    if (load_addr > header_addr || header_addr - load_addr > at) {
        return load_error(error, "multiboot header says that the image starts before the file");
    }
    offset = at - (header_addr - load_addr);
    data_bytes = load->image.kernel_bytes - offset;
    if (load_end != 0) {
        if (load_end < load_addr || load_end - load_addr > data_bytes) {
            return load_error(error, "multiboot load addresses lie outside of the file");
        }
        data_bytes = load_end - load_addr;
    }
    memory_bytes = data_bytes;
    if (bss_end != 0) {
        if (bss_end < load_addr || bss_end - load_addr < data_bytes) {
            return load_error(error, "multiboot bss ends before the data");
        }
        memory_bytes = bss_end - load_addr;
    }
    return load_add(load, "kernel", load_addr, file + offset, data_bytes, memory_bytes, error);
}

static unsigned write_map(struct guest_load *load)
{
    struct load_range range[LOAD_RANGES];
    unsigned n = load_memory_map(load, range);

    for (unsigned i = 0; i < n; i++) {
        struct multiboot_map_entry e = {.size = sizeof(e) - sizeof(e.size),
                                        .base = range[i].base,
                                        .bytes = range[i].bytes,
                                        .type = range[i].type};

        memcpy(area_ptr(load, AREA_MAP) + i * sizeof(e), &e, sizeof(e));
    }
    return n * (unsigned)sizeof(struct multiboot_map_entry);
}

static void write_info(struct guest_load *load, const struct load_module *module, unsigned modules)
{
    uint8_t *area_info = area_ptr(load, AREA_INFO);
    struct multiboot_info info = {
        .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MAP | INFO_LOADER,
        .mem_lower = (uint32_t)(LOW_MEMORY_END >> 10),
        .mem_upper = (uint32_t)((load->low_bytes - HIGH_START) >> 10),
        .cmdline = (uint32_t)AREA_CMDLINE,
        .mods_count = modules,
        .mods_addr = (uint32_t)AREA_MODULE,
        .mmap_length = write_map(load),
        .mmap_addr = (uint32_t)AREA_MAP,
        .boot_loader_name = (uint32_t)(AREA_INFO + sizeof(info)),
    };

    for (unsigned i = 0; i < modules; i++) {
        struct multiboot_module entry = {.start = (uint32_t)module[i].address,
                                         .end = (uint32_t)(module[i].address + module[i].bytes),
                                         .string = (uint32_t)module[i].words};

        memcpy(area_ptr(load, AREA_MODULE) + i * sizeof(entry), &entry, sizeof(entry));
    }
    memcpy(area_info, &info, sizeof(info));
    memcpy(area_info + sizeof(info), LOADER_NAME, sizeof(LOADER_NAME));
}

bool load_plan_multiboot(struct guest_load *load, char *error)
{
    size_t at = find_header(&load->image);
    uint32_t flags = get32((const uint8_t *)load->image.kernel + at + 4);
    struct load_module module[LOAD_MODULES];
    uint64_t entry;
    unsigned modules;

    if (flags & FLAGS_REQUIRED & ~FLAGS_KNOWN) {
        return load_error(error, "multiboot header requires features 0x%x, expected at most 0x%x",
                          (unsigned)(flags & FLAGS_REQUIRED), (unsigned)FLAGS_KNOWN);
    }
    if (!(flags & FLAG_ADDRESSES ? add_flat(load, at, &entry, error)
                                 : load_add_elf(load, &entry, error))) {
        return false;
    }
    if (entry > UINT32_MAX) {
        return load_error(error, "entry 0x%llx is above 4 GiB", (unsigned long long)entry);
    }
    if (!load_add_modules(load, module, &modules, error) ||
        !load_add_cmdline(load, PAGE_SIZE, error)) {
        return false;
    }
    write_info(load, module, modules);
    load_set_entry32(load, (uint32_t)entry);
    load->registers.gpr[GPR_RAX] = BOOT_MAGIC;
    load->registers.gpr[GPR_RBX] = AREA_INFO;
    return true;
}
