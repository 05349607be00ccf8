/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's disks and network devices, and the switches that these are on. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "drivers/nic.h"
#include "hv/config/config_internal.h"

/* Always false: the line's key has stood in its section before, there. */
static bool comes_again(struct config_parser *p, unsigned line)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "each key once in a section, first in line %u", line);
    return config_error(p, p->line, p->key, expected, NULL);
}

/* ---- diskN ---- */

/* Another line of the VM with the same number, or NULL. */
static const struct disk_config *find_disk(const struct config_parser *p, unsigned number)
{
    const struct disk_config *disks = p->config->disk + p->vm->first_disk;

    for (uint32_t i = 0; i < p->vm->disks; i++) {
        if (disks[i].number == number) {
            return &disks[i];
        }
    }
    return NULL;
}

bool config_set_disk(struct config_parser *p, const char *value)
{
    const struct disk_config *other = find_disk(p, p->number);
    struct disk_config disk = {.line = p->line, .number = (uint8_t)p->number};
    char expected[64];

    if (other != NULL) {
        return comes_again(p, other->line);
    }
    if (!config_value_disk(p, value, &disk)) {
        return false;
    }
    if (p->config->disks_used == CONFIG_DISKS) {
        snprintf(expected, sizeof(expected), "at most %u disks of all VMs", CONFIG_DISKS);
        return config_bad_value(p, value, expected);
    }
    p->config->disk[p->config->disks_used++] = disk;
    p->vm->disks++;
    return true;
}

/* ---- netN ---- */

static const struct net_config *find_nic(const struct config_parser *p, unsigned number)
{
    const struct net_config *nics = p->config->nic + p->vm->first_nic;

    for (uint32_t i = 0; i < p->vm->nics; i++) {
        if (nics[i].number == number) {
            return &nics[i];
        }
    }
    return NULL;
}

/* Of one station, and not all zero. */
static bool parse_mac(const char *text, uint8_t mac[CONFIG_MAC_BYTES])
{
    static const char form[] = "xx:xx:xx:xx:xx:xx";
    unsigned any = 0;

    if (strlen(text) != sizeof(form) - 1) {
        return false;
    }
    for (unsigned i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != form[i]) {
            return false;
        }
    }
    for (unsigned i = 0; i < CONFIG_MAC_BYTES; i++) {
        mac[i] = (uint8_t)strtoul(text + 3 * (size_t)i, NULL, 16);
        any |= mac[i];
    }
    return any != 0 && !(mac[0] & 1);
}

/* The same at each start: of the VM's name (FNV-1a) and the NIC's number; locally administered. */
static void make_mac(const char *name, unsigned number, uint8_t mac[CONFIG_MAC_BYTES])
{
    uint32_t hash = 0x811c9dc5;

    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x01000193;
    }
    mac[0] = 0x02;
    for (unsigned i = 0; i < 4; i++) {
        mac[1 + i] = (uint8_t)(hash >> (24 - 8 * i));
    }
    mac[5] = (uint8_t)number;
}

/* SWITCH[,mac=..] */
static bool parse_nic(const struct config_parser *p, const char *value, struct net_config *nic)
{
    static const char option[] = ",mac=";
    size_t length = strcspn(value, ",");

    if (length >= sizeof(nic->name)) {
        return false;
    }
    memcpy(nic->name, value, length);
    nic->name[length] = '\0';
    make_mac(p->vm->name, p->number, nic->mac);
    if (value[length] == '\0') {
        return config_name_is_valid(nic->name);
    }
    return config_name_is_valid(nic->name) &&
           strncmp(value + length, option, sizeof(option) - 1) == 0 &&
           parse_mac(value + length + sizeof(option) - 1, nic->mac);
}

bool config_set_net(struct config_parser *p, const char *value)
{
    const struct net_config *other = find_nic(p, p->number);
    struct net_config nic = {.line = p->line, .number = (uint8_t)p->number};
    char expected[64];

    if (other != NULL) {
        return comes_again(p, other->line);
    }
    if (!parse_nic(p, value, &nic)) {
        return config_bad_value(p, value,
                                "the name of a switch, and ,mac=xx:xx:xx:xx:xx:xx of one station "
                                "behind it");
    }
    if (p->config->nics_used == CONFIG_NETS) {
        snprintf(expected, sizeof(expected), "at most %u NICs of all VMs", CONFIG_NETS);
        return config_bad_value(p, value, expected);
    }
    p->config->nic[p->config->nics_used++] = nic;
    p->vm->nics++;
    return true;
}

/* ---- [switch NAME] ---- */

static const struct switch_config *find_switch(const struct config *config, const char *name)
{
    for (uint32_t i = 0; i < config->nets_used; i++) {
        if (strcmp(config->net[i].name, name) == 0) {
            return &config->net[i];
        }
    }
    return NULL;
}

/* May there be a switch of that name?  False: it is reported. */
static bool check_new_switch(struct config_parser *p, const char *name)
{
    const struct switch_config *other = find_switch(p->config, name);
    char expected[64];

    if (!config_name_is_valid(name)) {
        return config_error(p, p->line, "switch name", "1 to 31 letters, digits, '-', '_', '.'",
                            name);
    }
    if (other != NULL) {
        snprintf(expected, sizeof(expected), "a name other than that of line %u", other->line);
        return config_error(p, p->line, "switch name", expected, name);
    }
    if (p->config->nets_used == CONFIG_SWITCHES_MAX) {
        snprintf(expected, sizeof(expected), "at most %u switches", CONFIG_SWITCHES_MAX);
        return config_error(p, p->line, "switch", expected, name);
    }
    return true;
}

void config_begin_switch(struct config_parser *p, const char *name)
{
    bool counts = check_new_switch(p, name);

    p->section = SECTION_SWITCH;
    p->net = counts ? &p->config->net[p->config->nets_used++] : &p->uncounted_net;
    *p->net = (struct switch_config){.line = p->line};
    snprintf(p->net->name, sizeof(p->net->name), "%s", name);
}

/* Which one it is the machine knows; here only what one can be called. */
static bool is_nic(const char *text)
{
    const char *digits = text + 3;
    uint8_t mac[CONFIG_MAC_BYTES];

    if (strncmp(text, "eth", 3) != 0) {
        return parse_mac(text, mac);
    }
    return isdigit((unsigned char)digits[0]) && strlen(digits) <= 2 &&
           digits[strspn(digits, "0123456789")] == '\0' &&
           (digits[0] != '0' || digits[1] == '\0') && (unsigned)atoi(digits) < NIC_MAX;
}

/* Another switch that has it, or NULL. */
static const struct switch_config *find_uplink(const struct config_parser *p, const char *nic)
{
    for (uint32_t i = 0; i < p->config->nets_used; i++) {
        if (&p->config->net[i] != p->net && strcmp(p->config->net[i].uplink, nic) == 0) {
            return &p->config->net[i];
        }
    }
    return NULL;
}

bool config_set_uplink(struct config_parser *p, const char *value)
{
    const struct switch_config *other = find_uplink(p, value);
    char expected[64];

    if (strcmp(value, "none") == 0) {
        return true;
    }
    if (!is_nic(value)) {
        return config_bad_value(p, value, "none, eth0 .. eth15, or the MAC address of a NIC");
    }
    if (other != NULL) {
        snprintf(expected, sizeof(expected), "a NIC other than that of line %u",
                 other->uplink_line);
        return config_bad_value(p, value, expected);
    }
    snprintf(p->net->uplink, sizeof(p->net->uplink), "%s", value);
    p->net->uplink_line = p->line;
    return true;
}

/* ---- all NICs ---- */

/* One before it on the same switch with the same address, or NULL. */
static const struct net_config *find_twin(const struct config *config, const struct net_config *nic)
{
    for (const struct net_config *other = config->nic; other < nic; other++) {
        if (strcmp(other->name, nic->name) == 0 &&
            memcmp(other->mac, nic->mac, sizeof(nic->mac)) == 0) {
            return other;
        }
    }
    return NULL;
}

static void check_nic(struct config_parser *p, struct net_config *nic)
{
    const struct switch_config *net = find_switch(p->config, nic->name);
    const struct net_config *twin = find_twin(p->config, nic);
    char what[8], expected[80];

    snprintf(what, sizeof(what), "net%u", nic->number);
    if (net == NULL) {
        config_error(p, nic->line, what, "a switch that has a section [switch NAME]", nic->name);
        return;
    }
    nic->net = (uint32_t)(net - p->config->net);
    if (twin != NULL) {
        snprintf(expected, sizeof(expected),
                 "an address other than that of line %u, on the same switch", twin->line);
        config_error(p, nic->line, what, expected, NULL);
    }
}

void config_check_nics(struct config_parser *p)
{
    for (uint32_t i = 0; i < p->config->nics_used; i++) {
        check_nic(p, &p->config->nic[i]);
    }
}
