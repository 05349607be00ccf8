/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "drivers/uart.h"
#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/loop.h"
#include "hv/operator/console_input.h"
#include "hv/operator/console_internal.h"

#define RING_BYTES    131072u /* power of two */
#define GUEST_BYTES   65536u  /* of it: a guest that floods its port must not silence the monitor */
#define LINES_BYTES   512u    /* guests' lines follow when less waits: one of each in turn */
#define BUSY_BYTES    1024u   /* so much waits: an attached guest waits, too */
#define READY_BYTES   (BUSY_BYTES - 64)
#define UNFINISHED_NS 1000000000ull /* a line is shown that has not ended for so long */
#define DRAIN_BYTES   1024u         /* at most, in one go */
#define PIECE_BYTES   16u           /* the port's FIFO */
#define PRINTF_MAX    512

#define COM1_BAUD 115200

/*
 *   console_write*, attached guest ----------------> ring --> console_drain --> UART
 *   other guests --> a ring each, line by line ------^
 *
 * head and tail count bytes for ever; their difference is what waits.
 */
static struct {
    struct spinlock lock; /* all of this, and console_guest.c's */
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
    bool held;              /* guests' lines: a live view is shown */
    struct vm *attached;
} console = {.lock = SPINLOCK_INIT(RANK_CONSOLE, "console")};

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
    if (console.head - console.tail == RING_BYTES) {
        return;
    }
    console.ring[console.head++ % RING_BYTES] = c;
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

void console_guest_output(struct vm *vm, char c)
{
    lock();
    console_guest_put_locked(vm, c);
    if (console.attached == vm) {
        console_guest_seen_locked(vm);
        if (console_waiting_locked() < GUEST_BYTES) { /* its port does not wait: as an overrun */
            console_put_locked(c);
        }
    }
    show_guests_locked();
    unlock();
}

bool console_guest_busy(const struct vm *vm)
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

void console_guest_flush(struct vm *vm)
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

void console_attach(struct vm *vm)
{
    lock();
    console.attached = vm;
    console.guest_waits = console.guest_ready = false;
    console.prompt_shown = console.prompt_broken = false;
    if (vm != NULL) {
        console_guest_scrollback_locked(vm);
    }
    show_guests_locked();
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
    show_guests_locked();
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
    if (!console.open) { /* before the configuration has been read */
        console_init(IOPORT_COM1, COM1_BAUD);
    }
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
