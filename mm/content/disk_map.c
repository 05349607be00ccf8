/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/disk_map.h"

#include <string.h>

#include "base/log.h"
#include "base/xxhash.h"
#include "mm/content/tier.h"

#define FRAME_ENTRIES ((uint32_t)(PAGE_SIZE / sizeof(struct disk_map_entry)))
#define FRAME_BUCKETS (FRAME_ENTRIES / DISK_MAP_WAYS)
#define DISK_STEP     0x9e3779b97f4a7c15ull /* so that the disks begin in different buckets */

static uint64_t frames_for(uint64_t pages)
{
    return (pages + FRAME_ENTRIES - 1) / FRAME_ENTRIES;
}

uint64_t disk_map_cost(uint64_t pages)
{
    return frame_array_cost(frames_for(pages));
}

bool disk_map_init(struct disk_map *map, uint64_t pages)
{
    while (map->frames.frames < frames_for(pages)) {
        void *entries = frame_array_grow(&map->frames, NULL);

        if (entries == NULL) {
            frame_array_free(&map->frames);
            return false;
        }
        memset(entries, 0, PAGE_SIZE);
    }
    map->buckets = (uint64_t)map->frames.frames * FRAME_BUCKETS;
    return true;
}

void disk_map_free(struct disk_map *map)
{
    ASSERT(map->used == 0);
    if (map->buckets != 0) {
        frame_array_free(&map->frames);
    }
    map->buckets = 0;
}

bool disk_map_add(struct disk_map *map, struct block_device *device, unsigned *disk)
{
    if (map->disks == DISK_MAP_DISKS) {
        return false;
    }
    *disk = map->disks++;
    map->disk[*disk].device = device;
    return true;
}

struct disk_map_entry *disk_map_at(const struct disk_map *map, uint32_t number)
{
    struct disk_map_entry *entries = frame_array_at(&map->frames, number / FRAME_ENTRIES);

    ASSERT(number < map->buckets * DISK_MAP_WAYS);
    return &entries[number % FRAME_ENTRIES];
}

/* Number of the first entry of the block's bucket. */
static uint32_t bucket_of(const struct disk_map *map, unsigned disk, uint64_t block)
{
    return (uint32_t)((block + disk * DISK_STEP) % map->buckets * DISK_MAP_WAYS);
}

static uint64_t key_of(unsigned disk, uint64_t block)
{
    return DISK_MAP_USED | FIELD_PREP(DISK_MAP_DISK, disk) | FIELD_PREP(DISK_MAP_BLOCK, block);
}

uint32_t disk_map_put(struct disk_map *map, unsigned disk, uint64_t block, uint64_t page)
{
    uint32_t first = bucket_of(map, disk, block);

    if (page > UINT32_MAX || block > DISK_MAP_BLOCK) {
        return DISK_MAP_NONE;
    }
    for (uint32_t number = first; number < first + DISK_MAP_WAYS; number++) {
        struct disk_map_entry *entry = disk_map_at(map, number);

        if (entry->key == 0) {
            *entry = (struct disk_map_entry){.key = key_of(disk, block), .page = (uint32_t)page};
            map->used++;
            return number;
        }
    }
    return DISK_MAP_NONE;
}

void disk_map_remove(struct disk_map *map, uint32_t number)
{
    struct disk_map_entry *entry = disk_map_at(map, number);

    ASSERT(entry->key & DISK_MAP_USED);
    entry->key = 0;
    map->used--;
}

uint32_t disk_map_find(const struct disk_map *map, unsigned disk, uint64_t block, uint32_t behind)
{
    uint32_t first = bucket_of(map, disk, block);
    uint32_t number = behind == DISK_MAP_NONE ? first : behind + 1;

    for (; number < first + DISK_MAP_WAYS; number++) {
        if ((disk_map_at(map, number)->key & ~DISK_MAP_ENDING) == key_of(disk, block)) {
            return number;
        }
    }
    return DISK_MAP_NONE;
}

static uint32_t seal_of(const void *page)
{
    return (uint32_t)XXH64(page, PAGE_SIZE, 0);
}

void disk_map_set_seal(const struct disk_map *map, uint32_t number, const void *page)
{
    disk_map_at(map, number)->seal = seal_of(page);
}

bool disk_map_verify(const struct disk_map *map, uint32_t number, const void *page)
{
    return disk_map_at(map, number)->seal == seal_of(page);
}

/* ---- the tier ------------------------------------------------------------------------------- */

static void drop(struct page_owner *owner, uint64_t payload)
{
    disk_map_remove(owner->disks, place_copy(place(PLACE_DISK, payload)));
}

const struct tier tier_disk = {.drop = drop};
