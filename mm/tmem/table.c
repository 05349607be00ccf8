/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of pages of one shard: where a handle's page is found, and where its descriptor lies.
 *
 *     buckets   by the page's hash, chains of pages; by the object's hash, chains of objects, of
 *               each its first page, with its other pages in a list behind it
 *     pages     the descriptors, without a gap: who goes is replaced by the last one
 *
 * Both grow and shrink with what is held, a step at each page that comes or goes, so chains stay
 * short, memory is needed for what is there only, and no descriptor keeps a frame from being freed.
 * Buckets: linear hashing (Litwin, "Linear Hashing: A New Tool for File and Table Addressing",
 * 1980): the table grows by one bucket, which takes its share of the one whose number lacks its
 * highest bit.
 */
#include "base/xxhash.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/tmem/internal.h"

#define CHAIN       4u /* pages per bucket */
#define CHAIN_LEAST 2u /* fewer: buckets are given back */
#define BUCKETS_MIN TMEM_FRAME_BUCKETS

/* ---- look-up -------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct tmem_handle, index) == 28, "object and pool come first");

uint64_t tmem_object_hash(const struct tmem *tmem, const struct tmem_handle *handle)
{
    return XXH64(handle, offsetof(struct tmem_handle, index), tmem->seed);
}

/* The finaliser of MurmurHash3: every bit of the sum comes to every bit of the hash. */
uint64_t tmem_page_hash(uint64_t object_hash, uint32_t index)
{
    uint64_t hash = object_hash + index * 0x9e3779b97f4a7c15ull;

    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 33;
}

struct tmem_shard *tmem_shard_of(struct tmem *tmem, uint64_t hash)
{
    return tmem->shard[hash % TMEM_SHARDS];
}

static struct tmem_bucket *bucket_at(const struct tmem_shard *shard, uint32_t number)
{
    struct tmem_bucket *buckets =
        frame_array_at(&shard->bucket_frames, number / TMEM_FRAME_BUCKETS);

    return &buckets[number % TMEM_FRAME_BUCKETS];
}

/* The number of the highest bit, alone. */
static uint32_t highest_bit(uint32_t number)
{
    return 1u << (31 - __builtin_clz(number));
}

/* The bucket of a hash in a table of so many. */
static uint32_t number_of(uint32_t hash, uint32_t buckets)
{
    uint32_t number = hash & (2 * highest_bit(buckets) - 1);

    return number < buckets ? number : number & (highest_bit(buckets) - 1);
}

static struct tmem_bucket *bucket_of(const struct tmem_shard *shard, uint32_t hash)
{
    uint32_t number = hash & shard->bucket_mask;

    return bucket_at(shard, number < shard->buckets ? number : number & shard->bucket_mask >> 1);
}

static void set_buckets(struct tmem_shard *shard, uint32_t buckets)
{
    shard->buckets = buckets;
    shard->bucket_mask = 2 * highest_bit(buckets) - 1;
}

/* The shard is chosen by the low bits. */
static uint32_t page_bits(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static struct tmem_page **pages_of(const struct tmem_shard *shard, uint64_t hash)
{
    return &bucket_of(shard, page_bits(hash))->pages;
}

static struct tmem_page **objects_of(const struct tmem_shard *shard, uint64_t object_hash)
{
    return &bucket_of(shard, (uint32_t)object_hash)->objects;
}

static bool same_object(const struct tmem_handle *a, const struct tmem_handle *b)
{
    return a->pool == b->pool && a->object[0] == b->object[0] && a->object[1] == b->object[1] &&
           a->object[2] == b->object[2];
}

struct tmem_page *tmem_find(const struct tmem_shard *shard, uint64_t hash,
                            const struct tmem_handle *handle)
{
    struct tmem_page *page = *pages_of(shard, hash);

    while (page != NULL &&
           !(page->handle.index == handle->index && same_object(&page->handle, handle))) {
        page = page->chain;
    }
    return page;
}

struct tmem_page *tmem_find_object(const struct tmem_shard *shard, uint64_t object_hash,
                                   const struct tmem_handle *handle)
{
    struct tmem_page *first = *objects_of(shard, object_hash);

    while (first != NULL && !same_object(&first->handle, handle)) {
        first = first->next_object;
    }
    return first;
}

struct tmem_page *tmem_page_at(const struct tmem_shard *shard, uint32_t number)
{
    struct tmem_page *pages = frame_array_at(&shard->page_frames, number / TMEM_FRAME_PAGES);

    return &pages[number % TMEM_FRAME_PAGES];
}

/* ---- links ---------------------------------------------------------------------------------- */

/* What points to the page in its bucket. */
static struct tmem_page **pointer_to_page(const struct tmem_shard *shard,
                                          const struct tmem_page *page)
{
    struct tmem_page **at = pages_of(shard, tmem_page_hash(page->object_hash, page->handle.index));

    while (*at != page) {
        at = &(*at)->chain;
    }
    return at;
}

/* What points to the object that begins with this page. */
static struct tmem_page **pointer_to_object(const struct tmem_shard *shard,
                                            const struct tmem_page *first)
{
    struct tmem_page **at = objects_of(shard, first->object_hash);

    while (*at != first) {
        at = &(*at)->next_object;
    }
    return at;
}

static bool is_first(const struct tmem_page *page)
{
    return page->value & TMEM_VALUE_FIRST;
}

static void link_to_object(struct tmem_shard *shard, struct tmem_page *page)
{
    struct tmem_page *first = tmem_find_object(shard, page->object_hash, &page->handle);

    if (first == NULL) {
        struct tmem_page **objects = objects_of(shard, page->object_hash);

        page->value |= TMEM_VALUE_FIRST;
        page->sibling = NULL;
        page->next_object = *objects;
        *objects = page;
        return;
    }
    page->sibling = first->sibling;
    page->sibled = &first->sibling;
    first->sibling = page;
    if (page->sibling != NULL) {
        page->sibling->sibled = &page->sibling;
    }
}

static void unlink_from_object(struct tmem_shard *shard, struct tmem_page *page)
{
    struct tmem_page *next = page->sibling, **at;

    if (!is_first(page)) {
        *page->sibled = next;
        if (next != NULL) {
            next->sibled = page->sibled;
        }
        return;
    }
    at = pointer_to_object(shard, page);
    if (next == NULL) {
        *at = page->next_object;
        return;
    }
    next->value |= TMEM_VALUE_FIRST;
    next->next_object = page->next_object;
    *at = next;
}

/* ---- buckets -------------------------------------------------------------------------------- */

/* What belongs to bucket `number` in a table of number + 1 comes there from its parent. */
static void split_bucket(struct tmem_shard *shard, struct tmem_bucket *made, uint32_t number)
{
    struct tmem_bucket *parent = bucket_at(shard, number & ~highest_bit(number));
    struct tmem_page **at = &parent->pages, *page;

    while ((page = *at) != NULL) {
        uint64_t hash = tmem_page_hash(page->object_hash, page->handle.index);

        if (number_of(page_bits(hash), number + 1) == number) {
            *at = page->chain;
            page->chain = made->pages;
            made->pages = page;
        } else {
            at = &page->chain;
        }
    }
    at = &parent->objects;
    while ((page = *at) != NULL) {
        if (number_of((uint32_t)page->object_hash, number + 1) == number) {
            *at = page->next_object;
            page->next_object = made->objects;
            made->objects = page;
        } else {
            at = &page->next_object;
        }
    }
}

/* One bucket more.  Without memory, chains get longer until there is some. */
static bool add_bucket(struct tmem_shard *shard)
{
    uint32_t number = shard->buckets;
    struct tmem_bucket *made;

    if (number % TMEM_FRAME_BUCKETS == 0 && frame_array_grow(&shard->bucket_frames, NULL) == NULL) {
        return false;
    }
    made = bucket_at(shard, number);
    *made = (struct tmem_bucket){NULL, NULL};
    if (number >= BUCKETS_MIN) {
        split_bucket(shard, made, number);
    }
    set_buckets(shard, number + 1);
    return true;
}

/* The last bucket goes back to its parent. */
static void remove_bucket(struct tmem_shard *shard)
{
    uint32_t number = shard->buckets - 1;
    struct tmem_bucket *last = bucket_at(shard, number);
    struct tmem_bucket *parent = bucket_at(shard, number & ~highest_bit(number));
    struct tmem_page **at = &last->pages;

    while (*at != NULL) {
        at = &(*at)->chain;
    }
    *at = parent->pages;
    parent->pages = last->pages;
    at = &last->objects;
    while (*at != NULL) {
        at = &(*at)->next_object;
    }
    *at = parent->objects;
    parent->objects = last->objects;
    set_buckets(shard, number);
    if (number % TMEM_FRAME_BUCKETS == 0) {
        frame_array_shrink(&shard->bucket_frames);
    }
}

bool tmem_table_init(struct tmem_shard *shard)
{
    while (shard->buckets < BUCKETS_MIN) {
        if (!add_bucket(shard)) {
            return false;
        }
    }
    return true;
}

void tmem_table_free(struct tmem_shard *shard)
{
    ASSERT(shard->pages == 0 && shard->page_frames.frames == 0);
    frame_array_free(&shard->bucket_frames);
    shard->buckets = 0;
}

/* ---- pages ---------------------------------------------------------------------------------- */

struct tmem_page *tmem_table_add(struct tmem_shard *shard, uint64_t object_hash,
                                 const struct tmem_handle *handle, struct frame_promise *promise)
{
    struct tmem_page *page, **bucket;

    if (shard->pages == shard->page_frames.frames * TMEM_FRAME_PAGES &&
        frame_array_grow(&shard->page_frames, promise) == NULL) {
        return NULL;
    }
    page = tmem_page_at(shard, shard->pages++);
    page->handle = *handle;
    page->object_hash = object_hash;
    page->value = 0;
    list_init(&page->age);
    bucket = pages_of(shard, tmem_page_hash(object_hash, handle->index));
    page->chain = *bucket;
    *bucket = page;
    link_to_object(shard, page);
    /* Two, so that it catches up after there has been no memory for a while. */
    for (unsigned i = 0; i < 2 && shard->pages > shard->buckets * CHAIN && add_bucket(shard); i++) {
    }
    return page;
}

/* The descriptor lies at `to` from now on. */
static void move_page(struct tmem_shard *shard, struct tmem_page *from, struct tmem_page *to)
{
    bool aged = !list_empty(&from->age);

    *pointer_to_page(shard, from) = to;
    if (is_first(from)) {
        *pointer_to_object(shard, from) = to;
    } else {
        *from->sibled = to;
    }
    if (from->sibling != NULL) {
        from->sibling->sibled = &to->sibling;
    }
    *to = *from;
    if (place_has_frame(tmem_page_place(to).kind)) {
        tmem_page_bind(shard, to, place_frame(tmem_page_place(to)));
    }
    if (aged) {
        to->age.prev->next = &to->age;
        to->age.next->prev = &to->age;
    } else {
        list_init(&to->age);
    }
}

void tmem_table_remove(struct tmem_shard *shard, struct tmem_page *page)
{
    struct tmem_page *last = tmem_page_at(shard, shard->pages - 1);

    *pointer_to_page(shard, page) = page->chain;
    unlink_from_object(shard, page);
    if (page != last) {
        move_page(shard, last, page);
    }
    if (--shard->pages % TMEM_FRAME_PAGES == 0) {
        frame_array_shrink(&shard->page_frames);
    }
    for (unsigned i = 0;
         i < 2 && shard->buckets > BUCKETS_MIN && shard->pages < shard->buckets * CHAIN_LEAST;
         i++) {
        remove_bucket(shard);
    }
}

/* ---- what it costs -------------------------------------------------------------------------- */

/* A frame of each array and two directories are more than a shard needs for its share. */
#define SHARD_EXTRA 6u

uint64_t tmem_table_cost(uint64_t pages)
{
    uint64_t frames = pages / TMEM_FRAME_PAGES + pages / CHAIN_LEAST / TMEM_FRAME_BUCKETS;

    return frame_array_cost(frames) + TMEM_SHARDS * SHARD_EXTRA;
}
