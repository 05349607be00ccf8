/* SPDX-License-Identifier: BSD-2-Clause */
/* A task switch in progress: what guest/task.c and guest/task_new.c share. */
#ifndef SPILLWAY_ARCH_X86_GUEST_TASK_H
#define SPILLWAY_ARCH_X86_GUEST_TASK_H

#include "arch/x86/guest/segment.h"

#define ERROR_EXTERNAL 1u

#define SEGMENTS 6u

/* SDM volume 3, "32-Bit Task-State Segment (TSS)" */
struct tss_32 {
    uint16_t link, reserved_02;
    uint32_t stacks[6];
    uint32_t cr3, eip, eflags, gpr[8];
    struct {
        uint16_t selector, reserved;
    } segment[SEGMENTS], ldt;
    uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss_32) == 104, "SDM volume 3, figure 7-2");
_Static_assert(offsetof(struct tss_32, cr3) == 28, "SDM volume 3, figure 7-2");
_Static_assert(offsetof(struct tss_32, segment) == 72, "SDM volume 3, figure 7-2");

/* "16-Bit Task-State Segment (TSS)" */
struct tss_16 {
    uint16_t link, stacks[6], ip, flags, gpr[8], segment[4], ldt;
};
_Static_assert(sizeof(struct tss_16) == 44, "SDM volume 3, figure 7-10");

struct task_switch {
    const struct vcpu_exit *exit;
    struct guest_context *g;  /* of the old task */
    struct guest_context now; /* of the new one; its state is what the CPU gets */
    bool wide_old, wide_new;  /* 32-bit TSS */
    uint64_t old_base, new_base;
    uint64_t old_descriptor, new_descriptor;
    uint8_t old_access, new_access; /* access bytes of these, with the new busy bits */
    uint16_t link;
    union {
        struct tss_32 wide;
        struct tss_16 narrow;
    } tss; /* the new task's */
    struct guest_registers regs;
    uint64_t accessed[SEGMENTS]; /* descriptors whose accessed bit is to be set; 0: none */
    uint64_t push_at;            /* where the error code goes ... */
    unsigned push_bytes;         /* ... 0: there is none */
    struct guest_event fault;    /* of the new task */
};

/* Does the switch lead back by IRET to the new task? */
static inline bool task_nests(const struct task_switch *t)
{
    return t->exit->task.reason == TASK_CALL || t->exit->task.reason == TASK_GATE;
}

/* Is the event from outside the program? */
static inline uint32_t task_external(const struct guest_event *event)
{
    return event->valid && event->type < EVENT_SOFTWARE_INTERRUPT ? ERROR_EXTERNAL : 0;
}

/* The new task's registers, segments and paging, and where the error code goes.  A fault of theirs
 * is in t->fault; GUEST_OK or GUEST_PARK, GUEST_RETRY, GUEST_FAIL. */
enum guest_result task_read_new(struct task_switch *t);

#endif
