/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What guests print.  Each VM has a ring of its last output, raw.  Positions in it, which count
 * bytes for ever, say how much the operator has seen and how much is complete lines:
 *
 *       written - CONSOLE_SCROLLBACK     shown              ready              written
 *   ----+--------------------------------+------------------+------------------+
 *       | has been shown                 | complete lines   | unfinished line  |
 *
 * Lines move to the port's ring when that is nearly empty, one of each guest in turn: a
 * guest that floods its port loses its own oldest lines and nobody else's.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/operator/console.h"
#include "hv/operator/console_internal.h"

/* Under the console's lock. */
static struct guest_console {
    const struct vm *vm; /* NULL: has never printed anything */
    char ring[CONSOLE_SCROLLBACK];
    uint64_t shown, ready, written;
    uint64_t lost;          /* lines that were overwritten, not yet reported */
    uint64_t line_since_ns; /* when the unfinished line began */
    uint64_t cut;           /* where it was shown, unfinished: its end is no line of its own */
} guests[CONFIG_VMS_MAX];

static unsigned next_guest;  /* whose turn it is */
static unsigned ready_count; /* guests with complete lines */

static char at(const struct guest_console *guest, uint64_t position)
{
    return guest->ring[position % CONSOLE_SCROLLBACK];
}

static bool is_ready(const struct guest_console *guest)
{
    return guest->shown != guest->ready;
}

/* Sets the two positions that ready_count depends on, and keeps it right. */
static void set_positions(struct guest_console *guest, uint64_t shown, uint64_t ready)
{
    ready_count -= is_ready(guest);
    guest->shown = shown;
    guest->ready = ready;
    ready_count += is_ready(guest);
}

/* Returns the position behind the line, or the piece of a long one, that begins there. */
static uint64_t line_end(const struct guest_console *guest, uint64_t begin)
{
    uint64_t limit = MIN(begin + CONSOLE_LINE_MAX, guest->written);

    for (uint64_t i = begin; i <= limit && i < guest->written; i++) {
        if (at(guest, i) == '\n') {
            return i + 1;
        }
    }
    return limit;
}

static void drop_oldest_line(struct guest_console *guest)
{
    uint64_t shown = line_end(guest, guest->shown);

    guest->lost++;
    set_positions(guest, shown, MAX(guest->ready, shown));
}

void console_guest_put_locked(const struct vm *vm, char c)
{
    struct guest_console *guest = &guests[vm->index];

    guest->vm = vm;
    if (guest->written - guest->shown == CONSOLE_SCROLLBACK) {
        drop_oldest_line(guest);
    }
    if (guest->written == guest->ready) {
        guest->line_since_ns = arch_clock_ns();
    }
    guest->ring[guest->written++ % CONSOLE_SCROLLBACK] = c;
    if (c == '\n') {
        set_positions(guest, guest->shown, guest->written);
    } else if (guest->written - guest->ready > CONSOLE_LINE_MAX) {
        set_positions(guest, guest->shown, guest->ready + CONSOLE_LINE_MAX);
    }
}

void console_guest_seen_locked(const struct vm *vm)
{
    struct guest_console *guest = &guests[vm->index];

    set_positions(guest, guest->written, guest->written);
}

void console_guest_scrollback_locked(const struct vm *vm)
{
    const struct guest_console *guest = &guests[vm->index];
    uint64_t i = guest->written > CONSOLE_SCROLLBACK ? guest->written - CONSOLE_SCROLLBACK : 0;

    for (; i < guest->written; i++) {
        console_put_locked(at(guest, i));
    }
    console_guest_seen_locked(vm);
}

static void finish(struct guest_console *guest)
{
    if (guest->ready != guest->written) {
        guest->cut = guest->written;
        set_positions(guest, guest->shown, guest->written);
    }
}

void console_guest_finish_locked(const struct vm *vm)
{
    finish(&guests[vm->index]);
}

void console_guests_finish_older_locked(uint64_t before_ns)
{
    for (unsigned i = 0; i < CONFIG_VMS_MAX; i++) {
        if (guests[i].line_since_ns <= before_ns) {
            finish(&guests[i]);
        }
    }
}

/* ---- to the port's ring ---- */

/* C0, DEL, and C1, which some terminals take as the start of a control sequence. */
static bool is_control(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte < 0x20 || (byte >= 0x7f && byte < 0xa0);
}

static void begin_line(const struct guest_console *guest)
{
    console_fresh_line_locked();
    console_write_locked(guest->vm->name, strlen(guest->vm->name));
    console_write_locked("| ", 2);
}

static void show_lost(struct guest_console *guest)
{
    char note[48];
    int bytes;

    if (guest->lost == 0) {
        return;
    }
    bytes = snprintf(note, sizeof(note), "(%lu lines lost)\n", (unsigned long)guest->lost);
    begin_line(guest);
    console_write_locked(note, (size_t)bytes);
    guest->lost = 0;
}

static bool is_line_break(char c)
{
    return c == '\r' || c == '\n';
}

/* Is there nothing left of a line that was shown before it had ended? */
static bool is_end_of_cut(const struct guest_console *guest, uint64_t end)
{
    uint64_t i = guest->shown;

    while (i < end && is_line_break(at(guest, i))) {
        i++;
    }
    return guest->shown == guest->cut && i == end;
}

/* Puts a dot for each control character: it could fool the operator's terminal. */
static void put_text(const struct guest_console *guest, uint64_t begin, uint64_t end)
{
    for (uint64_t i = begin; i < end; i++) {
        char c = at(guest, i);

        if (!is_line_break(c)) {
            console_put_locked(is_control(c) && c != '\t' ? '.' : c);
        }
    }
}

static void show_line(struct guest_console *guest)
{
    uint64_t end = MIN(line_end(guest, guest->shown), guest->ready);

    show_lost(guest);
    if (!is_end_of_cut(guest, end)) {
        begin_line(guest);
        put_text(guest, guest->shown, end);
        console_write_locked("\n", 1);
    }
    set_positions(guest, end, guest->ready);
}

void console_guests_show_locked(size_t limit)
{
    while (ready_count != 0 && console_waiting_locked() < limit) {
        struct guest_console *guest = &guests[next_guest];

        next_guest = (next_guest + 1) % CONFIG_VMS_MAX;
        if (is_ready(guest)) {
            show_line(guest);
        }
    }
}

void console_guest_show_all_locked(const struct vm *vm, size_t limit)
{
    struct guest_console *guest = &guests[vm->index];

    while (is_ready(guest) && console_waiting_locked() < limit) {
        show_line(guest);
    }
    while (is_ready(guest)) {
        drop_oldest_line(guest);
    }
    show_lost(guest);
}
