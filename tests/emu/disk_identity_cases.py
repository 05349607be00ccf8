# SPDX-License-Identifier: BSD-2-Clause
"""Pages that are copies of blocks of a guest's disk are dropped, and read back from there: what that saves,
and that it is never wrong."""
import hashlib
import random

from cases import Case, expect_end, host
from guest_disk_cases import FILES, GuestDisk, vm
from machine import Failure

BLOCK_MIB = 1 << 20
OUTS_PERCENT = 10   # of what is dropped: the pages of the guest that no disk has


def figures(machine):
    guest = machine.stats()["vms"][0]
    return {name: guest[name] for name in ("page_outs", "disk_drops", "disk_reads", "false_reads_avoided")}


def read_over_and_over(device, memory, mib, pool, limit):
    """A guest reads half as much again as its memory, which is more than the pool: its page cache is
    dropped, not written."""
    def run(boot):
        with GuestDisk(mib * 2048 // (16 * 63) + 1) as disk:
            data = random.Random(1).randbytes(mib * BLOCK_MIB)
            with open(disk.path, "r+b") as image:
                image.write(data)
                image.seek(0)
                expected = hashlib.md5(image.read()).hexdigest()
            read = "md5sum /dev/vda; echo it has read; sleep 1; "
            config = host(pool=pool) + vm("alpha", read * 3, memory, disk0=device + ",ro")
            machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
            at, seen = 0, []
            for _ in range(3):
                found = machine.expect(r"^alpha\| ([0-9a-f]{32})", limit, at)
                if found.group(1) != expected:
                    raise Failure("it has read something else")
                at = machine.expect(r"^alpha\| it has read", 60, found.end()).end()
                seen.append(figures(machine))
            expect_end(machine)
        spent = {name: seen[2][name] - seen[0][name] for name in seen[0]}
        if spent["disk_drops"] < mib * 256 // 8 or seen[2]["disk_reads"] == 0:
            raise Failure(f"hardly anything was dropped: {spent}")
        if spent["page_outs"] * 100 > OUTS_PERCENT * spent["disk_drops"]:
            raise Failure(f"too much went to the store: {spent}")
        return f"two readings: {spent['disk_drops']} dropped, {spent['page_outs']} written, {spent['disk_reads']} read back"
    return run


def checked(device, memory, pool, words, limit, vcpus=1):
    """guests/diskcheck uses disk and memory in every way at once, and knows what has to be where."""
    def run(boot):
        with GuestDisk(64) as disk:
            config = host(pool=pool) + vm("alpha", f"diskcheck /dev/vda {words} || poweroff -f", memory,
                                          disk0=device, vcpus=vcpus, max="44M")
            machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
            at = 0
            for _ in range(7):
                at = machine.expect(r"^alpha\| .*diskcheck: (\d+ of|FAIL)", limit, at).end()
                seen = figures(machine)
            machine.expect(r"^alpha\| .*diskcheck: PASS", limit, at)
            expect_end(machine)
        if seen["disk_drops"] < 500 or seen["disk_reads"] < 200:
            raise Failure(f"hardly anything was dropped: {seen}")
        return ", ".join(f"{name} {value}" for name, value in seen.items())
    return run


CASES = [
    Case("disk-identity", read_over_and_over("nvme1", "192M", 240, "72M", 300), memory="384M"),
    Case("disk-identity", read_over_and_over("ata1", "128M", 90, "52M", 900), emu="bochs", memory="384M", timeout=900,
         long=True),
    Case("disk-checked", checked("nvme1", "160M", "64M", "buffers=900 ops=20000", 240), memory="384M"),
    Case("disk-checked-2cpus", checked("vd1", "128M", "64M", "buffers=900 ops=40000", 400, vcpus=2), memory="384M",
         disk="virtio", cpus=2, long=True),
    Case("disk-checked", checked("ata1", "160M", "60M", "buffers=700 ops=24000", 900), emu="bochs", memory="384M",
         timeout=900, long=True),
]
