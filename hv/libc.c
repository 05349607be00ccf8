/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Newlib's needs of a system: memory, a lock around malloc, an errno.
 *
 * The heap serves boot time and the creation of VMs only; nothing in the paging
 * paths allocates from it.
 */
#include <errno.h>
#include <reent.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "hv/libc.h"

void *sbrk(ptrdiff_t increment);
void *_sbrk_r(struct _reent *reent, ptrdiff_t increment);
_Noreturn void __stack_chk_fail(void);
void __malloc_lock(struct _reent *reent);
void __malloc_unlock(struct _reent *reent);

static uint8_t *heap;
static size_t heap_bytes, heap_used;
static struct spinlock malloc_lock = SPINLOCK_INIT(RANK_LOG, "malloc");

uintptr_t __stack_chk_guard;

void heap_init(void *memory, size_t bytes)
{
    heap = memory;
    heap_bytes = bytes;
}

void __stack_chk_fail(void)
{
    panic("stack smashed: canary overwritten in the function above");
}

void *sbrk(ptrdiff_t increment)
{
    if (increment < 0 || (size_t)increment > heap_bytes - heap_used) {
        errno = ENOMEM;
        return (void *)-1;
    }
    heap_used += (size_t)increment;
    return heap + heap_used - increment;
}

void *_sbrk_r(struct _reent *reent, ptrdiff_t increment)
{
    (void)reent;
    return sbrk(increment);
}

void __malloc_lock(struct _reent *reent)
{
    (void)reent;
    spin_lock(&malloc_lock);
}

void __malloc_unlock(struct _reent *reent)
{
    (void)reent;
    spin_unlock(&malloc_lock);
}
