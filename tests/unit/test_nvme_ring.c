/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/nvme_ring.c */
/* NVMe without a controller: commands, PRPs, rings and what a status says. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/nvme_ring.h"

static void test_nvme_command(void **state)
{
    struct nvme_command command;

    (void)state;
    nvme_command_io(&command, NVME_IO_READ, 7, 0x1800000008ull, 512, 9);
    assert_int_equal(command.dword10, 8);
    assert_int_equal(command.dword11, 0x18);
    assert_int_equal(command.dword12, 511);
    nvme_command_io(&command, NVME_IO_WRITE, 7, 40, 8, 12);
    assert_int_equal(command.dword10, 5);
    assert_int_equal(command.dword12, 0);
    assert_int_equal(command.nsid, 7);
    nvme_command_io(&command, NVME_IO_FLUSH, 7, 40, 0, 12);
    assert_int_equal(command.dword10, 0);
    assert_int_equal(command.dword12, 0);
}

static void test_nvme_prp(void **state)
{
    struct nvme_command command;
    uint64_t list[64];
    pfn_t page[64];

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        page[i] = pfn(0x100 + 3 * i);
    }
    nvme_prp_set(&command, page, 1, 0, list, hpa(0x9000));
    assert_int_equal(command.prp1, 0x100000);
    assert_int_equal(command.prp2, 0);
    nvme_prp_set(&command, page, 2, 512, list, hpa(0x9000));
    assert_int_equal(command.prp1, 0x100200);
    assert_int_equal(command.prp2, 0x103000);
    memset(list, 0xee, sizeof(list));
    nvme_prp_set(&command, page, 64, 0, list, hpa(0x9000));
    assert_int_equal(command.prp2, 0x9000);
    for (unsigned i = 1; i < 64; i++) {
        assert_int_equal(list[i - 1], page[i].v << 12);
    }
    assert_int_equal(list[63], 0xeeeeeeeeeeeeeeeeull);
}

/* A controller that completes in order, three laps of a ring of four. */
static void test_nvme_ring(void **state)
{
    struct nvme_command sq[4], command = {0};
    struct nvme_completion cq[4], done;
    struct nvme_ring ring = {.sq = sq, .cq = cq, .depth = 4};
    uint16_t phase = 1, tail = 0;

    (void)state;
    nvme_ring_reset(&ring);
    assert_false(nvme_ring_pending(&ring));
    for (unsigned i = 0; i < 12; i++) {
        command.id = (uint16_t)i;
        assert_false(nvme_ring_full(&ring));
        nvme_ring_push(&ring, &command);
        assert_int_equal(sq[i % 4].id, i);
        assert_false(nvme_ring_pop(&ring, &done));
        cq[tail] = (struct nvme_completion){
            .id = (uint16_t)i, .sq_head = (uint16_t)((i + 1) % 4), .status = phase};
        tail = (uint16_t)((tail + 1) % 4);
        phase ^= tail == 0;
        assert_true(nvme_ring_pop(&ring, &done));
        assert_int_equal(done.id, i);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_false(nvme_ring_full(&ring));
        nvme_ring_push(&ring, &command);
    }
    assert_true(nvme_ring_full(&ring));
}

static void test_nvme_status(void **state)
{
    (void)state;
    assert_string_equal(nvme_status_name(0x281 << 1), "unrecovered read error");
    assert_string_equal(nvme_status_name(0x8001 | 0x280 << 1), "write fault");
    assert_string_equal(nvme_status_name(0x7f << 1), "status code not known");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nvme_command),
        cmocka_unit_test(test_nvme_prp),
        cmocka_unit_test(test_nvme_ring),
        cmocka_unit_test(test_nvme_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
