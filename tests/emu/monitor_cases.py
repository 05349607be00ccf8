# SPDX-License-Identifier: BSD-2-Clause
"""An operator's day at the monitor: what commands answer, what the live view shows, keys."""
import re

from cases import Case, bare_file, bare_vm, expect_end, host
from machine import PROMPT, Failure

MANY = 32
FILES = (bare_file("console.elf"), bare_file("deaf.elf"))


def check(machine, command, expected):
    """The answer is that text, the log's lines aside."""
    answer = re.sub(r"^\[\d.*\n", "", machine.command(command), flags=re.M)
    if answer != expected:
        raise Failure(f"'{command}' is answered with '{answer}', expected '{expected}'")


SETTINGS = "a: min 0 MiB, max none, shares 100, cpu-shares 100 (as shares), tmem 0 MiB, balloon auto\n"
WRONG = (
    ("min=1Q", "min = 1Q: expected a size such as 16M, at most the VM's memory, 32768 KiB"),
    ("min=33M", "min = 33M: expected a size such as 16M, at most the VM's memory, 32768 KiB"),
    ("min=5000", "min = 5000: expected a size such as 16M, at most the VM's memory, 32768 KiB"),
    ("max=1M", "max = 1M: expected a size from 4M on, or 0: no limit"),
    ("shares=0", "shares = 0: expected a number, 1 to 10000"),
    ("shares=1K", "shares = 1K: expected a number, 1 to 10000"),
    ("cpu-shares=-1", "cpu-shares = -1: expected a number, 1 to 10000, or 0: as shares"),
    ("tmem=lots", "tmem = lots: expected a size such as 64M"),
    ("color=blue", "unknown key 'color': expected min, max, shares, cpu-shares, tmem or balloon"),
)


def check_settings(machine):
    """Each mistake says which value and what was expected; each success what is in force."""
    for setting, answer in WRONG:
        check(machine, f"set a {setting}", f"a is unchanged: {answer}\n")
    check(machine, "set a min", "'min': expected KEY=VALUE, such as min=16M\n")
    check(machine, "set a shares=200", SETTINGS.replace("shares 100", "shares 200").replace(
        "cpu-shares 100", "cpu-shares 200"))
    check(machine, "set a cpu-shares=50", "a: min 0 MiB, max none, shares 200, cpu-shares 50, tmem 0 MiB, balloon auto\n")
    check(machine, "set a max=8M", "a: min 0 MiB, max 8 MiB, shares 200, cpu-shares 50, tmem 0 MiB, balloon auto\n")
    check(machine, "set a min=9M",
          "a is unchanged: min would be 9216 KiB, expected at most max, 8192 KiB\n")
    check(machine, "set a min=4100K",
          "a: min 4100 KiB, max 8 MiB, shares 200, cpu-shares 50, tmem 0 MiB, balloon auto\n")
    check(machine, "set a max=0", "a: min 4100 KiB, max none, shares 200, cpu-shares 50, tmem 0 MiB, balloon auto\n")


def check_show(machine, state):
    answer = machine.command("show a")
    for line in (f"state    {state}", "memory   32 MiB, 1 vCPU, autostart no, on-triple-fault reset",
                 "kernel   \\guest\\deaf.elf", "initrd   none", "cmdline  some words = for it"):
        if f"\n  {line}\n" not in answer:
            raise Failure(f"show lacks '{line}': {answer}")


def answers(boot):
    machine = boot(host(store="none", when_idle="monitor") +
                   bare_vm("a", "deaf.elf", "32M", cmdline="some words = for it", autostart="no"),
                   FILES)
    machine.expect("^spillway> ")
    check(machine, "help me", "expected help\n")
    check(machine, "start", "expected start NAME\n")
    check(machine, "show b", "no VM 'b': expected one of a\n")
    check_settings(machine)
    check_show(machine, "stopped")
    machine.command("start a")
    machine.expect(r"^a\| deaf: asleep", 30)
    check_settings_running(machine)
    check_show(machine, "running")
    machine.command("kill a")
    machine.expect("vm a: stopped by the operator", 30)
    check_show(machine, "stopped, by the operator")
    check_keys(machine)
    machine.command("start a")
    machine.expect(r"^a\| deaf: asleep", 30, len(machine.text) - 100)
    machine.send("poweroff\r")
    machine.expect(r"vm a: still running: its power is cut", 30)
    expect_end(machine)


def check_settings_running(machine):
    """A refusal leaves all as it was."""
    answer = machine.command("set a min=32M max=32M")
    if answer != "expected set NAME KEY=VALUE\n":
        raise Failure(answer)
    check(machine, "set a min=5M", "a: min 5 MiB, max none, shares 200, cpu-shares 50, tmem 0 MiB, balloon auto\n")
    check(machine, "set a max=8M", "a is unchanged: needs 32 MiB at the worst, expected at most 8 MiB: pool 8 + "
          "store 0 - promised 0 MiB\n")


def check_keys(machine):
    """Keys as a terminal sends them; a line that is too long is not run."""
    start = len(machine.text)
    machine.send("frob\x1b[D\x1b[D\x1b[D\x1b[3~\x1b[Hx\x1b[15~\x1b[F!\x1b[200~\x1b[201~\r")
    machine.expect(r"^unknown command 'xfob!'", 30, start)
    machine.send("help " + "x" * 600 + "\r")
    machine.expect(r"^the line is too long: expected at most 511 characters; it was not run$", 30, start)
    start = len(machine.text)
    machine.send("kill nobody at all, and no word more than four\r")
    machine.expect(r"^expected kill NAME$", 30, start)


def screens(text):
    return text.split("\x1b[H\x1b[J")[1:]


def top(boot):
    """32 VMs on a screen of 24 lines of 80 columns, in peace; what came meanwhile is shown afterwards."""
    config = host(store="none", when_idle="monitor") + bare_vm("noisy", "console.elf", "4M", cmdline="n",
                                                               autostart="no")
    for i in range(MANY - 1):
        config += bare_vm(f"a-rather-long-name-{i:02}", "deaf.elf", "4M", autostart="no")
    machine = boot(config, FILES)
    machine.expect("^spillway> ")
    machine.command("start a-rather-long-name-30")
    machine.expect(r"deaf: asleep", 30)
    start = len(machine.text)
    machine.send("start noisy\rtop\r")
    machine.expect(r"\x1b\[H\x1b\[J", 30, start)
    machine.wait(4.0)
    shown = screens(machine.text[start:])
    machine.send("q")
    machine.expect("^" + PROMPT, 30, len(machine.text))
    if len(shown) < 3:
        raise Failure(f"{len(shown)} screens in 4 s")
    for screen in shown:
        lines = screen.split("\n")
        if len(lines) > 24 or max(map(len, lines)) > 80 or "noisy|" in screen or "hv:" in screen:
            raise Failure(f"a screen of {len(lines)} lines, or with others' text: {screen}")
    if not re.search(r"^a-rather-lon running .*^a-rather-lon stopped .*^and 14 more", shown[-1], re.M | re.S):
        raise Failure(f"expected the VM that runs first, and how many are missing: {shown[-1]}")
    machine.expect(r"^noisy\| console: line 1999 ", 60, start)
    machine.expect(r"vm noisy: ended well", 60, start)
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("monitor-answers", answers, memory="256M"),
    Case("monitor-answers", answers, emu="bochs", memory="256M"),
    Case("top", top, memory="256M"),
]
