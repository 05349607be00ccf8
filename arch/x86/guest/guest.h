/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the files of this room: the state of a vCPU while one of its instructions is emulated,
 * translation of its addresses, and access to its memory and devices.
 *
 * A guest_context lives on the stack of one exit handler.  The vCPU is loaded on this CPU.  No
 * locks are held.
 */
#ifndef SPILLWAY_ARCH_X86_GUEST_GUEST_H
#define SPILLWAY_ARCH_X86_GUEST_GUEST_H

#include "arch/x86/guest/decode.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/access.h"

enum guest_result {
    GUEST_OK,
    GUEST_FAULT, /* an exception is in vcpu->event (and CR2): enter the guest */
    GUEST_PARK,  /* the vCPU's waiter is registered */
    GUEST_RETRY, /* the guest changed its tables meanwhile: enter it again, unchanged */
    GUEST_FAIL,  /* vm_fail() was called */
};

#define GUEST_CACHE 4

struct guest_context {
    struct vcpu *vcpu;
    struct guest_state state;
    enum decode_mode mode; /* of the code segment */
    uint8_t cpl;
    /* Translations made for this instruction. */
    unsigned cached;
    struct {
        uint64_t page; /* linear */
        uint64_t frame;
        unsigned access;
    } cache[GUEST_CACHE];
};

/* 0..3, of a state with these RFLAGS. */
uint8_t guest_privilege_level(const struct guest_state *state, uint64_t rflags);
/* Reads the vCPU's state from the backend. */
void guest_context_init(struct guest_context *g, struct vcpu *vcpu);
/* An exit handler's answer to a result other than GUEST_OK. */
enum exit_result guest_exit_result(enum guest_result result);
/* Maps the outcome of a space operation; names `what` if the VM has to be failed. */
enum guest_result guest_memory_result(struct vcpu *vcpu, enum mm_result result, gpa_t at,
                                      const char *what);
/* Likewise of an access to a device. */
static inline enum guest_result guest_bus_result(enum bus_result result)
{
    return result == BUS_PARK ? GUEST_PARK : GUEST_OK;
}

/* Queues a general protection fault; GUEST_FAULT. */
enum guest_result guest_raise_gp(struct vcpu *vcpu);
enum guest_result guest_raise_ud(struct vcpu *vcpu);

/*
 * Translates one linear address for an access (ACCESS_*) at the guest's own privilege level, by its
 * own paging mode, and sets accessed and dirty bits.  #PF as on hardware.
 */
enum guest_result guest_translate(struct guest_context *g, gva_t at, unsigned access, gpa_t *out);
/*
 * Linear address of `bytes` at offset `offset` of a segment: limit, type and canonical checks
 * (#GP or #SS).
 */
enum guest_result guest_linear(struct guest_context *g, unsigned segment, uint64_t offset,
                               unsigned bytes, unsigned access, gva_t *out);

/* May RIP become that: is it canonical, and within CS? */
bool guest_is_canonical(const struct guest_context *g, uint64_t address);
bool guest_may_jump(const struct guest_context *g, uint64_t rip);

/* Fetches and decodes the instruction at CS:RIP.  An undefined one raises #UD. */
enum guest_result guest_fetch(struct guest_context *g, struct instruction *in);

/* Up to 32 bytes of memory, in at most two pages, each of them RAM or device. */
struct guest_span {
    unsigned pieces;
    struct {
        gpa_t at;
        unsigned bytes;
        bool device; /* no memslot owns it */
    } piece[2];
};

static inline unsigned guest_span_bytes(const struct guest_span *span)
{
    return span->piece[0].bytes + (span->pieces > 1 ? span->piece[1].bytes : 0);
}

/* Translates and checks; pages of RAM that will be written are made writable, so that a write can
 * only fail if they are reclaimed in between. */
enum guest_result guest_span_prepare(struct guest_context *g, gva_t at, unsigned bytes,
                                     unsigned access, struct guest_span *span);
/* Is any of it a device? */
bool guest_span_device(const struct guest_span *span);
enum guest_result guest_span_read_bytes(struct guest_context *g, const struct guest_span *span,
                                        uint8_t *bytes);
enum guest_result guest_span_write_bytes(struct guest_context *g, const struct guest_span *span,
                                         const uint8_t *bytes);
/* Of at most 8 bytes. */
enum guest_result guest_span_read(struct guest_context *g, const struct guest_span *span,
                                  uint64_t *value);
enum guest_result guest_span_write(struct guest_context *g, const struct guest_span *span,
                                   uint64_t value);

/* General registers by operand size; size 1 without REX means AL CL DL BL AH CH DH BH. */
uint64_t guest_register_read(const struct vcpu *vcpu, const struct instruction *in, unsigned number,
                             unsigned size);
void guest_register_write(struct vcpu *vcpu, const struct instruction *in, unsigned number,
                          unsigned size, uint64_t value);
/* LMSW with that operand: #GP or done.  State is written back. */
enum guest_result guest_write_msw(struct guest_context *g, uint16_t source);
/* Offset within its segment of the instruction's memory operand, without index bits of BT. */
uint64_t guest_operand_offset(const struct vcpu *vcpu, const struct instruction *in);
/* Adds to a register as string instructions and LOOP do: at address size, the rest kept. */
void guest_register_add(struct vcpu *vcpu, unsigned number, unsigned address_size, int64_t by);
uint64_t guest_size_mask(unsigned size);

#endif
