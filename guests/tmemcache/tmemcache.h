/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmemcache: a cache of re-creatable data in an ephemeral tmem pool of the hypervisor's.
 *
 * What is put may be gone at any time after, and never comes back changed: each value is checked
 * against its checksum, and one that is not whole is a miss.  The cache is destroyed with its
 * handle.  A handle may be used by one thread at a time; values of one key put by several handles
 * do not meet, for each handle is a cache of its own.
 *
 *   object = 192-bit hash of the key     page 0: header, key, and the value if it fits
 *                                        page 1..: the value, if it does not
 */
#ifndef TMEMCACHE_H
#define TMEMCACHE_H

#include <stddef.h>
#include <sys/types.h>

#define TMEMCACHE_DEVICE    "/dev/tmem"
#define TMEMCACHE_KEY_MAX   1024        /* bytes, at least 1 */
#define TMEMCACHE_VALUE_MAX (1u << 20u) /* bytes */

struct tmemcache;

/* Opens the device (NULL: TMEMCACHE_DEVICE) and makes a pool; NULL with errno. */
struct tmemcache *tmemcache_open(const char *device);
void tmemcache_close(struct tmemcache *cache);

/*
 * Puts the value, instead of any that the key had.  0, or -1 with errno; then the key has no value:
 * ENOMEM refused by the hypervisor, E2BIG key or value too long (nothing was done then), EINVAL no
 * key, or an error of the device's.
 */
int tmemcache_put(struct tmemcache *cache, const char *key, const void *value, size_t length);

/*
 * Copies the value to the buffer.  Its length, or -1 with errno: ENOENT a miss, ERANGE the buffer
 * is smaller than the value, or an error of the device's.
 */
ssize_t tmemcache_get(struct tmemcache *cache, const char *key, void *buffer, size_t size);

/* Forgets the key's value, if any.  0, or -1 with errno. */
int tmemcache_delete(struct tmemcache *cache, const char *key);

#endif
