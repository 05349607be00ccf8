# SPDX-License-Identifier: BSD-2-Clause
"""tmem and guests that mean harm: guests/bare/tmem_race.asm in two VMs at once, beside good ones."""
import re

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, host, linux_vm
from machine import Failure

RACE, GOOD = "tmem_race.elf", "tmem.elf"
FIGURES = (("host", "frames_free"), ("host", "frames_meta"), ("host", "frames_tmem"),
           ("host", "frames_guest"), ("store", "slots_used"))


def race_vm(name, cmdline):
    """Its memory is what the guest calls MEMORY_END."""
    return bare_vm(name, RACE, "32M", vcpus=2, tmem="8M", cmdline=cmdline, autostart="no")


def expect_figures(machine, first):
    """Frames and slots are what they were."""
    last = machine.stats()
    for group, figure in FIGURES:
        if last[group][figure] != first[group][figure]:
            raise Failure(f"{figure} was {first[group][figure]} and is {last[group][figure]}")


def watch(machine, names, seconds, sample):
    """Until each VM has ended well; `sample`: the sum rules are checked meanwhile."""
    for _ in range(seconds):
        bad = re.search(r"^.*(FAIL|PANIC|vm \w+: failed).*$", machine.text, re.M)
        if bad:
            raise Failure(bad.group(0))
        if all(f"vm {name}: ended well" in machine.text for name in names):
            return
        if sample:
            machine.stats()
        machine.wait(1.0)
    raise Failure(f"not all of {', '.join(names)} ended within {seconds} s")


def race(good, pool, seconds, sample=True):
    """Two racing VMs with the same pool numbers and handles, beside a good one; then one of them is
    killed in the middle, twice.  Bochs' serial port is too slow for samples beside busy guests."""
    def run(boot):
        config = host(pool=pool, store="auto", when_idle="monitor")
        config += race_vm("a", "A") + race_vm("b", "B") + race_vm("ever", "Af") + good
        machine = boot(config, LINUX_FILES + (bare_file(RACE), bare_file(GOOD)),
                       timeout=seconds + 120)
        machine.expect("^spillway> ")
        first = machine.stats()
        names = ("a", "b", "good")
        for name in names:
            machine.command(f"start {name}", 300)
        watch(machine, names, seconds, sample)
        for name in ("a", "b"):
            machine.expect(rf"^{name}\| .*tmem_race: PASS", 10)
        machine.expect(r"^good\| .*(memcheck|tmem): PASS", 10)
        expect_figures(machine, first)
        for _ in range(2):
            kill_in_the_middle(machine, first, sample)
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def figures_of(machine, name):
    return next(vm for vm in machine.stats()["vms"] if vm["name"] == name)


def wait_for_traffic(machine):
    before = None
    for _ in range(30):
        machine.wait(1.0)
        held = figures_of(machine, "ever")["tmem_pages_persistent"]
        if before is not None and held != before and held != 0:
            return
        before = held
    raise Failure("there was no traffic when the guest was to be killed")


def kill_in_the_middle(machine, first, sample):
    start = len(machine.text)
    machine.command("start ever")
    machine.expect(r"^ever\| .*tmem_race: hello", 120, start)
    if sample:
        wait_for_traffic(machine)
    else:
        machine.wait(20.0)
    machine.command("kill ever", 300)
    machine.expect("vm ever: stopped by the operator", 60, start)
    machine.wait(2.0)
    expect_figures(machine, first)
    if figures_of(machine, "ever")["tmem_puts"] == 0:
        raise Failure("the guest that was killed had not begun")


LINUX = linux_vm("good", "128M", "48M", autostart="no")
BARE = bare_vm("good", GOOD, "32M", tmem="32M", autostart="no")

CASES = [
    Case("tmem-race", race(BARE, "160M", 300), memory="512M", cpus=2),
    Case("tmem-race-short", race(LINUX, "96M", 400), memory="512M", cpus=2),
    Case("tmem-race", race(BARE, "64M", 900, sample=False), emu="bochs", long=True, memory="512M", cpus=2),
]
