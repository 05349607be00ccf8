/* SPDX-License-Identifier: BSD-2-Clause */
/* The volume that the loader came from: where it lies on its disk, and how it begins. */
#include "boot/loader.h"

#define VOLUME_SECTOR_BYTES 512

/* UEFI 2.10, 10.3.5.1 "Hard Drive"; GNU-EFI's struct of it is packed, so its fields are copied. */
static bool find_start(EFI_DEVICE_PATH *path, uint64_t *block)
{
    for (; !IsDevicePathEnd(path); path = NextDevicePathNode(path)) {
        if (DevicePathNodeLength(path) < (int)sizeof(*path)) {
            return false;
        }
        if (DevicePathType(path) == MEDIA_DEVICE_PATH &&
            DevicePathSubType(path) == MEDIA_HARDDRIVE_DP) {
            memcpy(block, &((const HARDDRIVE_DEVICE_PATH *)path)->PartitionStart, sizeof(*block));
            return true;
        }
    }
    return false;
}

/* Its first block on the disk: 0 if it is all of one, which the path then does not say. */
static uint64_t start_block(void)
{
    EFI_GUID guid = DEVICE_PATH_PROTOCOL;
    uint64_t block = 0;
    void *path;

    if (loader.boot->HandleProtocol(loader.volume, &guid, &path) != EFI_SUCCESS ||
        !find_start(path, &block)) {
        return 0;
    }
    return block;
}

void volume_describe(void)
{
    struct handover *h = loader.handover;
    EFI_GUID guid = BLOCK_IO_PROTOCOL;
    void *found;

    if (loader.boot->HandleProtocol(loader.volume, &guid, &found) != EFI_SUCCESS) {
        return; /* it came over a network, or from something else that is no disk */
    }
    EFI_BLOCK_IO *io = found;
    uint64_t blocks = io->Media->LastBlock + 1, bytes = io->Media->BlockSize;
    void *first = pages_alloc(PAGES(HANDOVER_VOLUME_BYTES), 0);

    if (bytes < VOLUME_SECTOR_BYTES || HANDOVER_VOLUME_BYTES % bytes != 0 ||
        io->ReadBlocks(io, io->Media->MediaId, 0, HANDOVER_VOLUME_BYTES, first) != EFI_SUCCESS) {
        return;
    }
    h->boot_volume.sector = start_block() * (bytes / VOLUME_SECTOR_BYTES);
    h->boot_volume.sectors = blocks * (bytes / VOLUME_SECTOR_BYTES);
    h->boot_volume.first = (uint64_t)(uintptr_t)first;
}
