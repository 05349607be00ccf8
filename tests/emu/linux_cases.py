# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel with the options that people use; what a guest's legacy devices are there for."""
import re

from cases import LINUX_FILES, Case, expect_end, host
from machine import Failure


def run_vm(name, command, options="", memory="128M", **keys):
    """A [vm] section that runs a shell command in Debian's kernel."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f'cmdline = console=ttyS0 quiet {options} run="{command}"', f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


# Option: what its serial port's interrupt comes through.
OPTIONS = {"no-kvmclock": "IO-APIC", "nopv": "IO-APIC", "noapic": "XT-PIC", "nolapic": "XT-PIC",
           "acpi=off": "XT-PIC", "nolapic_timer": "IO-APIC"}
JOB = "memcheck 16M && sleep 1 && grep ttyS0 /proc/interrupts"


def options(chosen):
    """Each boots, passes memcheck, sleeps, and user space has a console that interrupts."""
    def run(boot):
        names = [re.sub(r"\W", "-", option) for option in chosen]
        config = host(store="none")
        for name, option in zip(names, chosen):
            config += run_vm(name, JOB, option)
        machine = boot(config, LINUX_FILES, timeout=500)
        expect_end(machine)
        for name, option in zip(names, chosen):
            if not re.search(rf"^{name}\| memcheck: PASS", machine.text, re.M):
                raise Failure(f"{option}: memcheck has not passed")
            got = re.search(rf"^{name}\| +4: +(\d+) +(\S+)", machine.text, re.M)
            if not got or got.group(2) != OPTIONS[option] or int(got.group(1)) < 10:
                raise Failure(f"{option}: the serial port's interrupts are "
                              f"'{got.group(0) if got else 'none'}'")

    return run


CASES = [
    Case("linux-options", options(list(OPTIONS)), memory="1G"),
    Case("linux-options", options(["nopv", "acpi=off"]), emu="bochs", memory="512M"),
]
