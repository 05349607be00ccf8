/* SPDX-License-Identifier: BSD-2-Clause */
/* Implements drivers/platform.h by what arch/x86 has. */
#include "drivers/platform.h"

#include <stdatomic.h>

#include "arch/x86/idt.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/paging.h"
#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "base/bits.h"
#include "base/log.h"
#include "hv/arch.h"
#include "mm/frame/frame_alloc.h"

#define LOW_BYTES   (160 * 1024)
#define APIC_ID_MAX 255 /* that an MSI or an IOAPIC can address without interrupt remapping */
#define MSI_ADDRESS 0xfee00000u
#define MSI_CPU(id) ((uint64_t)(id) << 12)
#define BELOW_4GIB  (1ull << 32)

/* In the image, which the loader puts below 4 GiB in one piece: room for the channels of two IDE
 * controllers. */
static uint8_t low_pool[LOW_BYTES] __attribute__((aligned(4096)));
static uint64_t low_used; /* the boot CPU's */

static _Atomic unsigned next_vector = VECTOR_DRIVER_FIRST;
static uint32_t vector_apic_id[VECTOR_DRIVER_LAST + 1];

volatile void *platform_map(hpa_t address, uint64_t bytes)
{
    return arch_map_mmio(address, bytes);
}

/* Takes the smallest power of two of frames, and gives back what is too much of it. */
void *platform_dma_alloc(uint64_t bytes, hpa_t *address)
{
    uint64_t pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
    unsigned order = frame_order(bytes);
    pfn_t first;

    if (pages == 0 || order > FRAME_ORDER_MAX ||
        !frame_alloc_zeroed(order, ALLOC_META, 0, &first)) {
        return NULL;
    }
    frame_alloc_split(first);
    *address = pfn_to_hpa(first);
    platform_dma_free(pfn_to_hpa(pfn(first.v + pages)), (BIT(order) - pages) * PAGE_SIZE);
    return arch_ptr(*address);
}

void platform_dma_free(hpa_t address, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
        frame_free(hpa_to_pfn(hpa(address.v + at)));
    }
}

void *platform_dma_alloc_low(uint64_t bytes, hpa_t *address)
{
    uint8_t *memory = low_pool + low_used;
    uint64_t take = ALIGN_UP(bytes, PAGE_SIZE);

    if (bytes == 0 || take < bytes || take > LOW_BYTES - low_used) {
        return NULL;
    }
    *address = paging_image_address(memory);
    if (address->v + take > BELOW_4GIB) {
        panic("the hypervisor's image lies above 4 GiB");
    }
    low_used += take;
    return memory;
}

void *platform_frame_ptr(pfn_t frame)
{
    return arch_ptr(pfn_to_hpa(frame));
}

uint64_t platform_clock_ns(void)
{
    return arch_clock_ns();
}

void platform_delay_us(unsigned us)
{
    time_delay_us(us);
}

int platform_irq_alloc(unsigned cpu, platform_irq_handler handler, void *owner)
{
    const struct percpu *target = percpu_of(cpu);
    unsigned vector;

    if (target == NULL || target->apic_id > APIC_ID_MAX) {
        return -1;
    }
    vector = atomic_load(&next_vector);
    do {
        if (vector > VECTOR_DRIVER_LAST) {
            return -1;
        }
    } while (!atomic_compare_exchange_weak(&next_vector, &vector, vector + 1));
    vector_apic_id[vector] = target->apic_id;
    interrupt_set_handler(vector, handler, owner);
    return (int)vector;
}

bool platform_irq_route_isa(unsigned irq, int vector)
{
    ASSERT(vector >= VECTOR_DRIVER_FIRST && vector <= VECTOR_DRIVER_LAST);
    return ioapic_route_isa(irq, (unsigned)vector, vector_apic_id[vector]);
}

void platform_irq_msi(int vector, uint64_t *address, uint32_t *data)
{
    ASSERT(vector >= VECTOR_DRIVER_FIRST && vector <= VECTOR_DRIVER_LAST);
    /* Physical destination, no redirection hint; edge, fixed: SDM Vol. 3A 10.11 "Message Signalled
     * Interrupts". */
    *address = MSI_ADDRESS | MSI_CPU(vector_apic_id[vector]);
    *data = (uint32_t)vector;
}

unsigned platform_cpu_count(void)
{
    return arch_cpu_count();
}

unsigned platform_cpu_id(void)
{
    return arch_cpu_id();
}
