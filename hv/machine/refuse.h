/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reports, before any guest runs, why the machine does not start.
 *
 * A mistake in spillway.conf is not a panic: every one is shown, on a line of its own, and the
 * machine goes down when somebody has seen it.  If the machine lacks something, a line says what.
 * Boot CPU; the console is open.
 */
#ifndef SPILLWAY_HV_MACHINE_REFUSE_H
#define SPILLWAY_HV_MACHINE_REFUSE_H

/* Shows an error in the configuration, one line as config_parse() reports it. */
void refuse_note(const char *error);
/* The same for a value that only the machine shows to be wrong; `line`: of spillway.conf. */
void refuse_value(unsigned line, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The last line; waits for a key, or a minute; powers off. */
_Noreturn void refuse_configuration(void);
/* The machine lacks something.  Powers off. */
_Noreturn void refuse_machine(const char *why);

#endif
