# SPDX-License-Identifier: BSD-2-Clause
"""Guests that keep their CPU for themselves: guests/bare/spin.asm."""
import json
import re
import statistics

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, figures_of, host, linux_vm
from machine import Failure

ANSWER_MS = 100  # the longest that a key may wait
SPIN = (bare_file("spin.elf"),)
WAYS = ("cli", "sti", "again", "flip", "shadow", "movs", "ud", "cpuid", "port", "outs", "mmio", "pause",
        "hlt", "wbinvd", "mwait", "step", "nmi", "self", "timer", "init", "ac")


def spin_vm(way, **keys):
    return bare_vm(way, "spin.elf", "32M", cmdline=way, autostart="no", **keys)


def start(machine, way):
    begin = len(machine.text)
    machine.command(f"start {way}", 30)
    machine.expect(rf"^{way}\| spin: {way}\n", 30, begin)


def kill(machine, way):
    begin = len(machine.text)
    machine.command(f"kill {way}", 30)
    machine.expect(f"vm {way}: stopped by the operator", 30, begin)


def answer_times(machine, idle_keys, count=5):
    """How long the monitor takes to hear and obey, in milliseconds of the machine's time.

    `stats json` is typed once and then called back by Ctrl-P and Enter, again and again, without waiting
    for answers: all that lies between one answer's time stamp and the next one's are keys that wait at
    the serial port.  Bochs' port hands them over one at a time, nearly always one for each time that the
    hypervisor looks; QEMU's one or more, so some that do nothing come in between.  Bochs' clock counts
    instructions; QEMU's is this computer's, with all that it does meanwhile."""
    machine.stats()
    begin = len(machine.text)
    machine.send(("\x02" * idle_keys + "\x10\r") * count)
    answer = r'(?:^\{"host".*\}\n(?:.*\n)*?)'
    machine.expect(answer + f"{{{count}}}", 120, begin)
    stamps = [json.loads(line)["host"]["uptime_us"]
              for line in re.findall(r'^(\{"host".*\})$', machine.text[begin:], re.M)]
    return [(after - before) / 1000 for before, after in zip(stamps, stamps[1:])]


def expect_answers(machine, way, idle_keys, judge):
    taken = judge(answer_times(machine, idle_keys))
    if taken > ANSWER_MS:
        raise Failure(f"beside '{way}' the monitor took {taken:.1f} ms to answer")
    return round(taken, 1)


def share(machine, name, other, seconds=2.0):
    """Of the time that both ran in a while, the part of the first one."""
    before = machine.stats()["vms"]
    machine.wait(seconds)
    after = machine.stats()["vms"]
    ran = {new["name"]: new["run_us"] - old["run_us"] for old, new in zip(before, after)}
    return ran[name] / (ran[name] + ran[other])


def good_guest(machine):
    """It gets its share beside 'cli', and passes."""
    machine.command("start good", 30)
    machine.expect(r"^good\| .*memcheck: \d+ pages", 300)
    part = share(machine, "good", "cli")
    if not 0.35 < part < 0.65:
        raise Failure(f"the good guest got {100 * part:.0f}% of the CPU")
    machine.expect(r"^good\| .*memcheck: PASS", 300)
    machine.expect(r"vm good: ended well", 60)
    return part


def spin(idle_keys, judge, passes):
    """Beside a guest that spins with IF = 0 the monitor answers and another guest gets its share; then the
    same, without the other guest, for one with IF = 1 and for one that exits all the time."""

    def run(boot):
        config = host(store="none", when_idle="monitor")
        config += linux_vm("good", "128M", "32M", extra=f"passes={passes}", autostart="no")
        config += "".join(spin_vm(way) for way in ("cli", "sti", "cpuid"))
        machine = boot(config, LINUX_FILES + SPIN, timeout=600)
        machine.expect("^spillway> ")
        taken = {}
        for way in ("cli", "sti", "cpuid"):
            start(machine, way)
            if len(re.findall("running", machine.command("vms", 10))) != 1:
                raise Failure(f"vms does not show that '{way}' runs")
            taken[way] = expect_answers(machine, way, idle_keys, judge)
            if way == "cli":
                part = good_guest(machine)
            kill(machine, way)
        if machine.stats()["host"]["frames_guest"] != 0:
            raise Failure("guest frames leaked")
        machine.send("poweroff\r")
        expect_end(machine)
        return f"share {100 * part:.0f}%, ms to answer: {taken}"

    return run


def spin_ways(ways):
    """Each way to spin, one after the other: none keeps the monitor from answering and from ending it."""

    def run(boot):
        config = host(store="none", when_idle="monitor")
        config += "".join(spin_vm(way, vcpus=2 if way == "init" else 1) for way in ways)
        machine = boot(config, SPIN, timeout=600)
        machine.expect("^spillway> ")
        for way in ways:
            start(machine, way)
            machine.wait(0.5)
            if f"{way}: running" not in machine.command(f"stats {way}", 30):
                raise Failure(f"'{way}' does not run")
            kill(machine, way)
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def spin_reclaim(boot):
    """A CPU on which a guest spins with IF = 0 takes part in shootdowns: its guest's pages are taken meanwhile."""
    machine = boot(host(pool="48M", store="auto", when_idle="monitor") + spin_vm("movs") +
                   bare_vm("good", "bench.elf", "72M", autostart="no"), SPIN + (bare_file("bench.elf"),),
                   timeout=300)
    machine.expect("^spillway> ")
    start(machine, "movs")
    machine.wait(0.5)
    before = figures_of(machine, "movs")["faults"]
    machine.command("start good", 30)
    machine.expect(r"vm good: ended well", 120)
    faults = figures_of(machine, "movs")["faults"] - before
    if faults < 100:
        raise Failure(f"only {faults} pages of the guest that spins were taken away and wanted again")
    kill(machine, "movs")
    machine.send("poweroff\r")
    expect_end(machine)
    return f"{faults} pages taken away"


CASES = [
    Case("spin", spin(4, statistics.median, 20), memory="512M"),
    Case("spin-ways", spin_ways(WAYS), memory="512M"),
    Case("spin", spin(0, max, 1), emu="bochs", long=True, memory="512M"),
    Case("spin-ways", spin_ways(WAYS + ("db",)), emu="bochs", memory="512M"),
    Case("spin-reclaim", spin_reclaim, emu="bochs", memory="256M", store="256M", cpus=2),
]
