/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "base/lock.h"
#include "drivers/nic.h"
#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/loop.h"
#include "hv/operator/console_internal.h"
#include "hv/operator/figures.h"
#include "hv/operator/sink.h"

#define RING_BYTES    131072u /* at least; power of two, as all its sizes */
#define GUEST_BYTES   65536u  /* of it: a guest that floods its port must not silence the monitor */
#define LINES_BYTES   512u    /* guests' lines follow when less waits: one of each in turn */
#define BUSY_BYTES    1024u   /* with so much waiting, an attached guest waits, too */
#define READY_BYTES   (BUSY_BYTES - 64)
#define UNFINISHED_NS 1000000000ull /* an unfinished line is shown after so long */
#define DRAIN_BYTES   1024u         /* at most, in one go */
#define PIECE_BYTES   16u           /* a serial port's FIFO */
#define PRINTF_MAX    512

static char first_ring[RING_BYTES];

/*
 *   console_write*, attached guest ----------------> ring --> console_drain --> each sink
 *   other guests --> a ring each, line by line ------^
 *
 * head and tail count bytes for ever; their difference is what waits for the slowest sink.
 */
static struct {
    struct spinlock lock; /* all of this, and console_guest.c's */
    char *ring;
    uint64_t ring_bytes;
    uint64_t head, tail;
    struct list sinks;
    bool panicking;
    bool prompt_shown;  /* the line holds the prompt: start a fresh one */
    bool prompt_broken; /* and the prompt is to be shown again */
    bool guest_waits;   /* the attached one's port */
    bool guest_ready;   /* it did, and need not any more */
    bool held;          /* guests' lines: a live view is shown */
    struct vm *attached;
} console = {.lock = SPINLOCK_INIT(RANK_CONSOLE, "console"),
             .ring = first_ring,
             .ring_bytes = RING_BYTES,
             .sinks = LIST_INIT(console.sinks)};

static void lock(void)
{
    if (!console.panicking) {
        spin_lock(&console.lock);
    }
}

static void unlock(void)
{
    if (!console.panicking) {
        spin_unlock(&console.lock);
    }
}

void console_put_locked(char c)
{
    if (console.head - console.tail == console.ring_bytes) {
        return;
    }
    console.ring[console.head++ % console.ring_bytes] = c;
}

/* The bytes that wait move to where they belong in the larger ring. */
static void use_ring_locked(char *ring, uint64_t bytes)
{
    for (uint64_t i = console.tail; i != console.head; i++) {
        ring[i % bytes] = console.ring[i % console.ring_bytes];
    }
    console.ring = ring;
    console.ring_bytes = bytes;
}

void console_init(unsigned vms)
{
    uint64_t wanted =
        GUEST_BYTES + (uint64_t)(vms + 2) * FIGURES_JSON_BYTES + NIC_MAX * FIGURES_NIC_BYTES;
    uint64_t bytes = RING_BYTES;
    char *ring;

    while (bytes < wanted) {
        bytes *= 2;
    }
    ring = bytes == RING_BYTES ? NULL : malloc(bytes);
    lock();
    if (ring != NULL) {
        use_ring_locked(ring, bytes);
    }
    console_guests_init_locked(vms);
    unlock();
}

void console_write_locked(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            console_put_locked('\r');
        }
        console_put_locked(text[i]);
    }
}

size_t console_waiting_locked(void)
{
    return (size_t)(console.head - console.tail);
}

void console_fresh_line_locked(void)
{
    if (console.prompt_shown) {
        console_write_locked("\n", 1);
        console.prompt_shown = false;
        console.prompt_broken = true;
    }
}

void console_write_line(const char *line)
{
    lock();
    console_fresh_line_locked();
    console_write_locked(line, strlen(line));
    console_write_locked("\n", 1);
    unlock();
}

void console_write(const char *text, size_t bytes)
{
    lock();
    console_write_locked(text, bytes);
    unlock();
}

void console_printf(const char *format, ...)
{
    char text[PRINTF_MAX];
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    console_write(text, MIN((size_t)bytes, sizeof(text) - 1));
}

/* ---- guests ---- */

static void show_guests_locked(void)
{
    if (console.attached == NULL && !console.held && !console.panicking) {
        console_guests_show_locked(LINES_BYTES);
    }
}

static void guest_put_locked(const struct vm *vm, char c)
{
    console_guest_put_locked(vm, c);
    if (console.attached == vm) {
        console_guest_seen_locked(vm);
        if (console_waiting_locked() < GUEST_BYTES) { /* its port does not wait: as an overrun */
            console_put_locked(c);
        }
    }
}

void guest_serial_output(struct vm *vm, const char *text, size_t bytes)
{
    lock();
    for (size_t i = 0; i < bytes; i++) {
        guest_put_locked(vm, text[i]);
    }
    show_guests_locked();
    unlock();
}

bool guest_serial_busy(const struct vm *vm)
{
    bool busy;

    lock();
    busy = console.attached == vm && console_waiting_locked() >= BUSY_BYTES;
    console.guest_waits |= busy;
    unlock();
    return busy;
}

bool console_take_ready(void)
{
    bool ready;

    lock();
    ready = console.guest_ready;
    console.guest_ready = false;
    unlock();
    return ready;
}

void guest_serial_flush(struct vm *vm)
{
    lock();
    console_guest_finish_locked(vm);
    if (console.attached == NULL && !console.held) {
        console_guest_show_all_locked(vm, GUEST_BYTES);
    }
    unlock();
}

void console_show_unfinished(void)
{
    uint64_t now = arch_clock_ns();

    if (now < UNFINISHED_NS) {
        return;
    }
    lock();
    console_guests_finish_older_locked(now - UNFINISHED_NS);
    show_guests_locked();
    unlock();
}

void console_hold_guests(bool hold)
{
    lock();
    console.held = hold;
    show_guests_locked();
    unlock();
}

static void attach(struct vm *vm, bool all)
{
    lock();
    console.attached = vm;
    console.guest_waits = console.guest_ready = false;
    console.prompt_shown = console.prompt_broken = false;
    if (vm != NULL) {
        console_guest_scrollback_locked(vm, all);
    }
    show_guests_locked();
    unlock();
}

void console_attach(struct vm *vm)
{
    attach(vm, true);
}

void console_attach_again(struct vm *vm)
{
    attach(vm, false);
}

struct vm *console_attached(void)
{
    return console.attached;
}

/* ---- the sinks ---- */

void console_add_sink(struct sink *sink)
{
    lock();
    sink->tail = console.tail;
    list_push_back(&console.sinks, &sink->link);
    unlock();
}

static struct sink *sink_of(struct list *link)
{
    return LIST_ENTRY(link, struct sink, link);
}

/* One contiguous piece from the ring to the sink; false: nothing moved. */
static bool move_piece_locked(struct sink *sink, enum sink_patience patience)
{
    uint64_t at = sink->tail % console.ring_bytes;
    size_t waiting = (size_t)(console.head - sink->tail);
    size_t piece = MIN(MIN(waiting, console.ring_bytes - at), PIECE_BYTES);
    size_t taken = piece != 0 ? sink->take(sink, console.ring + at, piece, patience) : 0;

    sink->tail += taken;
    return taken != 0;
}

/* Where the slowest sink is. */
static void set_tail_locked(void)
{
    uint64_t most = 0;

    if (list_empty(&console.sinks)) {
        return;
    }
    LIST_FOR_EACH (link, &console.sinks) {
        most = MAX(most, console.head - sink_of(link)->tail);
    }
    console.tail = console.head - most;
}

static void drain_locked(struct sink *sink)
{
    for (unsigned i = 0; i < DRAIN_BYTES / PIECE_BYTES && move_piece_locked(sink, SINK_NOW); i++) {
    }
}

static bool guest_is_ready_locked(void)
{
    bool ready = console.guest_waits && console.head - console.tail < READY_BYTES;

    if (ready) {
        console.guest_waits = false;
        console.guest_ready = true;
    }
    return ready;
}

bool console_drain(void)
{
    bool more, ready;

    if (__atomic_load_n(&console.head, __ATOMIC_RELAXED) ==
            __atomic_load_n(&console.tail, __ATOMIC_RELAXED) ||
        !spin_trylock(&console.lock)) {
        return false;
    }
    LIST_FOR_EACH (link, &console.sinks) {
        drain_locked(sink_of(link));
    }
    set_tail_locked();
    show_guests_locked();
    LIST_FOR_EACH (link, &console.sinks) {
        sink_of(link)->expect(sink_of(link), sink_of(link)->tail != console.head);
    }
    more = console.head != console.tail;
    ready = guest_is_ready_locked();
    spin_unlock(&console.lock);
    if (ready) {
        loop_wake_monitor();
    }
    return more;
}

void console_flush(void)
{
    lock();
    LIST_FOR_EACH (link, &console.sinks) {
        while (move_piece_locked(sink_of(link), console.panicking ? SINK_PANIC : SINK_WAIT)) {
        }
        sink_of(link)->finish(sink_of(link));
    }
    set_tail_locked();
    unlock();
}

void console_end(const char *line)
{
    console_flush();
    LIST_FOR_EACH (link, &console.sinks) {
        sink_of(link)->end(sink_of(link), line);
    }
}

void console_panic_mode(void)
{
    console.panicking = true;
    console.attached = NULL;
    console_fresh_line_locked();
}

void console_show_prompt(const char *prompt, const char *line, unsigned back)
{
    lock();
    console_write_locked(prompt, strlen(prompt));
    console_write_locked(line, strlen(line));
    while (back-- > 0) {
        console_put_locked('\b');
    }
    console.prompt_shown = true;
    console.prompt_broken = false;
    unlock();
}

bool console_prompt_broken(void)
{
    return console.prompt_broken;
}

void console_end_line(const char *prompt, const char *line)
{
    lock();
    if (!console.prompt_shown) {
        console_write_locked(prompt, strlen(prompt));
        console_write_locked(line, strlen(line));
    }
    console_write_locked("\n", 1);
    console.prompt_shown = console.prompt_broken = false;
    unlock();
}
