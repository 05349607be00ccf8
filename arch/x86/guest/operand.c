/* SPDX-License-Identifier: BSD-2-Clause */
/* Register and memory operands of an emulated instruction. */
#include <string.h>

#include "arch/x86/guest/guest.h"
#include "base/log.h"
#include "hv/vdev/access.h"

/* ---- registers ---- */

uint64_t guest_size_mask(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

static bool is_high_byte(const struct instruction *in, unsigned number, unsigned size)
{
    return size == 1 && number >= 4 && number < 8 && !in->has_rex;
}

uint64_t guest_register_read(const struct vcpu *vcpu, const struct instruction *in, unsigned number,
                             unsigned size)
{
    if (is_high_byte(in, number, size)) {
        return (vcpu->regs.gpr[number - 4] >> 8) & 0xff;
    }
    return vcpu->regs.gpr[number] & guest_size_mask(size);
}

void guest_register_write(struct vcpu *vcpu, const struct instruction *in, unsigned number,
                          unsigned size, uint64_t value)
{
    uint64_t *gpr = vcpu->regs.gpr;
    uint64_t mask = guest_size_mask(size);

    if (is_high_byte(in, number, size)) {
        gpr[number - 4] = (gpr[number - 4] & ~0xff00ull) | ((value & 0xff) << 8);
    } else if (size == 4) {
        gpr[number] = value & mask; /* clears the upper half */
    } else {
        gpr[number] = (gpr[number] & ~mask) | (value & mask);
    }
}

void guest_register_add(struct vcpu *vcpu, unsigned number, unsigned address_size, int64_t by)
{
    uint64_t *gpr = &vcpu->regs.gpr[number];
    uint64_t mask = guest_size_mask(address_size);
    uint64_t sum = (*gpr + (uint64_t)by) & mask;

    *gpr = address_size == 2 ? (*gpr & ~mask) | sum : sum;
}

uint64_t guest_operand_offset(const struct vcpu *vcpu, const struct instruction *in)
{
    uint64_t offset = (uint64_t)in->displacement;

    if (in->base != GPR_NONE) {
        offset += vcpu->regs.gpr[in->base];
    }
    if (in->index != GPR_NONE) {
        offset += vcpu->regs.gpr[in->index] * in->scale;
    }
    if (in->rip_relative) {
        offset += vcpu->regs.rip + in->length;
    }
    return offset & guest_size_mask(in->address_size);
}

/* ---- memory operands ---- */

enum guest_result guest_span_prepare(struct guest_context *g, gva_t at, unsigned bytes,
                                     unsigned access, struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    unsigned done = 0;

    span->pieces = 0;
    while (done < bytes) {
        uint64_t linear = at.v + done;
        unsigned in_page = (unsigned)(PAGE_SIZE - (linear & ~PAGE_MASK));
        unsigned count = MIN(bytes - done, in_page);
        unsigned n = span->pieces++;
        enum guest_result result;

        if (g->mode != DECODE_64) {
            linear &= 0xffffffff;
        }
        result = guest_translate(g, gva(linear), access, &span->piece[n].at);
        if (result != GUEST_OK) {
            return result;
        }
        gfn_t page = gpa_to_gfn(span->piece[n].at);
        span->piece[n].bytes = count;
        span->piece[n].device = !space_owns(vcpu->space, page);
        done += count;
        if (span->piece[n].device || !(access & ACCESS_WRITE)) {
            continue;
        }
        result =
            guest_memory_result(vcpu, space_fault(vcpu->space, page, ACCESS_WRITE, &vcpu->waiter),
                                span->piece[n].at, "operand");
        if (result != GUEST_OK) {
            return result;
        }
    }
    return GUEST_OK;
}

bool guest_span_device(const struct guest_span *span)
{
    for (unsigned i = 0; i < span->pieces; i++) {
        if (span->piece[i].device) {
            return true;
        }
    }
    return false;
}

/* The bus takes 1, 2, 4 and 8 bytes; a piece that a page boundary has cut goes byte by byte. */
static unsigned device_step(unsigned bytes)
{
    if (bytes % 8 == 0) {
        return 8;
    }
    return (bytes & (bytes - 1)) == 0 ? bytes : 1;
}

/* One that parks does so as a whole: the parts before it are accessed again. */
static enum bus_result device_read(struct vcpu *vcpu, gpa_t at, unsigned bytes, uint8_t *to)
{
    unsigned step = device_step(bytes);
    enum bus_result result = BUS_DONE;

    for (unsigned i = 0; i < bytes && result == BUS_DONE; i += step) {
        uint64_t part;

        result = vdev_mmio_read(vcpu, gpa(at.v + i), step, &part);
        memcpy(to + i, &part, step);
    }
    return result;
}

static enum bus_result device_write(struct vcpu *vcpu, gpa_t at, unsigned bytes,
                                    const uint8_t *from)
{
    unsigned step = device_step(bytes);
    enum bus_result result = BUS_DONE;

    for (unsigned i = 0; i < bytes && result == BUS_DONE; i += step) {
        uint64_t part = 0;

        memcpy(&part, from + i, step);
        result = vdev_mmio_write(vcpu, gpa(at.v + i), step, part);
    }
    return result;
}

/* Memory first: it may park, and a device must not be read twice. */
enum guest_result guest_span_read_bytes(struct guest_context *g, const struct guest_span *span,
                                        uint8_t *bytes)
{
    struct vcpu *vcpu = g->vcpu;
    unsigned done = 0;

    for (unsigned i = 0; i < span->pieces; done += span->piece[i++].bytes) {
        if (!span->piece[i].device) {
            enum mm_result got = space_read(vcpu->space, span->piece[i].at, bytes + done,
                                            span->piece[i].bytes, &vcpu->waiter);
            enum guest_result result = guest_memory_result(vcpu, got, span->piece[i].at, "operand");

            if (result != GUEST_OK) {
                return result;
            }
        }
    }
    done = 0;
    for (unsigned i = 0; i < span->pieces; done += span->piece[i++].bytes) {
        if (span->piece[i].device) {
            enum guest_result result = guest_bus_result(
                device_read(vcpu, span->piece[i].at, span->piece[i].bytes, bytes + done));

            if (result != GUEST_OK) {
                return result;
            }
        }
    }
    return GUEST_OK;
}

enum guest_result guest_span_write_bytes(struct guest_context *g, const struct guest_span *span,
                                         const uint8_t *bytes)
{
    struct vcpu *vcpu = g->vcpu;
    unsigned done = 0;

    for (unsigned i = 0; i < span->pieces; done += span->piece[i++].bytes) {
        if (!span->piece[i].device) {
            enum mm_result put = space_write(vcpu->space, span->piece[i].at, bytes + done,
                                             span->piece[i].bytes, &vcpu->waiter);
            enum guest_result result = guest_memory_result(vcpu, put, span->piece[i].at, "operand");

            if (result != GUEST_OK) {
                return result;
            }
        }
    }
    done = 0;
    for (unsigned i = 0; i < span->pieces; done += span->piece[i++].bytes) {
        if (span->piece[i].device) {
            enum guest_result result = guest_bus_result(
                device_write(vcpu, span->piece[i].at, span->piece[i].bytes, bytes + done));

            if (result != GUEST_OK) {
                return result;
            }
        }
    }
    return GUEST_OK;
}

enum guest_result guest_span_read(struct guest_context *g, const struct guest_span *span,
                                  uint64_t *value)
{
    *value = 0;
    ASSERT(guest_span_bytes(span) <= sizeof(*value));
    return guest_span_read_bytes(g, span, (uint8_t *)value);
}

enum guest_result guest_span_write(struct guest_context *g, const struct guest_span *span,
                                   uint64_t value)
{
    ASSERT(guest_span_bytes(span) <= sizeof(value));
    return guest_span_write_bytes(g, span, (const uint8_t *)&value);
}
