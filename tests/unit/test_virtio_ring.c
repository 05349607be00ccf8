/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/virtio_ring.c */
/* The driver's side of a virtqueue: chains, indirect ones, and a device that answers nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "drivers/virtio_ring.h"

struct fake_ring {
    struct virtio_descriptor descriptors[VIRTIO_RING_MAX];
    struct virtio_avail avail;
    struct virtio_used used;
    struct virtio_ring ring;
};

static struct fake_ring *make_ring(uint16_t size)
{
    struct fake_ring *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->ring.descriptors = f->descriptors;
    f->ring.avail = &f->avail;
    f->ring.used = &f->used;
    f->ring.size = size;
    virtio_ring_reset(&f->ring, true);
    return f;
}

static void device_use(struct fake_ring *f, uint32_t head)
{
    f->used.ring[f->used.index & (f->ring.size - 1)].id = head;
    f->used.index++;
}

static void test_virtio_chains(void **state)
{
    struct fake_ring *f = make_ring(16);
    struct virtio_segment segments[3] = {
        {hpa(0x1000), 16, false}, {hpa(0x2000), 4096, true}, {hpa(0x3000), 1, true}};
    uint16_t head[5];

    (void)state;
    /* More than 65536 chains, so that both indices wrap; completed in reverse order. */
    for (unsigned lap = 0; lap < 14000; lap++) {
        for (uint16_t i = 0; i < 5; i++) {
            head[i] = f->ring.free_head;
            virtio_ring_add(&f->ring, segments, 3, (uint16_t)(100 + i));
        }
        assert_int_equal(f->ring.free_count, 1);
        assert_true(virtio_ring_publish(&f->ring));
        for (int i = 4; i >= 0; i--) {
            const struct virtio_descriptor *d = &f->descriptors[head[i]];
            assert_int_equal(d->address, 0x1000);
            assert_int_equal(d->flags, VIRTIO_DESC_NEXT);
            d = &f->descriptors[d->next];
            assert_int_equal(d->flags, VIRTIO_DESC_NEXT | VIRTIO_DESC_WRITE);
            d = &f->descriptors[d->next];
            assert_int_equal(d->flags, VIRTIO_DESC_WRITE);
            assert_int_equal(virtio_ring_pop(&f->ring), -1);
            device_use(f, head[i]);
            assert_int_equal(virtio_ring_pop(&f->ring), 100 + i);
        }
        assert_int_equal(f->ring.free_count, 16);
    }
    free(f);
}

static void test_virtio_indirect_and_nonsense(void **state)
{
    struct fake_ring *f = make_ring(4);
    struct virtio_descriptor table[3];
    struct virtio_segment segments[3] = {
        {hpa(0x1000), 16, false}, {hpa(0x2000), 8192, true}, {hpa(0x3000), 1, true}};

    (void)state;
    virtio_ring_add_indirect(&f->ring, segments, 3, table, hpa(0x7000), 9);
    f->used.flags = VIRTIO_USED_NO_NOTIFY;
    assert_false(virtio_ring_publish(&f->ring));
    assert_int_equal(f->ring.free_count, 3);
    assert_int_equal(f->descriptors[0].flags, VIRTIO_DESC_INDIRECT);
    assert_int_equal(f->descriptors[0].bytes, 48);
    assert_int_equal(table[1].bytes, 8192);
    assert_int_equal(table[1].next, 2);
    assert_int_equal(table[2].flags, VIRTIO_DESC_WRITE);
    device_use(f, 77); /* no such descriptor */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    device_use(f, 2); /* not offered */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    device_use(f, 0);
    assert_int_equal(virtio_ring_pop(&f->ring), 9);
    device_use(f, 0); /* twice */
    assert_int_equal(virtio_ring_pop(&f->ring), -2);
    assert_int_equal(f->ring.free_count, 4);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtio_chains),
        cmocka_unit_test(test_virtio_indirect_and_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
