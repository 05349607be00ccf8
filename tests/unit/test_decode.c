/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/guest/decode.c arch/x86/guest/decode_tables.c */
/* LIBS: -lZydis -lZycore */
/*
 * The instruction decoder against an independent one (Zydis): wherever Zydis accepts a byte
 * string, length and fields must agree.  Random byte strings in three modes, random strings with
 * forced maps and prefixes, and the code of real programs.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>

#include "arch/x86/guest/decode.h"
#include "tests/unit/xorshift.h"

#define ROUNDS_RANDOM 3000000u
#define ROUNDS_SHAPED 3000000u

static ZydisDecoder oracle[3];
static uint64_t seed_state;
static uint64_t compared;

static uint64_t next_random(void)
{
    return xorshift64(&seed_state);
}

static void seed(uint64_t fallback)
{
    const char *text = getenv("SEED");

    seed_state = text ? strtoull(text, NULL, 0) : fallback;
    seed_state = seed_state ? seed_state : 1;
    printf("seed %#llx\n", (unsigned long long)seed_state);
}

static int setup(void **state)
{
    (void)state;
    ZydisDecoderInit(&oracle[DECODE_16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&oracle[DECODE_32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&oracle[DECODE_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return 0;
}

static void complain(const char *what, const uint8_t *bytes, enum decode_mode mode,
                     const ZydisDecodedInstruction *z, const struct instruction *in)
{
    char text[3 * DECODE_MAX_LENGTH + 1];

    for (unsigned i = 0; i < DECODE_MAX_LENGTH; i++) {
        snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
    }
    fail_msg("%s differs: mode %d, %s: %s length %u, ours %u", what, mode, text,
             ZydisMnemonicGetString(z->mnemonic), z->length, in->length);
}

#define AGREE(what, condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            complain(what, bytes, mode, z, in);                                                    \
        }                                                                                          \
    } while (0)

/* Field by field, where both decoders have the notion. */
static void compare_fields(const uint8_t *bytes, enum decode_mode mode,
                           const ZydisDecodedInstruction *z, const struct instruction *in)
{
    bool has_modrm = (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;

    AGREE("opcode", z->opcode == in->opcode);
    /* MPX takes 64-bit addresses whatever 67 says; without MPX these are NOPs. */
    if (in->memory && z->meta.isa_ext != ZYDIS_ISA_EXT_MPX) {
        AGREE("address size", z->address_width == in->address_size * 8u);
    }
    AGREE("modrm", has_modrm == in->has_modrm);
    if (has_modrm && z->raw.modrm.offset) {
        AGREE("modrm", bytes[z->raw.modrm.offset] == in->modrm);
        AGREE("sib", ((z->attributes & ZYDIS_ATTRIB_HAS_SIB) != 0) == in->has_sib);
    }
    AGREE("displacement size", z->raw.disp.size == in->displacement_bytes * 8u);
    if (in->encoding != DECODE_EVEX && in->displacement_bytes) {
        int64_t mask = in->displacement_bytes == 8
                           ? -1
                           : (int64_t)((1ull << (8 * in->displacement_bytes)) - 1);
        AGREE("displacement", (z->raw.disp.value & mask) == (in->displacement & mask));
    }
    if (z->raw.imm[0].size && in->immediate_bytes) {
        uint64_t mask = ~0ull >> (64 - z->raw.imm[0].size);

        AGREE("immediate", ((z->raw.imm[0].value.u ^ in->immediate) & mask) == 0);
    }
}

/* Also: every proper prefix of it must ask for more bytes. */
static void check_prefixes(const uint8_t *bytes, enum decode_mode mode,
                           const ZydisDecodedInstruction *z, const struct instruction *in)
{
    struct instruction cut;

    for (unsigned n = 0; n < in->length; n++) {
        AGREE("truncated", decode_instruction(bytes, n, mode, &cut) == DECODE_SHORT);
    }
}

static bool is_knc(const ZydisDecodedInstruction *z)
{
    return z->meta.isa_ext == ZYDIS_ISA_EXT_KNC || z->meta.isa_ext == ZYDIS_ISA_EXT_KNCE ||
           z->meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
}

/* Returns the length to step by in real code: that of the oracle, or 1. */
static unsigned compare(const uint8_t *bytes, size_t count, enum decode_mode mode)
{
    ZydisDecoderContext context;
    ZydisDecodedInstruction instruction, *z = &instruction;
    struct instruction ours, *in = &ours;
    enum decode_result result = decode_instruction(bytes, count, mode, in);

    if (result == DECODE_OK) {
        assert_in_range(in->length, 1, DECODE_MAX_LENGTH);
    }
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&oracle[mode], &context, bytes, count, z))) {
        return 1;
    }
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX || is_knc(z)) {
        return 1; /* Knights Corner, never an x86-64 host of ours: undefined for us */
    }
    AGREE("acceptance", result == DECODE_OK);
    AGREE("length", z->length == in->length);
    compare_fields(bytes, mode, z, in);
    if ((compared++ & 15) == 0) {
        check_prefixes(bytes, mode, z, in);
    }
    return z->length;
}

static void fill(uint8_t *bytes)
{
    uint64_t a = next_random(), b = next_random();

    memcpy(bytes, &a, 8);
    memcpy(bytes + 8, &b, 8);
}

static void test_random(void **state)
{
    uint8_t bytes[16];

    (void)state;
    seed(0x5eed0001);
    for (unsigned i = 0; i < ROUNDS_RANDOM; i++) {
        fill(bytes);
        for (enum decode_mode mode = DECODE_16; mode <= DECODE_64; mode++) {
            compare(bytes, DECODE_MAX_LENGTH, mode);
        }
    }
    printf("%llu instructions compared\n", (unsigned long long)compared);
}

/* Prefixes and escapes are rare in random bytes: put some in front. */
static void test_shaped(void **state)
{
    static const uint8_t prefix[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
                                     0xf0, 0xf2, 0xf3, 0x40, 0x48, 0x4f, 0x66, 0xf3};
    static const uint8_t escape[][3] = {{0x0f},       {0x0f, 0x38}, {0x0f, 0x3a}, {0x0f, 0x0f},
                                        {0xc5},       {0xc4},       {0x62},       {0x8f},
                                        {0xf6},       {0xf7},       {0xc7},       {0x0f, 0x78},
                                        {0x0f, 0x01}, {0x0f, 0xae}, {0x0f, 0x20}, {0x0f, 0xc7}};
    uint8_t bytes[16];

    (void)state;
    seed(0x5eed0002);
    for (unsigned i = 0; i < ROUNDS_SHAPED; i++) {
        uint64_t choice = next_random();
        unsigned at = 0;

        fill(bytes);
        for (unsigned n = choice & 3; n; n--, choice >>= 4) {
            bytes[at++] = prefix[(choice >> 8) & 15];
        }
        const uint8_t *e = escape[(choice >> 40) & 15];
        bytes[at++] = e[0];
        if (e[1]) {
            bytes[at++] = e[1];
        }
        for (enum decode_mode mode = DECODE_16; mode <= DECODE_64; mode++) {
            compare(bytes, DECODE_MAX_LENGTH, mode);
        }
    }
    printf("%llu instructions compared\n", (unsigned long long)compared);
}

/* Every opcode of every map with every ModRM byte. */
static void test_exhaustive_modrm(void **state)
{
    static const uint8_t lead[][4] = {{0},
                                      {1, 0x0f},
                                      {2, 0x0f, 0x38},
                                      {2, 0x0f, 0x3a},
                                      {1, 0x66},
                                      {2, 0x66, 0x0f},
                                      {3, 0x66, 0x0f, 0x38},
                                      {3, 0x66, 0x0f, 0x3a},
                                      {1, 0x67},
                                      {2, 0xf2, 0x0f},
                                      {3, 0xf2, 0x0f, 0x38},
                                      {3, 0xf3, 0x0f, 0x38},
                                      {1, 0x48},
                                      {2, 0xf3, 0x0f},
                                      {2, 0x66, 0x48},
                                      {2, 0xc5, 0xf8},
                                      {2, 0x48, 0x0f}};

    (void)state;
    for (unsigned l = 0; l < sizeof(lead) / sizeof(lead[0]); l++) {
        for (unsigned i = 0; i < 65536; i++) {
            uint8_t bytes[16] = {0};
            unsigned n = lead[l][0];

            memcpy(bytes, lead[l] + 1, n);
            bytes[n] = (uint8_t)(i >> 8);
            bytes[n + 1] = (uint8_t)i;
            memcpy(bytes + n + 2, "\x25\x11\x92\x33\xc4\x15\x06\x87\x08", 9);
            for (enum decode_mode mode = DECODE_16; mode <= DECODE_64; mode++) {
                compare(bytes, DECODE_MAX_LENGTH, mode);
            }
        }
    }
}

static void compare_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) || st.st_size < 4096) {
        printf("%s: not there\n", path);
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    assert_ptr_not_equal(bytes, MAP_FAILED);
    /* The whole file, headers and data included: after a few bytes the stream is in step. */
    size_t limit = size < (8u << 20) ? size : (8u << 20);
    for (size_t at = 0; at + DECODE_MAX_LENGTH <= limit;) {
        at += compare(bytes + at, DECODE_MAX_LENGTH, DECODE_64);
    }
    munmap(bytes, size);
    printf("%s: %llu instructions compared in all\n", path, (unsigned long long)compared);
}

static void test_real_code(void **state)
{
    const char *vmlinux = getenv("VMLINUX");

    (void)state;
    compare_file("/usr/bin/busybox");
    compare_file("/usr/lib/x86_64-linux-gnu/libc.so.6");
    compare_file("/proc/self/exe");
    if (vmlinux) {
        compare_file(vmlinux);
    }
}

static void test_limits(void **state)
{
    struct instruction in;
    uint8_t bytes[32];

    (void)state;
    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0x90;
    assert_int_equal(decode_instruction(bytes, 32, DECODE_64, &in), DECODE_OK);
    assert_int_equal(in.length, 15);
    bytes[14] = 0x66;
    bytes[15] = 0x90;
    assert_int_equal(decode_instruction(bytes, 32, DECODE_64, &in), DECODE_INVALID);
    assert_int_equal(decode_instruction(bytes, 14, DECODE_64, &in), DECODE_SHORT);
    assert_int_equal(decode_instruction(bytes, 0, DECODE_64, &in), DECODE_SHORT);
    /* What SVM without nRIP save steps over. */
    assert_int_equal(decode_instruction((const uint8_t *)"\x0f\xa2", 2, DECODE_64, &in), DECODE_OK);
    assert_int_equal(in.length, 2);
    assert_int_equal(decode_instruction((const uint8_t *)"\x0f\x01\xd9", 3, DECODE_64, &in),
                     DECODE_OK);
    assert_int_equal(in.length, 3);
}

static void test_addressing(void **state)
{
    struct instruction in;

    (void)state;
    /* mov %eax, %gs:0x10(%rsp,%r12,8) */
    const uint8_t sib[] = {0x65, 0x42, 0x89, 0x44, 0xe4, 0x10};
    assert_int_equal(decode_instruction(sib, sizeof(sib), DECODE_64, &in), DECODE_OK);
    assert_int_equal(in.segment, 5);
    assert_int_equal(in.base, 4);
    assert_int_equal(in.index, 12);
    assert_int_equal(in.scale, 8);
    assert_int_equal(in.displacement, 0x10);
    /* mov -8(%bp,%si), %al in 16-bit mode: stack segment */
    const uint8_t bp[] = {0x8a, 0x42, 0xf8};
    assert_int_equal(decode_instruction(bp, sizeof(bp), DECODE_16, &in), DECODE_OK);
    assert_int_equal(in.segment, SEG_SS);
    assert_int_equal(in.base, 5);
    assert_int_equal(in.index, 6);
    assert_int_equal(in.displacement, -8);
    /* movl $0xffffffff, 0x1000(%rip) */
    const uint8_t rip[] = {0xc7, 0x05, 0x00, 0x10, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(decode_instruction(rip, sizeof(rip), DECODE_64, &in), DECODE_OK);
    assert_true(in.rip_relative);
    assert_int_equal(in.displacement, 0x1000);
    assert_true(in.immediate == ~0ull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_addressing),
        cmocka_unit_test(test_real_code), cmocka_unit_test(test_exhaustive_modrm),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_shaped),
    };

    return cmocka_run_group_tests_name("decode", tests, setup, NULL);
}
