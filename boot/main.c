/* SPDX-License-Identifier: BSD-2-Clause */
/* Entry of the UEFI application: EFI/BOOT/BOOTX64.EFI. */
#include "boot/loader.h"

struct loader loader;

/* GNU-EFI's start code calls this by the SysV ABI: not EFIAPI. */
EFI_STATUS efi_main(EFI_HANDLE image_handle, EFI_SYSTEM_TABLE *system);

EFI_STATUS efi_main(EFI_HANDLE image_handle, EFI_SYSTEM_TABLE *system)
{
    uint64_t entry_tsc = read_tsc();
    struct image image;

    loader.image = image_handle;
    loader.system = system;
    loader.boot = system->BootServices;
    print_init();
    loader_print("spillway: loader\n");
    loader.boot->SetWatchdogTimer(0, 0, 0, NULL);

    struct handover *h = pages_alloc(PAGES(sizeof(*h)), 0);
    loader.handover = h;
    h->magic = HANDOVER_MAGIC;
    h->version = HANDOVER_VERSION;
    h->bytes = sizeof(*h);
    h->entry_tsc = entry_tsc;
    files_load();
    volume_describe();
    image_load(&image);
    machine_describe();
    tables_build(&image, memory_top());
    loader_print("spillway: %u CPU(s), %u file(s), hypervisor %lu KiB at %lx\n", h->cpu_count,
                 h->file_count, h->image_bytes / 1024, h->image_address);
    memory_exit_firmware();
    tables_enter();
}
