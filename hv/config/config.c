/* SPDX-License-Identifier: BSD-2-Clause */
/* Sections, the keys that each has, and what must hold between them. */
#include "hv/config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "base/config_text.h"
#include "drivers/uart.h"
#include "hv/config/config_internal.h"

#define MIB           (1024 * 1024ull)
#define POOL_MIN      (16 * MIB)
#define VM_MEMORY_MAX (1024 * 1024 * MIB)

static bool set_yes_no(struct config_parser *p, const char *value, bool *out)
{
    bool no, good = config_value_choice(p, value, "yes", "no", &no);

    *out = !no;
    return good;
}

/* ---- [host] ---- */

static bool set_pool(struct config_parser *p, const char *value)
{
    p->config->pool_line = p->line;
    return config_value_size(p, value, POOL_MIN, VM_MEMORY_MAX, &p->config->pool);
}

static bool set_store(struct config_parser *p, const char *value)
{
    p->config->store_line = p->line;
    return config_value_store(p, value, p->config->store);
}

static bool set_format(struct config_parser *p, const char *value)
{
    return set_yes_no(p, value, &p->config->format);
}

static bool set_console(struct config_parser *p, const char *value)
{
    uint16_t port;
    unsigned baud;

    if (!uart_parse(value, &port, &baud)) {
        return config_bad_value(p, value,
                                "com1..com4 or 0xPORT, and a speed after a comma, such as "
                                "com1,115200");
    }
    p->config->console_port = port;
    p->config->console_baud = baud;
    return true;
}

static bool set_when_idle(struct config_parser *p, const char *value)
{
    bool monitor, good = config_value_choice(p, value, "poweroff", "monitor", &monitor);

    p->config->idle_poweroff = !monitor;
    return good;
}

static bool set_panic(struct config_parser *p, const char *value)
{
    return config_value_choice(p, value, "poweroff", "reset", &p->config->panic_reset);
}

static const struct config_key host_keys[] = {
    {"pool", set_pool},       {"store", set_store},         {"format", set_format},
    {"console", set_console}, {"when-idle", set_when_idle}, {"panic", set_panic},
};

/* ---- [vm NAME] ---- */

static bool set_kernel(struct config_parser *p, const char *value)
{
    return config_value_file(p, value, p->vm->kernel);
}

static bool set_initrd(struct config_parser *p, const char *value)
{
    return config_value_file(p, value, p->vm->initrd);
}

static bool set_cmdline(struct config_parser *p, const char *value)
{
    char got[32];

    if (strlen(value) >= CONFIG_CMDLINE_MAX) {
        snprintf(got, sizeof(got), "%lu characters", (unsigned long)strlen(value));
        return config_bad_value(p, got, "at most 4095 characters");
    }
    return config_value_text(p, value, &p->vm->cmdline);
}

/* A path, and behind it words that are the module's own. */
static bool set_module(struct config_parser *p, const char *value)
{
    size_t length = strcspn(value, " \t");
    struct config_module *module = &p->vm->module[p->vm->modules];
    char path[CONFIG_PATH_MAX], file[CONFIG_PATH_MAX], expected[32];

    if (p->vm->modules == CONFIG_MODULES_MAX) {
        snprintf(expected, sizeof(expected), "at most %u modules", CONFIG_MODULES_MAX);
        return config_bad_value(p, value, expected);
    }
    snprintf(path, sizeof(path), "%.*s", (int)MIN(length, sizeof(path)), value);
    if (length >= CONFIG_PATH_MAX) {
        return config_bad_value(p, value, "a path of at most 119 characters");
    }
    if (!config_value_file(p, path, file) || !config_value_text(p, file, &module->path) ||
        !config_value_text(p, value + length + strspn(value + length, " \t"), &module->words)) {
        return false;
    }
    p->vm->modules++;
    return true;
}

static bool set_memory(struct config_parser *p, const char *value)
{
    return config_value_size(p, value, CONFIG_MEMORY_MIN, VM_MEMORY_MAX, &p->vm->memory);
}

static bool set_min(struct config_parser *p, const char *value)
{
    return config_value_size(p, value, 0, VM_MEMORY_MAX, &p->vm->min);
}

static bool set_max(struct config_parser *p, const char *value)
{
    return config_value_size(p, value, CONFIG_MEMORY_MIN, VM_MEMORY_MAX, &p->vm->max);
}

static bool set_tmem(struct config_parser *p, const char *value)
{
    return config_value_size(p, value, 0, VM_MEMORY_MAX, &p->vm->tmem);
}

static bool set_balloon(struct config_parser *p, const char *value)
{
    return config_parse_balloon(value, &p->vm->balloon) ||
           config_bad_value(p, value, "auto, off, or a size such as 64M in whole pages of 4K");
}

static bool set_vcpus(struct config_parser *p, const char *value)
{
    return config_value_number(p, value, 1, CONFIG_VCPUS_MAX, &p->vm->vcpus);
}

static bool set_shares(struct config_parser *p, const char *value)
{
    return config_value_number(p, value, 1, CONFIG_SHARES_MAX, &p->vm->shares);
}

static bool set_cpu_shares(struct config_parser *p, const char *value)
{
    return config_value_number(p, value, 1, CONFIG_SHARES_MAX, &p->vm->cpu_shares);
}

static bool set_autostart(struct config_parser *p, const char *value)
{
    return set_yes_no(p, value, &p->vm->autostart);
}

static bool set_on_triple_fault(struct config_parser *p, const char *value)
{
    return config_value_choice(p, value, "reset", "fail", &p->vm->triple_fault_fails);
}

enum {
    VM_KERNEL,
    VM_MEMORY,
    VM_MIN,
    VM_MAX,
    VM_BALLOON,
};

static const struct config_key vm_keys[] = {
    [VM_KERNEL] = {"kernel", set_kernel},
    [VM_MEMORY] = {"memory", set_memory},
    [VM_MIN] = {"min", set_min},
    [VM_MAX] = {"max", set_max},
    [VM_BALLOON] = {"balloon", set_balloon},
    {"initrd", set_initrd},
    {"cmdline", set_cmdline},
    {"vcpus", set_vcpus},
    {"autostart", set_autostart},
    {"shares", set_shares},
    {"cpu-shares", set_cpu_shares},
    {"tmem", set_tmem},
    {"on-triple-fault", set_on_triple_fault},
    {"module", set_module},
    {"disk", config_set_disk},
    {"net", config_set_net},
};

/* ---- [switch NAME] ---- */

static const struct config_key switch_keys[] = {
    {"uplink", config_set_uplink},
};

_Static_assert(ARRAY_SIZE(host_keys) <= CONFIG_KEYS_MAX && ARRAY_SIZE(vm_keys) <= CONFIG_KEYS_MAX,
               "struct config_parser has a line for each");

/* ---- sections ---- */

/* Checks two sizes of a VM against each other; reports the line of the first one. */
static void check_at_most(struct config_parser *p, unsigned key, uint64_t bytes, const char *limit,
                          uint64_t most)
{
    char expected[64], text[CONFIG_SIZE_TEXT];

    if (bytes > most) {
        snprintf(expected, sizeof(expected), "at most %s, %s", limit, config_size_text(most, text));
        config_error(p, p->key_line[key], vm_keys[key].name, expected,
                     config_size_text(bytes, text));
    }
}

/* At the end of a section: what it must have.  A key whose value was bad has been reported. */
static void end_section(struct config_parser *p)
{
    const struct vm_config *vm = p->vm;
    char what[CONFIG_NAME_MAX + 8];

    if (p->section != SECTION_VM || vm == &p->uncounted) {
        return;
    }
    snprintf(what, sizeof(what), "VM '%s'", vm->name);
    if (p->key_line[VM_KERNEL] == 0) {
        config_error(p, p->section_line, what, "a line 'kernel = PATH' in its section", NULL);
    }
    if (p->key_line[VM_MEMORY] == 0) {
        config_error(p, p->section_line, what, "a line 'memory = SIZE' in its section", NULL);
    }
    if (vm->memory != 0) {
        check_at_most(p, VM_MIN, vm->min, "its memory", vm->memory);
        check_at_most(p, VM_BALLOON, vm->balloon.bytes, "what its memory has more than its min",
                      vm->memory - MIN(vm->memory, vm->min));
    }
    if (vm->max != 0) {
        check_at_most(p, VM_MIN, vm->min, "its max", vm->max);
    }
}

static const struct vm_config *find_vm(const struct config *config, const char *name)
{
    for (uint32_t i = 0; i < config->vm_count; i++) {
        if (strcmp(config->vm[i].name, name) == 0) {
            return &config->vm[i];
        }
    }
    return NULL;
}

/* May there be a VM of that name?  False: it is reported. */
static bool check_new_vm(struct config_parser *p, const char *name)
{
    const struct vm_config *other = find_vm(p->config, name);
    char expected[64];

    if (!config_name_is_valid(name)) {
        return config_error(p, p->line, "VM name", "1 to 31 letters, digits, '-', '_', '.'", name);
    }
    if (other != NULL) {
        snprintf(expected, sizeof(expected), "a name other than that of line %u", other->line);
        return config_error(p, p->line, "VM name", expected, name);
    }
    if (p->config->vm_count == CONFIG_VMS_MAX) {
        snprintf(expected, sizeof(expected), "at most %u VMs", CONFIG_VMS_MAX);
        return config_error(p, p->line, "VM", expected, name);
    }
    return true;
}

/* Reads one that is refused all the same, for its errors. */
static void begin_vm(struct config_parser *p, const char *name)
{
    bool counts = check_new_vm(p, name);

    p->vm = counts ? &p->config->vm[p->config->vm_count++] : &p->uncounted;
    *p->vm = (struct vm_config){.line = p->line,
                                .cmdline = "",
                                .vcpus = 1,
                                .shares = 100,
                                .first_disk = p->config->disks_used,
                                .first_nic = p->config->nics_used,
                                .autostart = true};
    snprintf(p->vm->name, sizeof(p->vm->name), "%s", name);
    p->section = SECTION_VM;
}

static void begin_host(struct config_parser *p)
{
    char expected[48];

    p->section = SECTION_HOST;
    if (p->host_line != 0) {
        snprintf(expected, sizeof(expected), "one section [host], first in line %u", p->host_line);
        config_error(p, p->line, "[host]", expected, NULL);
        return;
    }
    p->host_line = p->line;
}

/* Is it a section of that kind, with a name behind it?  Then *name is that name. */
static bool is_section(const char *text, const char *kind, const char **name)
{
    size_t length = strlen(kind);

    if (strncmp(text, kind, length) != 0 ||
        (!isblank((unsigned char)text[length]) && text[length] != '\0')) {
        return false;
    }
    for (*name = text + length; isblank((unsigned char)**name); (*name)++) {
    }
    return true;
}

static void begin_section(struct config_parser *p, const char *text)
{
    const char *name;

    end_section(p);
    memset(p->key_line, 0, sizeof(p->key_line));
    p->section_line = p->line;
    if (strcmp(text, "host") == 0) {
        begin_host(p);
    } else if (is_section(text, "vm", &name)) {
        begin_vm(p, name);
    } else if (is_section(text, "switch", &name)) {
        config_begin_switch(p, name);
    } else {
        p->section = SECTION_SKIPPED;
        config_error(p, p->line, "section", "[host], [vm NAME] or [switch NAME]", text);
    }
}

/* ---- keys ---- */

/* 0: one key.  Else so many, NAME0 and so on, and set() sees to it that each comes once. */
static unsigned numbers_of(const struct config_key *key)
{
    return key->set == config_set_disk  ? CONFIG_DISKS_MAX
           : key->set == config_set_net ? CONFIG_NETS_MAX
                                        : 0;
}

static void unknown_key(struct config_parser *p, const struct config_key *keys, size_t count)
{
    char expected[240], what[80];
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s%s",
                                 i == 0 ? "one of " : ", ", keys[i].name,
                                 numbers_of(&keys[i]) != 0 ? "N" : "");
        used = MIN(used, sizeof(expected) - 1);
    }
    snprintf(what, sizeof(what), "unknown key '%.50s'", p->key);
    config_error(p, p->line, what, expected, NULL);
}

/* Is it that key's name?  Then p->number is its number. */
static bool is_key(struct config_parser *p, const struct config_key *key)
{
    size_t length = strlen(key->name);
    const char *digits = p->key + length;

    if (numbers_of(key) == 0) {
        return strcmp(key->name, p->key) == 0;
    }
    if (strncmp(key->name, p->key, length) != 0 || !isdigit((unsigned char)digits[0]) ||
        (digits[0] == '0' && digits[1] != '\0') || strlen(digits) > 3 ||
        digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    p->number = (unsigned)atoi(digits);
    return p->number < numbers_of(key);
}

/* May it stand in a section several times? */
static bool repeats(const struct config_key *key)
{
    return key->set == set_module || numbers_of(key) != 0;
}

static void set_key(struct config_parser *p, const struct config_key *keys, size_t count,
                    const char *value)
{
    char expected[64];

    for (size_t i = 0; i < count; i++) {
        if (!is_key(p, &keys[i])) {
            continue;
        }
        if (p->key_line[i] != 0 && !repeats(&keys[i])) {
            snprintf(expected, sizeof(expected), "each key once in a section, first in line %u",
                     p->key_line[i]);
            config_error(p, p->line, p->key, expected, NULL);
            return;
        }
        p->key_line[i] = p->line;
        keys[i].set(p, value);
        return;
    }
    unknown_key(p, keys, count);
}

/* Reports a line that cannot be read; its key is then not reported as missing as well. */
static void bad_line(struct config_parser *p, const struct config_line *line)
{
    config_error(p, p->line, "bad line", line->expected, line->name);
    if (line->name[0] == '[') { /* the keys that follow are not those of the section before it */
        end_section(p);
        p->section = SECTION_SKIPPED;
    }
    for (size_t i = 0; p->section == SECTION_VM && i < ARRAY_SIZE(vm_keys); i++) {
        if (strcmp(vm_keys[i].name, line->name) == 0) {
            p->key_line[i] = p->line;
        }
    }
}

static void parse_line(struct config_parser *p, const struct config_line *line)
{
    p->line = line->number;
    p->key = line->name;
    if (line->kind == CONFIG_LINE_SECTION) {
        begin_section(p, line->name);
    } else if (line->kind == CONFIG_LINE_BAD) {
        bad_line(p, line);
    } else if (p->section == SECTION_HOST) {
        set_key(p, host_keys, ARRAY_SIZE(host_keys), line->value);
    } else if (p->section == SECTION_VM) {
        set_key(p, vm_keys, ARRAY_SIZE(vm_keys), line->value);
    } else if (p->section == SECTION_SWITCH) {
        set_key(p, switch_keys, ARRAY_SIZE(switch_keys), line->value);
    } else if (p->section == SECTION_NONE) {
        p->section = SECTION_SKIPPED; /* once is enough */
        config_error(p, p->line, p->key, "[host], [vm NAME] or [switch NAME] before it", NULL);
    }
}

static void set_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    strcpy(config->store, "auto");
    config->console_port = IOPORT_COM1;
    config->console_baud = 115200;
    config->idle_poweroff = true;
}

unsigned config_parse(const struct config_source *source, struct config *config)
{
    static struct config_line line;
    static struct config_parser p;
    struct config_text text;

    p = (struct config_parser){.source = source, .config = config};
    set_defaults(config);
    config_text_start(&text, source->text, source->bytes);
    while (config_text_next(&text, &line)) {
        parse_line(&p, &line);
    }
    end_section(&p);
    config_check_nics(&p);
    if (config->vm_count == 0 && p.errors == 0 && config->idle_poweroff) {
        config_error(&p, MAX(text.line, 1u), "no VM",
                     "a section [vm NAME], or when-idle = monitor to start without one", NULL);
    }
    return p.errors;
}
