/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's ELF file, carried by this application: its segments go to memory. */
#include "boot/loader.h"

/* ELF-64 Object File Format: file header and program header. */
struct elf_header {
    unsigned char ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_offset, section_offset;
    uint32_t flags;
    uint16_t header_size, program_size, program_count;
    uint16_t section_size, section_count, section_names;
};
_Static_assert(sizeof(struct elf_header) == 64, "ELF-64");

struct elf_program {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_bytes, memory_bytes, align;
};
_Static_assert(sizeof(struct elf_program) == 56, "ELF-64");

#define ELF_MACHINE_X86_64 62
#define ELF_LOAD           1
#define ELF_EXECUTE        1u
#define ELF_WRITE          2u

extern const char payload_start[] __attribute__((visibility("hidden")));
extern const char payload_end[] __attribute__((visibility("hidden")));

static const struct elf_header *image_check(void)
{
    const struct elf_header *elf = (const void *)payload_start;
    uint64_t bytes = (uint64_t)(payload_end - payload_start);

    if (bytes < sizeof(*elf) || memcmp(elf->ident, "\177ELF\2\1", 6) != 0 ||
        elf->machine != ELF_MACHINE_X86_64 || elf->program_size != sizeof(struct elf_program) ||
        elf->program_offset + elf->program_count * sizeof(struct elf_program) > bytes) {
        loader_fail("loader", "spillway: the hypervisor inside the loader is damaged");
    }
    return elf;
}

static const struct elf_program *image_program(const struct elf_header *elf, unsigned index)
{
    return (const struct elf_program *)(const void *)(payload_start + elf->program_offset) + index;
}

/* Bytes from HANDOVER_IMAGE_BASE to the end of the last segment. */
static uint64_t image_extent(const struct elf_header *elf)
{
    uint64_t end = HANDOVER_IMAGE_BASE;

    for (unsigned i = 0; i < elf->program_count; i++) {
        const struct elf_program *program = image_program(elf, i);
        if (program->type == ELF_LOAD && program->address + program->memory_bytes > end) {
            end = program->address + program->memory_bytes;
        }
    }
    return PAGES(end - HANDOVER_IMAGE_BASE) * PAGE_BYTES;
}

static void image_add(struct image *image, const struct elf_program *program, uint64_t base)
{
    uint64_t offset = program->address - HANDOVER_IMAGE_BASE;

    if (image->count == IMAGE_SEGMENTS_MAX || program->address % PAGE_BYTES != 0) {
        loader_fail("loader", "spillway: the hypervisor's segments are not as expected");
    }
    memcpy((void *)(uintptr_t)(base + offset), payload_start + program->offset,
           program->file_bytes);
    image->segment[image->count++] = (struct image_segment){
        .address = program->address,
        .physical = base + offset,
        .pages = PAGES(program->memory_bytes),
        .writable = program->flags & ELF_WRITE,
        .executable = program->flags & ELF_EXECUTE,
    };
    /* The boot stack is the last segment (hypervisor.ld). */
    loader.stack = program->address + PAGES(program->memory_bytes) * PAGE_BYTES;
}

void image_load(struct image *image)
{
    const struct elf_header *elf = image_check();
    uint64_t bytes = image_extent(elf);
    uint64_t base = (uint64_t)(uintptr_t)pages_alloc(PAGES(bytes), 0);

    image->count = 0;
    for (unsigned i = 0; i < elf->program_count; i++) {
        const struct elf_program *program = image_program(elf, i);
        if (program->type == ELF_LOAD && program->memory_bytes != 0) {
            image_add(image, program, base);
        }
    }
    loader.entry = elf->entry;
    loader.handover->image_address = base;
    loader.handover->image_bytes = bytes;
}
