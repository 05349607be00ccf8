/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/figures.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "hv/operator/console.h"
#include "hv/operator/stats.h"
#include "hv/text.h"

/* ---- the tables: JSON has them in this order ---- */

#define HOST(name, unit, field)                                                                    \
    {                                                                                              \
        name, unit, offsetof(struct host_stats, field), NULL                                       \
    }
#define STORE(name, unit, field)                                                                   \
    {                                                                                              \
        name, unit, offsetof(struct store_all_stats, field), NULL                                  \
    }
#define VM(name, unit, field)                                                                      \
    {                                                                                              \
        name, unit, offsetof(struct vm_stats, field), NULL                                         \
    }
#define VM_COLUMN(name, unit, field, head)                                                         \
    {                                                                                              \
        name, unit, offsetof(struct vm_stats, field), head                                         \
    }
#define NIC(name, unit, field)                                                                     \
    {                                                                                              \
        name, unit, offsetof(struct nic_all_stats, field), NULL                                    \
    }
#define POOL(name, unit, field)                                                                    \
    {                                                                                              \
        name, unit, offsetof(struct pool_stats, field), NULL                                       \
    }

static const struct figure of_host[] = {
    HOST("uptime_us", FIGURE_US, uptime_us),
    HOST("cpus", FIGURE_NUMBER, cpus),
    HOST("frames", FIGURE_PAGES, frames.frames),
    HOST("frames_free", FIGURE_PAGES, frames.free),
    HOST("frames_guest", FIGURE_PAGES, frames.guest),
    HOST("frames_compressed", FIGURE_PAGES, frames.compressed),
    HOST("frames_tmem", FIGURE_PAGES, frames.tmem),
    HOST("frames_meta", FIGURE_PAGES, frames.meta),
};

static const struct figure of_store[] = {
    STORE("device", FIGURE_TEXT, device),
    STORE("slots", FIGURE_PAGES, store.slots),
    STORE("slots_used", FIGURE_PAGES, store.slots_used),
    STORE("reads", FIGURE_NUMBER, store.reads),
    STORE("writes", FIGURE_NUMBER, store.writes),
    STORE("read_pages", FIGURE_PAGES, store.read_pages),
    STORE("written_pages", FIGURE_PAGES, store.written_pages),
    STORE("errors", FIGURE_NUMBER, store.errors),
    STORE("retired", FIGURE_PAGES, store.retired),
    STORE("reads_wait", FIGURE_NUMBER, reads_wait),
    STORE("writes_wait", FIGURE_NUMBER, writes_wait),
};

static const struct figure of_vm[] = {
    VM_COLUMN("name", FIGURE_TEXT, name, "NAME"),
    VM_COLUMN("state", FIGURE_TEXT, state, "STATE"),
    VM_COLUMN("vcpus", FIGURE_NUMBER, vcpus, "VCPUS"),
    VM_COLUMN("memory", FIGURE_PAGES, memory.memory, "MEM-MB"),
    VM_COLUMN("resident", FIGURE_PAGES, memory.resident, "RES-MB"),
    VM("hole", FIGURE_PAGES, memory.hole),
    VM("pattern", FIGURE_PAGES, memory.pattern),
    VM("compressed", FIGURE_PAGES, memory.compressed),
    VM_COLUMN("stored", FIGURE_PAGES, memory.stored, "STORE-MB"),
    VM("disk", FIGURE_PAGES, memory.disk),
    VM("transit", FIGURE_PAGES, memory.transit),
    VM("shared", FIGURE_PAGES, memory.shared),
    VM_COLUMN("wss", FIGURE_PAGES, memory.wss, "WSS-MB"),
    VM("faults", FIGURE_NUMBER, memory.faults),
    VM("faults_zero", FIGURE_NUMBER, memory.faults_zero),
    VM_COLUMN("page_ins", FIGURE_PAGES, memory.page_ins, "PAGE-INS"),
    VM_COLUMN("page_outs", FIGURE_PAGES, memory.page_outs, "PAGE-OUTS"),
    VM("clean_drops", FIGURE_PAGES, memory.clean_drops),
    VM("refaults", FIGURE_PAGES, memory.refaults),
    VM("readahead", FIGURE_PAGES, memory.readahead),
    VM("readahead_hits", FIGURE_PAGES, memory.readahead_hits),
    VM("discards", FIGURE_PAGES, memory.discards),
    VM("disk_drops", FIGURE_PAGES, memory.disk_drops),
    VM("disk_reads", FIGURE_PAGES, memory.disk_reads),
    VM("false_reads_avoided", FIGURE_PAGES, memory.false_reads_avoided),
    VM_COLUMN("stall_us", FIGURE_US, stall_us, "STALL-S"),
    VM("run_us", FIGURE_US, run_us),
    VM("exits", FIGURE_NUMBER, exits),
    VM("table_pages", FIGURE_PAGES, memory.table_pages),
    VM("balloon", FIGURE_PAGES, balloon.actual),
    VM("balloon_target", FIGURE_PAGES, balloon.target),
    VM("guest_free", FIGURE_PAGES, balloon.free),
    VM("guest_available", FIGURE_PAGES, balloon.available),
    VM("guest_cache", FIGURE_PAGES, balloon.cache),
    VM("blk_reads", FIGURE_NUMBER, disks.reads),
    VM("blk_writes", FIGURE_NUMBER, disks.writes),
    VM("blk_flushes", FIGURE_NUMBER, disks.flushes),
    VM("blk_read_sectors", FIGURE_NUMBER, disks.read_sectors),
    VM("blk_written_sectors", FIGURE_NUMBER, disks.written_sectors),
    VM("blk_errors", FIGURE_NUMBER, disks.errors),
    VM("blk_bounced", FIGURE_NUMBER, disks.bounced),
    VM("net_rx", FIGURE_NUMBER, net[PORT_GOT_FRAMES]),
    VM("net_rx_bytes", FIGURE_NUMBER, net[PORT_GOT_BYTES]),
    VM("net_rx_drops", FIGURE_NUMBER, net[PORT_GOT_DROPS]),
    VM("net_tx", FIGURE_NUMBER, net[PORT_SENT_FRAMES]),
    VM("net_tx_bytes", FIGURE_NUMBER, net[PORT_SENT_BYTES]),
    VM("net_tx_drops", FIGURE_NUMBER, net[PORT_SENT_DROPS]),
    VM("unowned_io", FIGURE_NUMBER, unowned_io),
    VM("unowned_mmio", FIGURE_NUMBER, unowned_mmio),
    VM("unowned_msr", FIGURE_NUMBER, unowned_msr),
    VM("tmem_quota", FIGURE_PAGES, tmem.quota),
    VM("tmem_pages_persistent", FIGURE_PAGES, tmem.persistent),
    VM("tmem_pages_ephemeral", FIGURE_PAGES, tmem.ephemeral),
    VM("tmem_resident", FIGURE_PAGES, tmem.resident),
    VM("tmem_pools", FIGURE_NUMBER, tmem.pools),
    VM("tmem_puts", FIGURE_PAGES, tmem.count[TMEM_PUTS]),
    VM("tmem_gets", FIGURE_PAGES, tmem.count[TMEM_GETS]),
    VM("tmem_hits", FIGURE_PAGES, tmem.count[TMEM_HITS]),
    VM("tmem_misses", FIGURE_PAGES, tmem.count[TMEM_MISSES]),
    VM("tmem_refused", FIGURE_PAGES, tmem.count[TMEM_REFUSALS]),
    VM("tmem_evicted", FIGURE_PAGES, tmem.count[TMEM_EVICTIONS]),
};

static const struct figure of_nic[] = {
    NIC("name", FIGURE_TEXT, name),
    NIC("model", FIGURE_TEXT, model),
    NIC("mac", FIGURE_TEXT, mac),
    NIC("link", FIGURE_TEXT, link),
    NIC("rx_frames", FIGURE_NUMBER, nic.rx_frames),
    NIC("rx_bytes", FIGURE_NUMBER, nic.rx_bytes),
    NIC("rx_errors", FIGURE_NUMBER, nic.rx_errors),
    NIC("tx_frames", FIGURE_NUMBER, nic.tx_frames),
    NIC("tx_bytes", FIGURE_NUMBER, nic.tx_bytes),
    NIC("tx_dropped", FIGURE_NUMBER, nic.tx_dropped),
    NIC("link_changes", FIGURE_NUMBER, nic.link_changes),
    NIC("resets", FIGURE_NUMBER, nic.resets),
};

static const struct figure of_pool[] = {
    POOL("id", FIGURE_NUMBER, id),
    POOL("kind", FIGURE_TEXT, kind),
    POOL("pages", FIGURE_PAGES, pool.pages),
    POOL("puts", FIGURE_PAGES, pool.count[TMEM_PUTS]),
    POOL("gets", FIGURE_PAGES, pool.count[TMEM_GETS]),
    POOL("hits", FIGURE_PAGES, pool.count[TMEM_HITS]),
    POOL("misses", FIGURE_PAGES, pool.count[TMEM_MISSES]),
    POOL("refused", FIGURE_PAGES, pool.count[TMEM_REFUSALS]),
    POOL("evicted", FIGURE_PAGES, pool.count[TMEM_EVICTIONS]),
};

const struct figures host_figures = {of_host, ARRAY_SIZE(of_host)};
const struct figures store_figures = {of_store, ARRAY_SIZE(of_store)};
const struct figures vm_figures = {of_vm, ARRAY_SIZE(of_vm)};
const struct figures nic_figures = {of_nic, ARRAY_SIZE(of_nic)};
const struct figures pool_figures = {of_pool, ARRAY_SIZE(of_pool)};

/* A name of at most 24 bytes, 20 digits and what is around them. */
_Static_assert(ARRAY_SIZE(of_vm) * 48 <= FIGURES_JSON_BYTES, "the JSON of a VM finds room");
_Static_assert(ARRAY_SIZE(of_nic) * 48 <= FIGURES_NIC_BYTES, "the JSON of a NIC finds room");

/* ---- one figure as text ---- */

#define VALUE_MAX 64

/* {NAME:HOW,WIDTH} of a view, taken apart. */
struct place {
    const struct figure *figure; /* NULL: there is none of that name */
    char how[4];
    int width, precision; /* as printf() takes them */
};

static uint64_t number_of(const struct figure *figure, const void *stats)
{
    return *(const uint64_t *)((const char *)stats + figure->at);
}

static const char *text_of(const struct figure *figure, const void *stats)
{
    return *(const char *const *)((const char *)stats + figure->at);
}

static void add_seconds(struct text *text, uint64_t us, unsigned decimals)
{
    static const unsigned tick_us[] = {1000000, 100000, 10000, 1000};
    uint64_t ticks = us % 1000000 / tick_us[decimals];

    text_add(text, "%lu", (unsigned long)(us / 1000000));
    if (decimals != 0) {
        text_add(text, ".%0*lu", (int)decimals, (unsigned long)ticks);
    }
}

static void add_value(struct text *text, const struct place *place, const void *stats)
{
    const struct figure *figure = place->figure;
    const char *how = place->how;

    if (how[0] == '\0' && figure->unit == FIGURE_TEXT) {
        text_add(text, "%s", text_of(figure, stats));
    } else if (how[0] == '\0') {
        text_add(text, "%lu", (unsigned long)number_of(figure, stats));
    } else if (how[0] == 'M' && figure->unit == FIGURE_PAGES) {
        text_add(text, "%lu", (unsigned long)(number_of(figure, stats) / 256));
    } else if (how[0] == 's' && how[1] >= '0' && how[1] <= '3' && figure->unit == FIGURE_US) {
        add_seconds(text, number_of(figure, stats), (unsigned)(how[1] - '0'));
    } else {
        text_add(text, "?");
    }
}

/* ---- views ---- */

static const struct figure *find(const struct figures *figures, const char *name, size_t length)
{
    for (unsigned i = 0; i < figures->count; i++) {
        const struct figure *figure = &figures->figure[i];

        if (strlen(figure->name) == length && memcmp(figure->name, name, length) == 0) {
            return figure;
        }
    }
    return NULL;
}

/* What stands behind a `{`; returns what is behind its `}`. */
static const char *parse(const struct figures *figures, const char *at, struct place *place)
{
    size_t length = strcspn(at, ":,}");
    char *end = NULL;

    *place = (struct place){.figure = find(figures, at, length), .precision = -1};
    at += length;
    if (*at == ':') {
        length = strcspn(++at, ",}");
        memcpy(place->how, at, MIN(length, sizeof(place->how) - 1));
        at += length;
    }
    if (*at == ',') {
        place->width = (int)strtol(at + 1, &end, 10);
        place->precision = *end == '.' ? (int)strtol(end + 1, &end, 10) : -1;
        at = end;
    }
    return at + (*at == '}');
}

/* The figure of that place, or its heading when there are no stats, at its width. */
static void add_place(struct text *line, const struct place *place, const void *stats)
{
    char value[VALUE_MAX] = "?";
    struct text text = {.buffer = value, .size = sizeof(value)};

    if (place->figure != NULL && stats != NULL) {
        add_value(&text, place, stats);
    } else if (place->figure != NULL && place->figure->heading != NULL) {
        text_add(&text, "%s", place->figure->heading);
    }
    text_add(line, "%*.*s", place->width, place->precision, value);
}

static void print(const struct figures *figures, const void *stats, const char *view)
{
    char line[FIGURES_LINE_MAX];
    struct text text = {.buffer = line, .size = sizeof(line)};

    while (*view != '\0') {
        size_t length = strcspn(view, "{");
        struct place place;

        text_add(&text, "%.*s", (int)length, view);
        view += length;
        if (*view == '{') {
            view = parse(figures, view + 1, &place);
            add_place(&text, &place, stats);
        }
    }
    console_write(line, text.used);
}

void figures_print(const struct figures *figures, const void *stats, const char *view)
{
    print(figures, stats, view);
}

void figures_print_headings(const struct figures *figures, const char *view)
{
    print(figures, NULL, view);
}

/* ---- JSON ---- */

void figures_add_json(const struct figures *figures, const void *stats, struct text *json)
{
    for (unsigned i = 0; i < figures->count; i++) {
        const struct figure *figure = &figures->figure[i];

        text_add(json, "%c\"%s\":", i == 0 ? '{' : ',', figure->name);
        if (figure->unit == FIGURE_TEXT) {
            text_add(json, "\"%s\"", text_of(figure, stats));
        } else {
            text_add(json, "%lu", (unsigned long)number_of(figure, stats));
        }
    }
    text_add(json, "}");
}
