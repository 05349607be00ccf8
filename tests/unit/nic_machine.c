/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/nic_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/support.h"

struct nic_machine nic_machine;

static void take(void *owner, const void *frame, uint32_t bytes)
{
    assert_ptr_equal(owner, &nic_machine);
    assert_in_range(bytes, NIC_FRAME_MIN, NIC_FRAME_MAX);
    memcpy(nic_machine.frame, frame, bytes);
    nic_machine.bytes = bytes;
    nic_machine.taken++;
    disk_machine_tick(nic_machine.costs_ns);
}

struct nic *nic_machine_boot(unsigned number)
{
    memset(&nic_machine, 0, sizeof(nic_machine));
    support_log_level(-1);
    model_start(0);
    assert_int_equal(nic_count(), MODEL_NICS);
    nic_machine.delays = disk_machine_delays();
    nic_attach(nic_at(number), take, &nic_machine);
    nic_poll();
    return nic_at(number);
}

void nic_machine_finish(void)
{
    assert_int_equal(disk_machine_delays(), nic_machine.delays);
    model_stop();
    support_log_level(LOG_WARN);
}

void nic_machine_pass(uint64_t ns)
{
    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        nic_poll();
    }
}

bool nic_machine_send(struct nic *nic, const void *frame, uint32_t bytes)
{
    const struct nic_piece piece = {frame, bytes};

    return nic_send(nic, &piece, 1);
}

void nic_machine_passes_frames(unsigned number)
{
    static const uint8_t hello[60] = "a frame that is seen on the other side";
    struct model_nic *device = model_nic(number);
    unsigned sent = device->sent, taken = nic_machine.taken;

    assert_true(nic_machine_send(nic_at(number), hello, sizeof(hello)));
    assert_true(model_frame(number, hello, sizeof(hello)));
    nic_machine_pass(4 * STEP);
    assert_int_equal(device->sent, sent + 1);
    assert_memory_equal(device->frame[sent % MODEL_KEPT], hello, sizeof(hello));
    assert_int_equal(nic_machine.taken, taken + 1);
    assert_memory_equal(nic_machine.frame, hello, sizeof(hello));
}
