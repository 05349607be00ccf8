/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a store's disk does, for reads and for writes apart: its ways.
 *
 *          a request fails            the probe fails            for STORE_PATIENCE_NS
 *     WELL ---------------> DOUBTED -----------------> AWAY ---------------------------> GONE
 *       ^                      |                        |  probed again,                  |
 *       '-- the probe succeeds +------------------------+  up to 2 s apart ---------------'
 *
 * A probe is the last block, which nothing else uses.
 *
 * A disk whose probes succeed and that takes no slot (thin, and full) loses STORE_FULL_SLOTS slots;
 * then its writes wait, too, and after STORE_PATIENCE_NS it is FULL, until the slot that failed
 * last can be written.
 */
#include "base/log.h"
#include "mm/content/store_io.h"
#include "mm/content/store_private.h"
#include "mm/env.h"

#define BACKOFF_NS 20000000ull /* from the first probe that failed to the next */

static const char *verb(enum block_op op)
{
    return op == BLOCK_WRITE ? "writes" : "reads";
}

/* ---- what requests tell --------------------------------------------------------------------- */

void store_way_doubt(struct store_way *way, uint64_t now)
{
    way->bad_ns = way->bad_ns != 0 ? way->bad_ns : now;
    if (way->health == STORE_WELL) {
        way->health = STORE_DOUBTED;
        way->since_ns = way->probe_ns = now;
        way->backoff_ns = BACKOFF_NS;
    }
}

void store_way_is_good(struct store *store, enum block_op op)
{
    struct store_way *way = store_way_of(store, op);

    if (way->bad_ns != 0) { /* a look without the lock: what fails just now is noted again */
        spin_lock(&store->lock);
        way->bad_ns = 0;
        way->bad_slots = 0;
        spin_unlock(&store->lock);
    }
}

bool store_takes_writes(const struct store *store)
{
    const struct store_way *way = &store->way[BLOCK_WRITE];

    return __atomic_load_n(&way->health, __ATOMIC_RELAXED) == STORE_WELL &&
           __atomic_load_n(&way->bad_slots, __ATOMIC_RELAXED) < STORE_FULL_SLOTS;
}

/* ---- what probes tell ----------------------------------------------------------------------- */

static void log_health(const struct store *store, const struct store_way *way, enum block_op op,
                       uint64_t now)
{
    uint64_t ms = (now - way->since_ns) / 1000000;

    switch (way->health) {
    case STORE_WELL:
        log_warn("%s %s: %s succeed again after %lu.%03lu s", store->kind, store->device->name,
                 verb(op), (unsigned long)(ms / 1000), (unsigned long)(ms % 1000));
        break;
    case STORE_AWAY:
        log_error("%s %s: %s fail: they wait, and are tried again every %u s at the latest",
                  store->kind, store->device->name, verb(op),
                  (unsigned)(STORE_BACKOFF_MAX_NS / 1000000000));
        break;
    case STORE_GONE:
    case STORE_FULL:
        log_error("%s %s: no %s have succeeded for %lu s: %s", store->kind, store->device->name,
                  verb(op), (unsigned long)(STORE_PATIENCE_NS / 1000000000),
                  op == BLOCK_WRITE ? "no page goes there any more"
                                    : "what is read from there is lost");
        break;
    case STORE_DOUBTED:
        break;
    }
}

/* The lock is held.  True: the health has changed in a way that is worth a line. */
static bool take_answer(struct store_way *way, bool good, uint64_t now)
{
    enum store_health before = way->health;

    way->probing = false;
    if (good) {
        way->health = STORE_WELL;
        if (before == STORE_FULL) {
            way->bad_slots = 0;
        }
        return before != STORE_DOUBTED;
    }
    way->outages++;
    way->probe_ns = now + way->backoff_ns;
    way->backoff_ns = MIN(2 * way->backoff_ns, STORE_BACKOFF_MAX_NS);
    if (before != STORE_FULL) {
        way->health = now - way->since_ns >= STORE_PATIENCE_NS ? STORE_GONE : STORE_AWAY;
    }
    return way->health != before;
}

static void probe_done(struct block_request *request, enum block_status status)
{
    struct store *store = request->owner;
    struct store_way *way = store_way_of(store, request->op);
    uint64_t now = mm_clock_ns();
    bool tell;

    spin_lock(&store->lock);
    tell = take_answer(way, status == BLOCK_OK, now);
    spin_unlock(&store->lock);
    if (tell) {
        log_health(store, way, request->op, now);
    }
    mm_pager_wake();
}

/* The last block; or that of a slot that is retired anyway, when slots are the
 * question. */
static void send_probe(struct store *store, enum block_op op)
{
    struct store_way *way = store_way_of(store, op);
    struct block_request *probe = &way->probe;

    probe->op = op;
    probe->block = way->health == STORE_FULL ? way->bad_block : store->probe_block;
    probe->pages = 1;
    probe->page[0] = store->probe_frame[op];
    probe->done = probe_done;
    probe->owner = store;
    block_submit(store->device, probe);
}

/* Probes succeed, and no slot does: the disk takes no more. */
static bool has_grown_full(const struct store_way *way, enum block_op op, uint64_t now)
{
    return op == BLOCK_WRITE && way->health == STORE_WELL && way->bad_slots >= STORE_FULL_SLOTS &&
           now - way->bad_ns >= STORE_PATIENCE_NS;
}

void store_way_poll(struct store *store, enum block_op op, uint64_t now)
{
    struct store_way *way = store_way_of(store, op);
    bool probe = false, full = false;

    spin_lock(&store->lock);
    if (way->health != STORE_WELL && !way->probing && now >= way->probe_ns) {
        probe = way->probing = true;
    }
    if (has_grown_full(way, op, now)) {
        full = true;
        way->health = STORE_FULL;
        way->since_ns = way->bad_ns;
        way->backoff_ns = STORE_BACKOFF_MAX_NS;
        way->probe_ns = now + STORE_BACKOFF_MAX_NS;
    }
    spin_unlock(&store->lock);
    if (full) {
        log_health(store, way, op, now);
    }
    if (probe) {
        send_probe(store, op);
    }
}

void store_health_get_stats(const struct store *store, struct store_stats *stats)
{
    stats->read_health = __atomic_load_n(&store->way[BLOCK_READ].health, __ATOMIC_RELAXED);
    stats->write_health = __atomic_load_n(&store->way[BLOCK_WRITE].health, __ATOMIC_RELAXED);
    if (stats->write_health == STORE_WELL && !store_takes_writes(store)) {
        stats->write_health = STORE_AWAY; /* slots alone fail, one after the other */
    }
}
