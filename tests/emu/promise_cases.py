# SPDX-License-Identifier: BSD-2-Clause
"""Promises that just fit: three guests whose `min` is all that can be had, and one MiB more."""
import re

from cases import LINUX_FILES, Case, expect_end, host, linux_vm, watch
from machine import Failure

NAMES = ("vm0", "vm1", "vm2")
MEMORY = 128  # MiB
REFUSED = re.compile(r"needs (\d+) MiB that stay in memory \(min, tables, 256 KiB for each vCPU\), "
                     r"expected at most (\d+) MiB: pool \d+ - promised \d+ MiB\n")


def set_min(machine, name, mib):
    """None, or by how many MiB it is too much."""
    answer = machine.command(f"set {name} min={mib}M")
    answer = re.sub(r"^(\[\d|vm\d\|).*\n", "", answer, flags=re.M)  # the log, and guests
    if answer.startswith(f"{name}: min {mib} MiB, "):
        return None
    match = REFUSED.search(answer)
    if match is None:
        raise Failure(f"min={mib}M is answered with '{answer}'")
    return int(match[1]) - int(match[2])


def min_fits(pool, seconds, checked="54M"):
    """What fits is found by asking for more; the guests verify every byte of `checked` in what is left."""
    def run(boot):
        config = host(pool=f"{pool}M", store="auto", when_idle="monitor")
        for i, name in enumerate(NAMES):
            config += linux_vm(name, f"{MEMORY}M", checked, seed=i + 1)
        machine = boot(config, LINUX_FILES, timeout=seconds)
        machine.expect("^spillway> ")
        for name in NAMES:
            machine.expect(rf"vm {name}: started", 60)
        for name in NAMES[:2]:
            if set_min(machine, name, pool // 3) is not None:
                raise Failure(f"{name} cannot have a third of the pool")
        least = MEMORY - set_min(machine, "vm2", MEMORY)
        fits = max(mib for mib in range(least - 1, least + 3)
                   if set_min(machine, "vm2", mib) is None)
        if set_min(machine, "vm2", fits + 1) is None:
            raise Failure(f"{fits + 1} MiB are not refused")
        watch(machine, NAMES, seconds)
        machine.send("poweroff\r")
        expect_end(machine)
        return f"{2 * (pool // 3) + fits} of {pool} MiB promised as min"

    return run


CASES = [
    Case("min-fits-2to1", min_fits(111, 500), long=True),
    Case("min-fits-3to1", min_fits(75, 500)),
    Case("min-fits-2to1", min_fits(111, 900), emu="bochs", long=True, memory="512M",
         store="512M"),
    Case("min-fits-3to1", min_fits(75, 900, "24M"), emu="bochs", long=True, memory="512M",
         store="512M"),
]
