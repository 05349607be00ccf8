/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway.conf: what the operator wants.  Parsed once at boot, then read-only.
 *
 * Pure: text in, struct out, so that it is tested on the host.
 */
#ifndef SPILLWAY_HV_CONFIG_H
#define SPILLWAY_HV_CONFIG_H

#include "base/types.h"

#define CONFIG_VMS_MAX     32
#define CONFIG_MEMORY_MIN  (4ull << 20) /* of a VM, and of its `max` */
#define CONFIG_NAME_MAX    32
#define CONFIG_PATH_MAX    120
#define CONFIG_CMDLINE_MAX 1024
#define CONFIG_STORE_MAX   64
#define CONFIG_ERROR_MAX   160

struct vm_config {
    char name[CONFIG_NAME_MAX];
    char kernel[CONFIG_PATH_MAX]; /* never empty */
    char initrd[CONFIG_PATH_MAX]; /* empty: none */
    char cmdline[CONFIG_CMDLINE_MAX];
    uint64_t memory; /* bytes, whole MiB */
    uint64_t min;    /* bytes, never reclaimed below */
    uint64_t max;    /* bytes resident at most; 0: no limit */
    uint64_t tmem;   /* bytes that persistent tmem pools may hold; 0: no tmem */
    uint32_t vcpus;
    uint32_t shares;
    uint32_t cpu_shares; /* of CPUs; 0: the same as shares */
    bool autostart;
    bool triple_fault_fails; /* on-triple-fault = fail */
};

struct config {
    uint64_t pool;                /* bytes; 0: all that is left */
    char store[CONFIG_STORE_MAX]; /* auto, none, or a device name */
    bool format;
    uint16_t console_port;
    uint32_t console_baud;
    bool idle_poweroff; /* when-idle */
    bool panic_reset;   /* panic = reset | poweroff */
    uint32_t vm_count;
    struct vm_config vm[CONFIG_VMS_MAX];
};

/*
 * Fills *config.  file_exists(path) says whether a file that the text names is there.  False: error
 * holds one line, "spillway.conf:LINE: ..., expected ...".
 */
bool config_parse(const char *text, size_t bytes, bool (*file_exists)(const char *path),
                  struct config *config, char error[CONFIG_ERROR_MAX]);
/* "64M", "1G", "4096": bytes; false: not a size. */
bool config_parse_size(const char *text, uint64_t *bytes);

#endif
