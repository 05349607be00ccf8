/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/guest/native.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/unit/guest/guest_fake.h"
#include "tests/unit/xorshift.h"

#define ROUNDS 12

static uint8_t *code_page, *data_page;
uint8_t *native_code;
void native_run(struct native *n);
void native_run_vector(struct native *n);

/* Loads everything but RSP, calls the instruction, stores everything. */
__asm__(".text\n"
        ".globl native_run\n"
        "native_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
        "pushq 128(%rdi); popfq\n"
        "mov 0(%rdi),%rax; mov 8(%rdi),%rcx; mov 16(%rdi),%rdx; mov 24(%rdi),%rbx\n"
        "mov 40(%rdi),%rbp; mov 48(%rdi),%rsi; mov 64(%rdi),%r8; mov 72(%rdi),%r9\n"
        "mov 80(%rdi),%r10; mov 88(%rdi),%r11; mov 96(%rdi),%r12; mov 104(%rdi),%r13\n"
        "mov 112(%rdi),%r14; mov 120(%rdi),%r15; mov 56(%rdi),%rdi\n"
        "call *native_code(%rip)\n"
        "push %rdi; pushfq; mov 16(%rsp),%rdi\n"
        "mov %rax,0(%rdi); mov %rcx,8(%rdi); mov %rdx,16(%rdi); mov %rbx,24(%rdi)\n"
        "mov %rbp,40(%rdi); mov %rsi,48(%rdi); mov %r8,64(%rdi); mov %r9,72(%rdi)\n"
        "mov %r10,80(%rdi); mov %r11,88(%rdi); mov %r12,96(%rdi); mov %r13,104(%rdi)\n"
        "mov %r14,112(%rdi); mov %r15,120(%rdi)\n"
        "popq 128(%rdi); popq 56(%rdi); cld\n"
        "pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

/* The same with XMM or YMM and MMX registers; those of the x87 are free afterwards. */
__asm__(".text\n"
        ".globl native_run_vector\n"
        "native_run_vector:\n"
        "push %rdi\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovdqu 136+32*\\n(%rdi), %ymm\\n\n"
        ".endr\n"
        ".irp n,0,1,2,3,4,5,6,7\n"
        "movq 648+8*\\n(%rdi), %mm\\n\n"
        ".endr\n"
        "call native_run\n"
        "pop %rdi\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovdqu %ymm\\n, 136+32*\\n(%rdi)\n"
        ".endr\n"
        ".irp n,0,1,2,3,4,5,6,7\n"
        "movq %mm\\n, 648+8*\\n(%rdi)\n"
        ".endr\n"
        "emms; vzeroupper; ret\n");
_Static_assert(offsetof(struct native, ymm) == 136, "native_run_vector");
_Static_assert(offsetof(struct native, mm) == 648, "native_run_vector");

static uint64_t random_state = 0x5eed0003;

uint64_t native_random(void)
{
    return xorshift64(&random_state);
}

uint8_t *native_page(void)
{
    return data_page;
}

int native_setup(void **state)
{
    (void)state;
    code_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    native_code = code_page;
    return code_page == MAP_FAILED || data_page == MAP_FAILED;
}

enum exit_result native_emulate(void)
{
    struct vcpu_exit exit = {.kind = EXIT_KIND_MEMORY};

    exit.memory.address = gpa(fake.device_base);
    exit.memory.access = ACCESS_READ | ACCESS_WRITE;
    return arch_guest_mmio(&fake.vcpu, &exit);
}

static void fill(void *at, unsigned bytes)
{
    uint8_t *to = at;

    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)native_random();
    }
}

static void prepare(struct native *n, const struct native_trial *trial)
{
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        n->gpr[i] = native_random() >> (native_random() & 63);
        if (trial->small) {
            n->gpr[i] = (uint64_t)((int64_t)(native_random() & 1023) - 512);
        }
    }
    fill(data_page, PAGE_SIZE);
    if (native_random() & 1) {
        memcpy(data_page + 1024, &n->gpr[GPR_RAX], 8); /* let CMPXCHG succeed, CMP be equal */
    }
    n->gpr[GPR_RDI] = (uint64_t)data_page + 1024;
    if (!trial->small) {
        n->gpr[GPR_RSI] = (uint64_t)data_page + 2048;
    }
    n->gpr[GPR_RCX] = trial->count ? trial->count : n->gpr[GPR_RCX];
    n->rflags = RFLAGS_FIXED | RFLAGS_IF | (native_random() & NATIVE_FLAGS);
    if (trial->vector) {
        fill(n->ymm, sizeof(n->ymm));
        fill(n->mm, sizeof(n->mm));
    }
}

static void load_fake(const struct native *n, const struct native_trial *trial)
{
    fake_reset();
    fake.state.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    fake.vcpu.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    fake.device_base = (uint64_t)data_page;
    memcpy(fake.device, data_page, PAGE_SIZE);
    memcpy(fake.vcpu.regs.gpr, n->gpr, sizeof(n->gpr));
    memcpy(fake.ymm, n->ymm, sizeof(fake.ymm));
    memcpy(fake.mm, n->mm, sizeof(fake.mm));
    fake.vcpu.regs.rflags = n->rflags;
    fake_code(trial->bytes, trial->length);
}

static void compare(const struct native *n, const struct native_trial *trial, uint64_t undefined)
{
    char text[64] = "";

    for (unsigned i = 0; i < trial->length; i++) {
        snprintf(text + 3 * i, 4, "%02x ", trial->bytes[i]);
    }
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        if (n->gpr[i] != fake.vcpu.regs.gpr[i]) {
            fail_msg("%s: register %u is %#lx, on hardware %#lx", text, i,
                     (unsigned long)fake.vcpu.regs.gpr[i], (unsigned long)n->gpr[i]);
        }
    }
    if ((n->rflags ^ fake.vcpu.regs.rflags) & NATIVE_FLAGS & ~undefined) {
        fail_msg("%s: flags %#lx, on hardware %#lx", text, (unsigned long)fake.vcpu.regs.rflags,
                 (unsigned long)n->rflags);
    }
    if (memcmp(data_page, fake.device, PAGE_SIZE) != 0) {
        fail_msg("%s: memory differs", text);
    }
    if (trial->vector &&
        (memcmp(n->ymm, fake.ymm, sizeof(fake.ymm)) || memcmp(n->mm, fake.mm, sizeof(fake.mm)))) {
        fail_msg("%s: vector registers differ", text);
    }
}

static void check_once(const struct native_trial *trial, unsigned round)
{
    uint64_t undefined = trial->undefined;
    struct native n = {0};

    prepare(&n, trial);
    if (trial->count && (round & 1)) {
        n.rflags |= RFLAGS_DF;
    }
    undefined |= trial->adjust != NULL ? trial->adjust(&n, data_page) : 0;
    if (undefined == ~0ull) {
        return;
    }
    load_fake(&n, trial);
    memcpy(code_page, trial->bytes, trial->length);
    code_page[trial->length] = 0xc3;
    if (trial->vector) {
        native_run_vector(&n);
    } else {
        native_run(&n);
    }
    for (unsigned i = 0; i < 8 && fake.vcpu.regs.rip == 0x1000; i++) {
        assert_int_equal(native_emulate(), EXIT_RESUME);
        assert_false(fake.vcpu.event.valid);
    }
    assert_int_equal(fake.vcpu.regs.rip, 0x1000 + trial->length);
    n.gpr[GPR_RSP] = fake.vcpu.regs.gpr[GPR_RSP];
    compare(&n, trial, undefined);
}

void native_check(const struct native_trial *trial)
{
    for (unsigned round = 0; round < (trial->rounds ? trial->rounds : ROUNDS); round++) {
        check_once(trial, round);
    }
}
