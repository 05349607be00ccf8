/* SPDX-License-Identifier: BSD-2-Clause */
/* Access of the hypervisor to guest memory that may be paged out. */
#include <string.h>

#include "mm/content/pattern.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

#define COPY_MAX_BYTES PAGE_SIZE
#define COPY_MAX_PAGES 2u

/* For a page whose bytes are not wanted any more. */
static const char zeroes[PAGE_SIZE];

/* The part of a copy that lies in one page. */
struct piece {
    gfn_t page;
    size_t offset, bytes;
    bool resident;
    pfn_t frame;   /* resident */
    uint64_t word; /* else: what the page is full of */
};

static unsigned cut(gpa_t at, size_t bytes, struct piece piece[COPY_MAX_PAGES])
{
    size_t offset = at.v & ~PAGE_MASK;
    size_t first = MIN(bytes, PAGE_SIZE - offset);

    piece[0] = (struct piece){.page = gpa_to_gfn(at), .offset = offset, .bytes = first};
    if (first == bytes) {
        return 1;
    }
    piece[1] = (struct piece){.page = gfn(piece[0].page.v + 1), .bytes = bytes - first};
    return 2;
}

static bool owned(struct space *space, const struct piece *piece, unsigned pieces)
{
    for (unsigned i = 0; i < pieces; i++) {
        if (space_find_memslot(space, piece[i].page.v) == NULL) {
            return false;
        }
    }
    return true;
}

static pfn_t frame_of(const struct space *space, uint64_t value, unsigned level, gfn_t page)
{
    uint64_t inside = page.v & ((1ull << (REGION_SHIFT * (level - 1))) - 1);

    return pfn(entry_frame(space, value, level).v + inside);
}

/* Content without making the page resident, if the entry alone tells it.  A page on its way out
 * still stands in its frame, and nobody writes to it there. */
static bool peek(struct space *space, struct piece *piece)
{
    unsigned level;
    uint64_t value = table_entry_get(table_leaf(&space->table, piece->page, &level));

    piece->word = 0;
    switch (entry_kind(space, value, level)) {
    case PLACE_HOLE:
        return true;
    case PLACE_WORD:
        piece->word = pattern_decode(entry_place(space, value, level).payload);
        return true;
    case PLACE_WRITING:
        piece->frame = place_frame(entry_place(space, value, level));
        piece->resident = true;
        return true;
    case PLACE_FRAME:
        piece->frame = frame_of(space, value, level, piece->page);
        piece->resident = true;
        return true;
    default:
        return false;
    }
}

static enum mm_result bring(struct space *space, struct piece *piece, unsigned how,
                            const void *content, struct mm_waiter *waiter)
{
    uint64_t *entry;
    unsigned level;
    enum mm_result result = fault_page(space, piece->page, how, content, waiter, &entry, &level);

    if (result == MM_OK) {
        piece->frame = frame_of(space, table_entry_get(entry), level, piece->page);
        piece->resident = true;
    }
    return result;
}

/* Not by memcpy(): newlib's writes what is long past the cache, though it is read next, and takes
 * more than two instructions for a word. */
static void copy(void *to, const void *from, size_t bytes)
{
    size_t words = bytes / sizeof(uint64_t);

    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    memcpy(to, from, bytes % sizeof(uint64_t));
}

static void read_piece(const struct piece *piece, char *to)
{
    if (piece->resident) {
        copy(to, (const char *)mm_frame_ptr(piece->frame) + piece->offset, piece->bytes);
        return;
    }
    for (size_t i = 0; i < piece->bytes; i++) {
        to[i] = (char)(piece->word >> ((piece->offset + i) % sizeof(uint64_t) * 8));
    }
}

enum mm_result space_read(struct space *space, gpa_t from, void *to, size_t bytes,
                          struct mm_waiter *waiter)
{
    struct piece piece[COPY_MAX_PAGES];
    enum mm_result result = MM_OK;
    unsigned pieces = cut(from, bytes, piece);
    char *at = to;

    ASSERT(bytes <= COPY_MAX_BYTES);
    spin_lock(&space->lock);
    if (!owned(space, piece, pieces)) {
        result = MM_NO_MEMSLOT;
    }
    for (unsigned i = 0; i < pieces && result == MM_OK; i++) {
        if (!peek(space, &piece[i])) {
            result = bring(space, &piece[i], ACCESS_READ, NULL, waiter);
        }
    }
    for (unsigned i = 0; i < pieces && result == MM_OK; i++) {
        read_piece(&piece[i], at);
        at += piece[i].bytes;
    }
    spin_unlock(&space->lock);
    return result;
}

/* Makes all pieces resident for writing.  The lock is held. */
static enum mm_result bring_for_write(struct space *space, struct piece *piece, unsigned pieces,
                                      const void *from, struct mm_waiter *waiter)
{
    if (!owned(space, piece, pieces)) {
        return MM_NO_MEMSLOT;
    }
    for (unsigned i = 0; i < pieces; i++) {
        const void *content = piece[i].bytes == PAGE_SIZE ? from : NULL;
        enum mm_result result = bring(space, &piece[i], ACCESS_WRITE, content, waiter);

        if (result != MM_OK) {
            return result;
        }
    }
    return MM_OK;
}

/* Our own writes set no D bit in the table. */
static void *writable(const struct piece *piece)
{
    space_note_write(frame_get(piece->frame));
    return (char *)mm_frame_ptr(piece->frame) + piece->offset;
}

enum mm_result space_write(struct space *space, gpa_t to, const void *from, size_t bytes,
                           struct mm_waiter *waiter)
{
    struct piece piece[COPY_MAX_PAGES];
    unsigned pieces = cut(to, bytes, piece);
    const char *at = from;
    enum mm_result result;

    ASSERT(bytes <= COPY_MAX_BYTES);
    spin_lock(&space->lock);
    result = bring_for_write(space, piece, pieces, from, waiter);
    for (unsigned i = 0; i < pieces && result == MM_OK; i++) {
        copy(writable(&piece[i]), at, piece[i].bytes);
        at += piece[i].bytes;
    }
    spin_unlock(&space->lock);
    return result;
}

enum mm_result space_write_place(struct space *space, gfn_t page, const struct page_owner *owner,
                                 struct place from, struct mm_waiter *waiter)
{
    struct piece piece[COPY_MAX_PAGES];
    enum mm_result result;

    cut(gfn_to_gpa(page), PAGE_SIZE, piece);
    spin_lock(&space->lock);
    result = bring_for_write(space, piece, 1, zeroes, waiter);
    if (result == MM_OK) {
        tier_fill(owner, from, writable(&piece[0]));
    }
    spin_unlock(&space->lock);
    return result;
}

/* ---- the guest's own writes of whole pages -------------------------------------------------- */

static bool has_to_read(struct space *space, gfn_t page)
{
    enum place_kind kind;
    unsigned level;
    uint64_t value;

    if (space_find_memslot(space, page.v) == NULL) {
        return false;
    }
    value = table_entry_get(table_leaf(&space->table, page, &level));
    kind = entry_kind(space, value, level);
    return tier_holds(kind) && !tier_at_once(kind);
}

bool space_has_to_read(struct space *space, gfn_t page)
{
    bool has_to;

    spin_lock(&space->lock);
    has_to = has_to_read(space, page);
    spin_unlock(&space->lock);
    return has_to;
}

/* A frame for the page, which gets `content` if it is not NULL.  MM_OK, and *frame is NULL: it is
 * not to be read. */
static enum mm_result frame_to_overwrite(struct space *space, gfn_t page, const void *content,
                                         struct mm_waiter *waiter, void **frame)
{
    struct piece piece = {.page = page};
    enum mm_result result;

    *frame = NULL;
    if (content == NULL || !has_to_read(space, page)) {
        return MM_OK;
    }
    result = bring(space, &piece, ACCESS_WRITE, content, waiter);
    if (result == MM_OK) {
        *frame = mm_frame_ptr(piece.frame);
    }
    return result;
}

enum mm_result space_overwrite(struct space *space, gfn_t page, uint64_t word,
                               struct mm_waiter *waiter, bool *done)
{
    enum mm_result result;
    void *frame;

    spin_lock(&space->lock);
    result = frame_to_overwrite(space, page, zeroes, waiter, &frame);
    if (frame != NULL && word != 0) {
        page_fill(frame, word);
    }
    spin_unlock(&space->lock);
    *done = frame != NULL;
    return result;
}

enum mm_result space_overwrite_copy(struct space *space, gfn_t page, gfn_t from,
                                    struct mm_waiter *waiter, bool *done)
{
    struct piece source = {.page = from};
    enum mm_result result;
    void *frame;

    spin_lock(&space->lock);
    result = frame_to_overwrite(
        space, page, peek(space, &source) && source.resident ? mm_frame_ptr(source.frame) : NULL,
        waiter, &frame);
    spin_unlock(&space->lock);
    *done = frame != NULL;
    return result;
}

/* ---- exchange ------------------------------------------------------------------------------- */

static bool exchange4(void *at, uint64_t *expected, uint64_t desired)
{
    uint32_t old = (uint32_t)*expected;
    bool done = __atomic_compare_exchange_n((uint32_t *)at, &old, (uint32_t)desired, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

    *expected = old;
    return done;
}

enum mm_result space_cmpxchg(struct space *space, gpa_t at, size_t bytes, uint64_t *expected,
                             uint64_t desired, bool *done, struct mm_waiter *waiter)
{
    struct piece piece[COPY_MAX_PAGES];
    enum mm_result result;

    ASSERT((bytes == 4 || bytes == 8) && at.v % bytes == 0);
    cut(at, bytes, piece);
    spin_lock(&space->lock);
    result = bring_for_write(space, piece, 1, NULL, waiter);
    if (result == MM_OK) {
        void *word = writable(&piece[0]);

        if (bytes == 4) {
            *done = exchange4(word, expected, desired);
        } else {
            *done = __atomic_compare_exchange_n((uint64_t *)word, expected, desired, false,
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
    }
    spin_unlock(&space->lock);
    return result;
}
