/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own page tables, walked in software.  Intel SDM volume 3, chapter "Paging".
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/policy.h"

#define MAX_LEVELS 5
/* Then the guest runs again: it changes its tables as fast as we set A and D bits. */
#define MAX_ATTEMPTS 4

/* One paging mode: how many levels, how wide an entry. */
struct paging {
    unsigned levels;
    unsigned entry_bytes;
    unsigned index_bits;
    bool nx; /* bit 63 means no-execute */
};

/* A walk in progress. */
struct walk {
    struct paging paging;
    uint64_t linear;
    unsigned access;
    bool user; /* the access is made at CPL 3 */
    gpa_t at[MAX_LEVELS];
    uint64_t entry[MAX_LEVELS]; /* [0]: the leaf's level when it ends there */
    unsigned leaf;              /* level where it ended: 0 is 4 KiB */
    uint64_t frame;
    bool may_write, may_user, no_execute;
};

static bool paging_on(const struct guest_context *g)
{
    return (g->state.cr0 & CR0_PG) != 0;
}

static bool long_mode(const struct guest_context *g)
{
    return (g->state.efer & EFER_LMA) != 0;
}

static struct paging paging_of(const struct guest_context *g)
{
    bool nx = (g->state.efer & EFER_NXE) != 0;

    if (long_mode(g)) {
        unsigned levels = (g->state.cr4 & CR4_LA57) ? 5 : 4;

        return (struct paging){.levels = levels, .entry_bytes = 8, .index_bits = 9, .nx = nx};
    }
    if (g->state.cr4 & CR4_PAE) {
        return (struct paging){.levels = 3, .entry_bytes = 8, .index_bits = 9, .nx = nx};
    }
    return (struct paging){.levels = 2, .entry_bytes = 4, .index_bits = 10, .nx = false};
}

static enum guest_result raise_pf(struct guest_context *g, const struct walk *w, uint64_t error)
{
    error |= (w->access & ACCESS_WRITE) ? PF_WRITE : 0;
    error |= w->user ? PF_USER : 0;
    if ((w->access & ACCESS_EXEC) && (w->paging.nx || (g->state.cr4 & CR4_SMEP))) {
        error |= PF_FETCH;
    }
    g->vcpu->regs.cr2 = w->linear;
    vcpu_inject_fault(g->vcpu, VECTOR_PF, (uint32_t)error);
    return GUEST_FAULT;
}

/* Reads a table entry.  Where no memory is, all ones: as a bus without a device answers. */
static enum guest_result read_entry(struct guest_context *g, const struct walk *w, gpa_t at,
                                    uint64_t *entry)
{
    struct vcpu *vcpu = g->vcpu;
    enum mm_result result;

    *entry = 0;
    result = space_read(vcpu->space, at, entry, w->paging.entry_bytes, &vcpu->waiter);
    if (result == MM_NO_MEMSLOT) {
        *entry = ~0ull;
        return GUEST_OK;
    }
    return guest_memory_result(vcpu, result, at, "page table");
}

static unsigned level_shift(const struct walk *w, unsigned level)
{
    return PAGE_SHIFT + level * w->paging.index_bits;
}

static bool is_pae_pdpte(const struct walk *w, unsigned level)
{
    return w->paging.levels == 3 && level == 2;
}

static bool is_large(const struct guest_context *g, const struct walk *w, unsigned level)
{
    if (level == 0 || !(w->entry[level] & PTE_PS)) {
        return false;
    }
    if (w->paging.entry_bytes == 4) {
        return (g->state.cr4 & CR4_PSE) != 0;
    }
    return level == 1 || (level == 2 && w->paging.levels >= 4);
}

/* SDM volume 3, "Page-Directory-Pointer-Table Entries", tables "Format of ...": bits that must be
 * zero. */
static uint64_t reserved_bits(const struct guest_context *g, const struct walk *w, unsigned level)
{
    uint64_t high = BITS(51, 0) & ~(BIT(guest_physical_bits()) - 1);
    uint64_t reserved = high;

    if (w->paging.entry_bytes == 4) {
        return is_large(g, w, level) ? BIT(21) : 0;
    }
    if (is_pae_pdpte(w, level)) {
        /* Not PTE_A: the manuals reserve it, but QEMU's TCG sets it. */
        return high | BITS(63, 52) | BITS(8, 6) | BITS(2, 1);
    }
    if (w->paging.levels == 3) {
        reserved |= BITS(62, 52);
    }
    if (!w->paging.nx) {
        reserved |= PTE_NX;
    }
    if (is_large(g, w, level)) {
        reserved |= BITS(level_shift(w, level) - 1, 13);
    } else if (level > 0) {
        reserved |= level >= 3 || (level == 2 && w->paging.levels == 3) ? PTE_PS : 0;
    }
    return reserved;
}

static uint64_t leaf_frame(const struct walk *w, unsigned level)
{
    uint64_t entry = w->entry[level];
    uint64_t low = BIT(level_shift(w, level)) - 1;
    uint64_t base = entry & PTE_ADDRESS & ~low;

    if (w->paging.entry_bytes == 4 && level == 1) {
        base = (entry & BITS(31, 22)) | (FIELD_GET(BITS(20, 13), entry) << 32); /* PSE-36 */
    }
    return (base | (w->linear & low)) & PAGE_MASK;
}

/* From the root to the leaf; fills entries, rights and frame. */
static enum guest_result descend(struct guest_context *g, struct walk *w)
{
    uint64_t table = g->state.cr3 & PTE_ADDRESS;

    if (w->paging.levels <= 3) {
        table = g->state.cr3 & (w->paging.levels == 3 ? BITS(31, 5) : BITS(31, 12));
    }
    w->may_write = true;
    w->may_user = true;
    w->no_execute = false;
    for (unsigned level = w->paging.levels; level-- > 0;) {
        uint64_t index = w->linear >> level_shift(w, level);
        enum guest_result result;
        uint64_t entry;

        index &= BIT(w->paging.index_bits) - 1;
        w->at[level] = gpa(table + index * w->paging.entry_bytes);
        result = read_entry(g, w, w->at[level], &w->entry[level]);
        if (result != GUEST_OK) {
            return result;
        }
        entry = w->entry[level];
        if (!(entry & PTE_P)) {
            return raise_pf(g, w, 0);
        }
        if (entry & reserved_bits(g, w, level)) {
            return raise_pf(g, w, PF_PRESENT | PF_RESERVED);
        }
        if (!is_pae_pdpte(w, level)) {
            w->may_write = w->may_write && (entry & PTE_W);
            w->may_user = w->may_user && (entry & PTE_U);
            w->no_execute = w->no_execute || (w->paging.nx && (entry & PTE_NX));
        }
        if (level == 0 || is_large(g, w, level)) {
            w->leaf = level;
            w->frame = leaf_frame(w, level);
            return GUEST_OK;
        }
        table = entry & (w->paging.entry_bytes == 4 ? BITS(31, 12) : PTE_ADDRESS);
    }
    return GUEST_FAIL; /* not reached: level 0 is a leaf */
}

/* SDM volume 3, "Determination of Access Rights". */
static bool allowed(const struct guest_context *g, const struct walk *w)
{
    if (w->user) {
        if (!w->may_user) {
            return false;
        }
    } else if (w->may_user) {
        if (w->access & ACCESS_EXEC) {
            if (g->state.cr4 & CR4_SMEP) {
                return false;
            }
        } else if ((g->state.cr4 & CR4_SMAP) && !(g->vcpu->regs.rflags & RFLAGS_AC)) {
            return false;
        }
    }
    if ((w->access & ACCESS_WRITE) && !w->may_write && (w->user || (g->state.cr0 & CR0_WP))) {
        return false;
    }
    return !((w->access & ACCESS_EXEC) && w->no_execute);
}

/* Sets A on the way and D on the leaf.  GUEST_RETRY: an entry has changed since it was read. */
static enum guest_result set_accessed(struct guest_context *g, struct walk *w)
{
    struct vcpu *vcpu = g->vcpu;

    for (unsigned level = w->paging.levels; level-- > w->leaf;) {
        uint64_t wanted = PTE_A;
        uint64_t expected = w->entry[level];
        enum guest_result result;
        bool done = false;

        if (is_pae_pdpte(w, level)) {
            continue;
        }
        if (level == w->leaf && (w->access & ACCESS_WRITE)) {
            wanted |= PTE_D;
        }
        if ((expected & wanted) == wanted) {
            continue;
        }
        result =
            guest_memory_result(vcpu,
                                space_cmpxchg(vcpu->space, w->at[level], w->paging.entry_bytes,
                                              &expected, expected | wanted, &done, &vcpu->waiter),
                                w->at[level], "page table");
        if (result != GUEST_OK) {
            return result;
        }
        if (!done) {
            return GUEST_RETRY;
        }
    }
    return GUEST_OK;
}

static enum guest_result walk_once(struct guest_context *g, struct walk *w)
{
    enum guest_result result = descend(g, w);

    if (result != GUEST_OK) {
        return result;
    }
    if (!allowed(g, w)) {
        return raise_pf(g, w, PF_PRESENT);
    }
    return set_accessed(g, w);
}

static bool cache_find(const struct guest_context *g, uint64_t page, unsigned access, gpa_t *out)
{
    unsigned count = MIN(g->cached, (unsigned)GUEST_CACHE);

    for (unsigned i = 0; i < count; i++) {
        if (g->cache[i].page == page && (g->cache[i].access & access) == access) {
            *out = gpa(g->cache[i].frame);
            return true;
        }
    }
    return false;
}

static void cache_add(struct guest_context *g, uint64_t page, unsigned access, uint64_t frame)
{
    unsigned slot = g->cached++ % GUEST_CACHE;

    g->cache[slot].page = page;
    g->cache[slot].frame = frame;
    g->cache[slot].access = access;
}

enum guest_result guest_translate(struct guest_context *g, gva_t at, unsigned access, gpa_t *out)
{
    uint64_t page = at.v & PAGE_MASK;
    uint64_t offset = at.v & ~PAGE_MASK;
    struct walk w = {.linear = at.v, .access = access, .user = g->cpl == 3};
    enum guest_result result = GUEST_RETRY;

    if (!paging_on(g)) {
        *out = gpa(at.v);
        return GUEST_OK;
    }
    if (cache_find(g, page, access, out)) {
        out->v |= offset;
        return GUEST_OK;
    }
    w.paging = paging_of(g);
    for (unsigned i = 0; i < MAX_ATTEMPTS && result == GUEST_RETRY; i++) {
        result = walk_once(g, &w);
    }
    if (result == GUEST_OK) {
        cache_add(g, page, access, w.frame);
        *out = gpa(w.frame | offset);
    }
    return result;
}
