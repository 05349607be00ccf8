/* SPDX-License-Identifier: BSD-2-Clause */
/* Values: the text behind the `=`. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bits.h"
#include "hv/config/config_internal.h"

#define GOT_MAX 60 /* so much of what there was is shown */

bool config_error(struct config_parser *p, unsigned line, const char *what, const char *expected,
                  const char *got)
{
    char error[CONFIG_ERROR_MAX];
    int used = snprintf(error, sizeof(error), "%.60s:%u: %.60s: expected %.180s", p->source->name,
                        line, what, expected);

    if (got != NULL) {
        snprintf(error + used, sizeof(error) - (size_t)used, ", got '%.*s%s'", GOT_MAX, got,
                 strlen(got) > GOT_MAX ? "..." : "");
    }
    for (char *c = error; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) { /* a terminal could take it for a command; char is signed */
            *c = '?';
        }
    }
    p->errors++;
    p->source->report(error);
    return false;
}

bool config_bad_value(struct config_parser *p, const char *value, const char *expected)
{
    return config_error(p, p->line, p->key, expected, value);
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 16;
}

/*
 * Decimal, or hexadecimal behind 0x; *end is what follows.  No leading zero: a reader cannot know
 * whether 010 is to be eight.  False: not a number, or more than 64 bits hold.
 */
static bool parse_number(const char *text, uint64_t *number, const char **end)
{
    uint64_t base = text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10;
    const char *first = base == 16 ? text + 2 : text;
    const char *c = first;

    *number = 0;
    for (; (uint64_t)digit_value(*c) < base; c++) {
        uint64_t digit = (uint64_t)digit_value(*c);

        if (*number > (UINT64_MAX - digit) / base) {
            return false;
        }
        *number = *number * base + digit;
    }
    *end = c;
    return c != first && (base == 16 || first[0] != '0' || c == first + 1);
}

bool config_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *end, *unit;
    uint64_t value;
    unsigned shift = 0;

    if (!parse_number(text, &value, &end)) {
        return false;
    }
    if (*end != '\0') {
        unit = strchr(units, toupper((unsigned char)*end));
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

bool config_parse_balloon(const char *text, struct balloon_setting *setting)
{
    uint64_t bytes = 0;
    bool is_auto = strcmp(text, "auto") == 0, is_off = strcmp(text, "off") == 0;

    if (!is_auto && !is_off && (!config_parse_size(text, &bytes) || bytes % PAGE_SIZE != 0)) {
        return false;
    }
    setting->mode = is_auto ? BALLOON_AUTO : is_off ? BALLOON_OFF : BALLOON_SIZE;
    setting->bytes = bytes;
    return true;
}

const char *config_size_text(uint64_t bytes, char text[CONFIG_SIZE_TEXT])
{
    static const char units[] = "KMGT";
    unsigned unit = 0;

    while (bytes != 0 && bytes % 1024 == 0 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, CONFIG_SIZE_TEXT, "%lu%.*s", (unsigned long)bytes, unit != 0,
             units + (unit != 0 ? unit - 1 : 0));
    return text;
}

bool config_value_size(struct config_parser *p, const char *value, uint64_t least, uint64_t most,
                       uint64_t *out)
{
    char expected[96], low[CONFIG_SIZE_TEXT], high[CONFIG_SIZE_TEXT];
    uint64_t bytes;

    if (!config_parse_size(value, &bytes) || bytes < least || bytes > most) {
        snprintf(expected, sizeof(expected), "a size such as 256M, from %s to %s",
                 config_size_text(least, low), config_size_text(most, high));
        return config_bad_value(p, value, expected);
    }
    if (bytes % PAGE_SIZE != 0) {
        return config_bad_value(p, value, "a multiple of 4K, the size of a page");
    }
    *out = bytes;
    return true;
}

bool config_value_number(struct config_parser *p, const char *value, uint32_t least, uint32_t most,
                         uint32_t *out)
{
    char expected[48];
    const char *end;
    uint64_t number;

    if (parse_number(value, &number, &end) && *end == '\0' && number >= least && number <= most) {
        *out = (uint32_t)number;
        return true;
    }
    snprintf(expected, sizeof(expected), "a number from %u to %u", (unsigned)least, (unsigned)most);
    return config_bad_value(p, value, expected);
}

bool config_value_choice(struct config_parser *p, const char *value, const char *first,
                         const char *other, bool *second)
{
    char expected[48];

    *second = strcmp(value, other) == 0;
    if (*second || strcmp(value, first) == 0) {
        return true;
    }
    snprintf(expected, sizeof(expected), "%s or %s", first, other);
    return config_bad_value(p, value, expected);
}

bool config_value_file(struct config_parser *p, const char *value, char out[CONFIG_PATH_MAX])
{
    if (value[0] == '\0') {
        return config_bad_value(p, value, "the path of a file on the boot volume");
    }
    if (strlen(value) >= CONFIG_PATH_MAX) {
        return config_bad_value(p, value, "a path of at most 119 characters");
    }
    if (!p->source->file_exists(value)) {
        return config_bad_value(p, value, "a file that is on the boot volume");
    }
    strcpy(out, value);
    return true;
}

bool config_value_text(struct config_parser *p, const char *value, const char **kept)
{
    struct config *config = p->config;
    size_t bytes = strlen(value) + 1;
    char expected[80];

    if (bytes > CONFIG_TEXTS - config->texts_used) {
        snprintf(expected, sizeof(expected), "at most %uK in command lines and modules of all VMs",
                 CONFIG_TEXTS >> 10);
        return config_bad_value(p, value, expected);
    }
    *kept = memcpy(config->texts + config->texts_used, value, bytes);
    config->texts_used += (uint32_t)bytes;
    return true;
}

/* ---- store ---- */

static const char *skip_digits(const char *text)
{
    while (isdigit((unsigned char)*text)) {
        text++;
    }
    return text;
}

/* nvme0, vd12, ata0p3: a disk or a partition, by the names that drivers/block.c gives them. */
static bool is_disk_name(const char *value)
{
    static const char *const prefixes[] = {"nvme", "vd", "ata"};

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t length = strlen(prefixes[i]);
        const char *end = skip_digits(value + MIN(length, strlen(value)));

        if (strncmp(value, prefixes[i], length) != 0 || end == value + length) {
            continue;
        }
        if (*end == 'p' && isdigit((unsigned char)end[1])) {
            end = skip_digits(end + 1);
        }
        return *end == '\0';
    }
    return false;
}

/* PARTUUID=8-4-4-4-12 hexadecimal digits. */
static bool is_partuuid(const char *value)
{
    static const char form[] = "PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(value) != sizeof(form) - 1) {
        return false;
    }
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'x' ? !isxdigit((unsigned char)value[i]) : value[i] != form[i]) {
            return false;
        }
    }
    return true;
}

bool config_value_store(struct config_parser *p, const char *value, char out[CONFIG_STORE_MAX])
{
    if (strlen(value) >= CONFIG_STORE_MAX ||
        (strcmp(value, "auto") != 0 && strcmp(value, "none") != 0 && !is_disk_name(value) &&
         !is_partuuid(value))) {
        return config_bad_value(p, value,
                                strncmp(value, "PARTUUID", 8) == 0
                                    ? "PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
                                    : "auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=...");
    }
    strcpy(out, value);
    return true;
}

/* ---- disks ---- */

static bool is_device(const char *value)
{
    return is_disk_name(value) || is_partuuid(value);
}

bool config_value_disk(struct config_parser *p, const char *value, struct disk_config *out)
{
    static const char expected[] =
        "nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and ,ro or ,share behind it";
    const char *comma = strchr(value, ',');
    size_t length = comma != NULL ? (size_t)(comma - value) : strlen(value);

    if (length >= CONFIG_STORE_MAX) {
        return config_bad_value(p, value, expected);
    }
    memcpy(out->device, value, length);
    out->device[length] = '\0';
    while (comma != NULL) {
        const char *word = comma + 1;

        comma = strchr(word, ',');
        length = comma != NULL ? (size_t)(comma - word) : strlen(word);
        if (length == 2 && strncmp(word, "ro", 2) == 0) {
            out->read_only = true;
        } else if (length == 5 && strncmp(word, "share", 5) == 0) {
            out->read_only = out->share = true;
        } else {
            return config_bad_value(p, value, expected);
        }
    }
    return is_device(out->device) || config_bad_value(p, value, expected);
}

/* Length of the name of the whole disk: nvme0p2 is on nvme0. */
static size_t disk_length(const char *name)
{
    size_t length = strcspn(name, "0123456789");

    return length + strspn(name + length, "0123456789");
}

bool config_disks_overlap(const char *a, const char *b)
{
    size_t length = disk_length(a);

    if (is_partuuid(a) || is_partuuid(b)) {
        return strcasecmp(a, b) == 0;
    }
    if (length != disk_length(b) || strncmp(a, b, length) != 0) {
        return false;
    }
    return a[length] == '\0' || b[length] == '\0' || strcmp(a, b) == 0;
}

bool config_name_is_valid(const char *name)
{
    size_t length = strlen(name);

    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL) {
            return false;
        }
    }
    return length != 0 && length < CONFIG_NAME_MAX;
}
