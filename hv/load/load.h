/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a kernel into a fresh VM: Linux bzImage (boot protocol 2.06 and later), ELF with
 * a PVH entry, ELF or flat image with a multiboot 1 header.
 *
 * A start checks the image and lays out memory; steps then copy it bit by bit,
 * each restartable, since guest memory may have to be made free first.  The last
 * step sets the boot vCPU's registers.  Files are not trusted: every offset and
 * size in them is checked.
 *
 * Guest-physical memory (guest_layout):
 *   0 .. low           RAM, one memslot; low = min(memory, 3 GiB)
 *   3 GiB .. 4 GiB     devices: PCI (hv/vdev/pci/vpci.h), APICs
 *   4 GiB .. 4 GiB+x   RAM, second memslot: what is left
 * 0xA0000-0xFFFFF is RAM as well, but E820 calls it reserved, and ACPI data at
 * ACPI_TABLES_BASE: the memslots add up to the configured memory exactly.
 */
#ifndef SPILLWAY_HV_LOAD_LOAD_H
#define SPILLWAY_HV_LOAD_LOAD_H

#include "hv/guest/vm.h"
#include "mm/space/space.h"

#define GUEST_LOW_LIMIT       0xc0000000ull
#define GUEST_HIGH_BASE       0x100000000ull
#define GUEST_LOAD_ERROR_MAX  160
#define GUEST_LAYOUT_MEMSLOTS 2

struct guest_memslot {
    gfn_t base;
    uint64_t pages;
};

/* The memslots of a guest of that size (whole pages).  Number of memslots: 1 or 2. */
unsigned guest_layout(uint64_t memory_bytes, struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS]);

#define GUEST_MODULES_MAX CONFIG_MODULES_MAX

struct guest_module {
    const void *data; /* NULL if bytes is 0 */
    size_t bytes;
    const char *words;
};

/* The files of a guest; all that it points at must stay until guest_load_free. */
struct guest_image {
    const void *kernel;
    size_t kernel_bytes;
    const void *initrd; /* NULL: none */
    size_t initrd_bytes;
    const char *cmdline;
    struct guest_module module[GUEST_MODULES_MAX]; /* behind the initrd, if the protocol has them */
    unsigned modules;
};

struct guest_load;

/*
 * vm->run.vcpu[0], vm->run.vcpu_count, vm->memory_pages and vm->run.space are set; memslots are
 * those of guest_layout.  NULL: error says what is wrong with the image, or that memory is short.
 */
struct guest_load *guest_load_start(struct vm *vm, const struct guest_image *image,
                                    char error[GUEST_LOAD_ERROR_MAX]);
/*
 * One bounded step (256 KiB or so).  MM_OK: call again until guest_load_done; MM_WAIT: call again
 * when the waiter was woken; MM_NO_MEMSLOT and MM_LOST: the load has failed.  No locks held.
 */
enum mm_result guest_load_step(struct guest_load *load, struct mm_waiter *waiter);
/* Everything is in place, vCPU 0 has its registers (machine_backend()->set_state). */
bool guest_load_done(const struct guest_load *load);
/* NULL is allowed. */
void guest_load_free(struct guest_load *load);

#endif
