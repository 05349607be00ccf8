/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything about a vCPU, for the log, when its guest cannot go on. */
#include <stdio.h>

#include "arch/x86/guest/guest.h"
#include "base/log.h"

#define DUMP_BYTES 16
#define DUMP_WORDS 8

typedef unsigned long word;

static const char *const register_name[GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                     "rsi", "rdi", "r8 ", "r9 ", "r10", "r11",
                                                     "r12", "r13", "r14", "r15"};
static const char *const segment_name[SEG_COUNT] = {"es", "cs", "ss",   "ds",
                                                    "fs", "gs", "ldtr", "tr"};

static void dump_registers(const struct vcpu *vcpu)
{
    const struct guest_registers *r = &vcpu->regs;

    for (unsigned i = 0; i < GPR_COUNT; i += 4) {
        vm_log(vcpu->vm, LOG_ERROR, "  %s %016lx  %s %016lx  %s %016lx  %s %016lx",
               register_name[i], (word)r->gpr[i], register_name[i + 1], (word)r->gpr[i + 1],
               register_name[i + 2], (word)r->gpr[i + 2], register_name[i + 3],
               (word)r->gpr[i + 3]);
    }
    vm_log(vcpu->vm, LOG_ERROR, "  rip %016lx  rflags %08lx  cr2 %016lx  dr6 %08lx", (word)r->rip,
           (word)r->rflags, (word)r->cr2, (word)r->dr6);
}

static void dump_state(struct vm *vm, const struct guest_state *s)
{
    vm_log(vm, LOG_ERROR, "  cr0 %08lx  cr3 %016lx  cr4 %08lx  efer %05lx  dr7 %08lx  pat %016lx",
           (word)s->cr0, (word)s->cr3, (word)s->cr4, (word)s->efer, (word)s->dr7, (word)s->pat);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct guest_segment *g = &s->segment[i];

        vm_log(vm, LOG_ERROR, "  %-4s %04x  base %016lx  limit %08x  access %05x", segment_name[i],
               g->selector, (word)g->base, g->limit, g->access);
    }
    vm_log(vm, LOG_ERROR, "  gdtr %016lx/%04x  idtr %016lx/%04x", (word)s->gdtr.base, s->gdtr.limit,
           (word)s->idtr.base, s->idtr.limit);
}

/*
 * Guest memory at a linear address as far as it can be had right now: nothing is waited for, no
 * fault is left behind.  Returns the bytes read: up to the end of the page.
 */
static size_t peek(struct guest_context *g, uint64_t linear, unsigned access, void *out,
                   size_t count)
{
    struct guest_event event = g->vcpu->event;
    uint64_t cr2 = g->vcpu->regs.cr2;
    size_t in_page = PAGE_SIZE - (linear & ~PAGE_MASK);
    size_t got = 0;
    gpa_t at;

    count = MIN(count, in_page);
    if (guest_translate(g, gva(linear), access, &at) == GUEST_OK &&
        space_owns(g->vcpu->space, gpa_to_gfn(at)) &&
        space_read(g->vcpu->space, at, out, count, &g->vcpu->waiter) == MM_OK) {
        got = count;
    }
    waiter_cancel(&g->vcpu->waiter);
    g->vcpu->event = event;
    g->vcpu->regs.cr2 = cr2;
    return got;
}

static uint64_t linear_of(const struct guest_context *g, unsigned segment, uint64_t offset)
{
    if (g->mode == DECODE_64) {
        return offset;
    }
    return (g->state.segment[segment].base + offset) & 0xffffffff;
}

static void dump_code(struct guest_context *g)
{
    uint8_t bytes[DUMP_BYTES];
    char text[3 * DUMP_BYTES + 1] = "not readable now";
    size_t count = peek(g, linear_of(g, SEG_CS, g->vcpu->regs.rip), ACCESS_EXEC, bytes, DUMP_BYTES);

    for (size_t i = 0; i < count; i++) {
        snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
    }
    vm_log(g->vcpu->vm, LOG_ERROR, "  code at rip: %s", text);
}

static void dump_stack(struct guest_context *g)
{
    uint64_t words[DUMP_WORDS];
    uint64_t rsp = g->vcpu->regs.gpr[GPR_RSP];
    size_t count = peek(g, linear_of(g, SEG_SS, rsp), ACCESS_READ, words, sizeof(words)) / 8;

    for (size_t i = 0; i < count; i += 4) {
        char line[4 * 17 + 1] = "";

        for (size_t k = i; k < MIN(count, i + 4); k++) {
            snprintf(line + 17 * (k - i), 18, " %016lx", (word)words[k]);
        }
        vm_log(g->vcpu->vm, LOG_ERROR, "  stack +%02lx:%s", (word)(8 * i), line);
    }
    if (count == 0) {
        vm_log(g->vcpu->vm, LOG_ERROR, "  stack: not readable now");
    }
}

void arch_guest_dump(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct guest_context g;

    guest_context_init(&g, vcpu);
    vm_log(vcpu->vm, LOG_ERROR, "%s: vCPU %u: mode %s, CPL %u", vcpu->vm->name, vcpu->index,
           g.mode == DECODE_64 ? "64-bit" : (g.mode == DECODE_32 ? "32-bit" : "16-bit"), g.cpl);
    dump_registers(vcpu);
    dump_state(vcpu->vm, &g.state);
    dump_code(&g);
    dump_stack(&g);
    if (vcpu->event.valid) {
        vm_log(vcpu->vm, LOG_ERROR, "  event: vector %u type %u error %x", vcpu->event.vector,
               vcpu->event.type, vcpu->event.error_code);
    }
    if (exit != NULL) {
        vm_log(vcpu->vm, LOG_ERROR, "  exit kind %d length %u raw %lx %lx %lx %lx", (int)exit->kind,
               exit->length, (word)exit->raw[0], (word)exit->raw[1], (word)exit->raw[2],
               (word)exit->raw[3]);
    }
}
