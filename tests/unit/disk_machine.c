/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/disk_machine.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "drivers/platform.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())
#define DMA_BLOCKS  256
#define LOW_SHIFT   20

static struct {
    void (*work)(void);
    unsigned fail_at; /* call, 0: none */
    bool fail_for_ever;
    atomic_uint delays;
    _Atomic uint64_t now;
    struct {
        void *memory;
        uint64_t bytes;
    } dma[DMA_BLOCKS];
    unsigned dma_calls, dma_failures;
    uint64_t dma_bytes;
} machine;

static _Thread_local unsigned this_cpu;

void disk_machine_start(void (*work)(void))
{
    memset(&machine, 0, sizeof(machine));
    machine.work = work;
    this_cpu = 0;
}

void disk_machine_fail_dma(unsigned number, bool for_ever)
{
    machine.fail_at = number == 0 ? 0 : machine.dma_calls + number;
    machine.fail_for_ever = for_ever;
}

void disk_machine_stop(void)
{
    for (unsigned i = 0; i < machine.dma_calls; i++) {
        free(machine.dma[i].memory);
    }
}

void disk_machine_set_cpu(unsigned cpu)
{
    this_cpu = cpu;
}

void disk_machine_tick(uint64_t ns)
{
    atomic_fetch_add(&machine.now, ns);
}

void disk_machine_advance(uint64_t ns)
{
    disk_machine_tick(ns);
    machine.work();
}

unsigned disk_machine_delays(void)
{
    return atomic_load(&machine.delays);
}

unsigned disk_machine_dma_calls(void)
{
    return machine.dma_calls;
}

unsigned disk_machine_dma_failures(void)
{
    return machine.dma_failures;
}

uint64_t disk_machine_dma_bytes(void)
{
    return machine.dma_bytes;
}

volatile void *platform_map(hpa_t address, uint64_t bytes)
{
    (void)bytes;
    return (volatile void *)(uintptr_t)address.v;
}

static bool shall_fail(unsigned call)
{
    return machine.fail_at != 0 &&
           (call == machine.fail_at || (call > machine.fail_at && machine.fail_for_ever));
}

void *platform_dma_alloc(uint64_t bytes, hpa_t *address)
{
    uint64_t whole = ALIGN_UP(bytes, PAGE_SIZE);

    CHECK(machine.dma_calls < DMA_BLOCKS);
    if (shall_fail(++machine.dma_calls)) {
        machine.dma_failures++;
        return NULL;
    }
    void *memory = aligned_alloc(PAGE_SIZE, whole);

    CHECK(memory != NULL);
    memset(memory, 0, whole);
    machine.dma[machine.dma_calls - 1].memory = memory;
    machine.dma[machine.dma_calls - 1].bytes = whole;
    machine.dma_bytes += whole;
    address->v = (uintptr_t)memory;
    return memory;
}

void platform_dma_free(hpa_t address, uint64_t bytes)
{
    for (unsigned i = 0; i < machine.dma_calls; i++) {
        if ((uintptr_t)machine.dma[i].memory == address.v) {
            CHECK(machine.dma[i].bytes == ALIGN_UP(bytes, PAGE_SIZE));
            machine.dma_bytes -= machine.dma[i].bytes;
            free(machine.dma[i].memory);
            machine.dma[i].memory = NULL;
            return;
        }
    }
    abort(); /* nobody was given that */
}

/* A window of 1 MiB for each allocation. */
void *platform_dma_alloc_low(uint64_t bytes, hpa_t *address)
{
    void *memory = platform_dma_alloc(bytes, address);

    address->v = (uint64_t)machine.dma_calls << LOW_SHIFT;
    return memory;
}

void *disk_machine_low(uint32_t address)
{
    unsigned call = address >> LOW_SHIFT;

    CHECK(call != 0 && call <= machine.dma_calls);
    return (uint8_t *)machine.dma[call - 1].memory + (address & ((1u << LOW_SHIFT) - 1));
}

void *platform_frame_ptr(pfn_t frame)
{
    return (void *)(uintptr_t)pfn_to_hpa(frame).v;
}

uint64_t platform_clock_ns(void)
{
    return atomic_load(&machine.now);
}

void platform_delay_us(unsigned us)
{
    atomic_fetch_add(&machine.delays, 1);
    if (machine.work != NULL) {
        disk_machine_advance(us * 1000ull);
    } else {
        disk_machine_tick(us * 1000ull);
        sched_yield();
    }
}

int platform_irq_alloc(unsigned cpu, platform_irq_handler handler, void *owner)
{
    (void)handler;
    (void)owner;
    return (int)(64 + cpu);
}

bool platform_irq_route_isa(unsigned irq, int vector)
{
    (void)irq;
    return vector >= 0;
}

unsigned platform_cpu_count(void)
{
    return MACHINE_CPUS;
}

unsigned platform_cpu_id(void)
{
    return this_cpu;
}
