/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/machine/store.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/machine/refuse.h"

/* Room for names in the line of an error; the tail is " and 4096 more". */
#define NAMES_MAX  120
#define NAMES_TAIL 15

struct probe {
    bool finished;
    enum store_probe result;
};

static void probe_done(void *context, enum store_probe result)
{
    struct probe *probe = context;

    probe->result = result;
    probe->finished = true;
}

static enum store_probe wait_for(const struct probe *probe)
{
    while (!probe->finished) {
        block_poll();
        __builtin_ia32_pause();
    }
    return probe->result;
}

static enum store_probe probe_device(struct block_device *device)
{
    struct probe probe = {0};

    return store_probe_start(device, probe_done, &probe) ? wait_for(&probe) : STORE_UNREADABLE;
}

static const char *probe_name(enum store_probe result)
{
    switch (result) {
    case STORE_VALID:
        return "carries a store";
    case STORE_BLANK:
        return "is blank";
    case STORE_FOREIGN:
        return "holds something else";
    case STORE_UNWRITABLE:
        return "cannot be written";
    case STORE_UNREADABLE:
        break;
    }
    return "cannot be read";
}

/* Opens a disk that carries a store, if it can be written: guests would wait for it for ever. */
static struct store *open_device(struct block_device *device)
{
    struct probe check = {0};
    enum store_probe result;
    struct store *opened;

    if (device->read_only) {
        log_error("store %s: the disk is read-only; going on without a store", device->name);
        return NULL;
    }
    result = store_check_start(device, probe_done, &check) ? wait_for(&check) : STORE_UNREADABLE;
    if (result != STORE_VALID) {
        log_error("store %s: %s, as a test write shows; going on without a store", device->name,
                  probe_name(result));
        return NULL;
    }
    opened = store_open(device);
    if (opened == NULL) {
        log_error("store %s: no memory for its slot map; going on without a store", device->name);
    }
    return opened;
}

/* Opens the one device with our superblock; of two, the operator has to name one. */
static struct store *open_auto(void)
{
    struct block_device *found = NULL, *read_only = NULL;

    for (struct block_device *d = block_next(NULL); d != NULL; d = block_next(d)) {
        enum store_probe result = probe_device(d);

        log_info("disk %s: %lu MiB, %s", d->name, (unsigned long)(d->blocks / 256),
                 probe_name(result));
        if (result != STORE_VALID) {
            continue;
        }
        if (d->read_only) {
            read_only = d;
            continue;
        }
        if (found != NULL) {
            log_error("store = auto: both %s and %s carry a store: name one; going on without",
                      found->name, d->name);
            return NULL;
        }
        found = d;
    }
    found = found == NULL ? read_only : found;
    if (found == NULL) {
        log_warn("store = auto: no disk carries our superblock (tools/spillway mkstore writes "
                 "one); going on without");
        return NULL;
    }
    /* Probed last, so that its superblock is the remembered one. */
    return probe_device(found) == STORE_VALID ? open_device(found) : NULL;
}

static enum store_probe format_device(struct block_device *device)
{
    struct probe probe = {0};

    log_warn("store %s: blank and format = yes: writing a superblock", device->name);
    return store_format_start(device, probe_done, &probe) ? wait_for(&probe) : STORE_UNREADABLE;
}

/* Lists the names of the disks, as many as fit. */
static void list_names(char names[NAMES_MAX])
{
    size_t used = 0;
    unsigned more = 0;

    strcpy(names, "none");
    for (struct block_device *d = block_next(NULL); d != NULL; d = block_next(d)) {
        const char *comma = used != 0 ? ", " : "";
        size_t need = strlen(comma) + strlen(d->name);

        if (more != 0 || used + need >= NAMES_MAX - NAMES_TAIL) {
            more++;
            continue;
        }
        used += (size_t)snprintf(names + used, NAMES_MAX - used, "%s%s", comma, d->name);
    }
    if (more != 0) {
        snprintf(names + used, NAMES_MAX - used, " and %u more", more);
    }
}

static _Noreturn void no_such_disk(const char *name)
{
    char names[NAMES_MAX];

    list_names(names);
    refuse_value(machine_config()->store_line, "store: expected one of %s, got '%s'", names, name);
    refuse_configuration();
}

/* Refuses a disk that is somebody else's, or nobody's: it is not touched. */
static _Noreturn void not_a_store(const char *name, enum store_probe result)
{
    refuse_value(
        machine_config()->store_line,
        "store: expected a disk with our superblock (tools/spillway mkstore writes one)%s, "
        "got '%s', which %s",
        result == STORE_BLANK ? ", or format = yes" : "", name, probe_name(result));
    refuse_configuration();
}

/* The operator has to put a wrong name right: the boot ends.  A disk that fails is not his mistake:
 * the guests that fit go on without it. */
static struct store *open_named(const char *name)
{
    struct block_device *device = block_find(name);
    enum store_probe result;

    if (device == NULL) {
        no_such_disk(name);
    }
    result = probe_device(device);
    if (result == STORE_BLANK && machine_config()->format) {
        result = format_device(device);
    }
    if (result == STORE_BLANK || result == STORE_FOREIGN) {
        not_a_store(name, result);
    }
    if (result != STORE_VALID) {
        log_error("store = %s: it %s; going on without", name, probe_name(result));
        return NULL;
    }
    return open_device(device);
}

/* Slots beyond those could never be in use at the same time, and each costs memory. */
static void report_store(struct store *store)
{
    const char *name = store_device_name(store);
    struct store_stats stats;

    store_get_stats(store, &stats);
    log_info("store %s: %lu MiB in %lu slots", name, (unsigned long)(stats.slots / 256),
             (unsigned long)stats.slots);
    if (stats.slots < stats.capacity) {
        log_warn("store %s: %lu MiB of its %lu MiB are used: more than 8 times the pool would be "
                 "of no use",
                 name, (unsigned long)(stats.slots / 256), (unsigned long)(stats.capacity / 256));
    }
}

struct store *machine_store_open(void)
{
    const char *wanted = machine_config()->store;
    struct store *store = NULL;

    if (strcmp(wanted, "none") == 0) {
        log_info("no store, as configured");
        return NULL;
    }
    store = strcmp(wanted, "auto") == 0 ? open_auto() : open_named(wanted);
    if (store != NULL) {
        report_store(store);
    }
    return store;
}

void machine_guest_disks_open(void)
{
    const struct config *config = machine_config();

    for (uint32_t i = 0; i < config->disks_used; i++) {
        struct block_device *device = block_find(config->disk[i].device);

        if (device != NULL && store_of_disk(device) == NULL && store_open_disk(device) == NULL) {
            log_warn("disk %s: no memory to read dropped pages from it: its VM's pages go to the "
                     "store",
                     device->name);
        }
    }
}
