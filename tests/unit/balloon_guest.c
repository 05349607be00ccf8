/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/balloon_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"

struct virtio_driver balloon_driver;
struct vballoon *balloon;
unsigned balloon_gone[PAGES]; /* how often each page was discarded */
unsigned balloon_again;       /* how often the vCPU was told to go on */
bool balloon_waits_often;     /* any access to memory may have to wait */

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    balloon_again++;
}

void balloon_forget(void)
{
    memset(balloon_gone, 0, sizeof(balloon_gone));
    vfake.discards = 0;
    balloon_again = 0;
}

void balloon_up(uint64_t features)
{
    vfake_start(1);
    vfake_memory(PAGES * PAGE_SIZE);
    vfake.vm.memory_pages = PAGES;
    vfake.discarded = balloon_gone;
    vfake.vcpu[0].waiter.wake = wake;
    balloon = vfake.vm.run.devices->balloon;
    assert_non_null(balloon);
    driver_start(&balloon_driver, balloon->device.function.devfn, features, VIRTIO_BALLOON_QUEUES,
                 SIZE);
    balloon_forget();
}

void balloon_down(void)
{
    vfake_stop();
}

bool balloon_is_broken(void)
{
    return DRIVER_READ(&balloon_driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

uint32_t balloon_config_read(unsigned offset)
{
    return (uint32_t)vfake_mmio_read(gpa(balloon_driver.config + offset), 4);
}

void balloon_config_write(unsigned offset, uint32_t value)
{
    vfake_mmio_write(gpa(balloon_driver.config + offset), 4, value);
}

unsigned balloon_notify(unsigned queue)
{
    unsigned times = 1;

    while (driver_notify(&balloon_driver, queue) == BUS_PARK) {
        times++;
        assert_true(times < 10000);
        if (balloon_waits_often) {
            vfake.wait_at = vfake.calls + 1 + (unsigned)support_random_below(8);
        }
    }
    return times;
}

unsigned balloon_used(unsigned queue)
{
    uint32_t head, bytes;
    unsigned count = 0;

    while (driver_used(&balloon_driver, queue, &head, &bytes)) {
        assert_int_equal(bytes, 0);
        count++;
    }
    return count;
}
