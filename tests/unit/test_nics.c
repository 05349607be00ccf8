/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c tests/unit/nic_model.c tests/unit/nic_machine.c drivers/nic.c
 * drivers/virtio_net.c drivers/e1000.c drivers/virtio_ring.c */
/*
 * The machine's NICs against devices in memory: frames both ways, devices that lie about lengths,
 * lose what they were given, flap, and take their time for a reset, or never end it.  Each test
 * runs with every driver.  Nobody waits: no poll lets time pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/platform.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/nic_machine.h"
#include "tests/unit/nic_model.h"
#include "tests/unit/support.h"
#include "tests/unit/xorshift.h"

/* ---- boot ---- */

static void test_found_in_the_order_of_the_bus(void **state)
{
    static const char *const models[] = {"virtio-net", "82540EM", "82574L"};

    (void)state;
    support_log_watch(", link up");
    nic_machine_boot(0);
    assert_int_equal(support_log_seen(), MODEL_NICS);
    for (unsigned i = 0; i < MODEL_NICS; i++) {
        uint8_t mac[NIC_MAC_BYTES];
        char name[8];

        snprintf(name, sizeof(name), "eth%u", (uint8_t)i);
        model_mac(i, mac);
        assert_string_equal(nic_at(i)->name, name);
        assert_string_equal(nic_at(i)->model, models[i]);
        assert_memory_equal(nic_at(i)->mac, mac, NIC_MAC_BYTES);
        assert_ptr_equal(nic_find(name), nic_at(i));
    }
    assert_ptr_equal(nic_find("52:54:00:ab:cd:e1"), nic_at(1));
    assert_ptr_equal(nic_find("52:54:00:AB:cd:E2"), nic_at(2));
    assert_null(nic_find("52:54:00:ab:cd:e3"));
    assert_null(nic_find("52:54:00:ab:cd:e"));
    assert_null(nic_find("eth3"));
    assert_null(nic_find(""));
    assert_true(nic_at(1)->polled);
    assert_false(nic_at(0)->polled || nic_at(2)->polled);
    nic_machine_finish();
}

/* Each allocation fails once: that NIC is missing, the others work. */
static void test_memory_fails_once(void **state)
{
    (void)state;
    for (unsigned fail = 1; fail <= MODEL_NICS; fail++) {
        support_log_level(-1);
        support_log_watch("no memory");
        model_start(fail);
        assert_int_equal(disk_machine_dma_failures(), 1);
        assert_int_equal(support_log_seen(), 1);
        assert_int_equal(nic_count(), MODEL_NICS - 1);
        assert_string_equal(nic_at(0)->name, "eth0");
        assert_string_equal(nic_at(1)->name, "eth1");
        model_stop();
    }
    support_log_level(LOG_WARN);
}

/* A NIC that nobody uses shows nothing to anybody, and is not looked at all the time. */
static void unused(unsigned number)
{
    unsigned other = (number + 1) % MODEL_NICS;
    uint8_t frame[100] = {0};

    nic_machine_boot(other);
    for (unsigned i = 0; i < 1000; i++) {
        model_frame(number, frame, sizeof(frame));
    }
    nic_machine_pass(SECOND);
    assert_int_equal(nic_machine.taken, 0);
    assert_in_range(nic_at(number)->look_at, platform_clock_ns(),
                    platform_clock_ns() + NIC_LINK_NS);
    nic_machine_finish();
}

/* ---- frames ---- */

static void fill(uint64_t *random, uint8_t *frame, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        frame[i] = (uint8_t)(xorshift64(random) >> 32);
    }
}

static void frames_of_any_length(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    struct model_nic *device = model_nic(number);
    uint64_t random = support_seed(1);
    struct nic_stats stats;
    uint64_t bytes_all = 0;

    for (unsigned i = 0; i < 3000; i++) {
        uint32_t bytes =
            NIC_FRAME_MIN + (uint32_t)(xorshift64(&random) >> 32) % (NIC_FRAME_MAX - 13);
        uint32_t cut = (uint32_t)((uint32_t)(xorshift64(&random) >> 32) % (bytes + 1));
        uint8_t frame[NIC_FRAME_MAX];

        fill(&random, frame, bytes);
        const struct nic_piece pieces[] = {{frame, cut}, {frame + cut, bytes - cut}};

        assert_true(nic_send(nic, pieces, 2));
        memset(frame, 0, 4); /* it was copied */
        assert_true(model_frame(number, frame, bytes));
        nic_machine_pass(STEP);
        assert_int_equal(device->sent, i + 1);
        assert_int_equal(device->bytes[i % MODEL_KEPT], bytes);
        assert_memory_equal(device->frame[i % MODEL_KEPT] + 4, frame + 4, bytes - 4);
        assert_int_equal(nic_machine.bytes, bytes);
        assert_memory_equal(nic_machine.frame, frame, bytes);
        bytes_all += bytes;
    }
    nic_get_stats(nic, &stats);
    assert_int_equal(stats.rx_frames, 3000);
    assert_int_equal(stats.tx_frames, 3000);
    assert_int_equal(stats.rx_bytes, bytes_all);
    assert_int_equal(stats.tx_bytes, bytes_all);
    assert_int_equal(stats.rx_errors + stats.tx_dropped + stats.resets + stats.link_changes, 0);
    nic_machine_finish();
}

static void send_refuses_what_is_no_frame(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    static const uint8_t memory[4096];
    const struct nic_piece long_ones[] = {{memory, 1000}, {memory, 0xffffffffu}, {memory, 600}};

    assert_false(nic_machine_send(nic, memory, NIC_FRAME_MIN - 1));
    assert_false(nic_machine_send(nic, memory, NIC_FRAME_MAX + 1));
    assert_false(nic_machine_send(nic, memory, 0xffffffffu));
    assert_false(nic_send(nic, long_ones, 3));
    assert_false(nic_send(nic, NULL, 0));
    assert_int_equal(nic->stats.tx_dropped, 5);
    nic_machine_passes_frames(number);
    nic_machine_finish();
}

/* What hardware may say of a frame that has come. */
static void lengths_that_lie(unsigned number)
{
    static const uint8_t frame[2036];
    struct nic *nic = nic_machine_boot(number);
    struct model_arrival lies[] = {
        {frame, 60, 0, false, false},      {frame, 60, 13, false, false},
        {frame, 60, 2049, false, false},   {frame, 60, 0xffff, false, false},
        {frame, 2036, 2048, false, false}, {frame, 60, 60, true, false},
        {frame, 60, 60, false, true},
    };
    /* virtio says nothing of the last two. */
    unsigned count = number == MODEL_VIRTIO ? 5 : 7;

    for (unsigned i = 0; i < count; i++) {
        assert_true(model_arrive(number, &lies[i]));
    }
    nic_machine_pass(4 * STEP);
    assert_int_equal(nic_machine.taken, 0);
    assert_int_equal(nic->stats.rx_errors, count);
    if (number != MODEL_VIRTIO) { /* what was open ends */
        assert_true(model_frame(number, frame, 60));
        nic_machine_pass(4 * STEP);
        assert_int_equal(nic_machine.taken, 0);
    }
    nic_machine_passes_frames(number);
    assert_int_equal(nic->stats.resets, 0);
    nic_machine_finish();
}

/* ---- hardware that does not do its work ---- */

static void frames_that_never_come_back(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    struct model_nic *device = model_nic(number);
    unsigned before = device->resets, sent = 0;
    static const uint8_t frame[1514];

    device->lose = true;
    while (nic_machine_send(nic, frame, sizeof(frame))) {
        sent++;
        assert_true(sent <= NIC_BUFFERS);
        nic_machine_pass(STEP);
    }
    assert_in_range(sent, 32, NIC_BUFFERS);
    nic_machine_pass(4 * SECOND);
    assert_int_equal(device->resets, before);
    nic_machine_pass(3 * SECOND / 2);
    assert_int_equal(device->resets, before + 1);
    assert_false(nic_machine_send(nic, frame, sizeof(frame)));
    device->lose = false;
    nic_machine_pass(2 * SECOND);
    assert_int_equal(nic->stats.resets, 1);
    nic_machine_passes_frames(number);
    nic_machine_finish();
}

static void link_flaps(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    struct model_nic *device = model_nic(number);
    static const uint8_t frame[60];

    support_log_watch("link");
    for (unsigned i = 1; i <= 20; i++) {
        device->lose = true; /* as with no cable */
        assert_true(nic_machine_send(nic, frame, sizeof(frame)));
        device->link = false;
        nic_machine_pass(SECOND / 2);
        assert_int_equal(nic->stats.link_changes, 2 * i - 1);
        assert_int_equal(support_log_seen(), 2 * i - 1);
        assert_false(nic_machine_send(nic, frame, sizeof(frame)));
        nic_machine_pass(10 * SECOND); /* nothing comes back, and that is no reason for a reset */
        device->lose = false;
        device->link = true;
        nic_machine_pass(SECOND / 2);
        assert_int_equal(nic->stats.link_changes, 2 * i);
        nic_machine_passes_frames(number);
    }
    assert_int_equal(nic->stats.resets, 0);
    assert_int_equal(nic->stats.tx_dropped, 20);
    nic_machine_finish();
}

/* It resets at once, and no more than once a second. */
static void test_nonsense(void **state)
{
    unsigned number = MODEL_VIRTIO;
    struct nic *nic = nic_machine_boot(number);

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        model_nonsense(number);
        nic_machine_pass(STEP);
    }
    assert_in_range(nic->stats.resets, 5, 11);
    nic_machine_pass(3 * SECOND);
    nic_machine_passes_frames(number);
    nic_machine_finish();
}

static void long_reset(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    struct model_nic *device = model_nic(number);
    static const uint8_t frame[60];

    device->reset_ns = 7 * SECOND;
    device->lose = true;
    assert_true(nic_machine_send(nic, frame, sizeof(frame)));
    nic_machine_pass(6 * SECOND);
    assert_int_equal(nic->stats.resets, 1);
    device->lose = false;
    for (unsigned i = 0; i < 5; i++) {
        nic_machine_pass(SECOND);
        assert_false(nic_machine_send(nic, frame, sizeof(frame)));
    }
    nic_machine_pass(3 * SECOND);
    nic_machine_passes_frames(number);
    assert_false(device->master_off);
    nic_machine_finish();
}

static void reset_that_never_ends(unsigned number)
{
    struct nic *nic = nic_machine_boot(number);
    struct model_nic *device = model_nic(number);
    static const uint8_t frame[60];

    for (unsigned i = 0; i < 5; i++) {
        assert_true(model_frame(number, frame, sizeof(frame)));
    }
    device->reset_ns = 3600 * SECOND;
    device->lose = true;
    assert_true(nic_machine_send(nic, frame, sizeof(frame)));
    support_log_watch("given up");
    nic_machine_pass(30 * SECOND);
    assert_int_equal(support_log_seen(), 1);
    assert_true(device->master_off);
    assert_false(nic->up);
    assert_false(nic_machine_send(nic, frame, sizeof(frame)));
    assert_true(nic->look_at == UINT64_MAX);
    assert_int_equal(nic_machine.taken, 5);
    nic_machine_finish();
}

/* ---- with every driver ---- */

FOR_ALL(unused)
FOR_ALL(frames_of_any_length)
FOR_ALL(send_refuses_what_is_no_frame)
FOR_ALL(lengths_that_lie)
FOR_ALL(frames_that_never_come_back)
FOR_ALL(link_flaps)
FOR_ALL(long_reset)
FOR_ALL(reset_that_never_ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_in_the_order_of_the_bus),
        cmocka_unit_test(test_memory_fails_once),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_unused),
        cmocka_unit_test(test_frames_of_any_length),
        cmocka_unit_test(test_send_refuses_what_is_no_frame),
        cmocka_unit_test(test_lengths_that_lie),
        cmocka_unit_test(test_frames_that_never_come_back),
        cmocka_unit_test(test_link_flaps),
        cmocka_unit_test(test_long_reset),
        cmocka_unit_test(test_reset_that_never_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
