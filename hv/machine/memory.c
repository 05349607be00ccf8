/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/machine/memory.h"

#include <string.h>

#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/libc.h"
#include "hv/machine.h"
#include "hv/machine/refuse.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"

#define LOW_MEMORY_PAGES 256 /* the first MiB: firmware's and the trampoline's */

/* The heap: kernels that are being loaded; of each VM its devices and what of its output is kept;
 * of each vCPU what is not in frames; of each disk its device, with 8 queues; of each NIC its
 * device; switches. */
#define HEAP_PAGES         128u
#define HEAP_PAGES_OF_VM   18u
#define HEAP_PAGES_OF_VCPU 3u
#define HEAP_PAGES_OF_DISK 4u
#define HEAP_PAGES_OF_NIC  6u
#define HEAP_PAGES_OF_NET  14u /* with its uplink */

static uint64_t footprint_pages; /* frame database, image, tables: all but guest files */
static uint64_t files_pages;
static uint64_t unused_pages; /* RAM that the configured pool leaves out */

unsigned long machine_memory_ram_mib(void)
{
    const struct handover *h = machine_handover();
    uint64_t pages = 0;

    for (uint32_t i = 0; i < h->range_count; i++) {
        pages += h->range[i].kind != HANDOVER_DEVICE ? h->range[i].pages : 0;
    }
    return (unsigned long)(pages / 256);
}

/* One past the highest frame that can be ours. */
static uint64_t highest_frame(const struct handover *h)
{
    uint64_t highest = 0;

    for (uint32_t i = 0; i < h->range_count; i++) {
        const struct handover_range *r = &h->range[i];

        if (r->kind == HANDOVER_FREE || r->kind == HANDOVER_USED) {
            highest = MAX(highest, r->base / PAGE_SIZE + r->pages);
        }
    }
    return highest;
}

/* The part of a free range above the first MiB. */
static bool usable_part(const struct handover_range *r, uint64_t *first, uint64_t *pages)
{
    uint64_t begin = MAX(r->base / PAGE_SIZE, LOW_MEMORY_PAGES);
    uint64_t end = r->base / PAGE_SIZE + r->pages;

    if (r->kind != HANDOVER_FREE || end <= begin) {
        return false;
    }
    *first = begin;
    *pages = end - begin;
    return true;
}

static uint64_t heap_pages(const struct config *config)
{
    uint64_t pages = HEAP_PAGES + (uint64_t)config->vm_count * HEAP_PAGES_OF_VM +
                     (uint64_t)config->disks_used * HEAP_PAGES_OF_DISK +
                     (uint64_t)config->nics_used * HEAP_PAGES_OF_NIC +
                     (uint64_t)config->nets_used * HEAP_PAGES_OF_NET;

    for (uint32_t i = 0; i < config->vm_count; i++) {
        pages += (uint64_t)config->vm[i].vcpus * HEAP_PAGES_OF_VCPU;
    }
    return pages;
}

/* The frame database and the heap go to the end of the largest free range. */
static uint64_t place_own(const struct handover *h, uint64_t own_pages)
{
    uint64_t best = 0, best_pages = 0, first, pages;

    for (uint32_t i = 0; i < h->range_count; i++) {
        if (usable_part(&h->range[i], &first, &pages) && pages > best_pages) {
            best = first + pages - own_pages;
            best_pages = pages;
        }
    }
    if (best_pages < own_pages) {
        panic("no room for frame database and heap, %lu KiB", (unsigned long)own_pages * 4);
    }
    return best;
}

static void count_footprint(const struct handover *h, uint64_t own_pages)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < h->range_count; i++) {
        used += h->range[i].kind == HANDOVER_USED ? h->range[i].pages : 0;
    }
    for (uint32_t i = 0; i < h->file_count; i++) {
        files_pages += ALIGN_UP(h->file[i].bytes, PAGE_SIZE) / PAGE_SIZE;
    }
    footprint_pages = used - MIN(files_pages, used) + own_pages;
}

void machine_memory_init(void)
{
    const struct handover *h = machine_handover();
    uint64_t frames = highest_frame(h);
    uint64_t db_pages = ALIGN_UP(frame_db_bytes(pfn(frames - 1)), PAGE_SIZE) / PAGE_SIZE;
    uint64_t heap = heap_pages(machine_config());
    uint64_t own = place_own(h, db_pages + heap);
    uint64_t wanted = machine_config()->pool / PAGE_SIZE;
    uint64_t given = 0, first, pages;

    frame_db_init(arch_ptr(pfn_to_hpa(pfn(own))), pfn(frames - 1));
    heap_init(arch_ptr(pfn_to_hpa(pfn(own + db_pages))), heap * PAGE_SIZE);
    for (uint32_t i = 0; i < h->range_count; i++) {
        uint64_t take;

        if (!usable_part(&h->range[i], &first, &pages)) {
            continue;
        }
        if (own >= first && own < first + pages) {
            pages = own - first;
        }
        take = wanted != 0 ? MIN(pages, wanted - given) : pages;
        frame_alloc_add_range(pfn(first), take);
        given += take;
        unused_pages += pages - take;
    }
    if (given < wanted) {
        refuse_value(machine_config()->pool_line,
                     "pool: expected at most %luM, which is what this machine has, got '%luM'",
                     (unsigned long)(given / 256), (unsigned long)(wanted / 256));
        refuse_configuration();
    }
    frame_alloc_ready();
    count_footprint(h, db_pages + heap);
}

void machine_memory_report(void)
{
    struct frame_stats f;

    f = frame_stats_get();
    log_info("memory: pool %lu MiB, hypervisor %lu.%lu MiB, guest files %lu.%lu MiB, left out of "
             "the pool %lu MiB",
             (unsigned long)(f.frames / 256), (unsigned long)((footprint_pages + f.meta) / 256),
             (unsigned long)((footprint_pages + f.meta) * 10 / 256 % 10),
             (unsigned long)(files_pages / 256), (unsigned long)(files_pages * 10 / 256 % 10),
             (unsigned long)(unused_pages / 256));
}
