/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/bus/bus.h"

#include "base/bits.h"

void bus_init(struct bus_map *map, _Atomic uint8_t *low, uint64_t low_count)
{
    spin_init(&map->lock, RANK_VBUS, "vbus");
    map->low = low;
    map->low_count = low_count;
    for (unsigned i = 0; i <= BUS_RANGES_MAX; i++) {
        atomic_init(&map->numbered[i], NULL);
    }
    atomic_init(&map->changes, 0);
    atomic_init(&map->count, 0);
}

/* ---- numbers ---- */

/* A number that is given to another range meanwhile leads to one that is not at the address. */
static struct bus_range *find_low(const struct bus_map *map, uint64_t address)
{
    uint8_t number = atomic_load_explicit(&map->low[address], memory_order_acquire);

    return atomic_load_explicit(&map->numbered[number], memory_order_relaxed);
}

static void set_low(struct bus_map *map, const struct bus_range *range, uint8_t number)
{
    uint64_t end = MIN(range->first + range->count, map->low_count);

    for (uint64_t at = range->first; at < end; at++) {
        /* Behind the store to numbered[]. */
        atomic_store_explicit(&map->low[at], number, memory_order_release);
    }
}

/* There is one: the table has room. */
static void give_number(struct bus_map *map, struct bus_range *range)
{
    range->number = 1;
    while (atomic_load_explicit(&map->numbered[range->number], memory_order_relaxed) != NULL) {
        range->number++;
    }
    atomic_store_explicit(&map->numbered[range->number], range, memory_order_relaxed);
    set_low(map, range, range->number);
}

static void take_number(struct bus_map *map, struct bus_range *range)
{
    set_low(map, range, 0);
    atomic_store_explicit(&map->numbered[range->number], NULL, memory_order_relaxed);
}

/* ---- the table ---- */

static uint64_t first_of(const struct bus_map *map, unsigned at)
{
    return atomic_load_explicit(&map->place[at].first, memory_order_relaxed);
}

static uint64_t last_of(const struct bus_map *map, unsigned at)
{
    return atomic_load_explicit(&map->place[at].last, memory_order_relaxed);
}

static unsigned count_of(const struct bus_map *map)
{
    return atomic_load_explicit(&map->count, memory_order_relaxed);
}

/* The last place whose range begins at or below the address; 0 also if none does. */
static inline unsigned place_of(const struct bus_map *map, unsigned count, uint64_t address)
{
    unsigned at = 0;

    for (unsigned left = count; left > 1;) {
        unsigned half = left / 2;

        at += first_of(map, at + half) <= address ? half : 0;
        left -= half;
    }
    return at;
}

/* A range that has one of the addresses first..last. */
static inline struct bus_range *find_in(const struct bus_map *map, uint64_t first, uint64_t last)
{
    unsigned count = count_of(map), at;

    if (count == 0 || last_of(map, count - 1) < first) { /* behind all of them: often */
        return NULL;
    }
    at = place_of(map, count, last);
    if (first_of(map, at) > last || last_of(map, at) < first) {
        return NULL;
    }
    return atomic_load_explicit(&map->place[at].range, memory_order_relaxed);
}

/* A look between two changes.  It waits for one change at most that is being made: a few stores. */
static inline struct bus_range *look(struct bus_map *map, uint64_t first, uint64_t last)
{
    for (;;) {
        uint32_t before = atomic_load_explicit(&map->changes, memory_order_acquire);
        struct bus_range *range = find_in(map, first, last);

        /* What was read above was read before the count is read again. */
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&map->changes, memory_order_relaxed) == before) {
            return range;
        }
        __builtin_ia32_pause();
    }
}

struct bus_range *bus_find(struct bus_map *map, uint64_t address)
{
    return address < map->low_count ? find_low(map, address) : look(map, address, address);
}

bool bus_is_free(struct bus_map *map, uint64_t first, uint64_t count)
{
    return look(map, first, first + count - 1) == NULL;
}

/* ---- changes; the map's lock is held ---- */

static void begin_change(struct bus_map *map)
{
    spin_lock(&map->lock);
    atomic_fetch_add_explicit(&map->changes, 1, memory_order_relaxed);
    /* Who sees one of the stores that follow sees the odd count. */
    atomic_thread_fence(memory_order_release);
}

static void end_change(struct bus_map *map)
{
    atomic_fetch_add_explicit(&map->changes, 1, memory_order_release);
    spin_unlock(&map->lock);
}

static void put(struct bus_map *map, unsigned at, uint64_t first, uint64_t last,
                struct bus_range *range)
{
    atomic_store_explicit(&map->place[at].first, first, memory_order_relaxed);
    atomic_store_explicit(&map->place[at].last, last, memory_order_relaxed);
    atomic_store_explicit(&map->place[at].range, range, memory_order_relaxed);
}

static void copy(struct bus_map *map, unsigned to, unsigned from)
{
    put(map, to, first_of(map, from), last_of(map, from),
        atomic_load_explicit(&map->place[from].range, memory_order_relaxed));
}

static void insert(struct bus_map *map, uint64_t first, uint64_t last, struct bus_range *range)
{
    unsigned at = count_of(map);

    for (; at > 0 && first_of(map, at - 1) > last; at--) {
        copy(map, at, at - 1);
    }
    put(map, at, first, last, range);
    atomic_store_explicit(&map->count, count_of(map) + 1, memory_order_relaxed);
}

static void take_out(struct bus_map *map, uint64_t first)
{
    unsigned count = count_of(map) - 1;

    for (unsigned at = place_of(map, count + 1, first); at < count; at++) {
        copy(map, at, at + 1);
    }
    atomic_store_explicit(&map->count, count, memory_order_relaxed);
}

bool bus_add(struct bus_map *map, struct bus_range *range, uint64_t first, uint64_t count)
{
    uint64_t last = first + count - 1;
    bool fits;

    if (count == 0 || last < first) {
        return false;
    }
    spin_lock(range->lock);
    begin_change(map);
    fits = !range->present && count_of(map) < BUS_RANGES_MAX && find_in(map, first, last) == NULL;
    if (fits) {
        range->present = true;
        range->first = first;
        range->count = count;
        insert(map, first, last, range);
        give_number(map, range);
    }
    end_change(map);
    spin_unlock(range->lock);
    return fits;
}

void bus_remove(struct bus_map *map, struct bus_range *range)
{
    spin_lock(range->lock);
    if (range->present) {
        begin_change(map);
        take_out(map, range->first);
        take_number(map, range);
        end_change(map);
        range->present = false;
    }
    spin_unlock(range->lock);
}

/* ---- accesses ---- */

/* Since it was found it may have been taken out, and put elsewhere. */
static bool is_at(const struct bus_range *range, uint64_t address)
{
    return range->present && address - range->first < range->count;
}

enum bus_result bus_transfer(struct bus_map *map, uint64_t address, struct bus_access *access)
{
    struct bus_range *range = bus_find(map, address);
    enum bus_result result = BUS_NOBODY;

    if (range == NULL) {
        return BUS_NOBODY;
    }
    access->range = range;
    if (range->ops->before != NULL) {
        range->ops->before(access);
    }
    spin_lock(range->lock);
    if (is_at(range, address)) {
        access->offset = address - range->first;
        result = access->write ? range->ops->write(access) : range->ops->read(access);
    }
    spin_unlock(range->lock);
    if (result == BUS_DONE && range->ops->after != NULL) {
        range->ops->after(access);
    }
    return result;
}

void bus_read_bytes(struct bus_access *access, unsigned end,
                    uint8_t (*read_byte)(struct bus_access *access, unsigned offset))
{
    access->value = 0;
    for (unsigned i = 0; i < access->size; i++) {
        unsigned offset = (unsigned)access->offset + i;
        uint8_t byte = offset < end ? read_byte(access, offset) : 0xff;

        access->value |= (uint64_t)byte << (8 * i);
    }
}

void bus_write_bytes(struct bus_access *access, unsigned end,
                     void (*write_byte)(struct bus_access *access, unsigned offset, uint8_t value))
{
    for (unsigned i = 0; i < access->size && access->offset + i < end; i++) {
        write_byte(access, (unsigned)access->offset + i, (uint8_t)(access->value >> (8 * i)));
    }
}
