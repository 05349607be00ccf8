/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/load/load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/paging.h"
#include "arch/x86/hw/registers.h"
#include "arch/x86/hw/segment.h"
#include "hv/load/internal.h"
#include "hv/machine.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/legacy/vplatform.h"
#include "hv/vdev/pci/vpci.h"

#define STEP_BYTES 0x40000ull /* looked at in one step */

/* ---- layout ---- */

_Static_assert(VPCI_ECAM_BASE >= GUEST_LOW_LIMIT && VPCI_WINDOW_END <= GUEST_HIGH_BASE,
               "what PCI has is in the hole");

unsigned guest_layout(uint64_t memory_bytes, struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS])
{
    uint64_t low = MIN(memory_bytes, GUEST_LOW_LIMIT);

    memslot[0] = (struct guest_memslot){gfn(0), low >> PAGE_SHIFT};
    if (memory_bytes <= GUEST_LOW_LIMIT) {
        return 1;
    }
    memslot[1] = (struct guest_memslot){gpa_to_gfn(gpa(GUEST_HIGH_BASE)),
                                        (memory_bytes - GUEST_LOW_LIMIT) >> PAGE_SHIFT};
    return 2;
}

unsigned load_memory_map(const struct guest_load *load, struct load_range range[LOAD_RANGES])
{
    uint64_t acpi_end = ACPI_TABLES_BASE + ACPI_TABLES_BYTES;
    unsigned n = 0;

    range[n++] = (struct load_range){0, LOW_MEMORY_END, RANGE_RAM};
    range[n++] =
        (struct load_range){LOW_MEMORY_END, ACPI_TABLES_BASE - LOW_MEMORY_END, RANGE_RESERVED};
    range[n++] = (struct load_range){ACPI_TABLES_BASE, ACPI_TABLES_BYTES, RANGE_ACPI};
    range[n++] = (struct load_range){acpi_end, HIGH_START - acpi_end, RANGE_RESERVED};
    range[n++] = (struct load_range){HIGH_START, load->low_bytes - HIGH_START, RANGE_RAM};
    range[n++] = (struct load_range){VPCI_ECAM_BASE, VPCI_ECAM_BYTES, RANGE_RESERVED};
    if (load->high_bytes != 0) {
        range[n++] = (struct load_range){GUEST_HIGH_BASE, load->high_bytes, RANGE_RAM};
    }
    return n;
}

/* ---- plan ---- */

void load_set_error(char *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error, GUEST_LOAD_ERROR_MAX, format, args);
    va_end(args);
}

/* Is all of [address, address + bytes) RAM that a kernel may be loaded into? */
static bool is_ram(const struct guest_load *load, uint64_t address, uint64_t bytes)
{
    if (address < LOW_MEMORY_END) {
        return bytes <= LOW_MEMORY_END - address;
    }
    if (address >= GUEST_HIGH_BASE) {
        return address - GUEST_HIGH_BASE <= load->high_bytes &&
               bytes <= load->high_bytes - (address - GUEST_HIGH_BASE);
    }
    return address >= HIGH_START && address <= load->low_bytes &&
           bytes <= load->low_bytes - address;
}

/* The segment that [address, address + bytes) overlaps, or NULL.  No sum here wraps: all ranges
 * are RAM. */
static const struct load_segment *overlap(const struct guest_load *load, uint64_t address,
                                          uint64_t bytes)
{
    for (unsigned i = 0; i < load->segments; i++) {
        const struct load_segment *s = &load->segment[i];

        if (address < s->address + s->memory_bytes && s->address < address + bytes) {
            return s;
        }
    }
    return NULL;
}

static void push(struct guest_load *load, uint64_t address, const uint8_t *data,
                 uint64_t data_bytes, uint64_t memory_bytes)
{
    load->segment[load->segments++] = (struct load_segment){
        .address = address, .data = data, .data_bytes = data_bytes, .memory_bytes = memory_bytes};
}

bool load_add(struct guest_load *load, const char *what, uint64_t address, const uint8_t *data,
              uint64_t data_bytes, uint64_t memory_bytes, char *error)
{
    if (memory_bytes == 0) {
        return true;
    }
    if (data_bytes > memory_bytes) {
        return load_error(error, "%s has more data than memory", what);
    }
    if (!is_ram(load, address, memory_bytes)) {
        return load_error(error, "%s needs memory at 0x%llx-0x%llx, the VM has RAM up to 0x%llx",
                          what, (unsigned long long)address,
                          (unsigned long long)(address + memory_bytes),
                          (unsigned long long)load->low_bytes);
    }
    if (overlap(load, address, memory_bytes) != NULL) {
        return load_error(error, "%s at 0x%llx-0x%llx overlaps what is loaded already", what,
                          (unsigned long long)address,
                          (unsigned long long)(address + memory_bytes));
    }
    if (load->segments == LOAD_SEGMENTS) {
        return load_error(error, "more than %u pieces to load", LOAD_SEGMENTS);
    }
    push(load, address, data, data_bytes, memory_bytes);
    return true;
}

/*
 * The highest place for so many bytes in [floor, end) where nothing is yet.  Each step goes below a
 * segment that is in the way, and no segment is twice, so it ends.
 */
static bool find_room(const struct guest_load *load, uint64_t bytes, uint64_t floor, uint64_t end,
                      uint64_t *address)
{
    while (end >= floor && end - floor >= bytes) {
        const struct load_segment *in_the_way;

        *address = ALIGN_DOWN(end - bytes, PAGE_SIZE);
        in_the_way = overlap(load, *address, bytes);
        if (in_the_way == NULL) {
            return *address >= floor;
        }
        end = in_the_way->address;
    }
    return false;
}

bool load_add_initrd(struct guest_load *load, uint64_t limit, bool above, uint64_t *address,
                     char *error)
{
    uint64_t bytes = load->image.initrd_bytes;

    *address = 0;
    if (load->image.initrd == NULL || bytes == 0) {
        return true;
    }
    if (!find_room(load, bytes, HIGH_START, MIN(limit, load->low_bytes), address) &&
        !(above &&
          find_room(load, bytes, GUEST_HIGH_BASE, GUEST_HIGH_BASE + load->high_bytes, address))) {
        return load_error(error, "initrd of %llu bytes does not fit into the VM's memory",
                          (unsigned long long)bytes);
    }
    return load_add(load, "initrd", *address, load->image.initrd, bytes, bytes, error);
}

/* Copies the words to where *end is, and moves it behind them. */
static bool add_words(struct guest_load *load, const char *words, uint64_t *end, char *error)
{
    size_t bytes = strlen(words) + 1;

    if (bytes > AREA_WORDS_END - *end) {
        return load_error(error, "the words of all modules are too long: expected at most %u bytes",
                          (unsigned)(AREA_WORDS_END - AREA_WORDS));
    }
    memcpy(area_ptr(load, *end), words, bytes);
    *end += bytes;
    return true;
}

static bool add_module(struct guest_load *load, const struct guest_module *file,
                       struct load_module *module, char *error)
{
    module->bytes = file->bytes;
    if (!find_room(load, MAX(file->bytes, 1u), HIGH_START, load->low_bytes, &module->address)) {
        return load_error(error, "a module of %llu bytes does not fit into the VM's memory",
                          (unsigned long long)file->bytes);
    }
    return load_add(load, "module", module->address, file->data, file->bytes, file->bytes, error);
}

bool load_add_modules(struct guest_load *load, struct load_module module[LOAD_MODULES],
                      unsigned *count, char *error)
{
    const struct guest_image *image = &load->image;
    struct guest_module initrd = {image->initrd, image->initrd_bytes, ""};
    unsigned first = image->initrd != NULL && image->initrd_bytes != 0;
    uint64_t words = AREA_WORDS;

    *count = first + image->modules;
    for (unsigned i = 0; i < *count; i++) {
        const struct guest_module *file = i < first ? &initrd : &image->module[i - first];

        module[i].words = words;
        if (!add_module(load, file, &module[i], error) ||
            !add_words(load, file->words, &words, error)) {
            return false;
        }
    }
    return true;
}

bool load_add_cmdline(struct guest_load *load, size_t limit, char *error)
{
    const char *cmdline = load->image.cmdline != NULL ? load->image.cmdline : "";
    size_t bytes = strlen(cmdline);

    limit = MIN(limit, PAGE_SIZE);
    if (bytes >= limit) {
        return load_error(error,
                          "command line of %zu characters, expected at most %zu for this kernel",
                          bytes, limit - 1);
    }
    memcpy(area_ptr(load, AREA_CMDLINE), cmdline, bytes + 1);
    return true;
}

/* ---- the boot vCPU ---- */

#define GDT_ENTRIES 4

#define IDENTITY_GIB 4
#define PD_ENTRIES   512
#define LARGE_SHIFT  21

static void set_common(struct guest_load *load, uint64_t rip, uint64_t code, uint32_t access)
{
    const uint64_t gdt[GDT_ENTRIES] = {
        [SELECTOR_CODE / 8] = code,
        [SELECTOR_DATA / 8] = DESCRIPTOR_DATA,
    };
    struct guest_state *s = &load->state;

    memcpy(area_ptr(load, AREA_GDT), gdt, sizeof(gdt));
    memset(s, 0, sizeof(*s));
    for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
        s->segment[i] = (struct guest_segment){
            .limit = UINT32_MAX, .access = SEGMENT_DATA32, .selector = SELECTOR_DATA};
    }
    s->segment[SEG_CS].access = access;
    s->segment[SEG_CS].selector = SELECTOR_CODE;
    s->segment[SEG_LDTR].access = SEGMENT_UNUSABLE;
    s->segment[SEG_TR] = (struct guest_segment){.limit = 0x67, .access = SEGMENT_TSS_BUSY};
    s->gdtr = (struct guest_table_register){AREA_GDT, sizeof(gdt) - 1};
    s->dr7 = DR7_FIXED;
    s->pat = PAT_RESET;

    memset(&load->registers, 0, sizeof(load->registers));
    load->registers.rip = rip;
    load->registers.rflags = RFLAGS_FIXED;
    load->registers.gpr[GPR_RSP] = AREA_STACK;
    load->registers.dr6 = DR6_FIXED;
}

void load_set_entry32(struct guest_load *load, uint32_t rip)
{
    set_common(load, rip, DESCRIPTOR_CODE32, SEGMENT_CODE32);
    load->state.cr0 = CR0_PE | CR0_ET;
}

/* 2 MiB pages that map the first 4 GiB to themselves. */
static void build_identity_map(struct guest_load *load)
{
    uint8_t *pdpt = area_ptr(load, AREA_PDPT);
    uint8_t *pd = area_ptr(load, AREA_PD);
    uint64_t entry = AREA_PDPT | PTE_P | PTE_W;

    memcpy(area_ptr(load, AREA_PML4), &entry, sizeof(entry));
    for (uint64_t i = 0; i < IDENTITY_GIB; i++) {
        entry = (AREA_PD + i * PAGE_SIZE) | PTE_P | PTE_W;
        memcpy(pdpt + i * sizeof(entry), &entry, sizeof(entry));
    }
    for (uint64_t i = 0; i < IDENTITY_GIB * PD_ENTRIES; i++) {
        entry = i << LARGE_SHIFT | PTE_P | PTE_W | PTE_PS;
        memcpy(pd + i * sizeof(entry), &entry, sizeof(entry));
    }
}

void load_set_entry64(struct guest_load *load, uint64_t rip)
{
    set_common(load, rip, DESCRIPTOR_CODE64, SEGMENT_CODE64);
    build_identity_map(load);
    load->state.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    load->state.cr3 = AREA_PML4;
    load->state.cr4 = CR4_PAE;
    load->state.efer = EFER_LME | EFER_LMA;
}

/* ---- start ---- */

/*
 * The reset vector of the BIOS that is not there.  A guest may jump to it in real mode to restart
 * (Linux with reboot=bios): ask the reset register for it.
 */
#define RESET_VECTOR 0xffff0ull

static const uint8_t reset_vector[] = {
    0xb0,
    RESET_CONTROL_RESET, /* mov al, value */
    0xba,
    IOPORT_RESET_CONTROL & 0xff,
    IOPORT_RESET_CONTROL >> 8, /* mov dx, port */
    0xee,                      /* out dx, al */
    0xf4,                      /* hlt */
    0xeb,
    0xfd, /* jmp to the hlt */
};

static bool plan(struct guest_load *load, char *error)
{
    struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS] = {0};
    unsigned memslots = guest_layout(load->vm->memory_pages << PAGE_SHIFT, memslot);

    load->low_bytes = memslot[0].pages << PAGE_SHIFT;
    load->high_bytes = memslots > 1 ? memslot[1].pages << PAGE_SHIFT : 0;
    if (load->low_bytes <= HIGH_START) {
        return load_error(error, "the VM has %llu KiB of memory, expected more than 1 MiB",
                          (unsigned long long)(load->low_bytes >> 10));
    }
    if (!acpi_build(load->acpi, load->vm->run.vcpu_count)) {
        return load_error(error, "ACPI tables for %u vCPUs do not fit", load->vm->run.vcpu_count);
    }
    push(load, AREA_BASE, load->area, AREA_BYTES, AREA_BYTES);
    push(load, ACPI_TABLES_BASE, load->acpi, ACPI_TABLES_BYTES, ACPI_TABLES_BYTES);
    push(load, RESET_VECTOR, reset_vector, sizeof(reset_vector), sizeof(reset_vector));

    if (load_is_linux(&load->image)) {
        return load_plan_linux(load, error);
    }
    if (load_is_multiboot(&load->image)) {
        return load_plan_multiboot(load, error);
    }
    if (load_is_elf(&load->image)) {
        return load_plan_pvh(load, error);
    }
    return load_error(error, "kernel format not known, expected a 64-bit bzImage, or an ELF file "
                             "with a multiboot header or a PVH entry");
}

struct guest_load *guest_load_start(struct vm *vm, const struct guest_image *image,
                                    char error[GUEST_LOAD_ERROR_MAX])
{
    struct guest_load *load = calloc(1, sizeof(*load));

    if (load == NULL) {
        load_set_error(error, "out of hypervisor memory");
        return NULL;
    }
    load->vm = vm;
    load->image = *image;
    if (!plan(load, error)) {
        free(load);
        return NULL;
    }
    return load;
}

/* ---- steps ---- */

static bool is_zero_page(const uint8_t *data)
{
    for (size_t i = 0; i < PAGE_SIZE; i += sizeof(uint64_t)) {
        if (get64(data + i) != 0) {
            return false;
        }
    }
    return true;
}

/*
 * Copies up to the end of the page that the segment has got to.  A whole page of zeroes is left
 * alone: fresh memory reads as zero, and costs nothing until it is touched.
 */
static enum mm_result copy_page(struct guest_load *load, struct mm_waiter *waiter)
{
    const struct load_segment *s = &load->segment[load->current];
    uint64_t to = s->address + load->copied;
    uint64_t bytes = MIN(PAGE_SIZE - (to & ~PAGE_MASK), s->data_bytes - load->copied);
    const uint8_t *from = s->data + load->copied;

    if (bytes < PAGE_SIZE || !is_zero_page(from)) {
        enum mm_result result = space_write(load->vm->run.space, gpa(to), from, bytes, waiter);

        if (result != MM_OK) {
            return result;
        }
    }
    load->copied += bytes;
    return MM_OK;
}

static void finish(struct guest_load *load)
{
    struct vcpu *vcpu = load->vm->run.vcpu[0];

    machine_backend()->set_state(vcpu, &load->state);
    vlapic_virtual_wire(vcpu->vlapic);
    vcpu->regs = load->registers;
    load->done = true;
}

enum mm_result guest_load_step(struct guest_load *load, struct mm_waiter *waiter)
{
    unsigned pages = STEP_BYTES / PAGE_SIZE;

    while (pages > 0 && load->current < load->segments) {
        if (load->copied == load->segment[load->current].data_bytes) {
            load->current++;
            load->copied = 0;
        } else {
            enum mm_result result = copy_page(load, waiter);

            if (result != MM_OK) {
                return result;
            }
            pages--;
        }
    }
    if (load->current == load->segments && !load->done) {
        finish(load);
    }
    return MM_OK;
}

bool guest_load_done(const struct guest_load *load)
{
    return load->done;
}

void guest_load_free(struct guest_load *load)
{
    free(load);
}
