/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/keys.h"

static uint64_t line_since(const struct keys *keys, enum keys_console console)
{
    return atomic_load_explicit(&keys->line_since_ns[console], memory_order_relaxed);
}

static void set_line_since(struct keys *keys, enum keys_console console, uint64_t ns)
{
    atomic_store_explicit(&keys->line_since_ns[console], ns, memory_order_relaxed);
}

void keys_reset(struct keys *keys)
{
    for (unsigned i = 0; i < KEYS_CONSOLES; i++) {
        set_line_since(keys, (enum keys_console)i, 0);
    }
    atomic_store_explicit(&keys->hvc0_used, false, memory_order_relaxed);
    keys->before = KEYS_CONSOLES;
    keys->last_ns = 0;
    keys->after_break = false;
}

/* What stood on ttyS0 before hvc0 was there waits for nobody. */
static void note_first_use(struct keys *keys)
{
    if (!atomic_load_explicit(&keys->hvc0_used, memory_order_relaxed)) {
        set_line_since(keys, KEYS_TTYS0, 0);
        atomic_store_explicit(&keys->hvc0_used, true, memory_order_relaxed);
    }
}

void keys_printed(struct keys *keys, enum keys_console console, char last, uint64_t now_ns)
{
    if (console == KEYS_HVC0) {
        note_first_use(keys);
    }
    if (last == '\n') {
        set_line_since(keys, console, 0);
    } else if (line_since(keys, console) == 0) {
        set_line_since(keys, console, now_ns);
    }
}

/* One that has become one after that time. */
static bool has_prompt_since(const struct keys *keys, enum keys_console console, uint64_t ns,
                             uint64_t now_ns)
{
    uint64_t since = line_since(keys, console);

    return since != 0 && now_ns >= since + KEYS_PROMPT_NS && since + KEYS_PROMPT_NS > ns;
}

static bool has_prompt(const struct keys *keys, enum keys_console console, uint64_t now_ns)
{
    return has_prompt_since(keys, console, 0, now_ns);
}

static enum keys_console other_than(enum keys_console console)
{
    return console == KEYS_HVC0 ? KEYS_TTYS0 : KEYS_HVC0;
}

enum keys_console keys_go_to(struct keys *keys, bool hvc0_ready, uint64_t now_ns)
{
    if (keys->after_break || !hvc0_ready ||
        !atomic_load_explicit(&keys->hvc0_used, memory_order_relaxed)) {
        return KEYS_TTYS0;
    }
    if (keys->before == KEYS_CONSOLES) {
        keys->before = has_prompt(keys, KEYS_TTYS0, now_ns) ? KEYS_TTYS0 : KEYS_HVC0;
    } else if (!has_prompt(keys, keys->before, now_ns) &&
               has_prompt_since(keys, other_than(keys->before), keys->last_ns, now_ns)) {
        keys->before = other_than(keys->before);
    }
    return keys->before;
}

void keys_choose(struct keys *keys, enum keys_console console, uint64_t now_ns)
{
    atomic_store_explicit(&keys->hvc0_used, true, memory_order_relaxed);
    keys->before = console;
    keys->last_ns = now_ns;
}

void keys_after_break(struct keys *keys)
{
    keys->after_break = true;
}

void keys_taken(struct keys *keys, uint64_t now_ns)
{
    keys->after_break = false;
    keys->last_ns = now_ns;
}
