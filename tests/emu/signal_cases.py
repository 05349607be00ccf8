# SPDX-License-Identifier: BSD-2-Clause
"""NMI and BREAK from the monitor, as Debian's kernel takes them."""
import re

from cases import LINUX_FILES, Case, expect_end, host
from console_cases import attach
from linux_cases import run_vm
from machine import Failure

BREAK_KEYS = "\x1d\x02"  # Ctrl-] Ctrl-B


def sysrq(machine):
    """By the monitor's command, then twice from the attached console; the last one resets the guest."""
    machine.command("break keys")
    attach(machine, "keys")
    machine.send("h")
    machine.expect(r"sysrq: HELP : ", 60)
    start = len(machine.text)
    machine.send(BREAK_KEYS + "t")
    machine.expect(r"sysrq: Show State", 60, start)
    if "HELP :" in machine.text[start:]:
        raise Failure("what has been seen is shown again")
    machine.send(BREAK_KEYS + "b")
    machine.expect(r"sysrq: Resetting", 60, start)
    machine.send("\x1d")
    machine.expect(r"vm keys: reset", 60, start)
    machine.expect(r"^keys\| ready", 200, start)


def signals(boot):
    machine = boot(host(store="none", when_idle="monitor") +
                   run_vm("keys", "echo ready; sleep 1000", "sysrq_always_enabled") +
                   run_vm("button", "echo ready; sleep 1000", "unknown_nmi_panic", vcpus=2) +
                   run_vm("off", "true", autostart="no"), LINUX_FILES, timeout=500, cpus=1)
    for name in ("keys", "button"):
        machine.expect(rf"^{name}\| ready", 200)
    for command in ("nmi off", "break off"):
        answer = machine.command(command)
        if "off is stopped: expected a VM that is running or paused" not in answer:
            raise Failure(f"{command}: {answer}")
    machine.command("pause button")
    machine.command("nmi button")  # waits until it goes on
    machine.wait(1.0)
    if re.search(r"^button\| .*NMI", machine.text, re.M):
        raise Failure("a VM that is paused has taken an NMI")
    machine.command("resume button")
    machine.expect(r"^button\| .*NMI received for unknown reason .* CPU 0", 60)
    machine.expect(r"^button\| .*Kernel panic - not syncing: NMI", 60)
    if re.search(r"^button\| .*NMI received for unknown reason .* CPU 1", machine.text, re.M):
        raise Failure("the second vCPU has masked its LINT1, and has taken an NMI")
    sysrq(machine)
    machine.command("kill button")
    machine.command("kill keys")
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("signals", signals, memory="512M"),
    Case("signals", signals, emu="bochs", long=True, memory="512M"),
]
