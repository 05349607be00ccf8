# SPDX-License-Identifier: BSD-2-Clause
"""Disk identity: what was read from a guest's disk, or written there, leaves without a write and comes
back from that disk; and stays what it was when its block is written to."""
import hashlib
import os
import struct

from balloon_cases import figures_of, stop_all
from cases import Case, host
from guest_disk_cases import FILES, GuestDisk, vm
from machine import Failure

FIRST = 1 << 20  # byte where the partition begins


def random_bytes(path):
    """All of the disk, but for a table with one partition."""
    size = os.path.getsize(path)
    sectors = (size - FIRST) // 4096 * 8
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff\xff\xff", FIRST // 512, sectors)
    with open(path, "r+b") as disk:
        for _ in range(size // 4096):
            disk.write(os.urandom(4096))
        disk.seek(0)
        disk.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")


def md5(path, first=0):
    size = os.path.getsize(path)
    end = size // 4096 * 4096 if first == 0 else first + (size - first) // 4096 * 4096
    digest = hashlib.md5()
    with open(path, "rb") as disk:
        disk.seek(first)
        while disk.tell() < end:
            digest.update(disk.read(min(1 << 20, end - disk.tell())))
    return digest.hexdigest()


def expect_sum(machine, device, want, seconds, start=0):
    found = machine.expect(rf"^alpha\| .*?([0-9a-f]{{32}})  {device}", seconds, start)
    if found.group(1) != want:
        raise Failure(f"{device} reads as {found.group(1)}, expected {want}")
    return found.end()


def told(figures):
    return ", ".join(f"{key} {figures[key]}" for key in
                     ("disk", "disk_drops", "disk_reads", "false_reads_avoided", "page_outs",
                      "page_ins", "clean_drops"))


def read_again(device, cylinders, memory, most):
    """A guest reads a disk larger than its memory twice, with less memory than it was told: hardly
    anything is written to the store."""
    def run(boot):
        with GuestDisk(cylinders) as disk:
            random_bytes(disk.path)
            want = md5(disk.path)
            command = "md5sum /dev/vda; echo again; md5sum /dev/vda; echo read; sleep 10000"
            machine = boot(host(when_idle="monitor") + vm("alpha", command, memory, max=most, disk0=device),
                           FILES, extra=[f"--guest-disk={disk.path}"])
            at = expect_sum(machine, "/dev/vda", want, 600)
            expect_sum(machine, "/dev/vda", want, 600, at)
            machine.expect(r"^alpha\| .*read", 60, at)
            figures = figures_of(machine.stats(), "alpha")
            if figures["disk_drops"] < cylinders * 126 // 4:
                raise Failure(f"too little was dropped: {told(figures)}")
            if figures["page_outs"] > figures["disk_drops"] // 10:
                raise Failure(f"too much was written: {told(figures)}")
            stop_all(machine, "alpha")
            return told(figures)
    return run


def written_over(device, cylinders, memory, most):
    """A guest has a partition in its page cache, of which most has been dropped, and writes other
    bytes to its blocks past the cache: the cache has what was read, the disk what was written."""
    mib = cylinders * 516096 // (1 << 20) - 2

    def run(boot):
        with GuestDisk(cylinders) as disk:
            random_bytes(disk.path)
            want = md5(disk.path, FIRST)
            command = ("exec 3</dev/vda1; md5sum /dev/vda1; echo first; "
                       f"dd if=/dev/urandom of=/dev/vda bs=1M seek=1 count={mib} oflag=direct && "
                       "echo over; md5sum /dev/vda1; echo 3 > /proc/sys/vm/drop_caches; "
                       "md5sum /dev/vda1; echo done; sleep 10000")
            machine = boot(host(when_idle="monitor") + vm("alpha", command, memory, max=most, disk0=device),
                           FILES, extra=[f"--guest-disk={disk.path}"])
            at = expect_sum(machine, "/dev/vda1", want, 600)
            dropped = figures_of(machine.stats(), "alpha")["disk"]
            at = machine.expect(r"^alpha\| .*over", 900, at).end()
            at = expect_sum(machine, "/dev/vda1", want, 600, at)
            new = machine.expect(r"^alpha\| .*?([0-9a-f]{32})  /dev/vda1", 600, at)
            machine.expect(r"^alpha\| .*done", 60, at)
            figures = figures_of(machine.stats(), "alpha")
            stop_all(machine, "alpha")
            if new.group(1) == want or new.group(1) != md5(disk.path, FIRST):
                raise Failure("the disk does not have what was written")
            if dropped < cylinders * 126 // 8:
                raise Failure(f"too little had been dropped: {dropped}")
            return f"{dropped} away before; {told(figures)}"
    return run


CASES = [
    Case("disk-identity", read_again("nvme1", 380, "128M", "80M"), memory="512M", cpus=2),
    Case("disk-identity-virtio", read_again("vd1", 380, "128M", "80M"), memory="512M", disk="virtio", long=True),
    Case("disk-identity-ata", read_again("ata1", 120, "96M", "64M"), emu="bochs", memory="384M", long=True),
    Case("disk-identity-over", written_over("nvme1", 150, "160M", "80M"), memory="512M", cpus=2),
    Case("disk-identity-over-virtio", written_over("vd1", 150, "160M", "80M"), memory="512M", disk="virtio"),
    Case("disk-identity-over", written_over("ata1", 60, "96M", "64M"), emu="bochs", memory="384M"),
]
