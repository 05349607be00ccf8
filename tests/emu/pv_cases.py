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


TICKS_JOB = ("busy() { end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do :; done; }; "
             "busy; for i in 1 2; do grep LOC: /proc/interrupts; echo mark $i; busy; done; echo over")


def wrmsr_exits(machine):
    return int(re.search(r"exits wrmsr +(\d+)", machine.command("stats a", 30)).group(1))


def ticks(boot):
    """Each tick of Linux' timer costs one WRMSR for the next deadline, and none for its own end."""
    machine = boot(host(store="none") + run_vm("a", TICKS_JOB), LINUX_FILES, timeout=400)
    exits, count = [], []
    for i in (1, 2):
        machine.expect(rf"^a\| mark {i}", 300)
        exits.append(wrmsr_exits(machine))
        count.append(int(re.findall(r"^a\| +LOC: +(\d+)", machine.text, re.M)[-1]))
    expect_end(machine)
    each = (exits[1] - exits[0]) / (count[1] - count[0])
    text = f"{each:.2f} WRMSR for each of {count[1] - count[0]} ticks"
    if count[1] - count[0] < 100 or not 0.8 < each < 1.5:
        raise Failure(text)
    return text


CASES = [
    Case("pv", bare, memory="256M"),
    Case("pv", bare, emu="bochs", memory="256M"),
    Case("pv-linux", linux, memory="512M"),
    Case("pv-ticks", ticks, memory="512M"),
    Case("pv-linux", linux, emu="bochs", long=True, memory="512M"),
]
