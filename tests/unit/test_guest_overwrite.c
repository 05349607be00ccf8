/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c arch/x86/guest/action.c
 * arch/x86/guest/alu.c arch/x86/guest/cpuid.c arch/x86/guest/cr.c arch/x86/guest/dump.c
 * arch/x86/guest/fetch.c arch/x86/guest/mmio.c arch/x86/guest/msr.c arch/x86/guest/operand.c
 * arch/x86/guest/overwrite.c arch/x86/guest/perform.c arch/x86/guest/perform_system.c
 * arch/x86/guest/policy.c arch/x86/guest/segment.c arch/x86/guest/stack.c arch/x86/guest/step.c
 * arch/x86/guest/string_io.c arch/x86/guest/vector.c arch/x86/guest/walk.c
 * tests/unit/guest/guest_fake.c */
/*
 * String instructions that write a whole page which is on a disk: which are recognised, what they
 * leave in registers and memory, and all those that must not be taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "tests/unit/guest/guest_fake.h"

#define PAGE   0x20u /* the one that is out */
#define SOURCE 0x21u
#define OLD    0xd5 /* what it holds */
#define WORD   0x1122334455667788ull

static struct vcpu_exit memory_exit;
static uint64_t out; /* the page that would have to be read; 0: none */

/* ---- space ---- */

bool space_has_to_read(struct space *space, gfn_t page)
{
    (void)space;
    return out != 0 && page.v == out;
}

/* The page gets that, unless it has come meanwhile. */
static enum mm_result overwrite(gfn_t page, const uint8_t *from, bool *done)
{
    *done = false;
    if (page.v != out) {
        return MM_OK;
    }
    if (++fake.calls == fake.wait_at) {
        return MM_WAIT;
    }
    memcpy(fake.ram + page.v * PAGE_SIZE, from, PAGE_SIZE);
    out = 0;
    *done = true;
    return MM_OK;
}

enum mm_result space_overwrite(struct space *space, gfn_t page, uint64_t word,
                               struct mm_waiter *waiter, bool *done)
{
    uint64_t words[PAGE_SIZE / sizeof(uint64_t)];

    (void)space;
    (void)waiter;
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++) {
        words[i] = word;
    }
    return overwrite(page, (const uint8_t *)words, done);
}

enum mm_result space_overwrite_copy(struct space *space, gfn_t page, gfn_t from,
                                    struct mm_waiter *waiter, bool *done)
{
    (void)space;
    (void)waiter;
    *done = false;
    return from.v < FAKE_RAM_PAGES ? overwrite(page, fake.ram + from.v * PAGE_SIZE, done) : MM_OK;
}

/* ---- trials ---- */

/* A vCPU at that instruction, about to write `count` elements to the page, forwards. */
static void begin(const char *bytes, uint64_t count)
{
    struct guest_registers *regs = &fake.vcpu.regs;

    fake_reset();
    fake_code(bytes, (unsigned)strlen(bytes));
    memset(fake.ram + PAGE * PAGE_SIZE, OLD, PAGE_SIZE);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        fake.ram[SOURCE * PAGE_SIZE + i] = (uint8_t)(i * 7 + 1);
    }
    out = PAGE;
    regs->gpr[GPR_RAX] = WORD;
    regs->gpr[GPR_RCX] = count;
    regs->gpr[GPR_RDI] = PAGE * PAGE_SIZE;
    regs->gpr[GPR_RSI] = SOURCE * PAGE_SIZE;
    memory_exit = (struct vcpu_exit){.kind = EXIT_KIND_MEMORY};
    memory_exit.memory.address = gpa(PAGE * PAGE_SIZE);
    memory_exit.memory.access = ACCESS_WRITE;
}

static bool happens(enum exit_result *result)
{
    return arch_guest_overwrite(&fake.vcpu, &memory_exit, result);
}

/* It is written, and `left` elements are to come. */
static void check_done(unsigned size, unsigned length, uint64_t left)
{
    const struct guest_registers *regs = &fake.vcpu.regs;
    uint64_t rip = regs->rip;
    enum exit_result result = EXIT_FAIL;

    assert_true(happens(&result));
    assert_int_equal(result, EXIT_RESUME);
    assert_int_equal(regs->gpr[GPR_RCX], left);
    assert_int_equal(regs->gpr[GPR_RDI], (PAGE + 1) * PAGE_SIZE);
    assert_int_equal(regs->rip, left == 0 ? rip + length : rip);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        assert_int_equal(fake.ram[PAGE * PAGE_SIZE + i], (uint8_t)(WORD >> (i % size * 8)));
    }
}

/* Nothing has changed, and the fault is to be served as any. */
static void check_untouched(void)
{
    struct guest_registers before = fake.vcpu.regs;
    enum exit_result result;

    assert_false(happens(&result));
    assert_memory_equal(&before, &fake.vcpu.regs, sizeof(before));
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        assert_int_equal(fake.ram[PAGE * PAGE_SIZE + i], OLD);
    }
}

static void stores(void **state)
{
    (void)state;
    begin("\xf3\xaa", 4096);
    check_done(1, 2, 0);
    begin("\xf3\x66\xab", 2048);
    check_done(2, 3, 0);
    begin("\xf3\xab", 1024);
    check_done(4, 2, 0);
    begin("\xf3\x48\xab", 512);
    check_done(8, 3, 0);
    begin("\xf2\x48\xab", 512); /* REPNE is REP for these */
    check_done(8, 3, 0);
}

/* More to come: the instruction goes on with the next page, where it will fault again or not. */
static void stores_go_on(void **state)
{
    (void)state;
    begin("\xf3\x48\xab", 513);
    check_done(8, 3, 1);
    begin("\xf3\xaa", 0x7fffffffffffffff);
    check_done(1, 2, 0x7fffffffffffefff);
}

static void whole_copies(void **state)
{
    const struct guest_registers *regs = &fake.vcpu.regs;
    enum exit_result result;

    (void)state;
    begin("\xf3\x48\xa5", 512);
    assert_true(happens(&result));
    assert_int_equal(result, EXIT_RESUME);
    assert_memory_equal(fake.ram + PAGE * PAGE_SIZE, fake.ram + SOURCE * PAGE_SIZE, PAGE_SIZE);
    assert_int_equal(regs->gpr[GPR_RSI], (SOURCE + 1) * PAGE_SIZE);
    assert_int_equal(regs->gpr[GPR_RDI], (PAGE + 1) * PAGE_SIZE);
    assert_int_equal(regs->gpr[GPR_RCX], 0);
    begin("\xf3\x48\xa5", 512); /* from the middle of one */
    fake.vcpu.regs.gpr[GPR_RSI] += 8;
    check_untouched();
    begin("\xf3\x48\xa5", 512); /* from a device */
    fake.vcpu.regs.gpr[GPR_RSI] = fake.device_base;
    check_untouched();
}

static void other_instructions(void **state)
{
    static const char *const bytes[] = {
        "\x48\xab",         /* STOS, once */
        "\xf3\x48\xad",     /* LODS */
        "\xf3\x48\xaf",     /* SCAS */
        "\xf3\x48\xa7",     /* CMPS */
        "\x48\x89\x07",     /* MOV [RDI], RAX */
        "\xf3\x0f\xab\x07", /* BTS [RDI], EAX: 0F map */
        "\xc5\xfe\x7f\x07", /* VMOVDQU [RDI], YMM0 */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        begin(bytes[i], 4096);
        check_untouched();
    }
}

static void not_whole(void **state)
{
    (void)state;
    begin("\xf3\x48\xab", 511);
    check_untouched();
    begin("\xf3\xaa", 4095);
    check_untouched();
    begin("\xf3\x48\xab", 512); /* the write is elsewhere in the page */
    memory_exit.memory.address.v += 8;
    check_untouched();
    begin("\xf3\x48\xab", 512);
    fake.vcpu.regs.gpr[GPR_RDI] -= 8; /* an element that lies in two pages */
    check_untouched();
    begin("\xf3\x67\x48\xab", 1ull << 32); /* of 32 bits of RCX, nothing is left */
    check_untouched();
}

static void not_now(void **state)
{
    (void)state;
    begin("\xf3\x48\xab", 512);
    fake.vcpu.regs.rflags |= RFLAGS_DF;
    check_untouched();
    begin("\xf3\x48\xab", 512);
    fake.vcpu.regs.rflags |= RFLAGS_TF;
    check_untouched();
    begin("\xf3\x48\xab", 512);
    fake.state.dr7 = 0x401;
    check_untouched();
    begin("\xf3\x48\xab", 512); /* a stack push of its delivery has faulted */
    fake.vcpu.event = event_exception(VECTOR_DE);
    check_untouched();
    begin("\xf3\x48\xab", 512);
    memory_exit.memory.access = ACCESS_READ;
    check_untouched();
    begin("\xf3\x48\xab", 512); /* it comes without a read */
    out = 0;
    check_untouched();
}

/* It is a table on the way to the page that has faulted, at its entry 0: that is not written by the
 * instruction. */
static void table_on_the_way(void **state)
{
    enum exit_result result;

    (void)state;
    begin("\xf3\x48\xab", 512);
    fake_paging_on();
    fake_map(0x1000, 0x1000, PTE_W, 0);
    fake_map(0x7f0000000000, 0x30000, PTE_W, 0);
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000000;
    check_untouched();
    fake_map(0x7f0000000000, PAGE * PAGE_SIZE, PTE_W, 0);
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000000;
    assert_true(happens(&result));
    assert_int_equal(result, EXIT_RESUME);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RDI], 0x7f0000001000);
}

/* The guest has changed its tables since: its fault, as on hardware. */
static void page_fault(void **state)
{
    enum exit_result result;

    (void)state;
    begin("\xf3\x48\xab", 512);
    fake_paging_on();
    fake_map(0x1000, 0x1000, PTE_W, 0);
    fake.vcpu.regs.gpr[GPR_RDI] = 0x7f0000000000;
    assert_true(happens(&result));
    assert_int_equal(result, EXIT_RESUME);
    assert_true(fake.vcpu.event.valid);
    assert_int_equal(fake.vcpu.event.vector, VECTOR_PF);
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 512);
    assert_int_equal(fake.ram[PAGE * PAGE_SIZE], OLD);
}

/* Each access waits once: nothing has happened then, and in the end all has, once. */
static void parks(void **state)
{
    enum exit_result result = EXIT_PARK;

    (void)state;
    begin("\xf3\x48\xab", 512);
    for (unsigned at = 1; result == EXIT_PARK; at++) {
        uint64_t rcx = fake.vcpu.regs.gpr[GPR_RCX];

        assert_true(at < 10);
        fake.wait_at = fake.calls + at;
        assert_true(happens(&result));
        if (result == EXIT_PARK) {
            assert_int_equal(rcx, 512);
            assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 512);
            assert_int_equal(fake.ram[PAGE * PAGE_SIZE], OLD);
        }
    }
    assert_int_equal(fake.vcpu.regs.gpr[GPR_RCX], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores),
        cmocka_unit_test(stores_go_on),
        cmocka_unit_test(whole_copies),
        cmocka_unit_test(other_instructions),
        cmocka_unit_test(not_whole),
        cmocka_unit_test(not_now),
        cmocka_unit_test(table_on_the_way),
        cmocka_unit_test(page_fault),
        cmocka_unit_test(parks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
