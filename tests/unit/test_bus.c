/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's bus: look-up, ranges that come and go, against an array that says of each address whose
 * it is; and CPUs that access a device while it is taken out and put elsewhere.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/bus/bus.h"
#include "tests/unit/support.h"
#include "tests/unit/xorshift.h"

#define DEVICES   200u /* more than there is room for */
#define ADDRESSES 2048u

struct device {
    struct spinlock lock;
    struct bus_range range;
    unsigned reads, writes, befores, afters;
    uint64_t offset, value; /* of the last access */
    unsigned size;
    enum bus_result answer;
};

static struct bus_map map;
static struct device devices[DEVICES];

static struct device *device_of(struct bus_access *access)
{
    return access->range->owner;
}

static enum bus_result note(struct bus_access *access)
{
    struct device *device = device_of(access);

    device->offset = access->offset;
    device->size = access->size;
    access->note = 7;
    return device->answer;
}

static enum bus_result device_read(struct bus_access *access)
{
    device_of(access)->reads++;
    access->value = 0x1122334455667788;
    return note(access);
}

static enum bus_result device_write(struct bus_access *access)
{
    device_of(access)->writes++;
    device_of(access)->value = access->value;
    return note(access);
}

/* Without the device's lock: that could be taken. */
static void check_unlocked(struct bus_access *access)
{
    assert_true(spin_trylock(access->range->lock));
    spin_unlock(access->range->lock);
}

static void device_before(struct bus_access *access)
{
    check_unlocked(access);
    assert_int_equal(access->note, 0);
    device_of(access)->befores++;
}

static void device_after(struct bus_access *access)
{
    check_unlocked(access);
    assert_int_equal(access->note, 7);
    device_of(access)->afters++;
}

static const struct bus_ops device_ops = {
    .read = device_read, .write = device_write, .before = device_before, .after = device_after};

static _Atomic uint8_t low[ADDRESSES];
static uint64_t low_count; /* each test runs with and without */

static void start(void)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        low[i] = 0;
    }
    bus_init(&map, low, low_count);
    memset(devices, 0, sizeof(devices));
    for (unsigned i = 0; i < DEVICES; i++) {
        spin_init(&devices[i].lock, RANK_VDEV, "device");
        devices[i].range =
            (struct bus_range){.ops = &device_ops, .owner = &devices[i], .lock = &devices[i].lock};
    }
}

static bool add(unsigned i, uint64_t first, uint64_t count)
{
    return bus_add(&map, &devices[i].range, first, count);
}

static void ends_of_the_space(void **state)
{
    (void)state;
    start();
    assert_null(bus_find(&map, 0));
    assert_null(bus_find(&map, UINT64_MAX));
    assert_false(add(0, 5, 0));
    assert_false(add(0, UINT64_MAX, 2));
    assert_true(add(0, UINT64_MAX, 1));
    assert_true(add(1, 0, 1));
    assert_ptr_equal(bus_find(&map, UINT64_MAX), &devices[0].range);
    assert_ptr_equal(bus_find(&map, 0), &devices[1].range);
    assert_null(bus_find(&map, 1));
    assert_null(bus_find(&map, UINT64_MAX - 1));
    assert_false(bus_is_free(&map, UINT64_MAX - 10, 11));
    assert_true(bus_is_free(&map, UINT64_MAX - 10, 10));
}

static void overlaps_are_refused(void **state)
{
    (void)state;
    start();
    assert_true(add(0, 100, 10));
    for (uint64_t first = 80; first < 120; first++) {
        for (uint64_t count = 1; count < 40; count++) {
            bool apart = first + count <= 100 || first >= 110;

            assert_int_equal(bus_is_free(&map, first, count), apart);
            assert_int_equal(add(1, first, count), apart);
            bus_remove(&map, &devices[1].range);
        }
    }
    assert_false(add(0, 200, 1)); /* it is there already */
    bus_remove(&map, &devices[0].range);
    bus_remove(&map, &devices[0].range);
    assert_true(add(0, 200, 1));
}

static void full(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < BUS_RANGES_MAX; i++) {
        assert_true(add(i, 10 * (BUS_RANGES_MAX - i), 10));
    }
    assert_false(add(BUS_RANGES_MAX, 0, 1));
    bus_remove(&map, &devices[0].range);
    assert_true(add(BUS_RANGES_MAX, 0, 1));
}

/* What a handler is told, what it says, and who is called around it. */
static void accesses(void **state)
{
    struct bus_access access = {.size = 4};
    struct device *device = &devices[0];

    (void)state;
    start();
    assert_true(add(0, 0x100, 8));
    assert_int_equal(bus_transfer(&map, 0xff, &access), BUS_NOBODY); /* though it reaches there */
    assert_int_equal(bus_transfer(&map, 0x108, &access), BUS_NOBODY);
    assert_int_equal(device->befores + device->reads, 0);
    assert_int_equal(bus_transfer(&map, 0x107, &access), BUS_DONE); /* and beyond its end */
    assert_int_equal(device->offset, 7);
    assert_int_equal(device->size, 4);
    assert_int_equal(access.value, 0x1122334455667788);
    access = (struct bus_access){.size = 2, .write = true, .value = 0x1234};
    assert_int_equal(bus_transfer(&map, 0x100, &access), BUS_DONE);
    assert_int_equal(device->value, 0x1234);
    assert_int_equal(device->afters, 2);
    for (enum bus_result answer = BUS_PARK; answer <= BUS_NOBODY; answer++) {
        device->answer = answer; /* nothing has been done: nothing is done after it */
        access = (struct bus_access){.size = 1};
        assert_int_equal(bus_transfer(&map, 0x100, &access), answer);
    }
    assert_int_equal(device->befores, 4);
    assert_int_equal(device->afters, 2);
}

static uint64_t goes_to; /* 0: nowhere */

/* What another CPU may do after the look-up and before the lock. */
static void goes_away(struct bus_access *access)
{
    (void)access;
    bus_remove(&map, &devices[0].range);
    if (goes_to != 0) {
        assert_true(add(0, goes_to, 8));
    }
}

static const struct bus_ops shy_ops = {
    .read = device_read, .write = device_write, .before = goes_away};

static void gone_when_it_is_reached(void **state)
{
    (void)state;
    start();
    devices[0].range.ops = &shy_ops;
    for (goes_to = 0; goes_to < 0x400; goes_to += 0x200) {
        struct bus_access access = {.size = 1};

        assert_true(add(0, 0x100, 8));
        assert_int_equal(bus_transfer(&map, 0x104, &access), BUS_NOBODY);
        assert_int_equal(devices[0].reads, 0);
        bus_remove(&map, &devices[0].range);
    }
    goes_to = 0x104; /* there again, elsewhere */
    assert_true(add(0, 0x100, 8));
    assert_int_equal(bus_transfer(&map, 0x104, &(struct bus_access){.size = 1}), BUS_DONE);
    assert_int_equal(devices[0].offset, 0);
}

/* ---- registers of a byte ---- */

static uint8_t registers[8];

static uint8_t byte_of(struct bus_access *access, unsigned offset)
{
    (void)access;
    return registers[offset];
}

static void set_byte(struct bus_access *access, unsigned offset, uint8_t value)
{
    (void)access;
    registers[offset] = value;
}

static void bytes(void **state)
{
    struct bus_access access = {.size = 4, .offset = 5, .value = 0xd4c3b2a1};

    (void)state;
    memset(registers, 0, sizeof(registers));
    bus_write_bytes(&access, 7, set_byte);
    assert_memory_equal(registers, "\0\0\0\0\0\xa1\xb2\0", 8);
    bus_read_bytes(&access, 7, byte_of);
    assert_int_equal(access.value, 0xffffb2a1);
    access = (struct bus_access){.size = 8, .offset = 0, .value = 0x8877665544332211};
    bus_write_bytes(&access, 8, set_byte);
    access.value = 0;
    bus_read_bytes(&access, 8, byte_of);
    assert_int_equal(access.value, 0x8877665544332211);
}

/* ---- against a plain model ---- */

static unsigned owner[ADDRESSES]; /* DEVICES: nobody */
static unsigned present;

static bool model_free(uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (owner[i] != DEVICES) {
            return false;
        }
    }
    return true;
}

static void model_set(uint64_t first, uint64_t count, unsigned device)
{
    for (uint64_t i = first; i < first + count; i++) {
        owner[i] = device;
    }
}

static void step(uint64_t *random)
{
    unsigned i = (unsigned)(xorshift64(random) >> 8) % DEVICES;
    uint64_t first = (xorshift64(random) >> 8) % ADDRESSES;
    uint64_t count = 1 + (xorshift64(random) >> 8) % 60;
    struct bus_range *range = &devices[i].range;

    count = first + count > ADDRESSES ? ADDRESSES - first : count;
    if (range->present) {
        model_set(range->first, range->count, DEVICES);
        bus_remove(&map, range);
        present--;
    } else {
        bool fits = present < BUS_RANGES_MAX && model_free(first, count);

        assert_int_equal(add(i, first, count), fits);
        if (fits) {
            model_set(first, count, i);
            present++;
        }
    }
}

static void random_ranges(void **state)
{
    uint64_t random = support_seed(1);

    (void)state;
    start();
    model_set(0, ADDRESSES, DEVICES);
    present = 0;
    for (unsigned n = 0; n < 2000; n++) {
        step(&random);
        for (unsigned at = 0; at < ADDRESSES; at += 1 + at % 3) {
            struct bus_range *found = bus_find(&map, at);

            assert_ptr_equal(found, owner[at] == DEVICES ? NULL : &devices[owner[at]].range);
        }
    }
}

/* ---- CPUs ---- */

#define CPUS   3u
#define MOVES  20000u
#define FIRST  1000u
#define WINDOW 64u

static _Atomic bool done;
static _Atomic uint64_t reached;

/* Where the device is now; under its lock.  Its handler runs nowhere else. */
static uint64_t place;
static bool there;

static enum bus_result moving_read(struct bus_access *access)
{
    if (!there) {
        abort();
    }
    access->value = place + access->offset;
    return BUS_DONE;
}

static const struct bus_ops moving_ops = {.read = moving_read, .write = moving_read};

static void *cpu(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument + 1;

    while (!atomic_load(&done)) {
        uint64_t at = FIRST + (xorshift64(&random) >> 8) % (WINDOW + 8);
        struct bus_access access = {.size = 1};

        if (bus_transfer(&map, at, &access) == BUS_DONE) {
            atomic_fetch_add(&reached, 1);
            if (access.value != at) {
                abort();
            }
        }
        /* One that stays, between and around which others move. */
        if (bus_find(&map, FIRST + WINDOW + 8) != &devices[1].range) {
            abort();
        }
    }
    return NULL;
}

static void set_there(bool now, uint64_t at)
{
    spin_lock(&devices[0].lock);
    there = now;
    place = at;
    spin_unlock(&devices[0].lock);
}

static void moves_while_it_is_accessed(void **state)
{
    pthread_t threads[CPUS];
    uint64_t random = support_seed(1);

    (void)state;
    start();
    done = false;
    reached = 0;
    there = false;
    devices[0].range.ops = &moving_ops;
    assert_true(add(1, FIRST + WINDOW + 8, 1));
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, cpu, (void *)(uintptr_t)i), 0);
    }
    for (unsigned n = 0; n < MOVES || atomic_load(&reached) == 0; n++) {
        uint64_t at = FIRST + (xorshift64(&random) >> 8) % WINDOW;

        set_there(true, at);
        assert_true(add(0, at, 8));
        assert_true(add(2, FIRST - 1 - n % 5, 1));
        bus_remove(&map, &devices[0].range);
        set_there(false, 0); /* from now on its handler must not run */
        bus_remove(&map, &devices[2].range);
    }
    atomic_store(&done, true);
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    static const uint64_t low_counts[] = {0, ADDRESSES / 2, FIRST + WINDOW / 2};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_the_space),
        cmocka_unit_test(overlaps_are_refused),
        cmocka_unit_test(full),
        cmocka_unit_test(accesses),
        cmocka_unit_test(gone_when_it_is_reached),
        cmocka_unit_test(bytes),
        cmocka_unit_test(random_ranges),
        cmocka_unit_test(moves_while_it_is_accessed),
    };

    int failed = 0;

    for (unsigned i = 0; i < sizeof(low_counts) / sizeof(low_counts[0]); i++) {
        low_count = low_counts[i];
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
