/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UEFI loader: reads spillway.conf and the files that it names, leaves the firmware, and hands
 * the machine to the hypervisor by boot/handover.h.
 *
 * Memory: everything that stays is allocated as EfiLoaderData, and nothing else is; the firmware
 * loads this application as EfiLoaderCode.  That is how memory.c tells USED from FREE.
 *
 * No function here returns an error: a failure ends the boot with one line, by loader_fail().
 * Single-threaded; runs on the boot CPU.
 */
#ifndef SPILLWAY_BOOT_LOADER_H
#define SPILLWAY_BOOT_LOADER_H

#include <efi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/handover.h"

#define PAGE_BYTES 4096ull
#define PAGES(n)   (((n) + PAGE_BYTES - 1) / PAGE_BYTES)

struct loader {
    EFI_HANDLE image;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    EFI_HANDLE volume; /* that the loader came from */
    struct handover *handover;
    uint64_t entry; /* hypervisor's entry point and boot stack, virtual */
    uint64_t stack;
};

extern struct loader loader;

/* One segment of the hypervisor's image, in memory. */
struct image_segment {
    uint64_t address; /* virtual, page aligned */
    uint64_t physical;
    uint64_t pages;
    bool writable, executable;
};
#define IMAGE_SEGMENTS_MAX 8

struct image {
    struct image_segment segment[IMAGE_SEGMENTS_MAX];
    unsigned count;
};

/* ---- print.c ---- */

/* Finds the consoles; before the first print. */
void print_init(void);
/* After ExitBootServices: COM1 only. */
void print_leave_firmware(void);
/* %s (char string), %d, %u, %x with l for 64 bits, %%.  Goes to the screen and to COM1. */
void loader_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints one line and the last line of a failed boot, and powers the machine off. */
_Noreturn void loader_fail(const char *reason, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One error in the configuration, the last line, a key or a minute; powers the machine off. */
_Noreturn void loader_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- file.c ---- */

/* Reads spillway.conf and every file that it names and that is there; fills handover->file. */
void files_load(void);

/* ---- volume.c ---- */

/* Fills handover->boot_volume as far as the firmware tells, of the volume that files_load() read.
 */
void volume_describe(void);

/* ---- image.c ---- */

/* Puts the hypervisor's segments in memory; fills loader.entry and loader.stack. */
void image_load(struct image *image);

/* ---- machine.c ---- */

/* CPUs, ACPI, SMBIOS, screen, time, trampoline page. */
void machine_describe(void);

/* ---- memory.c ---- */

/* Zeroed pages that stay; `limit` is the highest byte address allowed, 0: anywhere. */
void *pages_alloc(uint64_t pages, uint64_t limit);
/* End of the highest RAM range of the firmware's memory map, at least 4 GiB. */
uint64_t memory_top(void);
/* Leaves the firmware and fills handover->range. */
void memory_exit_firmware(void);

/* ---- tables.c ---- */

/* Builds the page tables that handover.h describes, for RAM up to `top`. */
void tables_build(const struct image *image, uint64_t top);
/* NX and WP on, CR3, stack, and the jump. */
_Noreturn void tables_enter(void);

/* ---- string.c: what gcc expects of a freestanding program ---- */

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t string_length(const char *text);
/* Same text, letters compared without case and either slash taken as the same. */
bool path_equal(const char *a, const char *b);

static inline uint64_t read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(subleaf));
}

#endif
