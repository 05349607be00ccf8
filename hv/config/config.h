/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway.conf: what the operator wants.  Parsed once at boot, then read-only.
 *
 * Pure: text in, struct and messages out, so that it is tested on the host, where tools/spillway
 * check runs it too.
 */
#ifndef SPILLWAY_HV_CONFIG_CONFIG_H
#define SPILLWAY_HV_CONFIG_CONFIG_H

#include "base/types.h"

#define CONFIG_FILE_NAME "spillway.conf"

#define CONFIG_VMS_MAX      256
#define CONFIG_VCPUS_MAX    64           /* of a VM */
#define CONFIG_MEMORY_MIN   (4ull << 20) /* of a VM, and of its `max` */
#define CONFIG_NAME_MAX     32
#define CONFIG_PATH_MAX     120
#define CONFIG_CMDLINE_MAX  4096 /* with the NUL; each kernel says how many of them it takes */
#define CONFIG_TEXTS        (256u << 10) /* bytes that command lines and modules of all VMs may take */
#define CONFIG_STORE_MAX    64
#define CONFIG_DISKS_MAX    16  /* of a VM: disk0 .. disk15 */
#define CONFIG_DISKS        256 /* of all of them */
#define CONFIG_NETS_MAX     16  /* of a VM: net0 .. net15 */
#define CONFIG_NETS         256 /* of all of them */
#define CONFIG_SWITCHES_MAX 16
#define CONFIG_MAC_BYTES    6
#define CONFIG_ERROR_MAX    416
#define CONFIG_SHARES_MAX   10000u
#define CONFIG_MODULES_MAX  8 /* of a VM */

/* A file beside the kernel that the boot protocol hands over with a few words. */
struct config_module {
    const char *path;
    const char *words; /* never NULL */
};

/* How much of its memory a VM's balloon takes. */
enum balloon_mode {
    BALLOON_AUTO, /* as hv/vm/balloon_target.h says */
    BALLOON_OFF,  /* it has no balloon */
    BALLOON_SIZE, /* so much */
};

struct balloon_setting {
    enum balloon_mode mode;
    uint64_t bytes; /* BALLOON_SIZE */
};

/* diskN = DEVICE[,ro][,share] */
struct disk_config {
    char device[CONFIG_STORE_MAX]; /* as in `store`, and neither auto nor none */
    unsigned line;
    uint8_t number; /* N */
    bool read_only; /* with `share`, too */
    bool share;     /* other VMs may have it as well */
};

/* [switch NAME] */
struct switch_config {
    char name[CONFIG_NAME_MAX];
    unsigned line;                 /* of its section */
    char uplink[CONFIG_STORE_MAX]; /* a NIC of the machine, by name or MAC address; empty: none */
    unsigned uplink_line;
};

/* netN = SWITCH[,mac=..] */
struct net_config {
    char name[CONFIG_NAME_MAX]; /* of its switch ... */
    uint32_t net;               /* ... which is that one of config.net */
    unsigned line;
    uint8_t number; /* N */
    uint8_t
        mac[CONFIG_MAC_BYTES]; /* of one station; if none is given, made of the VM's name and N */
};

struct vm_config {
    char name[CONFIG_NAME_MAX];
    unsigned line;                /* of its section */
    char kernel[CONFIG_PATH_MAX]; /* never empty */
    char initrd[CONFIG_PATH_MAX]; /* empty: none */
    const char *cmdline;          /* never NULL */
    struct config_module module[CONFIG_MODULES_MAX];
    uint32_t modules;
    uint64_t memory;                /* bytes; this and all other sizes: whole pages of 4 KiB */
    uint64_t min;                   /* bytes, never reclaimed below */
    uint64_t max;                   /* bytes resident at most; 0: no limit */
    uint64_t tmem;                  /* bytes that persistent tmem pools may hold; 0: no tmem */
    struct balloon_setting balloon; /* bytes: at most what memory has more than min */
    uint32_t vcpus;
    uint32_t shares;
    uint32_t cpu_shares;        /* of CPUs; 0: the same as shares */
    uint32_t disks, first_disk; /* so many, from there in config.disk */
    uint32_t nics, first_nic;   /* and in config.nic */
    bool autostart;
    bool triple_fault_fails; /* on-triple-fault = fail */
};

struct config {
    uint64_t pool;                /* bytes; 0: all that is left */
    char store[CONFIG_STORE_MAX]; /* auto, none, or a device name */
    bool format;
    uint16_t console_port;
    uint32_t console_baud;
    bool idle_poweroff;             /* when-idle */
    bool panic_reset;               /* panic = reset | poweroff */
    unsigned pool_line, store_line; /* where they are set; 0: nowhere */
    uint32_t vm_count;
    struct vm_config vm[CONFIG_VMS_MAX];
    char texts[CONFIG_TEXTS]; /* one behind the other, each with its NUL */
    uint32_t texts_used;
    struct disk_config disk[CONFIG_DISKS]; /* of one VM after the other */
    uint32_t disks_used;
    struct net_config nic[CONFIG_NETS]; /* likewise */
    uint32_t nics_used;
    struct switch_config net[CONFIG_SWITCHES_MAX];
    uint32_t nets_used;
};

struct config_source {
    const char *name; /* of the file, for messages */
    const char *text; /* need not end in a NUL */
    size_t bytes;
    /* Is a file that the text names there? */
    bool (*file_exists)(const char *path);
    /* Takes one error: "NAME:LINE: WHAT: expected EXPECTED, got 'VALUE'", printable characters
     * only, shorter than CONFIG_ERROR_MAX. */
    void (*report)(const char *error);
};

/*
 * Fills *config, and reports every error that there is, each once.  How many that are; with 0, all
 * that *config says holds.
 */
unsigned config_parse(const struct config_source *source, struct config *config);
/* Do the two names stand for the same blocks?  As far as names tell: a partition that is named by
 * its PARTUUID is on a disk that is not known here. */
bool config_disks_overlap(const char *a, const char *b);
/* "64M", "1G", "4096", "0x1000": bytes; false: not a size, or more than 64 bits hold. */
bool config_parse_size(const char *text, uint64_t *bytes);
/* "auto", "off", or a size of whole pages; false: neither, and *setting is as it was. */
bool config_parse_balloon(const char *text, struct balloon_setting *setting);

#endif
