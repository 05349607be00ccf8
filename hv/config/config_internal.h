/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of hv/config/ that read spillway.conf, and nobody else. */
#ifndef SPILLWAY_HV_CONFIG_CONFIG_INTERNAL_H
#define SPILLWAY_HV_CONFIG_CONFIG_INTERNAL_H

#include "hv/config/config.h"

#define CONFIG_KEYS_MAX 24 /* of a section */

enum config_section {
    SECTION_NONE,    /* at the start of the file */
    SECTION_SKIPPED, /* of an unknown kind: its keys are not looked at */
    SECTION_HOST,
    SECTION_VM,
    SECTION_SWITCH,
};

struct config_parser {
    const struct config_source *source;
    struct config *config;
    unsigned errors;
    unsigned line; /* the one that is being read */
    const char *key;
    unsigned number; /* of the key, if its kind has numbers */
    enum config_section section;
    unsigned section_line;
    unsigned host_line;   /* of [host]; 0: not seen */
    struct vm_config *vm; /* the section's; one of its own if it is not counted */
    struct vm_config uncounted;
    struct switch_config *net; /* likewise */
    struct switch_config uncounted_net;
    unsigned key_line[CONFIG_KEYS_MAX]; /* of this section's keys; 0: not seen */
};

struct config_key {
    const char *name;
    /* False: it is reported. */
    bool (*set)(struct config_parser *p, const char *value);
};

/* ---- config_value.c: values, each reported as the current key's if it is bad ---- */

/* "NAME:LINE: WHAT: expected EXPECTED", and what there was if `got` is not NULL.  Always false. */
bool config_error(struct config_parser *p, unsigned line, const char *what, const char *expected,
                  const char *got);
/* The current key has a bad value.  Always false. */
bool config_bad_value(struct config_parser *p, const char *value, const char *expected);
/* In the largest unit that it is a multiple of. */
#define CONFIG_SIZE_TEXT 24
const char *config_size_text(uint64_t bytes, char text[CONFIG_SIZE_TEXT]);

bool config_value_size(struct config_parser *p, const char *value, uint64_t least, uint64_t most,
                       uint64_t *out);
bool config_value_number(struct config_parser *p, const char *value, uint32_t least, uint32_t most,
                         uint32_t *out);
/* One of two words; *second: it is the second one. */
bool config_value_choice(struct config_parser *p, const char *value, const char *first,
                         const char *other, bool *second);
bool config_value_file(struct config_parser *p, const char *value, char out[CONFIG_PATH_MAX]);
/* Keeps the text in config->texts; *kept is where it lies. */
bool config_value_text(struct config_parser *p, const char *value, const char **kept);
bool config_value_store(struct config_parser *p, const char *value, char out[CONFIG_STORE_MAX]);
/* Of a VM: letters, digits, '-', '_' and '.'. */
bool config_name_is_valid(const char *name);
/* DEVICE[,ro][,share] */
bool config_value_disk(struct config_parser *p, const char *value, struct disk_config *out);

/* ---- config_devices.c: a VM's disks and NICs, and the switches that these are on ---- */

bool config_set_disk(struct config_parser *p, const char *value);
bool config_set_net(struct config_parser *p, const char *value);
bool config_set_uplink(struct config_parser *p, const char *value);
/* A section [switch NAME]. */
void config_begin_switch(struct config_parser *p, const char *name);
/* At the end of the file: each NIC's switch is there, and no other one on it has its address. */
void config_check_nics(struct config_parser *p);

#endif
