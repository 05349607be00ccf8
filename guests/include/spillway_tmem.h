/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spillway's tmem hypercalls, for guest code of any licence: copy this file freely.
 *
 * Discovery: CPUID 0x40000100 returns "Spillway\0\0\0\0" in EBX, ECX, EDX (first 12 bytes) and the
 * highest leaf in EAX; CPUID 0x40000101 the ABI version in EAX and feature bits in EBX.
 *
 * Call: the instruction that CPUID 0x40000101 EBX announces, VMCALL or VMMCALL (the other one may
 * be an undefined opcode).  Ring 0 only. RAX = SPILLWAY_TMEM_CALL, RBX = guest-physical address of
 * an array of struct spillway_tmem_op (8-byte aligned, may cross pages), RCX = how many, 1 ..
 * SPILLWAY_TMEM_BATCH. RAX on return: 0, or a negative error that concerns the call as a whole
 * (then no status was written).  Otherwise the status of each operation is in its `status`. RBX AND
 * RCX CHANGE, as those of a string instruction do: the call is restarted by the hypervisor,
 * invisibly, when a page has to be brought in, and RBX then points to the first operation that is
 * not done yet and RCX counts those that are left.  On return RBX is behind the array and RCX is 0.
 * In GCC's terms: "+a" (rax), "+b" (rbx), "+c" (rcx), clobber "memory".  No other register changes.
 * The operations are done in order.  Statuses mean something only after the call has returned.
 */
#ifndef SPILLWAY_TMEM_H
#define SPILLWAY_TMEM_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define SPILLWAY_CPUID_BASE  0x40000100u
#define SPILLWAY_CPUID_ABI   0x40000101u
#define SPILLWAY_ABI_VERSION 1u
/* CPUID 0x40000101 EBX */
#define SPILLWAY_FEATURE_TMEM    0x1u /* this VM may use tmem */
#define SPILLWAY_FEATURE_VMCALL  0x2u /* hypercalls by VMCALL, 0f 01 c1 */
#define SPILLWAY_FEATURE_VMMCALL 0x4u /* hypercalls by VMMCALL, 0f 01 d9 */

#define SPILLWAY_TMEM_CALL  0x53500001ul
#define SPILLWAY_TMEM_BATCH 128u

/* Operations */
#define SPILLWAY_TMEM_CREATE       1u /* flags -> pool */
#define SPILLWAY_TMEM_DESTROY      2u /* pool: all its pages go; the id is dead */
#define SPILLWAY_TMEM_PUT          3u /* copies the page at `address` in, or refuses */
#define SPILLWAY_TMEM_GET          4u /* copies the page out to `address` */
#define SPILLWAY_TMEM_FLUSH_PAGE   5u
#define SPILLWAY_TMEM_FLUSH_OBJECT 6u
#define SPILLWAY_TMEM_FLUSH_POOL   7u
#define SPILLWAY_TMEM_QUERY        8u /* struct spillway_tmem_info at `address` */

/* Flags of CREATE */
#define SPILLWAY_TMEM_PERSISTENT 0x1u /* pages stay until flushed; else they may vanish */
#define SPILLWAY_TMEM_SHARED_GET 0x2u /* ephemeral: a get does not remove the page */

/* Status: stable numbers */
#define SPILLWAY_TMEM_OK       0
#define SPILLWAY_TMEM_EPERM    (-1)  /* not ring 0, or the VM may not use tmem */
#define SPILLWAY_TMEM_ENOENT   (-2)  /* no such page: a miss */
#define SPILLWAY_TMEM_EIO      (-5)  /* the store could not give the page back */
#define SPILLWAY_TMEM_ENOMEM   (-12) /* refused: quota or memory; nothing is kept */
#define SPILLWAY_TMEM_EFAULT   (-14) /* address is not guest memory */
#define SPILLWAY_TMEM_EINVAL   (-22) /* unknown operation, flags, unaligned address, count */
#define SPILLWAY_TMEM_ENOSYS   (-38) /* unknown call */
#define SPILLWAY_TMEM_EBADPOOL (-77) /* no such pool */

struct spillway_tmem_op {
    uint32_t op;
    int32_t status;     /* out */
    uint32_t pool;      /* in; out of CREATE */
    uint32_t index;     /* page within the object */
    uint64_t object[3]; /* 192 bits, any value */
    uint64_t address;   /* guest-physical, 4 KiB aligned (QUERY: 8-byte aligned) */
    uint32_t flags;     /* of CREATE; else 0 */
    uint32_t reserved;  /* 0 */
    uint64_t reserved2; /* 0 */
};

struct spillway_tmem_info {
    uint64_t quota;      /* pages that persistent pools of this VM may hold */
    uint64_t persistent; /* pages that they hold */
    uint64_t ephemeral;  /* pages in ephemeral pools */
    uint64_t pools;
};

#ifdef __cplusplus
static_assert(sizeof(struct spillway_tmem_op) == 64, "ABI");
#elif !defined(__KERNEL__)
_Static_assert(sizeof(struct spillway_tmem_op) == 64, "ABI");
#endif

#endif
