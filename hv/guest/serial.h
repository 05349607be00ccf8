/* SPDX-License-Identifier: BSD-2-Clause */
/* The other end of a guest's serial port and virtio-console: the console shows what they send. */
#ifndef SPILLWAY_HV_GUEST_SERIAL_H
#define SPILLWAY_HV_GUEST_SERIAL_H

#include "base/types.h"

struct vm;

/* Some characters from the guest.  From its vCPU's exit; locks below RANK_CONSOLE may be held. */
void guest_serial_output(struct vm *vm, const char *text, size_t bytes);
/* Shall the guest's port wait before it sends more?  Then console_take_ready() will say when not.
 */
bool guest_serial_busy(const struct vm *vm);
/* Shows all that it has printed, its unfinished line as well: when it ends. */
void guest_serial_flush(struct vm *vm);

#endif
