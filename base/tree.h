/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Balanced binary trees: BSD's <sys/tree.h>, which newlib has.  RB_HEAD, RB_ENTRY, RB_INSERT and so
 * on; see tree(3) of any BSD.  No locking: the owner of the tree says which lock protects it.
 */
#ifndef SPILLWAY_BASE_TREE_H
#define SPILLWAY_BASE_TREE_H

#include <sys/cdefs.h>

#ifndef __unused /* of BSD's <sys/cdefs.h>; the host's C library has it not */
#define __unused __attribute__((unused))
#endif

#include <sys/tree.h>

#endif
