/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer on the guest loader: a file of each format with bytes of the input over it, or nothing
 * but the input, in VMs of many sizes, with initrds and modules.
 *
 *     make fuzz-load [FUZZ_RUNS=10000000]
 */
#include <stdlib.h>
#include <string.h>

#include "hv/load/internal.h"
#include "hv/machine.h"
#include "hv/vdev/irq/vlapic.h"

#define FILE_BYTES 0x2000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How the input begins; patches follow. */
struct plan {
    uint8_t format;       /* of the file; 4 and above: what follows is all of it */
    uint8_t modules;      /* how many */
    uint16_t file_bytes;  /* that are left of it */
    uint16_t memory;      /* pages beyond 1 MiB ... */
    uint16_t memory_high; /* ... and 64 KiB more each: up to 5 GiB */
    uint32_t initrd_bytes;
};

struct patch {
    uint16_t at;
    uint8_t bytes; /* 1 to 8 */
    uint8_t value[8];
} __attribute__((packed));

static struct vm vm;
static struct vcpu vcpu;
static unsigned states;

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- what the loader needs of the machine ---- */

enum mm_result space_write(struct space *space, gpa_t to, const void *from, size_t bytes,
                           struct mm_waiter *waiter)
{
    struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS];
    unsigned memslots = guest_layout(vm.memory_pages << PAGE_SHIFT, memslot);
    volatile uint8_t sum = 0;
    bool owned = false;

    (void)space;
    (void)waiter;
    check(bytes != 0 && bytes <= PAGE_SIZE);
    for (unsigned i = 0; i < memslots; i++) {
        uint64_t base = memslot[i].base.v << PAGE_SHIFT;

        owned |= to.v >= base && to.v + bytes <= base + (memslot[i].pages << PAGE_SHIFT);
    }
    check(owned);
    for (size_t i = 0; i < bytes; i++) {
        sum += ((const uint8_t *)from)[i]; /* ASan sees what is read */
    }
    return MM_OK;
}

static void set_state(struct vcpu *of, const struct guest_state *state)
{
    (void)of;
    (void)state;
    states++;
}

static const struct vcpu_backend backend = {.set_state = set_state};

const struct vcpu_backend *machine_backend(void)
{
    return &backend;
}

void vlapic_virtual_wire(struct vlapic *vlapic)
{
    (void)vlapic;
}

bool acpi_build(uint8_t buffer[ACPI_TABLES_BYTES], unsigned vcpu_count)
{
    memset(buffer, (int)vcpu_count, ACPI_TABLES_BYTES);
    return true;
}

/* ---- files ---- */

static void put(uint8_t *file, size_t at, uint64_t value, size_t bytes)
{
    memcpy(file + at, &value, bytes);
}

static void make_bzimage(uint8_t *file)
{
    put(file, 0x1f1, 1, 1);
    put(file, 0x1f4, (FILE_BYTES - 1024) / 16, 4);
    put(file, 0x1fe, 0xaa55, 2);
    put(file, 0x200, 0x66eb, 2);
    memcpy(file + 0x202, "HdrS", 4);
    put(file, 0x206, 0x20f, 2);
    put(file, 0x211, 1, 1);
    put(file, 0x22c, 0x7fffffff, 4);
    put(file, 0x236, 0x7f, 2);
    put(file, 0x238, 2047, 4);
    put(file, 0x258, 0x200000, 8);
    put(file, 0x260, 0x20000, 4);
}

static void make_elf(uint8_t *file, bool is64)
{
    size_t headers = is64 ? 64 : 52, each = is64 ? 56 : 32, field = is64 ? 8 : 4;

    memcpy(file, is64 ? "\177ELF\2\1\1" : "\177ELF\1\1\1", 7);
    put(file, 18, is64 ? 62 : 3, 2);
    put(file, 24, 0x100040, field);
    put(file, 24 + field, headers, field);
    put(file, is64 ? 54 : 42, each, 2);
    put(file, is64 ? 56 : 44, 4, 2);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *p = file + headers + i * each;
        size_t first = is64 ? 8 : 4;

        put(p, 0, i == 3 ? 4 : 1, 4);
        put(p, first, i == 3 ? 0x300 : 0x1000, field);
        put(p, first + field, 0x100000 * (i + 1ull), field);
        put(p, first + 2 * field, 0x100000 * (i + 1ull), field);
        put(p, first + 3 * field, i == 3 ? 0x40 : 0x800, field);
        put(p, first + 4 * field, 0x2000, field);
    }
    put(file, 0x300, 4, 4);
    put(file, 0x304, 4, 4);
    put(file, 0x308, 18, 4);
    memcpy(file + 0x30c, "Xen", 4);
    put(file, 0x310, 0x100080, 4);
}

static void make_multiboot(uint8_t *file)
{
    const uint32_t header[] = {0x1badb002, 0x10000,  0u - 0x1badb002u - 0x10000u,
                               0x200010,   0x200000, 0x201000,
                               0x204000,   0x200100};

    memcpy(file + 0x10, header, sizeof(header));
}

static size_t make_file(uint8_t file[FILE_BYTES], const struct plan *plan, const uint8_t *data,
                        size_t size)
{
    struct patch patch;

    memset(file, 0, FILE_BYTES);
    if (plan->format >= 4) {
        memcpy(file, data, MIN(size, FILE_BYTES));
        return MIN(size, FILE_BYTES);
    }
    memset(file + 0x1000, 0x5a, 0x800);
    if (plan->format == 0) {
        make_bzimage(file);
    } else if (plan->format == 3) {
        make_multiboot(file);
    } else {
        make_elf(file, plan->format == 1);
    }
    for (; size >= sizeof(patch); data += sizeof(patch), size -= sizeof(patch)) {
        memcpy(&patch, data, sizeof(patch));
        memcpy(file + patch.at % (FILE_BYTES - 8), patch.value, patch.bytes % 8 + 1u);
    }
    return plan->file_bytes == 0 ? FILE_BYTES : plan->file_bytes % FILE_BYTES;
}

/* ---- one input ---- */

static void load_it(const struct guest_image *image)
{
    char error[GUEST_LOAD_ERROR_MAX] = "";
    struct guest_load *load = guest_load_start(&vm, image, error);

    check((load == NULL) == (error[0] != '\0'));
    states = 0;
    for (unsigned steps = 0; load != NULL && !guest_load_done(load); steps++) {
        check(steps < 100000);
        check(guest_load_step(load, NULL) == MM_OK);
    }
    check(states == (load != NULL));
    guest_load_free(load);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t some[0x40000];
    static uint8_t file[FILE_BYTES];
    struct guest_image image = {.cmdline = "console=ttyS0", .initrd = some};
    struct plan plan;
    uint8_t *kernel;

    if (size < sizeof(plan)) {
        return 0;
    }
    memcpy(&plan, data, sizeof(plan));
    vm.memory_pages = 257ull + plan.memory + 16ull * plan.memory_high % 0x140000;
    vm.run.vcpu[0] = &vcpu;
    vm.run.vcpu_count = 1;
    image.kernel_bytes = make_file(file, &plan, data + sizeof(plan), size - sizeof(plan));
    image.initrd_bytes = plan.initrd_bytes % sizeof(some);
    image.modules = plan.modules % (GUEST_MODULES_MAX + 1u);
    for (unsigned i = 0; i < image.modules; i++) {
        image.module[i] =
            (struct guest_module){some, plan.initrd_bytes % (4096u * (i + 1)), "words of it"};
    }
    kernel = malloc(image.kernel_bytes + 1); /* so that ASan knows where it ends */
    image.kernel = memcpy(kernel + 1, file, image.kernel_bytes);
    load_it(&image);
    free(kernel);
    return 0;
}
