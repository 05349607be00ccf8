# SPDX-License-Identifier: BSD-2-Clause
"""The serial line in both directions, as fast as it is: guests/bare/console.asm.

A line has 11,520 characters a second.  QEMU's port takes more, 16 at a time, each time that its main loop
comes round: beside a busy guest that is seldom, and a computer that was half as fast as others took 10,800.
Bochs' hands over about 4,000 a second.  What is wanted is so far below that the computer does not matter, and
far above the 160 of a port that is looked at ten times a second.
"""
import re
import time

from cases import LAST_OK, Case, bare_file, bare_vm, expect_end, host
from machine import Failure

PASTE = 65536
FLOOD = 1 << 20
LINES = 2000
CONSOLE = (bare_file("console.elf"), bare_file("spin.elf"))


def guest(name, way):
    return bare_vm(name, "console.elf", "32M", cmdline=way, autostart="no")


def typed_rate(machine):
    """Characters a second of the machine's time that the monitor takes: lines of 100, each answered."""
    lines = [f"x{number:04d}{'y' * 94}" for number in range(200)]
    begin = machine.stats()["host"]["uptime_us"]
    start = len(machine.text)
    machine.send("".join(line + "\r" for line in lines))
    machine.expect(f"unknown command '{lines[-1]}'", 60, start)
    seconds = (machine.stats()["host"]["uptime_us"] - begin) / 1e6
    for line in lines:
        if machine.text.count(f"unknown command '{line}'", start) != 1:
            raise Failure(f"no answer, or more than one, to '{line}'")
    return sum(len(line) + 1 for line in lines) / seconds


def best_rate(machine, least):
    """Of up to three tries: the emulator's own loop moves the characters, and may have to wait for a CPU."""
    best = 0
    for _ in range(3):
        best = max(best, typed_rate(machine))
        if best >= least:
            break
    return best


def monitor_rate(idle_least, busy_least):
    """The monitor reads at the line's rate, when nothing happens and beside a guest that is busy."""

    def run(boot):
        return check_rate(boot, idle_least, busy_least)

    return run


def check_rate(boot, idle_least, busy_least):
    machine = boot(host(store="none", when_idle="monitor") +
                   bare_vm("busy", "spin.elf", "32M", cmdline="sti", autostart="no"), CONSOLE)
    machine.expect("^spillway> ")
    machine.wait(3.0)  # quiet for a while
    idle = best_rate(machine, idle_least)
    machine.command("start busy")
    machine.wait(1.0)
    busy = best_rate(machine, busy_least)
    if idle < idle_least or busy < busy_least:
        raise Failure(f"the monitor takes {idle:.0f} characters a second, beside a busy guest {busy:.0f}")
    machine.send("poweroff\r")
    expect_end(machine)
    return f"{idle:.0f} characters a second, {busy:.0f} beside a busy guest"


def attach(machine, name):
    machine.send(f"console {name}\r")
    machine.expect(rf"^console of {name}, ", 30)


def expect_sum(machine, text):
    total = 0
    for char in text:
        total = (total * 31 + ord(char)) & 0xffffffff
    machine.expect(f"console: sum {total:08x}\n", 120)


def paste(boot):
    """64 KiB into a guest and 1 MiB out of one, byte for byte; a guest that reads nothing is left."""
    machine = boot(host(store="none", when_idle="monitor") + guest("in", "i") + guest("out", "o") +
                   guest("deaf", "d"), CONSOLE)
    machine.expect("^spillway> ")
    machine.command("start in")
    machine.expect(r"^in\| console: reads", 30)
    attach(machine, "in")
    text = "".join(chr(ord("!") + (7 * i + i // 90) % 90) for i in range(PASTE))
    machine.send(text)
    expect_sum(machine, text)
    machine.send("\x1d")
    machine.expect(r"vm in: ended well", 30)
    machine.command("start out")
    machine.expect(r"^out\| console: writes", 30)
    attach(machine, "out")
    machine.wait(0.5)
    start = len(machine.text)
    machine.send("g")
    end = time.monotonic() + 200
    while len(machine.text) - start < FLOOD and time.monotonic() < end:
        machine.pump(0.5)
    letters = "abcdefghijklmnopqrstuvwxyz"
    if machine.text[start:] != (letters * (FLOOD // 26 + 1))[:FLOOD]:
        raise Failure(f"{len(machine.text) - start} characters came, not the {FLOOD} that were sent")
    machine.send("g\x1d")
    machine.expect(r"vm out: ended well", 30)
    machine.command("start deaf")
    machine.expect(r"^deaf\| console: deaf", 30)
    attach(machine, "deaf")
    machine.send("z" * 5000 + "\x1d")
    machine.expect("^spillway> ", 30, len(machine.text))
    machine.command("kill deaf")
    machine.send("poweroff\r")
    expect_end(machine)


def check_lines(machine, name):
    """Numbered lines, each either shown or counted as lost, where it is missing."""
    next_line = 0
    for line in re.findall(rf"^{name}\| (.*)$", machine.text, re.M):
        lost = re.fullmatch(r"\((\d+) lines lost\)", line)
        shown = re.fullmatch(r"console: line (\d+) \.{64}", line)
        if lost:
            next_line += int(lost.group(1))
        elif not shown or int(shown.group(1)) != next_line:
            raise Failure(f"{name}: expected line {next_line}, got '{line}'")
        else:
            next_line += 1
    if next_line != LINES:
        raise Failure(f"{name}: {next_line} lines were shown or counted, expected {LINES}")


def lines_lost(boot):
    """Three that print faster than the line is; a fourth says little, and all of that is heard."""
    names = ("n1", "n2", "n3")
    machine = boot(host(store="none", when_idle="monitor") + "".join(guest(n, "n") for n in names) +
                   guest("quiet", "l"), CONSOLE, cpus=2)
    machine.expect("^spillway> ")
    for name in names:
        machine.send(f"start {name}\r")
    machine.send("start quiet\r")
    machine.expect(r"^quiet\| console: lies", 30)
    for name in names:
        machine.expect(rf"vm {name}: ended well", 120)
    machine.expect("^spillway> ", 30, len(machine.text))
    machine.send("kill quiet\rpoweroff\r")
    expect_end(machine)
    for name in names:
        check_lines(machine, name)


def log_shares(boot):
    """Whatever a guest causes to be said of it, what was said of others stays in the log."""
    machine = boot(host(store="none", when_idle="monitor") + guest("noisy", "m") +
                   bare_vm("loop", "reset.elf", "128M", autostart="no"),
                   (*CONSOLE, bare_file("reset.elf")))
    machine.expect("^spillway> ")
    machine.command("log debug")
    begin = machine.stats()["host"]["uptime_us"]
    start = len(machine.text)
    machine.send("start noisy\rstart loop\r")
    machine.wait(12.0)
    machine.send("kill noisy\rkill loop\r")
    machine.expect("vm noisy: stopped by the operator", 30, start)
    machine.expect("vm loop: stopped by the operator", 30, start)
    seconds = (machine.stats()["host"]["uptime_us"] - begin) / 1e6
    said = machine.text[start:]
    left_out = sum(int(n) for n in re.findall(r"vm noisy: \((\d+) lines left out\)", said))
    shown = len(re.findall(r"noisy: vCPU 0: #GP for", said))
    if left_out < 1000 or shown > 70 + 2 * seconds:
        raise Failure(f"{shown} lines of a noisy VM were shown in {seconds:.0f} s, {left_out} left out")
    starts = len(re.findall(r"vm loop: started", said))
    if starts > 14 or not re.search(r"vm loop: reset, \d+ times at once: it is started again in ", said):
        raise Failure(f"a VM that resets itself at once was started {starts} times in {seconds:.0f} s")
    log = machine.command("log")
    if not re.search(r"hv: Spillway: \d+ CPUs", log) or "noisy: vCPU 0: #GP" not in log:
        raise Failure(f"expected the first line of all in the log, and some of the VM: {log}")
    machine.send("poweroff\r")
    expect_end(machine)
    return f"{shown} of {shown + left_out} lines, {starts} starts in {seconds:.0f} s"


def faked_end(boot):
    """A guest on the attached console prints our last line: nobody believes it.  The machine is
    rebooted afterwards, and how it ends then is what counts."""
    machine = boot(host(store="none", when_idle="monitor") + guest("liar", "l"), CONSOLE)
    machine.expect("^spillway> ")
    machine.command("start liar")
    machine.expect(r"^liar\| console: lies", 30)
    attach(machine, "liar")
    machine.send("x")
    machine.expect(LAST_OK, 30)
    machine.wait(8.0)
    machine.send("x")
    machine.expect(r"vm liar: failed with code 1", 30)
    machine.send("\x1d")
    machine.expect("^spillway> ", 30, len(machine.text))
    start = len(machine.text)
    machine.send("reboot\r")
    machine.expect(r"^spillway: reboot$", 30, start)
    machine.expect("^spillway> ", 60, start + 20)
    if "stopped" not in machine.command("vms"):
        raise Failure("after a reboot, expected a VM that has not been started")
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("faked-end", faked_end, memory="256M"),
    Case("faked-end", faked_end, emu="bochs", long=True, memory="256M"),
    Case("log-shares", log_shares, memory="256M"),
    Case("log-shares", log_shares, emu="bochs", memory="256M"),
    Case("lines-lost", lines_lost, memory="256M"),
    Case("monitor-rate", monitor_rate(5000, 2000), memory="256M"),
    Case("monitor-rate", monitor_rate(2000, 2000), emu="bochs", long=True, memory="256M"),
    Case("paste", paste, long=True, memory="256M", timeout=400),
]
