# SPDX-License-Identifier: BSD-2-Clause
"""Asynchronous page faults in Debian's kernel: who computes is not stopped by who pages, and whatever becomes of the VM
while pages are on their way.  Their store takes its time for each read."""
import re
import time

from cases import LINUX_FILES, Case, expect_end, figures_of, host
from disk_cases import Disks
from faulty_disk import READ, FaultyDisk
from linux_cases import run_vm
from machine import Failure

# One process reads pages at random, of more than its VM may have; it is stopped while the figures are taken that it is
# compared with.  With small pages its kernel neither copies nor clears what has been paged out.
PAGING_JOB = ("load visit pages={pages} seconds=9999 every=1000 > /v & p=$!; until [ -s /v ]; do sleep 1; done; echo filled; "
              "sleep 5; for i in {rounds}; do s='load spin seconds={seconds} steps=200'; kill -STOP $p; $s; "
              "$s & $s; wait $!; kill -CONT $p; $s; done; tail -n 1 /v; grep HYP: /proc/interrupts; echo over")
READ_SECONDS = 0.005  # that the store takes for each read


def slow(op, first, blocks):
    return READ_SECONDS if op == READ else 0


def beside_pager(boot, option, pages, rounds, seconds):
    """Speeds of a process that computes: alone, beside another one that computes, beside one that pages; of how many
    pages the guest was told that they have come; pages that came in meanwhile, and for how many ms the vCPU stood still."""
    job = PAGING_JOB.format(pages=pages, rounds=" ".join(map(str, range(rounds))), seconds=seconds)
    config = host(store="nvme0", when_idle="monitor") + run_vm("a", job, f"transparent_hugepage=never {option}", memory="160M",
                                                               max="72M")
    with Disks() as disks, FaultyDisk(disks.store(256)) as disk:
        machine = boot(config, LINUX_FILES, store="none", extra=disk.qemu(), timeout=600)
        machine.expect(r"^a\| filled", 300)
        disk.delays = slow
        before = figures_of(machine, "a")
        machine.expect(r"^a\| over", 300)
        after = figures_of(machine, "a")
        if "load: FAIL" in machine.text:
            raise Failure("a page has come back wrong")
        machine.command("kill a")
        machine.send("poweroff\r")
        expect_end(machine)
    speeds = [int(loops) / int(ms) for loops, ms in
              re.findall(r"^a\| load: spin .*loops=(\d+) ms=(\d+)", machine.text, re.M)]
    if len(speeds) != 4 * rounds:
        raise Failure(f"{len(speeds)} figures, expected {4 * rounds}")
    told = re.search(r"^a\| +HYP: +(\d+)", machine.text, re.M)  # no line: none
    return (sum(speeds[0::4]) / rounds, sum(speeds[1::4] + speeds[2::4]) / rounds / 2, sum(speeds[3::4]) / rounds,
            int(told.group(1)) if told else 0, after["page_ins"] - before["page_ins"],
            (after["stall_us"] - before["stall_us"]) // 1000)


def paging(pages, rounds, seconds):
    """A process that computes keeps its share of the only vCPU beside one that waits for pages.  Its share is what it
    gets beside another one that computes, which is half of it; and what the pager, while it waits, cannot use is its own,
    too, but for what paging costs."""

    def run(boot):
        alone, half, beside, told, ins, stalled = beside_pager(boot, "", pages, rounds, seconds)
        alone_0, half_0, beside_0, told_0, ins_0, stalled_0 = beside_pager(boot, "no-kvmapf", pages, rounds, seconds)
        text = (f"{beside / half:.2f} of its share, {beside / alone:.2f} of its speed alone, {ins} pages in, told of {told}, stalled "
                f"{stalled} ms; without {beside_0 / half_0:.2f}, {beside_0 / alone_0:.2f}, {ins_0}, {told_0}, {stalled_0} ms")
        if told < 20 * rounds * seconds or told_0 > 1 or stalled > stalled_0 * 2 / 3:
            raise Failure(text)
        if beside < 0.9 * half or beside / half < 1.1 * beside_0 / half_0:
            raise Failure(text)
            raise Failure(text)
        return text

    return run


# Two threads, each on a vCPU of its own, one of which comes and goes.
LIFE_JOB = ("load visit threads=2 pages={pages} seconds=9999 every=1000 & c=/sys/devices/system/cpu/cpu1/online; "
            "sleep {warm}; while true; do sleep 1; echo 0 > $c; sleep 1; echo 1 > $c; echo toggled; done")


def expect_progress(machine, at, seconds=60):
    """Behind that place of the text, a figure of `load visit` that is higher than the first one; where it stands."""
    end = time.monotonic() + seconds
    first = None
    while time.monotonic() < end:
        line = machine.expect(r"^a\| load: at ms=\d+ loops=(\d+)", seconds, at)
        at = line.end()
        if first is not None and int(line.group(1)) > first:
            return at
        first = first or int(line.group(1))
    raise Failure("no page has come")


def life(pages, warm):
    """vCPUs go off line and come back, the VM is paused, reset and killed, all while tokens are outstanding; nothing leaks."""

    def run(boot):
        config = host(store="nvme0", when_idle="monitor") + run_vm(
            "a", LIFE_JOB.format(pages=pages, warm=warm), "transparent_hugepage=never", memory="192M", max="88M", vcpus=2, autostart="no")
        with Disks() as disks, FaultyDisk(disks.store(320)) as disk:
            disk.delays = slow
            machine = boot(config, LINUX_FILES, store="none", extra=disk.qemu(), timeout=600)
            machine.expect("^spillway> ")
            first = machine.stats()
            machine.command("start a")
            at = expect_progress(machine, 0, 300)
            for _ in range(3):
                at = machine.expect(r"^a\| toggled", 120, at).end()
                at = expect_progress(machine, at)
            machine.command("pause a")
            before = figures_of(machine, "a")
            machine.wait(2.0)
            if figures_of(machine, "a")["exits"] != before["exits"]:
                raise Failure("it ran while it was paused")
            machine.command("resume a")
            at = expect_progress(machine, len(machine.text))
            machine.command("reset a")
            at = machine.expect(r"vm a: reset", 60, at).end()
            at = expect_progress(machine, at, 300)
            machine.command("kill a")
            machine.expect(r"vm a: stopped by the operator", 60, at)
            machine.wait(2.0)
            last = machine.stats()
            if "FAIL" in machine.text:
                raise Failure("a page has come back wrong")
            for group, figure in (("host", "frames_free"), ("host", "frames_guest"), ("store", "slots_used")):
                if last[group][figure] != first[group][figure]:
                    raise Failure(f"{figure} was {first[group][figure]} and is {last[group][figure]}")
            machine.send("poweroff\r")
            expect_end(machine)

    return run


CASES = [
    Case("async-share", paging(20000, 4, 3), long=True, memory="512M"),
    Case("async-life", life(12000, 40), long=True, memory="512M"),
]
