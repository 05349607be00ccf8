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


# Alone, then beside a process that pages as fast as it can, by itself: with small pages its kernel neither
# copies nor clears what has been paged out.
PAGING_JOB = ("load spin seconds=6 steps=1000; memcheck {size} passes=100000 hot=0 & sleep {warm}; "
              "load spin seconds={seconds} steps=1000; grep HYP: /proc/interrupts; killall memcheck; echo over")


def paging(pool, memory, size, warm, seconds, least):
    """A process that computes keeps its share of the only vCPU beside one that waits for pages: half of
    it at least, since there are two, and what the other one cannot use while it waits."""

    def once(boot, option):
        job = PAGING_JOB.format(size=size, warm=warm, seconds=seconds)
        machine = boot(host(pool=pool) + run_vm("a", job, f"transparent_hugepage=never {option}", memory=memory), LINUX_FILES,
                       store="512M", timeout=600)
        machine.expect(r"^a\| over", 500)
        ins = machine.stats()["vms"][0]["page_ins"]
        expect_end(machine)
        speed = [int(loops) / int(ms) for loops, ms in
                 re.findall(r"^a\| load: spin .*loops=(\d+) ms=(\d+)", machine.text, re.M)]
        told = re.search(r"^a\| +HYP: +(\d+)", machine.text, re.M)  # no line: none
        return speed[1] / speed[0], int(told.group(1)) if told else 0, ins

    def run(boot):
        part, told, ins = once(boot, "")
        without, none, ins_without = once(boot, "no-kvmapf")
        text = (f"{part:.2f} of its speed alone, {ins} pages in, the guest was told of {told}; "
                f"{without:.2f} and {ins_without} without")
        if told < 500 or none > 1 or part < least or part < without:
            raise Failure(text)
        return text

    return run


CASES = [
    Case("pv", bare, memory="256M"),
    Case("pv", bare, emu="bochs", memory="256M"),
    Case("pv-linux", linux, memory="512M"),
    Case("pv-ticks", ticks, memory="512M"),
    Case("pv-paging", paging("64M", "128M", "64M", 12, 20, 0.45), memory="512M"),
    Case("pv-linux", linux, emu="bochs", long=True, memory="512M"),
]
