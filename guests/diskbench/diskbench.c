/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diskbench DEVICE [host]: how fast a disk is around the guest's page cache, with requests in
 * flight as databases have them.  What is on it is overwritten.
 *
 *     sequential read, write   256 KiB each, 8 in flight
 *     random read              4 KiB each, 16 in flight
 *
 * With `host`, beside each of it the same requests by the hypervisor's own driver, which a build
 * with TESTDEV=1 has in port 0x2030 (hv/vdev/testdev_disk.h): first the one, then the other, three
 * times, so that a computer whose speed changes is equally fast for both.
 *
 *     diskbench: guest read 1024 requests 123456 us
 *     diskbench: host read 1024 requests 123456 us
 *
 * Ends with `diskbench: PASS`, or `diskbench: FAIL ...` and status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BENCH "diskbench"
#include "guests/include/bench.h"
#include "guests/include/mix.h"

#define PAGE_BYTES 4096u
#define DEPTH_MAX  16u
#define ROUNDS     3

#define PORT_SHAPE 0x2030
#define PORT_COUNT 0x2034

enum { READ, WRITE, RANDOM }; /* enum testdev_disk_op */

static const struct kind {
    const char *name;
    unsigned op, depth, pages, count;
} kinds[] = {
    {"read", READ, 8, 64, 512},
    {"write", WRITE, 8, 64, 512},
    {"random", RANDOM, DEPTH_MAX, 1, 8192},
};

static aio_context_t context;
static struct iocb block[DEPTH_MAX];
static uint64_t disk_bytes, next, state;
static int disk;

/* Where the next request begins. */
static uint64_t place(const struct kind *kind)
{
    uint64_t bytes = kind->pages * PAGE_BYTES, at;

    if (kind->op == RANDOM) {
        state += GOLDEN;
        return mix(state) % (disk_bytes / bytes) * bytes;
    }
    at = next + bytes <= disk_bytes ? next : 0;
    next = at + bytes;
    return at;
}

static void submit(const struct kind *kind, struct iocb *control)
{
    control->aio_lio_opcode = kind->op == WRITE ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    control->aio_nbytes = kind->pages * PAGE_BYTES;
    control->aio_offset = (int64_t)place(kind);
    if (syscall(SYS_io_submit, context, 1, &control) != 1) {
        fail("io_submit");
    }
}

static uint64_t run_guest(const struct kind *kind)
{
    uint64_t begin = now_us();
    unsigned started = 0, ended = 0;
    struct io_event event[DEPTH_MAX];

    next = state = 0;
    while (started < kind->depth) {
        submit(kind, &block[started++]);
    }
    while (ended < kind->count) {
        long count = syscall(SYS_io_getevents, context, 1, DEPTH_MAX, event, NULL);

        if (count < 1) {
            fail("io_getevents");
        }
        for (long i = 0; i < count; i++) {
            if (event[i].res != (int64_t)(kind->pages * PAGE_BYTES)) {
                fail(kind->name);
            }
            ended++;
            if (started < kind->count) {
                submit(kind, (struct iocb *)(uintptr_t)event[i].obj);
                started++;
            }
        }
    }
    return now_us() - begin;
}

static uint64_t run_host(const struct kind *kind)
{
    uint32_t us;

    outl(kind->op | kind->depth << 8 | kind->pages << 16, PORT_SHAPE);
    outl(kind->count, PORT_COUNT);
    us = inl(PORT_COUNT);
    if (us == UINT32_MAX) {
        errno = EIO;
        fail("the host's driver");
    }
    return us;
}

static void print(const char *who, const struct kind *kind, uint64_t us)
{
    printf("diskbench: %s %s %u requests %llu us\n", who, kind->name, kind->count,
           (unsigned long long)us);
}

static void open_disk(const char *name)
{
    off_t end;

    disk = open(name, O_RDWR | O_DIRECT);
    end = disk < 0 ? -1 : lseek(disk, 0, SEEK_END);
    if (end < (off_t)(kinds[0].pages * PAGE_BYTES)) {
        fail(name);
    }
    disk_bytes = (uint64_t)end;
    if (syscall(SYS_io_setup, DEPTH_MAX, &context) != 0) {
        fail("io_setup");
    }
}

static void make_buffers(void)
{
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        void *memory = aligned_alloc(PAGE_BYTES, 64 * PAGE_BYTES);

        if (memory == NULL) {
            fail("memory");
        }
        memset(memory, (int)i + 1, 64 * PAGE_BYTES);
        block[i].aio_fildes = (uint32_t)disk;
        block[i].aio_buf = (uintptr_t)memory;
    }
}

int main(int count, char **words)
{
    bool host = count == 3 && strcmp(words[2], "host") == 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count < 2 || count > 3 || (count == 3 && !host)) {
        fprintf(stderr, "usage: diskbench DEVICE [host]\n");
        return 2;
    }
    open_disk(words[1]);
    make_buffers();
    if (host && iopl(3) != 0) {
        fail("iopl");
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            print("guest", &kinds[i], run_guest(&kinds[i]));
            if (host) {
                print("host", &kinds[i], run_host(&kinds[i]));
            }
        }
    }
    printf("diskbench: PASS\n");
    return 0;
}
