/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory from the firmware, its memory map, and the way out of the firmware. */
#include "boot/loader.h"

#define MAP_BYTES   (64u << 10)
#define EXIT_TRIES  8
#define FOUR_GIB    (4ull << 30)
#define RANGES_HIGH (HANDOVER_MAX_RANGES - 32) /* the map may grow a little until we leave */

static char map[MAP_BYTES] __attribute__((aligned(16)));
static UINTN map_bytes, map_key, descriptor_bytes;

void *pages_alloc(uint64_t pages, uint64_t limit)
{
    EFI_PHYSICAL_ADDRESS address = limit;
    EFI_STATUS status = loader.boot->AllocatePages(
        limit != 0 ? AllocateMaxAddress : AllocateAnyPages, EfiLoaderData, pages, &address);

    if (status != EFI_SUCCESS) {
        loader_fail("loader", "spillway: out of memory: expected %lu free pages up to %lx", pages,
                    limit != 0 ? limit : ~0ul);
    }
    memset((void *)(uintptr_t)address, 0, pages * PAGE_BYTES);
    return (void *)(uintptr_t)address;
}

static bool map_get(void)
{
    UINT32 version;

    map_bytes = sizeof(map);
    return loader.boot->GetMemoryMap(&map_bytes, (EFI_MEMORY_DESCRIPTOR *)(void *)map, &map_key,
                                     &descriptor_bytes, &version) == EFI_SUCCESS;
}

static uint32_t descriptor_kind(const EFI_MEMORY_DESCRIPTOR *d)
{
    switch (d->Type) {
    case EfiConventionalMemory:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiLoaderCode: /* this application, which is done by then */
        return HANDOVER_FREE;
    case EfiLoaderData: /* all that this application leaves behind */
        return HANDOVER_USED;
    case EfiRuntimeServicesCode:
    case EfiRuntimeServicesData:
    case EfiACPIReclaimMemory:
    case EfiACPIMemoryNVS:
        return HANDOVER_FIRMWARE;
    default:
        return HANDOVER_DEVICE;
    }
}

/* Keeps the ranges sorted by address; UEFI does not promise an order. */
static bool range_insert(const EFI_MEMORY_DESCRIPTOR *d)
{
    struct handover *h = loader.handover;
    struct handover_range new = {d->PhysicalStart, d->NumberOfPages, descriptor_kind(d), 0};
    uint32_t at = h->range_count;

    if (new.base == 0 && new.kind == HANDOVER_FREE) { /* page 0 is never handed out */
        new.base = PAGE_BYTES;
        new.pages--;
    }
    if (new.pages == 0) {
        return true;
    }
    while (at > 0 && h->range[at - 1].base > new.base) {
        at--;
    }
    struct handover_range *before = at > 0 ? &h->range[at - 1] : NULL;
    struct handover_range *after = at < h->range_count ? &h->range[at] : NULL;
    if (before != NULL && before->kind == new.kind &&
        before->base + before->pages *PAGE_BYTES == new.base) {
        before->pages += new.pages;
        return true;
    }
    if (after != NULL &&
        after->kind == new.kind &&new.base + new.pages *PAGE_BYTES == after->base) {
        after->base = new.base;
        after->pages += new.pages;
        return true;
    }
    if (h->range_count == HANDOVER_MAX_RANGES) {
        return false;
    }
    for (uint32_t i = h->range_count++; i > at; i--) {
        h->range[i] = h->range[i - 1];
    }
    h->range[at] = new;
    return true;
}

static bool ranges_fill(void)
{
    bool fits = true;

    loader.handover->range_count = 0;
    for (UINTN at = 0; at + sizeof(EFI_MEMORY_DESCRIPTOR) <= map_bytes; at += descriptor_bytes) {
        fits &= range_insert((const EFI_MEMORY_DESCRIPTOR *)(const void *)(map + at));
    }
    return fits;
}

uint64_t memory_top(void)
{
    const struct handover *h = loader.handover;
    uint64_t top = FOUR_GIB;

    if (!map_get() || !ranges_fill() || h->range_count > RANGES_HIGH) {
        loader_fail("loader", "spillway: the memory map has too many ranges");
    }
    for (uint32_t i = 0; i < h->range_count; i++) {
        uint64_t end = h->range[i].base + h->range[i].pages * PAGE_BYTES;
        if (h->range[i].kind != HANDOVER_DEVICE && end > top) {
            top = end;
        }
    }
    return top;
}

void memory_exit_firmware(void)
{
    /* The map may change between the two calls (a timer event allocates): then again. */
    for (unsigned i = 0; i < EXIT_TRIES; i++) {
        if (map_get() && loader.boot->ExitBootServices(loader.image, map_key) == EFI_SUCCESS) {
            print_leave_firmware();
            __asm__ volatile("cli");
            if (!ranges_fill()) {
                loader_fail("loader", "spillway: the memory map has too many ranges");
            }
            return;
        }
    }
    loader_fail("loader", "spillway: the firmware does not let go");
}
