/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/platform.c */
/*
 * Memory that drivers get of the machine, from the real allocator: in one piece, zeroed, no frame
 * more than was asked for, all of it back in the end; and what lies below 4 GiB.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/ioapic.h"
#include "arch/x86/paging.h"
#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "drivers/platform.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

#define FRAMES    4096u
#define LOW_PAGES 40u /* of the image */

/* ---- the rest of arch/x86, as far as it is called here ---- */

void *arch_ptr(hpa_t address)
{
    return mm_frame_ptr(hpa_to_pfn(address));
}

static uint64_t image_base = 0x200000;
static const void *image_first; /* what is asked for first */

hpa_t paging_image_address(const void *p)
{
    image_first = image_first ? image_first : p;
    return hpa(image_base + (uint64_t)((const uint8_t *)p - (const uint8_t *)image_first));
}

volatile void *arch_map_mmio(hpa_t address, uint64_t bytes)
{
    (void)address;
    (void)bytes;
    return NULL;
}

uint64_t arch_clock_ns(void)
{
    return 0;
}

void time_delay_us(unsigned us)
{
    (void)us;
}

struct percpu *percpu_of(unsigned cpu)
{
    (void)cpu;
    return NULL;
}

void interrupt_set_handler(unsigned vector, interrupt_handler handler, void *owner)
{
    (void)vector;
    (void)handler;
    (void)owner;
}

bool ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id)
{
    (void)irq;
    (void)vector;
    (void)apic_id;
    return false;
}

unsigned arch_cpu_count(void)
{
    return 1;
}

unsigned arch_cpu_id(void)
{
    return 0;
}

/* ---- tests ---- */

static void test_memory_of_every_size(void **state)
{
    (void)state;
    support_memory_init(FRAMES);
    for (uint64_t pages = 1; pages <= 70; pages++) {
        hpa_t address;
        uint64_t bytes = pages * PAGE_SIZE - (pages % 3);
        uint8_t *memory = platform_dma_alloc(bytes, &address);

        assert_non_null(memory);
        assert_true(IS_ALIGNED(address.v, PAGE_SIZE));
        assert_int_equal(frame_stats_get().meta, pages);
        for (uint64_t i = 0; i < pages; i++) {
            uint8_t *page = mm_frame_ptr(pfn(hpa_to_pfn(address).v + i));

            assert_ptr_equal(page, memory + i * PAGE_SIZE);
            for (unsigned at = 0; at < PAGE_SIZE; at++) {
                assert_int_equal(page[at], 0);
            }
            memset(page, 0xee, PAGE_SIZE);
        }
        platform_dma_free(address, bytes);
        assert_int_equal(frame_stats_get().meta, 0);
    }
    assert_int_equal(frame_stats_get().free, FRAMES);
    support_memory_free();
}

static void test_memory_that_is_not_there(void **state)
{
    hpa_t address;

    (void)state;
    support_memory_init(FRAMES);
    assert_null(platform_dma_alloc(0, &address));
    assert_null(platform_dma_alloc(UINT64_MAX, &address));
    assert_null(platform_dma_alloc(UINT64_MAX - PAGE_SIZE, &address));
    assert_null(platform_dma_alloc((2ull << 30), &address));
    assert_null(platform_dma_alloc(2 * FRAMES * PAGE_SIZE, &address));
    assert_int_equal(frame_stats_get().free, FRAMES);
    support_memory_free();
}

static void test_memory_below_4_gib(void **state)
{
    hpa_t address, next;
    uint8_t *memory;

    (void)state;
    memory = platform_dma_alloc_low(1, &address);
    assert_non_null(memory);
    assert_int_equal(address.v, image_base);
    assert_ptr_equal(platform_dma_alloc_low(3 * PAGE_SIZE, &next), memory + PAGE_SIZE);
    assert_int_equal(next.v, address.v + PAGE_SIZE);
    assert_null(platform_dma_alloc_low(0, &next));
    assert_null(platform_dma_alloc_low(UINT64_MAX, &next));
    assert_null(platform_dma_alloc_low((LOW_PAGES - 3) * PAGE_SIZE, &next));
    assert_non_null(platform_dma_alloc_low((LOW_PAGES - 5) * PAGE_SIZE, &next));
    image_base = (1ull << 32) - (LOW_PAGES - 1) * PAGE_SIZE;
    EXPECT_PANIC("above 4 GiB", platform_dma_alloc_low(PAGE_SIZE, &next));
    image_base -= PAGE_SIZE;
    assert_non_null(platform_dma_alloc_low(PAGE_SIZE, &next));
    assert_null(platform_dma_alloc_low(1, &next));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_of_every_size),
        cmocka_unit_test(test_memory_that_is_not_there),
        cmocka_unit_test(test_memory_below_4_gib),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
