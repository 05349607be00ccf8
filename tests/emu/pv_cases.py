# SPDX-License-Identifier: BSD-2-Clause
"""KVM's paravirtual interface: guests/bare/pv.asm, and Debian's kernel, which uses it by itself."""
import re

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, host
from linux_cases import run_vm
from machine import Failure


def bare(boot):
    machine = boot(host(store="none") + bare_vm("pv", "pv.elf", "32M", vcpus=2),
                   (bare_file("pv.elf"),), timeout=300)
    machine.expect(r"^pv\| pv: (PASS|FAIL)", 200)
    expect_end(machine)
    wrong = re.findall(r"^pv\| pv: wrong: .*", machine.text, re.M)
    if wrong or "pv: FAIL" in machine.text:
        raise Failure("; ".join(wrong))


# What the kernel says of each.
SAYS = ("PV spinlocks enabled", "setup PV IPIs", "setup PV sched yield", "KVM setup pv remote TLB flush")
JOB = "dmesg | grep -i 'pv\\|kvm-guest'; memcheck 16M; echo over"


def linux(boot):
    """Debian's kernel finds what CPUID announces, and works with it."""
    machine = boot(host(store="none") + run_vm("a", JOB, vcpus=2), LINUX_FILES, timeout=400)
    machine.expect(r"^a\| over", 300)
    expect_end(machine)
    for text in SAYS:
        if not re.search(rf"^a\| .*{text}", machine.text, re.M):
            raise Failure(f"the guest does not say '{text}'")


CASES = [
    Case("pv", bare, memory="256M"),
    Case("pv", bare, emu="bochs", memory="256M"),
    Case("pv-linux", linux, memory="512M"),
    Case("pv-linux", linux, emu="bochs", memory="512M"),
]
