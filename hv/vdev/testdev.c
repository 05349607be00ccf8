/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/testdev.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/testdev_disk.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define PORT_REGISTER 0xe0u
#define PORT_EVICT    0xe4u
#define PORT_LINES    0x2000u
#define PORT_ADDRESS  0x2020u
#define PORT_DATA     0x2024u
#define PORT_WAITS    0x2028u
#define LINES         24u
#define ISA_LINES     16u
#define ISA_CASCADE   2u
#define BIOS_LINE     11u

#define MEMORY_BASE  0xff000000ull
#define MEMORY_ORDER 4u
#define MEMORY_BYTES (PAGE_SIZE << MEMORY_ORDER)
#define WINDOW_BASE  (MEMORY_BASE + MEMORY_BYTES)

#define RANGES 8

struct testdev {
    struct vm_devices *devices;
    struct bus_range range[RANGES];
    struct spinlock lock; /* what follows */
    uint32_t word;        /* the register */
    uint32_t address;
    uint32_t waits;
    bool evicted; /* the page that was named last is in no frame */
    pfn_t memory;
};

/* ---- registers ---- */

/* To or from bytes of our own. */
static enum bus_result move_bytes(struct bus_access *access, uint8_t *at)
{
    if (access->write) {
        memcpy(at, &access->value, access->size);
    } else {
        access->value = 0;
        memcpy(&access->value, at, access->size);
    }
    return BUS_DONE;
}

static enum bus_result move_word(struct bus_access *access, uint32_t *word)
{
    if (access->size > sizeof(*word) - access->offset) {
        return BUS_NOBODY;
    }
    return move_bytes(access, (uint8_t *)word + access->offset);
}

static enum bus_result access_word(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    return move_word(access, &test->word);
}

static enum bus_result access_address(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    return move_word(access, &test->address);
}

static enum bus_result access_waits(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    return move_word(access, &test->waits);
}

static enum bus_result read_nothing(struct bus_access *access)
{
    (void)access;
    return BUS_NOBODY;
}

static enum bus_result write_evict(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    test->evicted = space_evict(access->vcpu->space, gpa_to_gfn(gpa(access->value)));
    return BUS_DONE;
}

/* Has the page that was written here last left its frame?  Else it is worth writing it again. */
static enum bus_result read_evict(struct bus_access *access)
{
    const struct testdev *test = access->range->owner;

    access->value = test->evicted;
    return BUS_DONE;
}

/* ---- interrupt lines ---- */

/* A pulse that a CPU with IF = 0 has not taken yet lasts until it does, as QEMU's 8259s latch it.
 */
static bool lasts(const struct lines *lines, unsigned line)
{
    return lines_pic_is_open(lines, line) && lines_pic_is_requested(lines, line);
}

static void set_line(struct lines *lines, unsigned line, bool level)
{
    bool isa = line < ISA_LINES && line != ISA_CASCADE;

    if (isa && !level && lasts(lines, line)) {
        return;
    }
    if (isa) {
        lines_set(lines, line, level);
    } else {
        vioapic_set_pin(&lines->ioapic, line, level);
    }
}

static enum bus_result write_line(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    set_line(&test->devices->lines, (unsigned)access->offset, access->value != 0);
    return BUS_DONE;
}

/* ---- memory ---- */

static enum bus_result access_memory(struct bus_access *access)
{
    struct testdev *test = access->range->owner;

    return move_bytes(access, (uint8_t *)mm_frame_ptr(test->memory) + access->offset);
}

/* Looks first: what has not come changes nothing.  What is no memory, or lost, reads as zero. */
static enum bus_result access_guest(struct bus_access *access, uint32_t at)
{
    struct testdev *test = access->range->owner;
    struct vcpu *vcpu = access->vcpu;
    uint64_t value = 0;
    enum mm_result result =
        access->write
            ? space_write(vcpu->space, gpa(at), &access->value, access->size, &vcpu->waiter)
            : space_read(vcpu->space, gpa(at), &value, access->size, &vcpu->waiter);

    if (result == MM_WAIT) {
        test->waits++;
        return BUS_PARK;
    }
    if (!access->write) {
        access->value = value;
    }
    return BUS_DONE;
}

static enum bus_result access_data(struct bus_access *access)
{
    struct testdev *test = access->range->owner;
    enum bus_result result = access_guest(access, test->address);

    if (result == BUS_DONE) {
        test->address += access->size;
    }
    return result;
}

static enum bus_result access_window(struct bus_access *access)
{
    const struct testdev *test = access->range->owner;

    return access_guest(access, test->address + (uint32_t)access->offset);
}

/* ---- life ---- */

static const struct {
    struct bus_ops ops;
    uint64_t first, count;
    bool memory;
} places[RANGES] = {
    {{access_word, access_word, NULL, NULL}, PORT_REGISTER, 4, false},
    {{read_evict, write_evict, NULL, NULL}, PORT_EVICT, 1, false},
    {{read_nothing, write_line, NULL, NULL}, PORT_LINES, LINES, false},
    {{access_address, access_address, NULL, NULL}, PORT_ADDRESS, 4, false},
    {{access_data, access_data, NULL, NULL}, PORT_DATA, 1, false},
    {{access_waits, access_waits, NULL, NULL}, PORT_WAITS, 4, false},
    {{access_memory, access_memory, NULL, NULL}, MEMORY_BASE, MEMORY_BYTES, true},
    {{access_window, access_window, NULL, NULL}, WINDOW_BASE, PAGE_SIZE, true},
};

static bool attach(struct testdev *test)
{
    struct vm_devices *devices = test->devices;

    for (unsigned i = 0; i < RANGES; i++) {
        test->range[i] =
            (struct bus_range){.ops = &places[i].ops, .owner = test, .lock = &test->lock};
        if (!bus_add(places[i].memory ? &devices->memory : &devices->ports, &test->range[i],
                     places[i].first, places[i].count)) {
            return false;
        }
    }
    return true;
}

bool testdev_create(struct vm_devices *devices)
{
    struct testdev *test = calloc(1, sizeof(*test));

    if (test == NULL || !frame_alloc_zeroed(MEMORY_ORDER, ALLOC_META, 0, &test->memory)) {
        free(test);
        return false;
    }
    spin_init(&test->lock, RANK_VDEV, "testdev");
    test->devices = devices;
    devices->test = test;
    if (!attach(test) || !testdev_disk_attach(devices)) {
        testdev_destroy(devices);
        return false;
    }
    return true;
}

void testdev_reset(struct vm_devices *devices)
{
    struct testdev *test = devices->test;
    struct bus_access mask = {.size = 1};

    (void)bus_transfer(&devices->ports, VPIC_SLAVE_PORT + 1, &mask);
    mask.write = true;
    mask.value &= (uint8_t)~BIT(BIOS_LINE - 8);
    (void)bus_transfer(&devices->ports, VPIC_SLAVE_PORT + 1, &mask);
    spin_lock(&test->lock);
    test->word = 0;
    test->address = 0;
    test->waits = 0;
    spin_unlock(&test->lock);
}

void testdev_destroy(struct vm_devices *devices)
{
    testdev_disk_detach(devices);
    frame_free(devices->test->memory);
    free(devices->test);
    devices->test = NULL;
}
