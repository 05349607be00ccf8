// SPDX-License-Identifier: GPL-2.0-only
/* The tmem hypercall: discovery, the call itself, and calls of one operation. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/slab.h>

#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "tmem.h"

#define SIGNATURE_EBX 0x6c697053u /* "Spil" */
#define SIGNATURE_ECX 0x7961776cu /* "lway" */

static bool use_vmmcall;

/* What the host announces; if both or none, the instruction of the CPU's vendor. */
static bool choose_vmmcall(u32 features)
{
    switch (features & (SPILLWAY_FEATURE_VMCALL | SPILLWAY_FEATURE_VMMCALL)) {
    case SPILLWAY_FEATURE_VMCALL:
        return false;
    case SPILLWAY_FEATURE_VMMCALL:
        return true;
    default:
        return boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
               boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
    }
}

int tmem_call_discover(void)
{
    u32 eax, ebx, ecx, edx;

    if (!boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
        pr_err("this machine does not run under a hypervisor\n");
        return -ENODEV;
    }
    cpuid(SPILLWAY_CPUID_BASE, &eax, &ebx, &ecx, &edx);
    if (ebx != SIGNATURE_EBX || ecx != SIGNATURE_ECX || edx != 0 || eax < SPILLWAY_CPUID_ABI) {
        pr_err("this machine does not run under Spillway\n");
        return -ENODEV;
    }
    cpuid(SPILLWAY_CPUID_ABI, &eax, &ebx, &ecx, &edx);
    if (eax < SPILLWAY_ABI_VERSION || !(ebx & SPILLWAY_FEATURE_TMEM)) {
        pr_err("this Spillway (ABI %u, features 0x%x) offers no tmem\n", eax, ebx);
        return -ENODEV;
    }
    use_vmmcall = choose_vmmcall(ebx);
    return 0;
}

/* RBX and RCX move on with the operations, as those of a string instruction do. */
static long hypercall(phys_addr_t ops, unsigned long count)
{
    long result = SPILLWAY_TMEM_CALL;

    if (use_vmmcall) {
        asm volatile("vmmcall" : "+a"(result), "+b"(ops), "+c"(count) : : "memory");
    } else {
        asm volatile("vmcall" : "+a"(result), "+b"(ops), "+c"(count) : : "memory");
    }
    return result;
}

int tmem_call_run(struct spillway_tmem_op *ops, unsigned int count)
{
    return hypercall(virt_to_phys(ops), count);
}

static int call_one(const struct spillway_tmem_op *in, struct spillway_tmem_op *out)
{
    struct spillway_tmem_op *op = kmemdup(in, sizeof(*in), GFP_KERNEL);
    int error;

    if (!op) {
        return -ENOMEM;
    }
    error = tmem_call_run(op, 1);
    if (error == 0) {
        error = op->status;
    }
    *out = *op;
    kfree(op);
    return error;
}

int tmem_call_create(u32 flags, u32 *pool)
{
    struct spillway_tmem_op op = {.op = SPILLWAY_TMEM_CREATE, .flags = flags};
    int error = call_one(&op, &op);

    *pool = op.pool;
    return error;
}

int tmem_call_pool(u32 op, u32 pool)
{
    struct spillway_tmem_op one = {.op = op, .pool = pool};

    return call_one(&one, &one);
}

int tmem_call_query(struct spillway_tmem_info *info)
{
    struct spillway_tmem_op op = {.op = SPILLWAY_TMEM_QUERY};
    struct spillway_tmem_info *answer = kzalloc(sizeof(*answer), GFP_KERNEL);
    int error;

    if (!answer) {
        return -ENOMEM;
    }
    op.address = virt_to_phys(answer);
    error = call_one(&op, &op);
    *info = *answer;
    kfree(answer);
    return error;
}
