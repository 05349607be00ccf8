/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console: one stream of output, shared by the hypervisor's log, the monitor and every guest's
 * serial port, that all sinks show (hv/operator/sink.h).
 *
 * Output goes into a ring.  The sinks take it from there at their interrupts and from the main loop
 * (console_drain), so that nobody waits for a slow line.  While no guest console is attached,
 * guests' lines are shown behind `name| `, in turn, out of a ring that each VM has: one that prints
 * faster than the line loses lines of its own, which are counted where they are missing.  While one
 * is attached, that guest's characters pass unchanged, at the line's rate, for which its port
 * waits, and the others' lines wait in their rings.  Lock: RANK_CONSOLE.
 */
#ifndef SPILLWAY_HV_OPERATOR_CONSOLE_H
#define SPILLWAY_HV_OPERATOR_CONSOLE_H

#include "base/types.h"
#include "hv/guest/serial.h"

struct vm;

#define CONSOLE_SCROLLBACK 16384 /* bytes kept of each guest; power of two */
#define CONSOLE_LINE_MAX   200   /* a longer guest line is shown in pieces */

/* So many VMs may print from now on, and the JSON of all of them finds room in the ring.  Boot CPU,
 * once, when there is a heap. */
void console_init(unsigned vms);

/* A complete line of the hypervisor's, without newline. */
void console_write_line(const char *line);
/* Monitor output as it is; "\n" becomes CR LF. */
void console_write(const char *text, size_t bytes);
void console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* True once after guest_serial_busy(): the attached guest's port may send again. */
bool console_take_ready(void);
/* Shows the lines of all guests that have been unfinished for a while, as prompts are. */
void console_show_unfinished(void);

/* Guests' lines wait in their rings meanwhile: for a live view. */
void console_hold_guests(bool hold);

/* Shows that guest's scrollback and passes its characters through; NULL: back to the monitor. */
void console_attach(struct vm *vm);
/* As console_attach() to one that has just been left: shows what is new only. */
void console_attach_again(struct vm *vm);
struct vm *console_attached(void);

/* Moves what the sinks take now; true if more is waiting.  Main loop or a sink's interrupt, any
 * CPU. */
bool console_drain(void);
/* Empties the ring whatever it takes (a dead port bounds it): power-off, panic. */
void console_flush(void);
/* The last line, which has been shown: flushes, then tells each sink that this is how it ended. */
void console_end(const char *line);
/* Panic: no locks from here on. */
void console_panic_mode(void);

/* Shows the monitor's prompt and what has been typed behind it, the cursor so many columns before
 * its end; lines that come then start on a
 * fresh line and leave the prompt broken. */
void console_show_prompt(const char *prompt, const char *line, unsigned back);
bool console_prompt_broken(void);
/* The line that was typed behind the prompt is complete: shows prompt and line again if other lines
 * have come in between, and ends it, in one piece. */
void console_end_line(const char *prompt, const char *line);

#endif
