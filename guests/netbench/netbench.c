/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netbench serve | netbench send ADDRESS [MIB]: what TCP between two guests carries.
 *
 *     stream   MIB (256) of zeroes, in pieces of 64 KiB, until the other side has them all
 *     echo     a byte there and back, so many times
 *
 * `send` does each three times, then ends the server:
 *
 *     netbench: stream 256 MiB 123456 us
 *     netbench: echo 2000 times 123456 us
 *
 * Both end with `netbench: PASS`, or `netbench: FAIL ...` and status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BENCH "netbench"
#include "guests/include/bench.h"

#define PORT   5001
#define PIECE  65536u
#define ECHOES 2000u
#define ROUNDS 3
#define TRIES  300 /* of 100 ms: the other guest boots */

/* What a connection is for: its first message. */
struct order {
    uint64_t bytes;  /* to be taken; then one byte says so */
    uint64_t echoes; /* to be sent back */
    uint64_t ends;   /* the server goes */
};

static uint8_t piece[PIECE];

static void put(int end, const void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t sent = send(end, (const uint8_t *)bytes + done, count - done, MSG_NOSIGNAL);

        if (sent <= 0) {
            fail("send");
        }
        done += (size_t)sent;
    }
}

static void get(int end, void *bytes, size_t count)
{
    ssize_t got = recv(end, bytes, count, MSG_WAITALL);

    if (got != (ssize_t)count) {
        fail("receive");
    }
}

static void no_delay(int end)
{
    int yes = 1;

    (void)setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* ---- the server ---- */

static void serve_one(int end, const struct order *order)
{
    for (uint64_t left = order->bytes; left > 0;) {
        ssize_t got = recv(end, piece, left < PIECE ? left : PIECE, 0);

        if (got <= 0) {
            fail("receive");
        }
        left -= (uint64_t)got;
    }
    for (uint64_t i = 0; i < order->echoes; i++) {
        get(end, piece, 1);
        put(end, piece, 1);
    }
    put(end, "!", 1);
}

static void serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct order order;

    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 4) != 0) {
        fail("listen");
    }
    printf("netbench: serves\n");
    do {
        int end = accept(listener, NULL, NULL);

        if (end < 0) {
            fail("accept");
        }
        no_delay(end);
        get(end, &order, sizeof(order));
        serve_one(end, &order);
        close(end);
    } while (!order.ends);
}

/* ---- the client ---- */

static int reach(const char *name, const struct order *order)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int end;

    if (inet_pton(AF_INET, name, &address.sin_addr) != 1) {
        errno = EINVAL;
        fail(name);
    }
    for (unsigned i = 0;; i++) {
        end = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(end, (struct sockaddr *)&address, sizeof(address)) == 0) {
            break;
        }
        if (i == TRIES) {
            fail(name);
        }
        close(end);
        usleep(100000);
    }
    no_delay(end);
    put(end, order, sizeof(*order));
    return end;
}

static void stream(const char *name, uint64_t mib)
{
    struct order order = {.bytes = mib << 20};
    int end = reach(name, &order);
    uint64_t begin = now_us();

    for (uint64_t left = order.bytes; left > 0; left -= PIECE) {
        put(end, piece, PIECE);
    }
    get(end, piece, 1);
    printf("netbench: stream %llu MiB %llu us\n", (unsigned long long)mib,
           (unsigned long long)(now_us() - begin));
    close(end);
}

static void echo(const char *name)
{
    struct order order = {.echoes = ECHOES};
    int end = reach(name, &order);
    uint64_t begin = now_us();

    for (unsigned i = 0; i < ECHOES; i++) {
        put(end, piece, 1);
        get(end, piece, 1);
    }
    printf("netbench: echo %u times %llu us\n", ECHOES, (unsigned long long)(now_us() - begin));
    get(end, piece, 1);
    close(end);
}

static void send_all(const char *name, uint64_t mib)
{
    struct order last = {.ends = 1};
    int end;

    for (unsigned i = 0; i < ROUNDS; i++) {
        stream(name, mib);
        echo(name);
    }
    end = reach(name, &last);
    get(end, piece, 1);
    close(end);
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 2 && strcmp(words[1], "serve") == 0) {
        serve();
    } else if ((count == 3 || count == 4) && strcmp(words[1], "send") == 0) {
        send_all(words[2], count == 4 ? strtoull(words[3], NULL, 0) : 256);
    } else {
        fprintf(stderr, "usage: netbench serve | netbench send ADDRESS [MIB]\n");
        return 2;
    }
    printf("netbench: PASS\n");
    return 0;
}
