/* SPDX-License-Identifier: BSD-2-Clause */
/* tmemcache: the command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "tmemcache.h"

static int usage(void)
{
    fprintf(stderr, "usage: tmemcache [-d DEVICE] [-s SOCKET] serve\n"
                    "       tmemcache [-s SOCKET] put KEY < VALUE | get KEY > VALUE | delete KEY\n"
                    "       tmemcache [-d DEVICE] bench [COUNT [BYTES [SEED]]]\n"
                    "DEVICE is " TMEMCACHE_DEVICE ", SOCKET " SOCKET_DEFAULT
                    "; a VALUE has at most 1 MiB\n");
    return 2;
}

/* argv[index] as a number from 0 to max, `otherwise` if it is not there, max + 1 if it is none. */
static uint64_t number_argument(char **argv, int argc, int index, uint64_t otherwise, uint64_t max)
{
    char *end;

    if (index >= argc) {
        return otherwise;
    }
    uint64_t value = strtoull(argv[index], &end, 0);
    return end == argv[index] || *end != '\0' || value > max ? max + 1 : value;
}

static int bench_main(const char *device, int argc, char **argv)
{
    uint64_t count = number_argument(argv, argc, 1, 1000, UINT32_MAX);
    uint64_t bytes = number_argument(argv, argc, 2, 16384, TMEMCACHE_VALUE_MAX);
    uint64_t seed = number_argument(argv, argc, 3, 1, UINT32_MAX);

    if (argc > 4 || count == 0 || count > UINT32_MAX || bytes > TMEMCACHE_VALUE_MAX ||
        seed > UINT32_MAX) {
        return usage();
    }
    return bench_run(device, count, bytes, seed);
}

int main(int argc, char **argv)
{
    const char *device = TMEMCACHE_DEVICE, *socket_path = SOCKET_DEFAULT;
    int option;

    while ((option = getopt(argc, argv, "+d:s:")) != -1) {
        if (option == 'd') {
            device = optarg;
        } else if (option == 's') {
            socket_path = optarg;
        } else {
            return usage();
        }
    }
    argc -= optind;
    argv += optind;
    if (argc == 1 && strcmp(argv[0], "serve") == 0) {
        return server_run(device, socket_path);
    }
    if (argc >= 1 && strcmp(argv[0], "bench") == 0) {
        return bench_main(device, argc, argv);
    }
    if (argc == 2 && strcmp(argv[0], "put") == 0) {
        return client_put(socket_path, argv[1]);
    }
    if (argc == 2 && strcmp(argv[0], "get") == 0) {
        return client_get(socket_path, argv[1]);
    }
    if (argc == 2 && strcmp(argv[0], "delete") == 0) {
        return client_delete(socket_path, argv[1]);
    }
    return usage();
}
