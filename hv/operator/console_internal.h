/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two halves of the console: what leaves by the port (console.c), and what guests have printed
 * and is not shown yet (console_guest.c).  All calls want the console's lock held.
 */
#ifndef SPILLWAY_HV_OPERATOR_CONSOLE_INTERNAL_H
#define SPILLWAY_HV_OPERATOR_CONSOLE_INTERNAL_H

#include "base/types.h"

struct vm;

/* ---- the port's ring, for the guests' half ---- */

void console_put_locked(char c);
/* "\n" becomes CR LF. */
void console_write_locked(const char *text, size_t bytes);
/* The cursor goes to the start of a line of its own. */
void console_fresh_line_locked(void);
/* Bytes that wait for the port. */
size_t console_waiting_locked(void);

/* ---- guests, for the port's half ---- */

/* Makes room for what so many VMs print. */
void console_guests_init_locked(unsigned vms);
/* Moves lines to the port's ring, in turn from each guest, so long as less than `limit` bytes wait
 * there. */
void console_guests_show_locked(size_t limit);
/* Takes a character of the guest's. */
void console_guest_put_locked(const struct vm *vm, char c);
/* None of its output is left to be shown. */
void console_guest_seen_locked(const struct vm *vm);
/* The guest's output as it is, all that is still there or what nobody has seen; it counts as seen.
 */
void console_guest_scrollback_locked(const struct vm *vm, bool all);
/* All that it has printed may be shown, be its last line finished or not. */
void console_guest_finish_locked(const struct vm *vm);
/* Likewise each guest whose last line has been unfinished since before that time. */
void console_guests_finish_older_locked(uint64_t before_ns);
/* Moves all of the guest's lines to the port's ring at once, so long as less than `limit` bytes
 * wait there; what finds no room is counted as lost, and the count is shown. */
void console_guest_show_all_locked(const struct vm *vm, size_t limit);

#endif
