/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the command tmemcache.  All return an exit status. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stddef.h>
#include <stdint.h>

#define SOCKET_DEFAULT "/run/tmemcache.sock"

/* Keeps a cache for the clients that come to the socket; runs until it is killed. */
int server_run(const char *device, const char *socket_path);

/* One request to the server: the value comes from standard input or goes to standard output. */
int client_put(const char *socket_path, const char *key);
int client_get(const char *socket_path, const char *key);
int client_delete(const char *socket_path, const char *key);

/* Puts `count` values of `bytes` each, gets them in random order, deletes them; prints how fast. */
int bench_run(const char *device, uint64_t count, size_t bytes, uint64_t seed);

#endif
