/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/monitor.h"

#include "base/lock.h"
#include "hv/arch.h"
#include "hv/command.h"
#include "hv/console.h"
#include "hv/line_edit.h"
#include "hv/machine.h"
#include "hv/vdev/devices.h"
#include "hv/vm_control.h"

#define PROMPT         "spillway> "
#define KEY_DETACH     0x1d /* Ctrl-] */
#define CHARS_PER_POLL 64
#define POLL_NS        5000000ull   /* how often the port is looked at */
#define REDRAW_NS      300000000ull /* quiet for so long: the prompt comes back */
#define TOP_NS         1000000000ull

static struct spinlock monitor_lock = SPINLOCK_INIT(RANK_MONITOR, "monitor"); /* all below */
static struct line_edit edit = {.echo = console_write};
static bool started;
static uint64_t broken_since_ns; /* 0: the prompt stands */
static uint64_t top_ns;
static uint64_t polled_ns;

static void show_prompt(void)
{
    console_show_prompt(PROMPT, edit.line);
    broken_since_ns = 0;
}

void monitor_start(void)
{
    started = true;
    show_prompt();
}

/* A character for the guest whose console is attached. */
static void guest_input(char c)
{
    if (c == KEY_DETACH) {
        console_attach(NULL);
        console_printf("\n");
        show_prompt();
        return;
    }
    vm_list_lock();
    uart_receive(console_attached(), c);
    vm_list_unlock();
}

static void monitor_input(char c)
{
    if (command_top_active()) {
        command_top_end();
        console_printf("\n");
        show_prompt();
        return;
    }
    if (console_prompt_broken()) {
        show_prompt();
    }
    if (!line_edit_input(&edit, c)) {
        return;
    }
    console_end_line(PROMPT, edit.line);
    command_run(edit.line);
    line_edit_clear(&edit);
    if (console_attached() == NULL && !command_top_active()) {
        show_prompt();
    }
}

static void redraw_prompt(uint64_t now)
{
    if (console_attached() != NULL || command_top_active() || !console_prompt_broken()) {
        broken_since_ns = 0;
        return;
    }
    if (broken_since_ns == 0) {
        broken_since_ns = now;
    } else if (now - broken_since_ns > REDRAW_NS) {
        show_prompt();
    }
}

static void end_when_idle(void)
{
    if (machine_config()->idle_poweroff && vm_any_started() && vm_all_stopped()) {
        machine_power_off();
    }
}

void monitor_poll(void)
{
    uint64_t now = arch_clock_ns();
    int c;

    if (!started || now - __atomic_load_n(&polled_ns, __ATOMIC_RELAXED) < POLL_NS ||
        !spin_trylock(&monitor_lock)) {
        return;
    }
    for (unsigned i = 0; i < CHARS_PER_POLL && (c = console_read()) >= 0; i++) {
        if (console_attached() != NULL) {
            guest_input((char)c);
        } else {
            monitor_input((char)c);
        }
    }
    if (command_top_active() && now - top_ns > TOP_NS) {
        top_ns = now;
        command_top_refresh();
    }
    redraw_prompt(now);
    end_when_idle();
    __atomic_store_n(&polled_ns, now, __ATOMIC_RELAXED);
    spin_unlock(&monitor_lock);
}
