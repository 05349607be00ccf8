/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "drivers/uart.h"
#include "hv/arch.h"
#include "hv/config.h"
#include "hv/console_input.h"
#include "hv/loop.h"
#include "hv/vm.h"

#define RING_BYTES    131072u /* power of two */
#define GUEST_BYTES   65536u  /* of it: a guest that floods its port must not silence the monitor */
#define BUSY_BYTES    1024u   /* so much waits: an attached guest waits, too */
#define READY_BYTES   (BUSY_BYTES - 64)
#define UNFINISHED_NS 1000000000ull /* a line is shown that has not ended for so long */
#define DRAIN_BYTES   1024u         /* at most, in one go */
#define PIECE_BYTES   16u           /* the port's FIFO */
#define PRINTF_MAX    512

/*
 *   console_write*, guest output --> ring --> console_drain --> UART
 *
 * head and tail count bytes for ever; their difference is what waits.
 */
static struct {
    struct spinlock lock; /* all of this, and guests[] */
    char ring[RING_BYTES];
    uint64_t head, tail;
    struct uart uart;
    bool open;
    bool panicking;
    bool prompt_shown;      /* the line holds the prompt: start a fresh one */
    bool prompt_broken;     /* and the prompt is to be shown again */
    uint64_t overruns_told; /* by the monitor's CPU only */
    bool guest_waits;       /* the attached one's port */
    bool guest_ready;       /* it did, and need not any more */
    struct vm *attached;
} console = {.lock = SPINLOCK_INIT(RANK_CONSOLE, "console")};

static struct guest_console {
    const struct vm *vm;         /* whose line it is */
    char line[CONSOLE_LINE_MAX]; /* not yet shown */
    unsigned line_used;
    uint64_t line_since_ns; /* when it began */
    uint64_t lost;          /* lines that found no room, not yet reported */
    char scrollback[CONSOLE_SCROLLBACK];
    uint64_t written;
} guests[CONFIG_VMS_MAX];

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

static void put_locked(char c)
{
    if (console.head - console.tail == RING_BYTES) {
        return;
    }
    console.ring[console.head++ % RING_BYTES] = c;
}

static void write_locked(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            put_locked('\r');
        }
        put_locked(text[i]);
    }
}

/* The cursor goes to the start of a line of its own. */
static void fresh_line_locked(void)
{
    if (console.prompt_shown) {
        write_locked("\n", 1);
        console.prompt_shown = false;
        console.prompt_broken = true;
    }
}

void console_init(uint16_t port, unsigned baud)
{
    console.open = uart_init(&console.uart, port, baud);
}

/* In, out, and what comes meanwhile is the next interrupt. */
static void on_interrupt(void *owner)
{
    (void)owner;
    console_input_take(&console.uart);
    console_drain();
    uart_interrupt_again(&console.uart);
}

void console_enable_interrupts(void)
{
    uart_interrupt_enable(&console.uart, 0, on_interrupt, NULL);
}

void console_poll(void)
{
    uint64_t overruns;

    if (!console.open) {
        return;
    }
    console_input_take(&console.uart);
    overruns = __atomic_load_n(&console.uart.overruns, __ATOMIC_RELAXED);
    if (overruns != console.overruns_told) {
        console.overruns_told = overruns;
        log_warn("console: the port has lost characters that were typed, %lu times so far",
                 (unsigned long)overruns);
    }
}

void console_write_line(const char *line)
{
    lock();
    fresh_line_locked();
    write_locked(line, strlen(line));
    write_locked("\n", 1);
    unlock();
}

void console_write(const char *text, size_t bytes)
{
    lock();
    write_locked(text, bytes);
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

static bool guest_has_room_locked(void)
{
    return console.head - console.tail < GUEST_BYTES;
}

static void write_guest_line_locked(const struct vm *vm, const char *text, size_t bytes)
{
    fresh_line_locked();
    write_locked(vm->name, strlen(vm->name));
    write_locked("| ", 2);
    write_locked(text, bytes);
    write_locked("\n", 1);
}

static void show_guest_line_locked(const struct vm *vm, struct guest_console *guest)
{
    unsigned used = guest->line_used;

    guest->line_used = 0;
    if (!guest_has_room_locked()) {
        guest->lost++;
        return;
    }
    if (guest->lost != 0) {
        char note[48];
        int bytes = snprintf(note, sizeof(note), "(%lu lines lost)", (unsigned long)guest->lost);

        write_guest_line_locked(vm, note, (size_t)bytes);
        guest->lost = 0;
    }
    write_guest_line_locked(vm, guest->line, used);
}

/* C0, DEL, and C1, which some terminals take as the start of a control sequence. */
static bool is_control(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte < 0x20 || (byte >= 0x7f && byte < 0xa0);
}

/* Detached: whole lines, and no control characters that could fool the operator's terminal. */
static void collect_line_locked(struct vm *vm, struct guest_console *guest, char c)
{
    if (c == '\r') {
        return;
    }
    if (c == '\n') {
        show_guest_line_locked(vm, guest);
        return;
    }
    if (guest->line_used == CONSOLE_LINE_MAX) {
        show_guest_line_locked(vm, guest);
    }
    if (guest->line_used == 0) {
        guest->vm = vm;
        guest->line_since_ns = arch_clock_ns();
    }
    guest->line[guest->line_used++] = is_control(c) && c != '\t' ? '.' : c;
}

void console_guest_output(struct vm *vm, char c)
{
    struct guest_console *guest = &guests[vm->index];

    lock();
    guest->scrollback[guest->written++ % CONSOLE_SCROLLBACK] = c;
    if (console.attached == vm) {
        if (guest_has_room_locked()) {
            put_locked(c);
        }
    } else if (console.attached == NULL) {
        collect_line_locked(vm, guest, c);
    }
    unlock();
}

bool console_guest_busy(const struct vm *vm)
{
    bool busy;

    lock();
    busy = console.attached == vm && console.head - console.tail >= BUSY_BYTES;
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

void console_guest_flush(struct vm *vm)
{
    lock();
    if (console.attached == NULL && guests[vm->index].line_used != 0) {
        show_guest_line_locked(vm, &guests[vm->index]);
    }
    unlock();
}

void console_show_unfinished(void)
{
    uint64_t now = arch_clock_ns();

    lock();
    for (unsigned i = 0; i < CONFIG_VMS_MAX && console.attached == NULL; i++) {
        struct guest_console *guest = &guests[i];

        if (guest->line_used != 0 && now - guest->line_since_ns >= UNFINISHED_NS) {
            show_guest_line_locked(guest->vm, guest);
        }
    }
    unlock();
}

static void show_scrollback_locked(const struct guest_console *guest)
{
    uint64_t i = guest->written > CONSOLE_SCROLLBACK ? guest->written - CONSOLE_SCROLLBACK : 0;

    for (; i < guest->written; i++) {
        put_locked(guest->scrollback[i % CONSOLE_SCROLLBACK]);
    }
}

void console_attach(struct vm *vm)
{
    lock();
    if (console.attached != NULL) {
        guests[console.attached->index].line_used = 0;
    }
    console.attached = vm;
    console.guest_waits = console.guest_ready = false;
    console.prompt_shown = console.prompt_broken = false;
    if (vm != NULL) {
        show_scrollback_locked(&guests[vm->index]);
    }
    unlock();
}

struct vm *console_attached(void)
{
    return console.attached;
}

/* ---- the port ---- */

/* One contiguous piece from the ring to the port; false: nothing moved. */
static bool drain_piece_locked(void)
{
    uint64_t at = console.tail % RING_BYTES;
    size_t waiting = (size_t)(console.head - console.tail);
    size_t piece = MIN(MIN(waiting, RING_BYTES - at), PIECE_BYTES);
    size_t sent;

    if (piece == 0) {
        return false;
    }
    sent = console.panicking ? (uart_write_unlocked(&console.uart, console.ring + at, piece), piece)
                             : uart_write_ready(&console.uart, console.ring + at, piece);
    console.tail += sent;
    return sent != 0;
}

bool console_drain(void)
{
    bool more, ready;

    if (__atomic_load_n(&console.head, __ATOMIC_RELAXED) ==
            __atomic_load_n(&console.tail, __ATOMIC_RELAXED) ||
        !spin_trylock(&console.lock)) {
        return false;
    }
    for (unsigned i = 0; i < DRAIN_BYTES / PIECE_BYTES && drain_piece_locked(); i++) {
    }
    more = console.head != console.tail;
    uart_want_transmit(&console.uart, more);
    ready = console.guest_waits && console.head - console.tail < READY_BYTES;
    if (ready) {
        console.guest_waits = false;
        console.guest_ready = true;
    }
    spin_unlock(&console.lock);
    if (ready) {
        loop_wake_monitor();
    }
    return more;
}

void console_flush(void)
{
    lock();
    while (console.head != console.tail) {
        uint64_t at = console.tail % RING_BYTES;

        if (console.panicking) {
            uart_write_unlocked(&console.uart, console.ring + at, 1);
        } else {
            uart_write(&console.uart, console.ring + at, 1);
        }
        console.tail++;
    }
    uart_drain(&console.uart);
    unlock();
}

void console_panic_mode(void)
{
    console.panicking = true;
    console.attached = NULL;
    fresh_line_locked();
}

void console_show_prompt(const char *prompt, const char *line)
{
    lock();
    write_locked(prompt, strlen(prompt));
    write_locked(line, strlen(line));
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
        write_locked(prompt, strlen(prompt));
        write_locked(line, strlen(line));
    }
    write_locked("\n", 1);
    console.prompt_shown = console.prompt_broken = false;
    unlock();
}
