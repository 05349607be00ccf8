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
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
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
} * guests;

/* A bit for each VM, so that nobody looks at those that have nothing to say. */
struct set {
    uint64_t word[(CONFIG_VMS_MAX + 63) / 64];
};

static struct set ready;      /* guests with complete lines */
static struct set unfinished; /* with a line that is none yet */
static unsigned next_guest;   /* whose turn it is */

static void put_bit(struct set *set, unsigned index, bool value)
{
    uint64_t *word = &set->word[index / 64], bit = BIT(index % 64);

    *word = value ? *word | bit : *word & ~bit;
}

/* The first from `index` on; CONFIG_VMS_MAX: there is none. */
static unsigned first_bit(const struct set *set, unsigned index)
{
    for (unsigned w = index / 64; w < ARRAY_SIZE(set->word); w++) {
        uint64_t word = w == index / 64 ? set->word[w] & ~(BIT(index % 64) - 1) : set->word[w];

        if (word != 0) {
            return w * 64 + (unsigned)__builtin_ctzll(word);
        }
    }
    return CONFIG_VMS_MAX;
}

void console_guests_init_locked(unsigned vms)
{
    guests = calloc(vms, sizeof(*guests));
    if (vms != 0 && guests == NULL) {
        panic("no room for the consoles of %u VMs", vms);
    }
}

static char at(const struct guest_console *guest, uint64_t position)
{
    return guest->ring[position % CONSOLE_SCROLLBACK];
}

static bool is_ready(const struct guest_console *guest)
{
    return guest->shown != guest->ready;
}

/* Sets the positions that the two sets depend on, `written` having been set before. */
static void set_positions(struct guest_console *guest, uint64_t shown, uint64_t complete)
{
    unsigned index = (unsigned)(guest - guests);

    guest->shown = shown;
    guest->ready = complete;
    put_bit(&ready, index, is_ready(guest));
    put_bit(&unfinished, index, complete != guest->written);
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
    uint64_t end = line_end(guest, guest->shown);

    guest->lost++;
    set_positions(guest, end, MAX(guest->ready, end));
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
    } else {
        put_bit(&unfinished, vm->index, true);
    }
}

void console_guest_seen_locked(const struct vm *vm)
{
    struct guest_console *guest = &guests[vm->index];

    set_positions(guest, guest->written, guest->written);
}

void console_guest_scrollback_locked(const struct vm *vm, bool all)
{
    const struct guest_console *guest = &guests[vm->index];
    uint64_t oldest = guest->written > CONSOLE_SCROLLBACK ? guest->written - CONSOLE_SCROLLBACK : 0;

    for (uint64_t i = all ? oldest : guest->shown; i < guest->written; i++) {
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
    for (unsigned i = first_bit(&unfinished, 0); i < CONFIG_VMS_MAX;
         i = first_bit(&unfinished, i + 1)) {
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
    while (console_waiting_locked() < limit) {
        unsigned index = first_bit(&ready, next_guest);

        if (index == CONFIG_VMS_MAX) {
            index = first_bit(&ready, 0);
        }
        if (index == CONFIG_VMS_MAX) {
            return;
        }
        next_guest = (index + 1) % CONFIG_VMS_MAX;
        show_line(&guests[index]);
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
