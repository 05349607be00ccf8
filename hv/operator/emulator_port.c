/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/emulator_port.h"

#include "hv/arch.h"
#include "hv/operator/sink.h"

/* What is shown is not for it: guests print it, too, and the last line has to be believed. */
static size_t take(struct sink *sink, const char *text, size_t bytes, enum sink_patience patience)
{
    (void)sink;
    (void)text;
    (void)patience;
    return bytes;
}

static void expect(struct sink *sink, bool more)
{
    (void)sink;
    (void)more;
}

static void finish(struct sink *sink)
{
    (void)sink;
}

static void end(struct sink *sink, const char *line)
{
    (void)sink;
    arch_tell_emulator(line);
}

static struct sink emulator_sink = {
    .take = take,
    .expect = expect,
    .finish = finish,
    .end = end,
};

void emulator_port_open(void)
{
    static bool open;

    if (!open) {
        open = true;
        console_add_sink(&emulator_sink);
    }
}
