/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program behind `tools/spillway check`: hv/config/config.c and hv/config/admission.c on the
 * host, over a file.
 *
 *     check-config FILE [--name NAME] [--pool SIZE] [--store SIZE] [--root DIR]
 *
 * Exits 0: the machine would start every VM that starts by itself; 2: it would not, and each reason
 * is a line.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "hv/config/admission.h"
#include "hv/config/config.h"
#include "mm/content/store.h"
#include "mm/frame/frame_alloc.h"

#define EXIT_BAD 2
#define TEXT_MAX (1u << 20) /* as the loader */

static struct options {
    const char *file, *name;
    const char *root;     /* of the boot volume; NULL: what is on it is not known */
    uint64_t pool, store; /* bytes */
    bool store_known;
} options;

static unsigned errors;

static void report(const char *error)
{
    printf("spillway: configuration: %s\n", error);
}

static _Noreturn void usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void usage(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_BAD);
}

/* ---- the boot volume ---- */

/* The entry of that folder, compared as FAT does: without case. */
static bool find_entry(const char *folder, const char *name, size_t length, char *out, size_t size)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool found = false;

    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        found = strlen(entry->d_name) == length && strncasecmp(entry->d_name, name, length) == 0;
        if (found) {
            found = snprintf(out, size, "%s/%s", folder, entry->d_name) < (int)size;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

static bool file_exists(const char *path)
{
    char at[4096], next[4096];
    struct stat status;

    if (options.root == NULL) {
        return true;
    }
    snprintf(at, sizeof(at), "%s", options.root);
    for (path += strspn(path, "/\\"); *path != '\0'; path += strspn(path, "/\\")) {
        size_t length = strcspn(path, "/\\");

        if (!find_entry(at, path, length, next, sizeof(next))) {
            return false;
        }
        strcpy(at, next);
        path += length;
    }
    return stat(at, &status) == 0 && S_ISREG(status.st_mode);
}

/* ---- admission, as at boot: one VM after the other ---- */

static struct admission_demand demand_of(const struct vm_config *vm)
{
    struct admission_terms terms = {
        .memory = vm->memory / PAGE_SIZE,
        .min = vm->min / PAGE_SIZE,
        .max = vm->max / PAGE_SIZE,
        .tmem = vm->tmem / PAGE_SIZE,
        .vcpus = vm->vcpus,
        .disks = vm->disks,
        .nics = vm->nics,
    };

    return admission_demand(&terms);
}

static void check_vm(const struct admission_supply *supply, struct admission_demand *promised,
                     const struct vm_config *vm)
{
    struct admission_demand want = demand_of(vm);
    char message[192];

    if (admission_check(supply, promised, &want, message, sizeof(message))) {
        *promised = admission_add(promised, &want);
        return;
    }
    printf("spillway: configuration: %s:%u: VM '%s': %s\n", options.name, vm->line, vm->name,
           message);
    errors++;
}

/* The hypervisor's own part of the pool for each CPU is not known here: some 100 KiB. */
static struct admission_supply supply_of(const struct config *config, uint64_t pool)
{
    uint64_t frames = pool / PAGE_SIZE;
    struct admission_supply supply = {.pool = frames,
                                      .kept = frame_alloc_high_of(frames) + ADMISSION_ROOM};
    uint64_t blocks = options.store_known ? options.store / PAGE_SIZE : UINT64_MAX;

    if (strcmp(config->store, "none") != 0 && blocks >= 3) {
        supply.slots = store_open_slots(blocks, frames);
        supply.pool -= MIN(supply.pool, store_open_cost(supply.slots));
    }
    return supply;
}

static void disk_error(const struct vm_config *vm, const struct disk_config *disk,
                       const char *whose)
{
    printf("spillway: configuration: %s:%u: VM '%s': disk%u: expected a disk of its own, or ,share "
           "wherever it is named; %s has blocks of '%s'\n",
           options.name, disk->line, vm->name, disk->number, whose, disk->device);
    errors++;
}

/* Has the store, or a VM before `vm` that starts by itself, blocks of that disk? */
static void check_disk(const struct config *config, uint32_t vm, const struct disk_config *disk)
{
    char whose[CONFIG_NAME_MAX + 8];

    if (config_disks_overlap(config->store, disk->device)) {
        disk_error(&config->vm[vm], disk, "the store");
    }
    for (uint32_t i = 0; i <= vm; i++) {
        const struct vm_config *other = &config->vm[i];

        for (uint32_t n = 0; other->autostart && n < other->disks; n++) {
            const struct disk_config *its = &config->disk[other->first_disk + n];

            if (its < disk && !(its->share && disk->share) &&
                config_disks_overlap(its->device, disk->device)) {
                snprintf(whose, sizeof(whose), "VM '%s'", other->name);
                disk_error(&config->vm[vm], disk, whose);
            }
        }
    }
}

/* As at boot, as far as names tell. */
static void check_disks(const struct config *config)
{
    for (uint32_t i = 0; i < config->vm_count; i++) {
        for (uint32_t n = 0; config->vm[i].autostart && n < config->vm[i].disks; n++) {
            check_disk(config, i, &config->disk[config->vm[i].first_disk + n]);
        }
    }
}

static void check_admission(const struct config *config)
{
    uint64_t pool = config->pool != 0 ? config->pool : options.pool;
    struct admission_demand promised = {0};
    struct admission_supply supply;

    if (options.pool != 0 && config->pool > options.pool) {
        printf("spillway: configuration: %s:%u: pool: expected at most %luM, which is what this "
               "machine has, got '%luM'\n",
               options.name, config->pool_line, (unsigned long)(options.pool >> 20),
               (unsigned long)(config->pool >> 20));
        errors++;
        return;
    }
    if (pool == 0) {
        printf("spillway check: the pool is not known (--pool SIZE): whether the VMs fit is not "
               "checked\n");
        return;
    }
    if (!options.store_known && strcmp(config->store, "none") != 0) {
        printf("spillway check: the store is not known (--store SIZE): taken for 8 times the pool, "
               "the most that is used\n");
    }
    supply = supply_of(config, pool);
    for (uint32_t i = 0; i < config->vm_count; i++) {
        if (config->vm[i].autostart) {
            check_vm(&supply, &promised, &config->vm[i]);
        }
    }
}

/* ---- the command line ---- */

static uint64_t size_option(const char *name, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes)) {
        usage("spillway check: %s: expected a size such as 512M, got '%s'", name, value);
    }
    return bytes;
}

static void read_arguments(int count, char **argument)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? argument[i + 1] : NULL;

        if (argument[i][0] != '-') {
            options.file = argument[i];
            continue;
        }
        if (value == NULL) {
            usage("spillway check: %s: expected a value", argument[i]);
        }
        if (strcmp(argument[i], "--name") == 0) {
            options.name = value;
        } else if (strcmp(argument[i], "--root") == 0) {
            options.root = value;
        } else if (strcmp(argument[i], "--pool") == 0) {
            options.pool = size_option("--pool", value);
        } else if (strcmp(argument[i], "--store") == 0) {
            options.store = size_option("--store", value);
            options.store_known = true;
        } else {
            usage("spillway check: no option %s", argument[i]);
        }
        i++;
    }
    if (options.file == NULL) {
        usage("spillway check: expected a file");
    }
    options.name = options.name != NULL ? options.name : options.file;
}

int main(int count, char **argument)
{
    static char text[TEXT_MAX + 1];
    static struct config config;
    struct config_source source = {.text = text, .file_exists = file_exists, .report = report};
    FILE *file;

    read_arguments(count, argument);
    file = fopen(options.file, "rb");
    if (file == NULL) {
        usage("spillway check: %s: no such file", options.file);
    }
    source.bytes = fread(text, 1, sizeof(text), file);
    fclose(file);
    source.name = options.name;
    if (source.bytes > TEXT_MAX) {
        printf("spillway: configuration: %s: expected at most 1 MiB\n", options.name);
        return EXIT_BAD;
    }
    errors = config_parse(&source, &config);
    if (errors == 0) {
        check_disks(&config);
        check_admission(&config);
    }
    if (errors == 0) {
        printf("%s: good, %u VM%s\n", options.name, (unsigned)config.vm_count,
               config.vm_count == 1 ? "" : "s");
    } else {
        printf("spillway: configuration: %u error%s\n", errors, errors == 1 ? "" : "s");
    }
    return errors == 0 ? 0 : EXIT_BAD;
}
