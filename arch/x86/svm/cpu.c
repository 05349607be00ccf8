/* SPDX-License-Identifier: BSD-2-Clause */
/* Turning SVM on and off: APM 15.4 "Enabling SVM"; the permission maps. */
#include <stdatomic.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/svm/vcpu.h"
#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

/* APM 15.10.1 "I/O Permissions Map": 3 pages, rounded up.  APM 15.11 "MSR Intercepts": 2 pages. */
#define IO_MAP_ORDER  2u
#define MSR_MAP_ORDER 1u

#define MSR_RANGE_BYTES 0x800u

static struct svm_cpu cpus[MAX_CPUS];
static _Atomic uint64_t io_map, msr_map; /* host-physical; 0: not yet */

struct svm_cpu *svm_cpu_self(void)
{
    return &cpus[arch_cpu_id()];
}

hpa_t svm_io_map(void)
{
    return hpa(io_map);
}

hpa_t svm_msr_map(void)
{
    return hpa(msr_map);
}

/* Lets guests read and write an MSR.  Two bits each: read, write. */
static void msr_pass_through(uint8_t *map, uint32_t msr)
{
    uint32_t range = msr < MSR_MAP_RANGE ? 0 : 1; /* 0.. and c0000000.. */
    uint32_t bit = (msr & (MSR_MAP_RANGE - 1)) * 2;

    map[range * MSR_RANGE_BYTES + bit / 8] &= (uint8_t) ~(3u << (bit % 8));
}

/* Lets through what VMRUN, VMLOAD and VMSAVE switch.  EFER is not here: guests must not see SVME.
 */
static void fill_msr_map(uint8_t *map)
{
    for (unsigned i = 0; i < INTERCEPT_MSRS_PASSED; i++) {
        msr_pass_through(map, intercept_msrs_passed[i]);
    }
}

/* A block of ones, filled further by fill(), becomes *map unless another CPU was first. */
static bool make_map(_Atomic uint64_t *map, unsigned order, void (*fill)(uint8_t *map))
{
    uint64_t expected = 0;
    pfn_t block;

    if (atomic_load(map) != 0) {
        return true;
    }
    if (!frame_alloc(order, ALLOC_META, 0, &block)) {
        return false;
    }
    memset(mm_frame_ptr(block), 0xff, PAGE_SIZE << order);
    if (fill != NULL) {
        fill(mm_frame_ptr(block));
    }
    if (!atomic_compare_exchange_strong(map, &expected, pfn_to_hpa(block).v)) {
        frame_free(block);
    }
    return true;
}

static bool allocate(struct svm_cpu *cpu)
{
    pfn_t save, host;

    if (cpu->host_save.v != 0) {
        return true; /* enabled before */
    }
    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &save)) {
        return false;
    }
    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &host)) {
        frame_free(save);
        return false;
    }
    cpu->host_save = pfn_to_hpa(save);
    cpu->host_vmcb = pfn_to_hpa(host);
    return true;
}

bool svm_cpu_enable(void)
{
    struct svm_cpu *cpu = svm_cpu_self();

    if (cpu->enabled) {
        return true;
    }
    if (rdmsr(MSR_AMD_VM_CR) & VM_CR_SVMDIS) {
        log_error("CPU %u: SVM is disabled by the firmware", arch_cpu_id());
        return false;
    }
    if (!make_map(&io_map, IO_MAP_ORDER, NULL) ||
        !make_map(&msr_map, MSR_MAP_ORDER, fill_msr_map) || !allocate(cpu)) {
        log_error("CPU %u: no memory for SVM's host save area", arch_cpu_id());
        return false;
    }
    fpu_cpu_enable();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_AMD_VM_HSAVE_PA, cpu->host_save.v);
    cpu->generation++;
    cpu->next_asid = svm_features()->asids; /* none left: the first entry flushes everything */
    cpu->enabled = true;
    return true;
}

void svm_cpu_disable(void)
{
    struct svm_cpu *cpu = svm_cpu_self();

    if (!cpu->enabled) {
        return;
    }
    cpu->enabled = false;
    wrmsr(MSR_AMD_VM_HSAVE_PA, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
}
