/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache lives as long as the open file that has it, so a server keeps one for commands that come
 * and go.  Request: struct message, key, value; answer: struct message, value.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "tmemcache.h"

enum { WORD_PUT = 1, WORD_GET, WORD_DELETE };

struct message {
    uint32_t word;  /* of a request */
    uint32_t error; /* of an answer: errno or 0 */
    uint32_t key_length;
    uint32_t length; /* of the value */
};

static char value[TMEMCACHE_VALUE_MAX];

static bool read_all(int file, void *buffer, size_t length)
{
    char *at = buffer;

    while (length > 0) {
        ssize_t got = read(file, at, length);
        if (got <= 0) {
            if (got < 0 && errno == EINTR) {
                continue;
            }
            return false;
        }
        at += got;
        length -= (size_t)got;
    }
    return true;
}

static bool write_all(int file, const void *buffer, size_t length)
{
    const char *at = buffer;

    while (length > 0) {
        ssize_t put = write(file, at, length);
        if (put < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        at += put;
        length -= (size_t)put;
    }
    return true;
}

static int socket_open(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address->sun_path, path, strlen(path));
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ---- server ---- */

static bool request_read(int client, struct message *request, char *key)
{
    if (!read_all(client, request, sizeof(*request)) || request->key_length == 0 ||
        request->key_length > TMEMCACHE_KEY_MAX || request->length > sizeof(value) ||
        (request->word != WORD_PUT && request->length != 0)) {
        return false;
    }
    key[request->key_length] = '\0';
    return read_all(client, key, request->key_length) && strlen(key) == request->key_length &&
           read_all(client, value, request->length);
}

static void serve_one(struct tmemcache *cache, int client)
{
    char key[TMEMCACHE_KEY_MAX + 1];
    struct message request, answer = {0};
    ssize_t result;

    if (!request_read(client, &request, key)) {
        return;
    }
    switch (request.word) {
    case WORD_PUT:
        result = tmemcache_put(cache, key, value, request.length);
        break;
    case WORD_GET:
        result = tmemcache_get(cache, key, value, sizeof(value));
        answer.length = result > 0 ? (uint32_t)result : 0;
        break;
    case WORD_DELETE:
        result = tmemcache_delete(cache, key);
        break;
    default:
        errno = ENOSYS;
        result = -1;
    }
    answer.error = result < 0 ? (uint32_t)errno : 0;
    if (write_all(client, &answer, sizeof(answer))) {
        write_all(client, value, answer.length);
    }
}

int server_run(const char *device, const char *socket_path)
{
    struct sockaddr_un address;
    struct tmemcache *cache = tmemcache_open(device);
    int listener = socket_open(socket_path, &address);

    signal(SIGPIPE, SIG_IGN);
    umask(0077);
    if (cache == NULL) {
        fprintf(stderr, "tmemcache: %s: %s\n", device, strerror(errno));
        return 1;
    }
    unlink(socket_path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 16) != 0) {
        fprintf(stderr, "tmemcache: %s: %s\n", socket_path, strerror(errno));
        tmemcache_close(cache);
        return 1;
    }
    for (;;) {
        /* Who says nothing for so long does not keep the others waiting. */
        struct timeval patience = {.tv_sec = 5};
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            continue;
        }
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        serve_one(cache, client);
        close(client);
    }
}

/* ---- client ---- */

static int client_fail(const char *what, const char *why)
{
    fprintf(stderr, "tmemcache: %s: %s\n", what, why);
    return 1;
}

static int client_run(const char *socket_path, uint32_t word, const char *key, size_t length)
{
    struct message message = {
        .word = word, .key_length = (uint32_t)strlen(key), .length = (uint32_t)length};
    struct sockaddr_un address;
    int server = socket_open(socket_path, &address);

    if (message.key_length == 0 || message.key_length > TMEMCACHE_KEY_MAX) {
        return client_fail("key", "expected 1 to 1024 bytes");
    }
    if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return client_fail(socket_path, strerror(errno));
    }
    if (!write_all(server, &message, sizeof(message)) ||
        !write_all(server, key, message.key_length) || !write_all(server, value, length) ||
        !read_all(server, &message, sizeof(message)) || message.length > sizeof(value) ||
        !read_all(server, value, message.length)) {
        return client_fail(socket_path, "no answer");
    }
    close(server);
    if (message.error != 0) {
        return client_fail(key, strerror((int)message.error));
    }
    return write_all(STDOUT_FILENO, value, message.length) ? 0 : 1;
}

int client_put(const char *socket_path, const char *key)
{
    size_t length = fread(value, 1, sizeof(value), stdin);

    if (ferror(stdin) || fgetc(stdin) != EOF) {
        return client_fail(key, "expected a value of at most 1 MiB on standard input");
    }
    return client_run(socket_path, WORD_PUT, key, length);
}

int client_get(const char *socket_path, const char *key)
{
    return client_run(socket_path, WORD_GET, key, 0);
}

int client_delete(const char *socket_path, const char *key)
{
    return client_run(socket_path, WORD_DELETE, key, 0);
}
