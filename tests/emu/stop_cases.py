# SPDX-License-Identifier: BSD-2-Clause
"""`stop`: a guest that hears its power button powers off; one that does not loses its power."""
import re

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, host
from machine import Failure

DEAF = 10  # seconds of the guest's running time
PRESSED = "power button pressed; its power is cut after 10 s of its running time, or 90 s when it has heard it"
IDLE = """[vm alpha]
kernel = \\guest\\vmlinuz
initrd = \\guest\\initrd.img
cmdline = console=ttyS0 quiet run="echo listening; sleep 100000"
memory = 128M
"""


def stamp_of(match):
    """The time of the hypervisor's line that the match is in."""
    line = match.string[match.string.rindex("\n", 0, match.start()) + 1:]
    return float(re.match(r"\[ *(\d+\.\d+)\]", line).group(1))


def run_us(machine, name):
    return next(vm["run_us"] for vm in machine.stats()["vms"] if vm["name"] == name)


def answers(machine, command, expected):
    answer = machine.command(command)
    if expected not in answer:
        raise Failure(f"'{command}' answered '{answer}', expected '{expected}'")


def stop(boot):
    machine = boot(host(store="none", when_idle="monitor") + IDLE + bare_vm("deaf", "deaf.elf"),
                   LINUX_FILES + (bare_file("deaf.elf"),), timeout=600)
    machine.expect("^spillway> ")
    machine.expect(r"^deaf\| deaf: asleep", 60)
    machine.command("pause deaf")
    machine.wait(0.5)
    answers(machine, "stop deaf", "expected a VM that is running")
    machine.command("resume deaf")
    machine.wait(1.0)
    before = run_us(machine, "deaf")
    machine.wait(2.0)
    if run_us(machine, "deaf") - before > 100000:
        raise Failure("a VM that sleeps with its interrupts off keeps a CPU busy")

    machine.expect(r"^alpha\| listening", 300)
    machine.command("stop alpha")
    pressed = machine.expect(f"vm alpha: {PRESSED}", 30)
    machine.command("stop deaf")
    deaf_pressed = machine.expect(f"vm deaf: {PRESSED}", 30)
    machine.expect(r"^alpha\| init: power button pressed, powering off", 60)
    off = machine.expect(r"vm alpha: ended well after [\d.]+ s, [\d.]+ s after its power button "
                         "was pressed", 60)
    if stamp_of(off) - stamp_of(pressed) > DEAF:
        raise Failure("alpha powered off too late")
    answers(machine, "stop alpha", "expected a VM that is not stopped")
    if "vm deaf: stopped" not in machine.text:
        answers(machine, "stop deaf", "pressed already")

    cut = machine.expect("vm deaf: has not powered off within 10 s of its running time: "
                         "its power is cut", 300)
    machine.expect("vm deaf: stopped by the operator", 60)
    if not DEAF <= stamp_of(cut) - stamp_of(deaf_pressed) < DEAF + 5:
        raise Failure(f"the power of deaf was cut {stamp_of(cut) - stamp_of(deaf_pressed)} s later")
    if machine.stats()["host"]["frames_guest"] != 0:
        raise Failure("guest frames leaked")
    machine.send("poweroff\r")
    expect_end(machine)


def kill_resets(boot):
    """A VM that resets itself again and again is ended by one kill, at whatever moment it comes."""
    machine = boot(host(store="none", when_idle="monitor") +
                   bare_vm("loop", "reset.elf", "128M", autostart="no"), (bare_file("reset.elf"),))
    machine.expect("^spillway> ")
    for attempt in range(30):
        machine.command("start loop")
        begin = len(machine.text)
        machine.expect("vm loop: reset", 30, begin)
        machine.wait(0.01 * (attempt % 7))
        begin = len(machine.text)
        machine.send("kill loop\r")
        machine.expect("vm loop: stopped by the operator", 30, begin)
        machine.wait(0.1)
        if "expected a VM that is not stopped" in machine.text or "loop: started" in machine.text[
                machine.text.rindex("stopped by the operator"):]:
            raise Failure(f"kill {attempt} did not end it")
    machine.send("poweroff\r")
    expect_end(machine)


def refused_start(boot):
    """A start that the operator asks for and that is refused changes nothing."""
    machine = boot(host(store="none", pool="64M", when_idle="poweroff") +
                   bare_vm("big", "bench.elf", "128M", autostart="no") +
                   bare_vm("small", "deaf.elf", "16M", autostart="no"),
                   (bare_file("bench.elf"), bare_file("deaf.elf")))
    machine.expect("^spillway> ")
    answers(machine, "start big", "needs ")
    machine.wait(2.0)  # it would have powered off
    if "stopped" not in machine.command("vms") or "failed" in machine.command("vms"):
        raise Failure("a refused start has made a VM a failed one")
    machine.command("start small")
    machine.expect(r"^small\| deaf: asleep", 60)
    machine.command("kill small")
    expect_end(machine)


CASES = [
    Case("kill-resets", kill_resets, memory="256M"),
    Case("kill-resets", kill_resets, emu="bochs", long=True, memory="256M"),
    Case("refused-start", refused_start, memory="256M"),
    Case("stop", stop, memory="512M", cpus=2),
    Case("stop", stop, emu="bochs", long=True, memory="512M"),
]
