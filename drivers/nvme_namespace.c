/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe namespaces: which there are, and which of them are disks. */
#include <string.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/nvme.h"

#define LIST_ENTRIES 1024u
#define VERSION_1_1  0x00010100u /* of VS: before it there was no list */

#define FLBAS_FORMAT         0x0fu
#define NSATTR_WRITE_PROTECT 0x01u

/* Identify Namespace: NVMe 1.4, 5.15.2.1 "Identify Namespace data structure". */
struct nvme_identify_namespace {
    uint64_t size; /* logical blocks */
    uint8_t reserved8[18];
    uint8_t format; /* FLBAS */
    uint8_t reserved27[72];
    uint8_t attributes; /* NSATTR */
    uint8_t reserved100[28];
    uint32_t formats[16]; /* LBAF */
};
_Static_assert(offsetof(struct nvme_identify_namespace, format) == 26, "FLBAS");
_Static_assert(offsetof(struct nvme_identify_namespace, attributes) == 99, "NSATTR");
_Static_assert(offsetof(struct nvme_identify_namespace, formats) == 128, "LBAF");
#define LBAF_METADATA BITS(15, 0)
#define LBAF_SHIFT    BITS(23, 16)

/* NVMe 2.1, 5.1.13.2.3 "Namespace Identification Descriptor list (CNS 03h)": type, length, two
 * reserved bytes, so many bytes of identifier; length 0 ends the list. */
#define DESCRIPTOR_HEAD 4u
#define DESCRIPTOR_CSI  4u /* the type: Command Set Identifier, one byte */

#define CSI_NVM     0
#define CSI_UNKNOWN (-1)

/*
 * What command set the namespace has.  A controller that has only the NVM command set says nothing
 * about it; one with CAP.CSS.IOCSS says it of every namespace.
 */
static int command_set(struct nvme_controller *c, uint32_t nsid)
{
    const uint8_t *data = c->identify;

    if (!(c->capabilities & NVME_CAP_CSS_SETS)) {
        return CSI_NVM;
    }
    if (!nvme_admin_identify(c, NVME_IDENTIFY_DESCRIPTORS, nsid)) {
        return CSI_UNKNOWN;
    }
    for (unsigned at = 0; at + DESCRIPTOR_HEAD < PAGE_SIZE && data[at + 1] != 0;
         at += DESCRIPTOR_HEAD + data[at + 1]) {
        if (data[at] == DESCRIPTOR_CSI) {
            return data[at + DESCRIPTOR_HEAD];
        }
    }
    return CSI_UNKNOWN;
}

/* False, and logged: reading and writing it takes other commands than ours. */
static bool has_nvm_commands(struct nvme_controller *c, uint32_t nsid)
{
    static const char *const names[] = {"NVM", "Key Value", "Zoned Namespace",
                                        "Subsystem Local Memory", "Computational Programs"};
    int csi = command_set(c, nsid);

    if (csi == CSI_UNKNOWN) {
        log_warn("%s: namespace %u does not tell its command set: left out", c->name, nsid);
    } else if (csi != CSI_NVM) {
        log_warn("%s: namespace %u has the %s command set (%02xh), not NVM: left out", c->name,
                 nsid, (size_t)csi < ARRAY_SIZE(names) ? names[csi] : "unknown", (unsigned)csi);
    }
    return csi == CSI_NVM;
}

/* False: it cannot be used, and is logged unless there is nothing of it. */
static bool namespace_identify(struct nvme_controller *c, struct nvme_namespace *ns)
{
    const struct nvme_identify_namespace *data = c->identify;

    if (!nvme_admin_identify(c, NVME_IDENTIFY_NAMESPACE, ns->nsid)) {
        log_warn("%s: namespace %u cannot be identified: left out", c->name, ns->nsid);
        return false;
    }
    uint32_t format = data->formats[data->format & FLBAS_FORMAT];
    unsigned shift = (unsigned)FIELD_GET(LBAF_SHIFT, format);

    if (data->size == 0) {
        return false;
    }
    if (shift < 9 || shift > PAGE_SHIFT || FIELD_GET(LBAF_METADATA, format) != 0) {
        log_warn("%s: namespace %u has logical blocks of %u bytes with %u of metadata: left out",
                 c->name, ns->nsid, 1u << (shift & 31), (unsigned)FIELD_GET(LBAF_METADATA, format));
        return false;
    }
    ns->lba_shift = shift;
    ns->device.blocks = data->size >> (PAGE_SHIFT - shift);
    ns->device.unit = (uint8_t)(1u << (shift - BLOCK_SECTOR_SHIFT));
    ns->device.read_only = (data->attributes & NSATTR_WRITE_PROTECT) != 0;
    return true;
}

/* False: there is no room for it, nor for any after it. */
static bool namespace_add(struct nvme_controller *c, uint32_t nsid)
{
    struct nvme_namespace found = {.controller = c, .nsid = nsid};
    struct nvme_namespace *ns;

    if (!has_nvm_commands(c, nsid) || !namespace_identify(c, &found)) {
        return true;
    }
    ns = page_pool_take(&c->structs, sizeof(*ns));
    if (!ns) {
        log_error("%s: no memory for namespace %u: left out, and all after it", c->name, nsid);
        return false;
    }
    *ns = found;
    ns->device.ops = &nvme_block_ops;
    ns->device.driver = ns;
    ns->device.shares_poll = c->namespaces != 0;
    if (!block_add_disk(&ns->device, "nvme")) {
        log_error("%s: more than %d disks: namespace %u is left out, and all after it", c->name,
                  BLOCK_MAX_DISKS, nsid);
        return false;
    }
    c->namespaces++;
    return true;
}

/* Every NSID there may be: the controller has no list of the active ones. */
static unsigned list_guess(const struct nvme_controller *c, uint32_t *nsid)
{
    unsigned count = 0;

    while (count < LIST_ENTRIES - 1 && count < c->namespace_limit) {
        nsid[count] = count + 1;
        count++;
    }
    return count;
}

/*
 * Active NSIDs above `last`, ascending, at most LIST_ENTRIES; their number, and fewer than that
 * means that there are no more.  NVMe 2.1, 5.1.13.2.2 "Active Namespace ID list (CNS 02h)".
 */
static unsigned list_read(struct nvme_controller *c, uint32_t last, uint32_t *nsid)
{
    unsigned count = 0;

    if (nvme_read(c, NVME_VS) < VERSION_1_1 || !nvme_admin_identify(c, NVME_IDENTIFY_LIST, last)) {
        return last == 0 ? list_guess(c, nsid) : 0;
    }
    memcpy(nsid, c->identify, LIST_ENTRIES * sizeof(*nsid));
    while (count < LIST_ENTRIES && nsid[count] > last) {
        last = nsid[count++];
    }
    return count;
}

void nvme_namespaces_add(struct nvme_controller *c)
{
    uint32_t nsid[LIST_ENTRIES];
    uint32_t last = 0;
    unsigned count;

    do {
        count = list_read(c, last, nsid);
        for (unsigned i = 0; i < count; i++) {
            if (!namespace_add(c, nsid[i])) {
                return;
            }
            last = nsid[i];
        }
    } while (count == LIST_ENTRIES);
}
