# SPDX-License-Identifier: BSD-2-Clause
"""Trouble with the store: slots that fail, a disk that is away for a while, one that takes no writes."""
import re
import time

from cases import LINUX_FILES, Case, expect_end, host, linux_vm, watch
from disk_cases import Disks
from faulty_disk import EIO, ENOSPC, READ, WRITE, FaultyDisk
from machine import Failure

SLOTS_MIB = 640


def paging_guests(names, extra="", **keys):
    """Three guests that have twice as much memory as there is, and use it."""
    config = host(pool="192M", store="nvme0", when_idle="monitor", **keys)
    for i, name in enumerate(names):
        config += linux_vm(name, "128M", "54M", seed=i + 1, extra=extra)
    return config


def boot_faulty(boot, disk, config, **options):
    return boot(config, LINUX_FILES, store="none", extra=disk.qemu(), **options)


def expect_started(machine, names):
    for name in names:
        machine.expect(rf"^{name}\| .*memcheck: \d+ pages", 200)


def expect_all_well(machine, names):
    watch(machine, names, 400)
    for name in names:
        machine.expect(rf"vm {name}: ended well", 60)
    last = machine.stats()
    machine.send("poweroff\r")
    expect_end(machine)
    return last


def outage(seconds, ops, error=EIO):
    """All requests of these kinds fail for so many seconds, in the middle of the job."""
    names = ("vm0", "vm1", "vm2")

    def run(boot):
        with Disks() as disks, FaultyDisk(disks.store(SLOTS_MIB)) as disk:
            machine = boot_faulty(boot, disk, paging_guests(names, "passes=3"), timeout=500)
            expect_started(machine, names)
            before = machine.stats()["store"]
            disk.fails = lambda op, first, blocks: error if op in ops else 0
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                machine.wait(1.0)
                figures = machine.stats()["store"]
            answer = machine.command("store")
            disk.fails = lambda op, first, blocks: 0
            for op, word in ((READ, "reads"), (WRITE, "writes")):
                if op not in ops or (op == READ and WRITE in ops and disk.failed[READ] == 0):
                    continue  # while nothing is written, there may be no frame to read into
                if disk.failed[op] == 0 or not figures[f"{word}_wait"]:
                    raise Failure(f"{word} did not fail: {disk.failed} {figures}")
                if f"{word} fail: they wait" not in answer:
                    raise Failure(f"'store' does not say that {word} fail: {answer}")
                machine.expect(rf"store nvme0: {word} fail: they wait", 10)
                machine.expect(rf"store nvme0: {word} succeed again after \d+", 20)
            last = expect_all_well(machine, names)["store"]
            if last["retired"] != 0 or last["slots_used"] != 0:
                raise Failure(f"slots were retired or leaked: {last}")
            return (f"{sum(disk.failed.values())} requests failed, {last['written_pages']} pages "
                    f"written, {before['written_pages']} of them before")

    return run


def bad_slots(boot):
    """Slots that cannot be written are retired, no other is; no page is lost."""
    names = ("vm0", "vm1")

    def fails(op, first, blocks):
        return EIO if op == WRITE and any(b % 512 in (100, 101, 102) and b < 30000
                                          for b in range(first, first + blocks)) else 0

    with Disks() as disks, FaultyDisk(disks.store(SLOTS_MIB)) as disk:
        config = host(pool="128M", store="nvme0", when_idle="monitor")
        for i, name in enumerate(names):
            config += linux_vm(name, "128M", "54M", seed=i + 1)
        machine = boot_faulty(boot, disk, config, timeout=500)
        disk.fails = fails
        machine.expect("^spillway> ")
        last = expect_all_well(machine, names)["store"]
        if not 0 < last["retired"] <= 3 * 30000 // 512:
            raise Failure(f"expected 1 to 174 slots to be retired: {last}")
        lines = len(re.findall("fails though others do not: retired", machine.text))
        if lines > 12:
            raise Failure(f"{lines} lines about retired slots")
        return f"{last['retired']} slots retired, {lines} lines"


def stays_full(boot):
    """A disk that is full for ever: it is given 180 s; then the VM that came last ends with a line, and
    the others go on."""
    names = ("vm0", "vm1", "vm2")
    last_block = SLOTS_MIB * 256 - 1

    with Disks() as disks, FaultyDisk(disks.store(SLOTS_MIB)) as disk:
        machine = boot_faulty(boot, disk, paging_guests(names, "passes=3"), timeout=700)
        expect_started(machine, names)
        disk.fails = lambda op, first, blocks: ENOSPC if op == WRITE and first < last_block else 0
        machine.expect(r"hv: vm vm\d: vCPU 0 has been waiting for \d+ s for a free frame; "
                       r"pages go to nvme0", 60)
        machine.expect(r"hv: vm vm2: failed: nvme0 has lost what was promised: \d+ MiB are missing; "
                       r"it was started last", 260)
        for name in names[:2]:
            machine.expect(rf"^{name}\| .*memcheck: PASS", 200)
            machine.expect(rf"vm {name}: ended well", 60)
        machine.send("poweroff\r")
        expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


def read_error(boot):
    """A page that cannot be read back fails its VM; the others do not notice."""
    names = ("vm0", "vm1", "vm2")
    rotten = []

    def fails(op, first, blocks):
        if op != READ or blocks > 64:
            return 0
        if not rotten:
            rotten.extend(range(first, first + blocks))
        return EIO if any(b in rotten for b in range(first, first + blocks)) else 0

    with Disks() as disks, FaultyDisk(disks.store(SLOTS_MIB)) as disk:
        machine = boot_faulty(boot, disk, paging_guests(names, "passes=3"), timeout=400)
        expect_started(machine, names)
        disk.fails = fails
        lost = machine.expect(r"hv: (vm\d): guest page 0x[0-9a-f]+ is lost: slot \d+ of nvme0", 200)
        victim = lost.group(1)
        machine.expect(rf"vm {victim}: failed: .*lost", 60)
        for name in names:
            if name != victim:
                machine.expect(rf"^{name}\| .*memcheck: PASS", 200)
        for name in names:
            machine.expect(rf"vm {name}: (ended well|is off, failed)", 60)
        machine.send("poweroff\r")
        expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


def unwritable(device, flags, says):
    """A store that can be read but not written is refused at boot, in one line, with the reason."""

    def run(boot):
        with Disks() as disks:
            path = disks.store(256)
            machine = boot(host(pool="128M", store="auto") + linux_vm("alpha", "96M", "16M"),
                           LINUX_FILES, store="none",
                           extra=[f"--qemu=-drive file={path},format=raw,if=none,id=ro,readonly=on "
                                  f"-device {device},drive=ro{flags}"])
            machine.expect(says, 60)
            machine.expect(r"^alpha\| .*memcheck: PASS", 200)
            expect_end(machine)
            lines = [line for line in machine.text.split("\n") if "store" in line]
            if len(lines) != 2:  # and what the disk is found to hold
                raise Failure(f"more than was asked: {lines}")

    return run


CASES = [
    Case("store-writes-fail-10s", outage(10, (WRITE,))),
    Case("store-reads-fail-5s", outage(5, (READ,))),
    Case("store-away-5s", outage(5, (READ, WRITE))),
    Case("store-full-10s", outage(10, (WRITE,), ENOSPC)),
    Case("store-stays-full", stays_full, long=True),
    Case("store-bad-slots", bad_slots),
    Case("store-read-error", read_error),
    Case("store-unwritable-nvme", unwritable("nvme,serial=ro", "",
                                             r"store nvme0: cannot be written, as a test write shows")),
    Case("store-unwritable-virtio", unwritable("virtio-blk-pci,disable-legacy=on", "",
                                               r"store vd0: the disk is read-only")),
]
