# SPDX-License-Identifier: BSD-2-Clause
"""Guest devices that wait for the guest's own pages: guests/bare/park.asm, on the hypervisor with the test
device (`make testdev`), which also checks the ranks of its locks."""
import os
import re

from cases import BUILD, Case, bare_file, bare_vm, expect_end, host
from machine import Failure

LOADER = os.path.join(BUILD, "testdev", "BOOTX64.EFI")

IDLE_MOST = 12  # of 48 pages, on Bochs, whose disk takes longer than a guest to halt


def park(boot):
    """Each string and each single access has waited for pages, says the guest, and all bytes were right."""
    config = host(store="auto") + bare_vm("a", "park.elf", "32M")
    machine = boot(config, (bare_file("park.elf"),), loader=LOADER)
    machine.expect(r"^a\| park: (PASS|wrong).*", 300)
    expect_end(machine)


def asynchronous(boot):
    """Whatever order pages come in, each token of an asynchronous fault is told, once."""
    machine = boot(host(store="auto") + bare_vm("a", "async.elf", "32M"), (bare_file("async.elf"),), loader=LOADER)
    machine.expect(r"^a\| async: (PASS|FAIL)", 300)
    expect_end(machine)
    wrong = re.findall(r"^a\| async: wrong: .*", machine.text, re.M)
    if wrong:
        raise Failure("; ".join(wrong[:5]))
    return re.search(r"async: (tokens: .*)", machine.text).group(1)


def asynchronous_slow_disk(boot):
    """The same; and of a guest that halts until a page has come, most accesses wait themselves."""
    figures = asynchronous(boot)
    idle = int(figures.split()[-1])
    if idle > IDLE_MOST:
        raise Failure(f"{idle} accesses of an idle guest were asynchronous, expected {IDLE_MOST} at most")
    return figures


CASES = [
    Case("park", park, memory="256M"),
    Case("park", park, emu="bochs", memory="256M"),
    Case("async", asynchronous, memory="256M"),
    Case("async", asynchronous_slow_disk, emu="bochs", memory="256M"),
]
