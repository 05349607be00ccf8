/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/segment.h"

#include <string.h>

#include "arch/x86/cpu.h"

/* ---- memory as the CPU uses it for itself ---- */

static enum guest_result translate(struct guest_context *g, uint64_t linear, unsigned access,
                                   gpa_t *at)
{
    uint8_t cpl = g->cpl;
    enum guest_result result;

    if (!(g->state.efer & EFER_LMA)) {
        linear &= 0xffffffff;
    }
    g->cpl = 0;
    result = guest_translate(g, gva(linear), access, at);
    g->cpl = cpl;
    return result;
}

static unsigned in_page(uint64_t linear, unsigned bytes)
{
    return (unsigned)MIN(PAGE_SIZE - (linear & ~PAGE_MASK), (uint64_t)bytes);
}

enum guest_result guest_system_read(struct guest_context *g, uint64_t linear, void *to,
                                    unsigned bytes)
{
    struct vcpu *vcpu = g->vcpu;
    uint8_t *into = to;

    for (unsigned done = 0, count; done < bytes; done += count) {
        enum mm_result read;
        gpa_t at;
        enum guest_result result = translate(g, linear + done, ACCESS_READ, &at);

        if (result != GUEST_OK) {
            return result;
        }
        count = in_page(linear + done, bytes - done);
        read = space_read(vcpu->space, at, into + done, count, &vcpu->waiter);
        if (read == MM_NO_MEMSLOT) {
            memset(into + done, 0xff, count);
        } else if (read != MM_OK) {
            return guest_memory_result(vcpu, read, at, "descriptor");
        }
    }
    return GUEST_OK;
}

enum guest_result guest_system_may_write(struct guest_context *g, uint64_t linear, unsigned bytes)
{
    for (unsigned done = 0; done < bytes; done += in_page(linear + done, bytes - done)) {
        gpa_t at;
        enum guest_result result = translate(g, linear + done, ACCESS_WRITE, &at);

        if (result != GUEST_OK) {
            return result;
        }
    }
    return GUEST_OK;
}

/* Two pages at most. */
enum guest_result guest_system_write(struct guest_context *g, uint64_t linear, const void *from,
                                     unsigned bytes)
{
    struct vcpu *vcpu = g->vcpu;
    const uint8_t *bytes_of = from;
    unsigned first = in_page(linear, bytes);
    enum guest_result result = guest_system_may_write(g, linear, bytes);
    enum mm_result put = MM_OK;
    gpa_t at = gpa(0);

    if (result == GUEST_OK && first < bytes) {
        result = translate(g, linear + first, ACCESS_WRITE, &at);
        if (result == GUEST_OK) {
            put = space_write(vcpu->space, at, bytes_of + first, bytes - first, &vcpu->waiter);
        }
    }
    if (result == GUEST_OK && (put == MM_OK || put == MM_NO_MEMSLOT)) {
        result = translate(g, linear, ACCESS_WRITE, &at);
        if (result == GUEST_OK) {
            put = space_write(vcpu->space, at, from, first, &vcpu->waiter);
        }
    }
    if (result != GUEST_OK || put == MM_NO_MEMSLOT) {
        return result;
    }
    return guest_memory_result(vcpu, put, at, "descriptor or task state");
}

/* ---- descriptors ---- */

/* SDM volume 3, "Segment Descriptors". */
static struct guest_segment segment_of(uint16_t selector, uint64_t descriptor)
{
    struct guest_segment s = {
        .selector = selector,
        .base = FIELD_GET(BITS(39, 16), descriptor) | FIELD_GET(BITS(63, 56), descriptor) << 24,
        .limit = (uint32_t)(FIELD_GET(BITS(15, 0), descriptor) | FIELD_GET(BITS(51, 48), descriptor)
                                                                     << 16),
        .access = (uint32_t)(FIELD_GET(BITS(47, 40), descriptor) |
                             FIELD_GET(BITS(55, 52), descriptor) << 12),
    };

    if (descriptor & BIT(55)) {
        s.limit = s.limit << PAGE_SHIFT | 0xfff;
    }
    return s;
}

enum guest_result guest_descriptor_read(struct guest_context *g, uint16_t selector,
                                        struct guest_segment *out, uint64_t *at)
{
    const struct guest_segment *ldt = &g->state.segment[SEG_LDTR];
    uint64_t base = g->state.gdtr.base, limit = g->state.gdtr.limit, descriptor;
    unsigned offset = selector & SELECTOR_INDEX;
    enum guest_result result;

    *at = 0;
    if (selector & SELECTOR_TI) {
        if (ldt->access & SEGMENT_UNUSABLE) {
            return GUEST_OK;
        }
        base = ldt->base;
        limit = ldt->limit;
    }
    if (offset + 7 > limit) {
        return GUEST_OK;
    }
    result = guest_system_read(g, base + offset, &descriptor, sizeof(descriptor));
    if (result == GUEST_OK) {
        *out = segment_of(selector, descriptor);
        *at = base + offset;
    }
    return result;
}

/* ---- loading ---- */

static bool may_be_code(const struct guest_segment *s, unsigned rpl, unsigned dpl)
{
    if (!(s->access & SEGMENT_CODE)) {
        return false;
    }
    return (s->access & SEGMENT_DOWN) ? dpl <= rpl : dpl == rpl;
}

static bool may_be_stack(const struct guest_segment *s, unsigned rpl, unsigned dpl, unsigned cpl)
{
    return !(s->access & SEGMENT_CODE) && (s->access & SEGMENT_RW) && rpl == cpl && dpl == cpl;
}

static bool may_be_data(const struct guest_segment *s, unsigned rpl, unsigned dpl, unsigned cpl)
{
    bool code = (s->access & SEGMENT_CODE) != 0;

    if (code && !(s->access & SEGMENT_RW)) {
        return false;
    }
    return (code && (s->access & SEGMENT_DOWN)) || (dpl >= rpl && dpl >= cpl);
}

static bool may_load(const struct guest_segment *s, unsigned segment, unsigned cpl)
{
    unsigned rpl = s->selector & SELECTOR_RPL;
    unsigned dpl = (unsigned)FIELD_GET(SEGMENT_DPL, s->access);

    if (!(s->access & SEGMENT_S)) {
        return false;
    }
    switch (segment) {
    case SEG_CS:
        return may_be_code(s, rpl, dpl);
    case SEG_SS:
        return may_be_stack(s, rpl, dpl, cpl);
    default:
        return may_be_data(s, rpl, dpl, cpl);
    }
}

/* A null selector: allowed but for CS and SS, and for SS too in the inner rings of 64-bit mode. */
static void load_null(const struct guest_context *g, unsigned segment, uint8_t cpl, uint8_t vector,
                      struct guest_segment *out, struct segment_fault *fault)
{
    bool stack = g->mode == DECODE_64 && cpl < 3 && (out->selector & SELECTOR_RPL) == cpl;

    out->access = (uint32_t)(SEGMENT_UNUSABLE | FIELD_PREP(SEGMENT_DPL, cpl));
    if (segment == SEG_CS || (segment == SEG_SS && !stack)) {
        *fault = (struct segment_fault){.vector = vector};
    }
}

enum guest_result guest_segment_load(struct guest_context *g, unsigned segment, uint16_t selector,
                                     uint8_t cpl, uint8_t vector, struct guest_segment *out,
                                     struct segment_fault *fault, uint64_t *accessed)
{
    uint16_t error = selector & ~SELECTOR_RPL;
    enum guest_result result;
    uint64_t at;

    *out = (struct guest_segment){.selector = selector};
    *fault = (struct segment_fault){0};
    *accessed = 0;
    if ((selector & ~SELECTOR_RPL) == 0) {
        load_null(g, segment, cpl, vector, out, fault);
        return GUEST_OK;
    }
    result = guest_descriptor_read(g, selector, out, &at);
    if (result != GUEST_OK) {
        return result;
    }
    if (at == 0 || !may_load(out, segment, cpl)) {
        *fault = (struct segment_fault){.vector = vector, .error_code = error};
    } else if (!(out->access & SEGMENT_PRESENT)) {
        *fault = (struct segment_fault){.vector = segment == SEG_SS ? VECTOR_SS : VECTOR_NP,
                                        .error_code = error};
    } else if (!(out->access & SEGMENT_ACCESSED)) {
        out->access |= (uint32_t)SEGMENT_ACCESSED;
        *accessed = at;
    }
    if (fault->vector != 0) {
        *out = (struct guest_segment){.selector = selector, .access = (uint32_t)SEGMENT_UNUSABLE};
    }
    return GUEST_OK;
}
