/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "drivers/uart.h"

#define LINE_MAX_BYTES 1200
#define MIB            (1024 * 1024ull)
#define VM_MEMORY_MAX  (1024 * 1024 * MIB)
#define VCPUS_MAX      8

struct parser {
    struct config *config;
    bool (*file_exists)(const char *path);
    char *error;
    unsigned line;
    struct vm_config *vm; /* the section that we are in; NULL: [host] or none yet */
    bool in_host;
    bool host_seen;
    uint64_t keys_seen; /* of this section, bit per key */
};

struct key {
    const char *name;
    bool (*set)(struct parser *p, const char *value);
};

static bool fail(struct parser *p, const char *what, const char *got, const char *expected)
{
    snprintf(p->error, CONFIG_ERROR_MAX, "spillway.conf:%u: %s '%.60s': expected %s", p->line, what,
             got, expected);
    return false;
}

bool config_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    unsigned long long value;
    unsigned shift = 0;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    value = strtoull(text, &end, 0);
    if (*end != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*end));

        if (unit == NULL || end[1] != '\0') {
            return false;
        }
        shift = 10 * ((unsigned)(unit - units) + 1);
    }
    if (value > (UINT64_MAX >> shift)) {
        return false;
    }
    *bytes = value << shift;
    return true;
}

static bool parse_bool(struct parser *p, const char *value, bool *out)
{
    if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) {
        *out = value[0] == 'y';
        return true;
    }
    return fail(p, "bad value", value, "yes or no");
}

static bool parse_size_in(struct parser *p, const char *value, uint64_t least, uint64_t most,
                          uint64_t *out)
{
    char expected[80];

    if (config_parse_size(value, out) && *out >= least && *out <= most && *out % PAGE_SIZE == 0) {
        return true;
    }
    snprintf(expected, sizeof(expected), "a size such as 256M, %luM to %luM",
             (unsigned long)(least / MIB), (unsigned long)(most / MIB));
    return fail(p, "bad value", value, expected);
}

static bool parse_number_in(struct parser *p, const char *value, uint32_t least, uint32_t most,
                            uint32_t *out)
{
    char expected[48];
    char *end;
    unsigned long number = strtoul(value, &end, 10);

    if (isdigit((unsigned char)value[0]) && *end == '\0' && number >= least && number <= most) {
        *out = (uint32_t)number;
        return true;
    }
    snprintf(expected, sizeof(expected), "a number, %u to %u", (unsigned)least, (unsigned)most);
    return fail(p, "bad value", value, expected);
}

static bool parse_file(struct parser *p, const char *value, char *out)
{
    if (value[0] == '\0' || strlen(value) >= CONFIG_PATH_MAX) {
        return fail(p, "bad value", value, "the path of a file");
    }
    if (!p->file_exists(value)) {
        return fail(p, "no such file", value, "a file on the boot volume");
    }
    strcpy(out, value);
    return true;
}

/* ---- [host] ---- */

static bool set_pool(struct parser *p, const char *value)
{
    return parse_size_in(p, value, 16 * MIB, VM_MEMORY_MAX, &p->config->pool);
}

static bool set_store(struct parser *p, const char *value)
{
    static const char *const prefixes[] = {"auto", "none", "nvme", "vd", "ata", "PARTUUID="};

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        if (strncmp(value, prefixes[i], strlen(prefixes[i])) == 0 &&
            strlen(value) < CONFIG_STORE_MAX) {
            strcpy(p->config->store, value);
            return true;
        }
    }
    return fail(p, "bad value", value, "auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=...");
}

static bool set_format(struct parser *p, const char *value)
{
    return parse_bool(p, value, &p->config->format);
}

static bool set_console(struct parser *p, const char *value)
{
    unsigned baud;

    if (!uart_parse(value, &p->config->console_port, &baud)) {
        return fail(p, "bad value", value, "com1..com4 or 0xPORT, and a speed after a comma");
    }
    p->config->console_baud = baud;
    return true;
}

static bool set_when_idle(struct parser *p, const char *value)
{
    if (strcmp(value, "poweroff") != 0 && strcmp(value, "monitor") != 0) {
        return fail(p, "bad value", value, "poweroff or monitor");
    }
    p->config->idle_poweroff = value[0] == 'p';
    return true;
}

static bool set_panic(struct parser *p, const char *value)
{
    if (strcmp(value, "poweroff") != 0 && strcmp(value, "reset") != 0) {
        return fail(p, "bad value", value, "poweroff or reset");
    }
    p->config->panic_reset = value[0] == 'r';
    return true;
}

static const struct key host_keys[] = {
    {"pool", set_pool},       {"store", set_store},         {"format", set_format},
    {"console", set_console}, {"when-idle", set_when_idle}, {"panic", set_panic},
};

/* ---- [vm NAME] ---- */

static bool set_kernel(struct parser *p, const char *value)
{
    return parse_file(p, value, p->vm->kernel);
}

static bool set_initrd(struct parser *p, const char *value)
{
    return parse_file(p, value, p->vm->initrd);
}

static bool set_cmdline(struct parser *p, const char *value)
{
    if (strlen(value) >= CONFIG_CMDLINE_MAX) {
        return fail(p, "bad value", value, "at most 1023 characters");
    }
    strcpy(p->vm->cmdline, value);
    return true;
}

static bool set_memory(struct parser *p, const char *value)
{
    return parse_size_in(p, value, CONFIG_MEMORY_MIN, VM_MEMORY_MAX, &p->vm->memory);
}

static bool set_min(struct parser *p, const char *value)
{
    return parse_size_in(p, value, 0, VM_MEMORY_MAX, &p->vm->min);
}

static bool set_max(struct parser *p, const char *value)
{
    return parse_size_in(p, value, CONFIG_MEMORY_MIN, VM_MEMORY_MAX, &p->vm->max);
}

static bool set_tmem(struct parser *p, const char *value)
{
    return parse_size_in(p, value, 0, VM_MEMORY_MAX, &p->vm->tmem);
}

static bool set_vcpus(struct parser *p, const char *value)
{
    return parse_number_in(p, value, 1, VCPUS_MAX, &p->vm->vcpus);
}

static bool set_shares(struct parser *p, const char *value)
{
    return parse_number_in(p, value, 1, 10000, &p->vm->shares);
}

static bool set_cpu_shares(struct parser *p, const char *value)
{
    return parse_number_in(p, value, 1, 10000, &p->vm->cpu_shares);
}

static bool set_autostart(struct parser *p, const char *value)
{
    return parse_bool(p, value, &p->vm->autostart);
}

static bool set_on_triple_fault(struct parser *p, const char *value)
{
    if (strcmp(value, "reset") != 0 && strcmp(value, "fail") != 0) {
        return fail(p, "bad value", value, "reset or fail");
    }
    p->vm->triple_fault_fails = value[0] == 'f';
    return true;
}

static const struct key vm_keys[] = {
    {"kernel", set_kernel},   {"initrd", set_initrd},
    {"cmdline", set_cmdline}, {"memory", set_memory},
    {"min", set_min},         {"max", set_max},
    {"vcpus", set_vcpus},     {"autostart", set_autostart},
    {"shares", set_shares},   {"cpu-shares", set_cpu_shares},
    {"tmem", set_tmem},       {"on-triple-fault", set_on_triple_fault},
};

/* ---- lines ---- */

/* At the end of a section: what it must have. */
static bool end_section(struct parser *p)
{
    if (p->vm == NULL) {
        return true;
    }
    if (p->vm->kernel[0] == '\0') {
        return fail(p, "VM", p->vm->name, "a line 'kernel = PATH' in its section");
    }
    if (p->vm->memory == 0) {
        return fail(p, "VM", p->vm->name, "a line 'memory = SIZE' in its section");
    }
    if (p->vm->min > p->vm->memory) {
        return fail(p, "min of VM", p->vm->name, "no more than its memory");
    }
    if (p->vm->max != 0 && p->vm->min > p->vm->max) {
        return fail(p, "min of VM", p->vm->name, "no more than its max");
    }
    return true;
}

static bool name_valid(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length >= CONFIG_NAME_MAX) {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL) {
            return false;
        }
    }
    return true;
}

static bool begin_vm(struct parser *p, const char *name)
{
    struct config *config = p->config;

    if (!name_valid(name)) {
        return fail(p, "bad VM name", name, "1 to 31 letters, digits, '-', '_', '.'");
    }
    for (uint32_t i = 0; i < config->vm_count; i++) {
        if (strcmp(config->vm[i].name, name) == 0) {
            return fail(p, "duplicate VM name", name, "a name that no other section has");
        }
    }
    if (config->vm_count == CONFIG_VMS_MAX) {
        return fail(p, "one VM too many", name, "at most 32 VMs");
    }
    p->vm = &config->vm[config->vm_count++];
    strcpy(p->vm->name, name);
    p->vm->vcpus = 1;
    p->vm->shares = 100;
    p->vm->autostart = true;
    p->in_host = false;
    return true;
}

static bool parse_section(struct parser *p, char *text)
{
    char *close = strchr(text, ']');

    if (!end_section(p)) {
        return false;
    }
    p->keys_seen = 0;
    if (close == NULL || close[1] != '\0') {
        return fail(p, "bad section", text, "[host] or [vm NAME]");
    }
    *close = '\0';
    if (strcmp(text, "[host") == 0) {
        if (p->host_seen) {
            return fail(p, "duplicate section", "host", "one [host] section");
        }
        p->host_seen = p->in_host = true;
        p->vm = NULL;
        return true;
    }
    if (strncmp(text, "[vm ", 4) == 0) {
        return begin_vm(p, text + 4);
    }
    return fail(p, "bad section", text + 1, "[host] or [vm NAME]");
}

static bool set_key(struct parser *p, const struct key *keys, size_t count, const char *name,
                    const char *value)
{
    char expected[CONFIG_ERROR_MAX];
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            if (p->keys_seen & BIT(i)) {
                return fail(p, "duplicate key", name, "each key once in a section");
            }
            p->keys_seen |= BIT(i);
            return keys[i].set(p, value);
        }
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                                 i == 0 ? "one of " : ", ", keys[i].name);
    }
    return fail(p, "unknown key", name, expected);
}

static char *trim(char *text)
{
    char *end = text + strlen(text);

    while (isspace((unsigned char)*text)) {
        text++;
    }
    while (end > text && isspace((unsigned char)end[-1])) {
        *--end = '\0';
    }
    return text;
}

/* A comment starts at '#' or ';' at the start of the line or after a blank. */
static void strip_comment(char *line)
{
    for (char *c = line; *c != '\0'; c++) {
        if ((*c == '#' || *c == ';') && (c == line || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            return;
        }
    }
}

static bool parse_line(struct parser *p, char *line)
{
    char *text, *equals;

    strip_comment(line);
    text = trim(line);
    if (text[0] == '\0') {
        return true;
    }
    if (text[0] == '[') {
        return parse_section(p, text);
    }
    equals = strchr(text, '=');
    if (equals == NULL) {
        return fail(p, "bad line", text, "KEY = VALUE or [SECTION]");
    }
    *equals = '\0';
    if (p->in_host) {
        return set_key(p, host_keys, ARRAY_SIZE(host_keys), trim(text), trim(equals + 1));
    }
    if (p->vm != NULL) {
        return set_key(p, vm_keys, ARRAY_SIZE(vm_keys), trim(text), trim(equals + 1));
    }
    return fail(p, "key outside of a section", trim(text), "[host] or [vm NAME] before it");
}

static void set_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    strcpy(config->store, "auto");
    config->console_port = 0x3f8;
    config->console_baud = 115200;
    config->idle_poweroff = true;
}

bool config_parse(const char *text, size_t bytes, bool (*file_exists)(const char *path),
                  struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct parser p = {.config = config, .file_exists = file_exists, .error = error};
    const char *end = text + bytes;

    set_defaults(config);
    while (text < end) {
        static char line[LINE_MAX_BYTES];
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline != NULL ? newline : end) - text);

        p.line++;
        if (length >= sizeof(line)) {
            return fail(&p, "line too long", "", "at most 1199 characters");
        }
        memcpy(line, text, length);
        line[length] = '\0';
        if (!parse_line(&p, line)) {
            return false;
        }
        text += length + 1;
    }
    return end_section(&p);
}
