/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines about a VM: a burst at once, then two a second; it counts those that it leaves out. */
#include <stdarg.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/log.h"

#define LINE_NS  500000000ull /* two a second */
#define BURST_NS (64 * LINE_NS)

/*
 * log_due_ns is when the VM will have made up for all its lines so far, were each worth LINE_NS
 * (the "virtual scheduling algorithm" of ITU-T I.371, Generic Cell Rate Algorithm).
 */
static bool may_speak(struct vm *vm)
{
    uint64_t now = arch_clock_ns();
    uint64_t due = atomic_load(&vm->log_due_ns);
    uint64_t next;

    do {
        next = MAX(due, now) + LINE_NS;
        if (next - now > BURST_NS) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&vm->log_due_ns, &due, next));
    return true;
}

static void say(unsigned source, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(unsigned source, enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_source_line(source, level, format, args);
    va_end(args);
}

void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    unsigned source = vm->index + 1;
    uint64_t left_out;
    va_list args;

    /* Errors end the VM, and what is told for information is about its starts and ends: neither
     * comes without end. */
    if ((level == LOG_WARN || level == LOG_DEBUG) && !may_speak(vm)) {
        atomic_fetch_add(&vm->log_left_out, 1);
        return;
    }
    left_out = atomic_exchange(&vm->log_left_out, 0);
    if (left_out != 0) {
        say(source, level, "vm %s: (%lu lines left out)", vm->name, (unsigned long)left_out);
    }
    va_start(args, format);
    log_source_line(source, level, format, args);
    va_end(args);
}
