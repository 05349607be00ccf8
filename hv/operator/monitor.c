/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/monitor.h"

#include "base/lock.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/operator/command.h"
#include "hv/operator/console.h"
#include "hv/operator/console_input.h"
#include "hv/operator/line_edit.h"
#include "hv/operator/serial_line.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"

#define PROMPT         "spillway> "
#define KEY_DETACH     0x1d /* Ctrl-] */
#define KEY_BREAK      0x02 /* Ctrl-B, the next key: does nothing in a line that is empty */
#define CHARS_PER_POLL 256
#define POLL_NS        5000000ull    /* between looks at the port, should an interrupt get lost */
#define STUCK_NS       1000000000ull /* a guest that reads nothing for so long may be left */
#define REDRAW_NS      300000000ull  /* quiet for so long: the prompt comes back */
#define TOP_NS         1000000000ull

static struct spinlock monitor_lock = SPINLOCK_INIT(RANK_MONITOR, "monitor"); /* all below */
static struct line_edit edit = {.echo = console_write};
static bool started;
static uint64_t broken_since_ns; /* 0: the prompt stands */
static uint64_t top_ns;
static uint64_t polled_ns;
static uint64_t stuck_since_ns; /* the attached guest takes nothing; 0: it does */
static struct vm *left;         /* by the last key, Ctrl-]; NULL: by none */

static void show_prompt(void)
{
    console_show_prompt(PROMPT, edit.line, line_edit_tail(&edit));
    broken_since_ns = 0;
}

void monitor_start(void)
{
    started = true;
    show_prompt();
}

static void detach(void)
{
    struct vm *vm = console_attached();

    console_attach(NULL);
    vm_list_lock();
    vm_devices_send_typed(vm);
    vm_devices_output_ready(vm);
    vm_list_unlock();
    console_printf("\n");
    show_prompt();
    left = vm;
}

/* Ctrl-] Ctrl-B: a BREAK for the guest, whose console stays attached.  False: it is another key. */
static bool break_key(char c)
{
    struct vm *vm = left;
    struct vm_answer answer;
    bool done;

    left = NULL;
    if (vm == NULL || c != KEY_BREAK) {
        return false;
    }
    vm_list_lock();
    done = vm_break(vm, &answer);
    vm_list_unlock();
    if (done) {
        console_write("\n", 1);
        console_attach_again(vm);
    } else {
        console_printf("\nno BREAK: %s\n", answer.text);
        show_prompt();
    }
    return true;
}

/*
 * A key for a guest waits until the guest takes it: its port calls then.  Ctrl-] waits behind other
 * keys like any of them, but not for a guest that reads nothing.
 */
static bool guest_input(char c, uint64_t now)
{
    bool taken;

    if (c == KEY_DETACH) {
        detach();
        return true;
    }
    vm_list_lock();
    taken = vm_devices_type(console_attached(), c);
    vm_list_unlock();
    if (taken) {
        stuck_since_ns = 0;
        return true;
    }
    if (stuck_since_ns == 0) {
        stuck_since_ns = now;
    }
    if (now - stuck_since_ns >= STUCK_NS && console_input_skip_to(KEY_DETACH)) {
        detach();
        return true;
    }
    return false;
}

static void monitor_input(char c)
{
    enum line_edit_result result;

    if (command_top_active()) {
        command_top_end();
        show_prompt();
        return;
    }
    if (break_key(c)) {
        return;
    }
    if (console_prompt_broken()) {
        show_prompt();
    }
    result = line_edit_input(&edit, c);
    if (result == LINE_EDIT_MORE) {
        return;
    }
    console_end_line(PROMPT, edit.line);
    if (result == LINE_EDIT_DONE) {
        command_run(edit.line);
    } else {
        console_printf("the line is too long: expected at most %u characters; it was not run\n",
                       LINE_EDIT_MAX - 1);
    }
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

/* False: there is none, or the guest does not take it yet. */
static bool one_character(uint64_t now)
{
    int c = console_input_peek();

    if (c < 0) {
        return false;
    }
    if (console_attached() == NULL) {
        stuck_since_ns = 0;
        monitor_input((char)c);
    } else if (!guest_input((char)c, now)) {
        return false;
    }
    console_input_drop();
    return true;
}

/* True: it has read some. */
static bool read_characters(uint64_t now)
{
    for (unsigned i = 0; i < CHARS_PER_POLL; i++) {
        if (!one_character(now)) {
            return i != 0;
        }
    }
    loop_wake_monitor();
    return true;
}

static void read_input(uint64_t now)
{
    if (read_characters(now) && console_attached() != NULL) {
        vm_list_lock();
        vm_devices_send_typed(console_attached());
        vm_list_unlock();
    }
}

void monitor_poll(bool called)
{
    uint64_t now = arch_clock_ns();
    bool due = now - __atomic_load_n(&polled_ns, __ATOMIC_RELAXED) >= POLL_NS;

    if (!started || !(called || due)) {
        return;
    }
    if (!spin_trylock(&monitor_lock)) {
        if (called) {
            loop_wake_monitor();
        }
        return;
    }
    if (due) {
        serial_line_poll();
        arch_report_nmis();
        console_show_unfinished();
        __atomic_store_n(&polled_ns, now, __ATOMIC_RELAXED);
    }
    if (console_take_ready() && console_attached() != NULL) {
        vm_list_lock();
        vm_devices_output_ready(console_attached());
        vm_list_unlock();
    }
    read_input(now);
    if (command_top_active() && now - top_ns > TOP_NS) {
        top_ns = now;
        command_top_refresh();
    }
    redraw_prompt(now);
    end_when_idle();
    spin_unlock(&monitor_lock);
}
