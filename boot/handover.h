/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loader hands to the hypervisor: one versioned struct in memory that stays.
 *
 * At the hypervisor's entry point (SysV ABI, RDI = address of struct handover in the direct map):
 * long mode, interrupts off, paging on with tables that the loader built in LOADER_DATA memory:
 *   - the hypervisor image at its link address (HANDOVER_IMAGE_BASE), 4 KiB pages, W^X by segment
 *   - a direct map of all RAM (and the first 4 GiB) at HANDOVER_DIRECT_BASE, writable, NX
 *   - an identity map of the first 4 GiB and of all RAM, writable and executable; arch/x86 removes
 *     it as soon as the trampoline has been used
 * RSP = a 64 KiB boot stack at the end of the image's .bss area (symbol boot_stack_top).
 */
#ifndef SPILLWAY_BOOT_HANDOVER_H
#define SPILLWAY_BOOT_HANDOVER_H

#include <stdint.h>

#define HANDOVER_MAGIC       0x5350494c4c574159ull /* "SPILLWAY" */
#define HANDOVER_VERSION     3
#define HANDOVER_IMAGE_BASE  0xffffffff80000000ull
#define HANDOVER_DIRECT_BASE 0xffff800000000000ull

#define HANDOVER_MAX_CPUS   64
#define HANDOVER_MAX_RANGES 256
#define HANDOVER_MAX_FILES  640 /* spillway.conf, kernel and initrd of 256 VMs, and some modules */
#define HANDOVER_PATH_MAX   120

#define HANDOVER_VOLUME_BYTES 4096

enum handover_memory {
    HANDOVER_FREE = 1, /* ours: conventional, boot services code and data, loader code */
    HANDOVER_USED = 2, /* hypervisor image, files, tables, this struct: RAM in use, never freed */
    HANDOVER_FIRMWARE = 3, /* runtime services code and data, ACPI: RAM, untouched */
    HANDOVER_DEVICE = 4,   /* MMIO and reserved */
};

struct handover_range {
    uint64_t base; /* host-physical, 4 KiB aligned */
    uint64_t pages;
    uint32_t kind; /* enum handover_memory */
    uint32_t reserved_14;
};
_Static_assert(sizeof(struct handover_range) == 24, "handover ABI");

/* A file that spillway.conf names (and spillway.conf itself, entry 0), already in memory. */
struct handover_file {
    char path[HANDOVER_PATH_MAX]; /* as written in the configuration */
    uint64_t address;             /* host-physical, page aligned */
    uint64_t bytes;
};
_Static_assert(sizeof(struct handover_file) == 136, "handover ABI");

struct handover {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes; /* sizeof(struct handover) */

    uint64_t image_address; /* host-physical base of the hypervisor's image */
    uint64_t image_bytes;
    uint64_t page_table;          /* host-physical PML4 in use */
    uint64_t firmware_page_table; /* PML4 with identity and hypervisor maps, for runtime services */
    uint64_t trampoline;          /* one page below 1 MiB for starting CPUs */
    uint64_t entry_tsc;           /* TSC at the loader's first line */

    uint64_t acpi_rsdp;        /* 0: none */
    uint64_t smbios;           /* 0: none */
    uint64_t runtime_services; /* EFI_RUNTIME_SERVICES, 0: none */
    uint64_t boot_epoch;       /* seconds since 1970 UTC by EFI GetTime, 0: unknown */
    uint64_t epoch_tsc;        /* TSC when it was read: somewhere in that second */

    struct {
        uint64_t address;                                /* 0: no frame buffer */
        uint32_t width, height, pixels_per_line, format; /* EFI_GRAPHICS_PIXEL_FORMAT */
    } screen;

    /* Where the loader and its files came from, as the firmware sees it.  Drivers here have other
     * names for disks, so it is known by its place and its first bytes. */
    struct {
        uint64_t sector;  /* of 512 bytes, on its disk */
        uint64_t sectors; /* 0: unknown */
        uint64_t first;   /* host-physical: a page that holds its first HANDOVER_VOLUME_BYTES */
    } boot_volume;

    uint32_t cpu_count;
    uint32_t range_count;
    uint32_t file_count;
    uint32_t cpu_total; /* that the firmware knows: more than cpu_count are not used */

    uint32_t cpu_apic_id[HANDOVER_MAX_CPUS];          /* entry 0: the boot CPU */
    struct handover_range range[HANDOVER_MAX_RANGES]; /* ascending, no overlap */
    struct handover_file file[HANDOVER_MAX_FILES];
};
_Static_assert(sizeof(struct handover) == 168 + 4 * HANDOVER_MAX_CPUS + 24 * HANDOVER_MAX_RANGES +
                                              136 * HANDOVER_MAX_FILES,
               "handover ABI");

#endif
