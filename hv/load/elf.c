/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF files, 32 and 64-bit x86: System V ABI, "Program Loading"; and Xen's PVH boot protocol. */
#include "hv/load/internal.h"

#define EI_CLASS   4
#define EI_DATA    5
#define CLASS_32   1
#define CLASS_64   2
#define DATA_LSB   1
#define MACHINE_32 3
#define MACHINE_64 62
#define PT_LOAD    1
#define PT_NOTE    4
#define PHDRS_MAX  32

/* A file header and a program header, whichever class they came from. */
struct elf_file {
    const uint8_t *data;
    uint64_t bytes;
    bool is64;
    uint64_t entry;
    uint64_t phoff;
    unsigned phnum, phentsize;
};

struct elf_phdr {
    uint32_t type;
    uint64_t offset, vaddr, paddr, filesz, memsz;
};

bool load_is_elf(const struct guest_image *image)
{
    return image->kernel_bytes >= 64 && memcmp(image->kernel, "\177ELF", 4) == 0;
}

/* All program headers lie within the file when this succeeds. */
static bool open_elf(const struct guest_image *image, struct elf_file *elf)
{
    const uint8_t *p = image->kernel;
    unsigned machine;

    if (!load_is_elf(image) || p[EI_DATA] != DATA_LSB ||
        (p[EI_CLASS] != CLASS_32 && p[EI_CLASS] != CLASS_64)) {
        return false;
    }
    elf->data = p;
    elf->bytes = image->kernel_bytes;
    elf->is64 = p[EI_CLASS] == CLASS_64;
    machine = get16(p + 18);
    elf->entry = elf->is64 ? get64(p + 24) : get32(p + 24);
    elf->phoff = elf->is64 ? get64(p + 32) : get32(p + 28);
    elf->phentsize = get16(p + (elf->is64 ? 54 : 42));
    elf->phnum = get16(p + (elf->is64 ? 56 : 44));
    return (machine == MACHINE_32 || machine == MACHINE_64) && elf->phnum <= PHDRS_MAX &&
           elf->phentsize >= (elf->is64 ? 56u : 32u) && elf->phoff <= elf->bytes &&
           (uint64_t)elf->phnum * elf->phentsize <= elf->bytes - elf->phoff;
}

static struct elf_phdr read_phdr(const struct elf_file *elf, unsigned index)
{
    const uint8_t *p = elf->data + elf->phoff + (uint64_t)index * elf->phentsize;

    if (elf->is64) {
        return (struct elf_phdr){.type = get32(p),
                                 .offset = get64(p + 8),
                                 .vaddr = get64(p + 16),
                                 .paddr = get64(p + 24),
                                 .filesz = get64(p + 32),
                                 .memsz = get64(p + 40)};
    }
    return (struct elf_phdr){.type = get32(p),
                             .offset = get32(p + 4),
                             .vaddr = get32(p + 8),
                             .paddr = get32(p + 12),
                             .filesz = get32(p + 16),
                             .memsz = get32(p + 20)};
}

static bool in_file(const struct elf_file *elf, const struct elf_phdr *ph)
{
    return ph->offset <= elf->bytes && ph->filesz <= elf->bytes - ph->offset;
}

bool load_add_elf(struct guest_load *load, uint64_t *entry, char *error)
{
    struct elf_file elf;
    bool any = false;

    if (!open_elf(&load->image, &elf)) {
        return load_error(error, "damaged ELF header, or not for x86");
    }
    *entry = elf.entry;
    for (unsigned i = 0; i < elf.phnum; i++) {
        struct elf_phdr ph = read_phdr(&elf, i);

        if (ph.type != PT_LOAD) {
            continue;
        }
        if (!in_file(&elf, &ph)) {
            return load_error(error, "ELF segment %u lies outside of the file", i);
        }
        if (!load_add(load, "ELF segment", ph.paddr, elf.data + ph.offset, ph.filesz, ph.memsz,
                      error)) {
            return false;
        }
        if (elf.entry >= ph.vaddr && elf.entry - ph.vaddr < ph.memsz) {
            *entry = elf.entry - ph.vaddr + ph.paddr;
        }
        any = true;
    }
    return any || load_error(error, "ELF file has nothing to load");
}

/* ---- PVH ---- */

#define NOTE_HEADER        12
#define NOTE_PHYS32_ENTRY  18
#define START_INFO_MAGIC   0x336ec578u
#define START_INFO_VERSION 1

/* Xen, public/arch-x86/hvm/start_info.h */
struct hvm_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t module_list, cmdline, rsdp, memory_map;
    uint32_t memory_map_entries, reserved_52;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "PVH ABI");

struct hvm_module {
    uint64_t address, bytes, cmdline, reserved_24;
};
_Static_assert(sizeof(struct hvm_module) == 32, "PVH ABI");
_Static_assert(LOAD_MODULES * sizeof(struct hvm_module) <= AREA_WORDS - AREA_MODULE, "list");

struct hvm_memory_map_entry {
    uint64_t address, bytes;
    uint32_t type, reserved_20;
};
_Static_assert(sizeof(struct hvm_memory_map_entry) == 24, "PVH ABI");

/* Looks through one note segment: name and descriptor are padded to four bytes. */
static bool find_in_notes(const uint8_t *p, uint64_t bytes, uint64_t *entry)
{
    while (bytes >= NOTE_HEADER) {
        uint64_t name = ALIGN_UP((uint64_t)get32(p), 4);
        uint64_t desc = get32(p + 4);
        uint64_t padded = ALIGN_UP(desc, 4);
        const uint8_t *body = p + NOTE_HEADER;

        bytes -= NOTE_HEADER;
        if (name > bytes || desc > bytes - name) {
            return false;
        }
        if (get32(p) == 4 && get32(p + 8) == NOTE_PHYS32_ENTRY && memcmp(body, "Xen", 4) == 0 &&
            (desc == 4 || desc == 8)) {
            *entry = desc == 8 ? get64(body + name) : get32(body + name);
            return true;
        }
        if (padded > bytes - name) {
            return false; /* the last one, its padding cut off */
        }
        p = body + name + padded;
        bytes -= name + padded;
    }
    return false;
}

/* The PVH entry point of XEN_ELFNOTE_PHYS32_ENTRY.  False: the file has no such note. */
static bool find_pvh_entry(const struct guest_image *image, uint64_t *entry)
{
    struct elf_file elf;

    if (!open_elf(image, &elf)) {
        return false;
    }
    for (unsigned i = 0; i < elf.phnum; i++) {
        struct elf_phdr ph = read_phdr(&elf, i);

        if (ph.type == PT_NOTE && in_file(&elf, &ph) &&
            find_in_notes(elf.data + ph.offset, ph.filesz, entry)) {
            return true;
        }
    }
    return false;
}

static void write_start_info(struct guest_load *load, const struct load_module *module,
                             unsigned modules)
{
    struct hvm_start_info info = {
        .magic = START_INFO_MAGIC,
        .version = START_INFO_VERSION,
        .module_count = modules,
        .module_list = modules != 0 ? AREA_MODULE : 0,
        .cmdline = AREA_CMDLINE,
        .rsdp = ACPI_TABLES_BASE,
        .memory_map = AREA_MAP,
    };
    struct load_range range[LOAD_RANGES];

    info.memory_map_entries = load_memory_map(load, range);
    for (unsigned i = 0; i < info.memory_map_entries; i++) {
        struct hvm_memory_map_entry e = {
            .address = range[i].base, .bytes = range[i].bytes, .type = range[i].type};

        memcpy(area_ptr(load, AREA_MAP) + i * sizeof(e), &e, sizeof(e));
    }
    for (unsigned i = 0; i < modules; i++) {
        struct hvm_module e = {
            .address = module[i].address, .bytes = module[i].bytes, .cmdline = module[i].words};

        memcpy(area_ptr(load, AREA_MODULE) + i * sizeof(e), &e, sizeof(e));
    }
    memcpy(area_ptr(load, AREA_INFO), &info, sizeof(info));
}

bool load_plan_pvh(struct guest_load *load, char *error)
{
    struct load_module module[LOAD_MODULES];
    uint64_t elf_entry, entry;
    unsigned modules;

    if (!find_pvh_entry(&load->image, &entry)) {
        return load_error(error,
                          "ELF file has neither a multiboot header nor a PVH entry (Xen note 18)");
    }
    if (entry > UINT32_MAX) {
        return load_error(error, "PVH entry 0x%llx is above 4 GiB", (unsigned long long)entry);
    }
    if (!load_add_elf(load, &elf_entry, error) ||
        !load_add_modules(load, module, &modules, error) ||
        !load_add_cmdline(load, PAGE_SIZE, error)) {
        return false;
    }
    write_start_info(load, module, modules);
    load_set_entry32(load, (uint32_t)entry);
    load->registers.gpr[GPR_RBX] = AREA_INFO;
    return true;
}
