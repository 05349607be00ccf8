# SPDX-License-Identifier: BSD-2-Clause
"""Guests' own disks: a file system made, filled and read back while memory is short; shared, refused,
reset in the middle."""
import hashlib
import os
import random
import struct
import subprocess
import tempfile
import uuid as uuid_module
import zlib

from cases import LAST_OK, LINUX_FILES, VMLINUZ, Case, bare_file, bare_vm, expect_end, host, linux_vm
from faulty_disk import EIO, READ, WRITE, FaultyDisk
from machine import BUILD, Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
MODULES = ",".join(f"/lib/virtio{name}.ko" for name in
                   ("_ring", "", "_pci_legacy_dev", "_pci_modern_dev", "_pci", "_blk"))

# 40 MiB in a tmpfs and twice as much in files: more than the pool has, so pages leave while disks
# write to others.  The files are read again with an empty page cache.
FILL = ("mkdir -p /t /d; mount -t tmpfs t /t; dd if=/dev/urandom of=/t/r bs=64k count=%(pieces)d; "
        "md5sum /t/r > /t/s; mke2fs -F /dev/vda; mount -t ext2 /dev/vda /d; "
        "for i in 1 2; do cp /t/r /d/$i || exit 1; done; sync; "
        "echo 3 > /proc/sys/vm/drop_caches; for i in 1 2; do cmp /t/r /d/$i || exit 1; done; "
        "md5sum -c /t/s && umount /d && echo all is there")


def vm(name, command, memory="96M", **keys):
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f'cmdline = "console=ttyS0 quiet modules={MODULES} run=\\"{command}\\""',
             f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


class GuestDisk:
    """A file of so many cylinders, which Bochs takes too; gone at the end."""

    def __init__(self, cylinders=260):
        self.folder = tempfile.TemporaryDirectory(prefix="guest-disk-", dir=BUILD)
        self.path = os.path.join(self.folder.name, "disk.img")
        with open(self.path, "wb") as disk:
            disk.truncate(cylinders * 16 * 63 * 512)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def check(self):
        """What the guest has made is a sound file system."""
        done = subprocess.run(["e2fsck", "-fn", self.path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"e2fsck: {done.stdout}")


def file_system(device, pieces, cylinders=260):
    def run(boot):
        with GuestDisk(cylinders) as disk:
            config = host(pool="64M") + \
                vm("alpha", FILL % {"pieces": pieces}, "128M", disk0=device)
            machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
            machine.expect(r"^alpha\| .*all is there", 800)
            expect_end(machine)
            disk.check()
    return run


def shared(boot):
    """Two VMs read one disk; who wants to write it is refused while they run, and gets it then."""
    with GuestDisk(8) as disk:
        with open(disk.path, "r+b") as data:
            data.write(os.urandom(1 << 20))
        read = "cat /sys/block/vda/ro; md5sum /dev/vda; dd if=/dev/zero of=/dev/vda count=1 && exit 1; sleep 20; true"
        config = host(pool="256M", when_idle="monitor") + \
            vm("alpha", read, "96M", disk0="nvme1,share") + \
            vm("beta", read, "96M", disk3="nvme1,ro,share") + \
            vm("gamma", "cat /sys/block/vda/ro", "96M", disk0="nvme1", autostart="no")
        machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
        first = machine.expect(r"^(alpha|beta)\| ([0-9a-f]{32})  /dev/vda", 120)
        second = machine.expect(r"^(alpha|beta)\| ([0-9a-f]{32})  /dev/vda", 120, first.end())
        if first.group(2) != second.group(2):
            raise Failure("they do not read the same")
        machine.send("start gamma\r")
        machine.expect(r"disk0 of gamma: expected a disk that VM alpha has not, or ,share in both, "
                       r"got 'nvme1'", 20)
        machine.expect(r"vm alpha: ended well", 120)
        machine.expect(r"vm beta: ended well", 120)
        machine.send("start gamma\r")
        machine.expect(r"vm gamma: ended well", 120)
        machine.send("poweroff\r")
        expect_end(machine, LAST_OK)


def reset_in_the_middle(boot):
    """Resets while the disk is being written: it works again each time."""
    with GuestDisk() as disk:
        write = "echo it writes; while true; do dd if=/dev/zero of=/dev/vda bs=1M count=32 oflag=direct || exit 1; done"
        config = host(pool="128M", when_idle="monitor") + vm("alpha", write, "96M", disk0="nvme1")
        machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
        at = 0
        for _ in range(3):
            at = machine.expect(r"^alpha\| .*it writes", 120, at).end()
            at = machine.expect(r"^alpha\| .*32\+0 records out", 60, at).end()
            machine.send("reset alpha\r")
        machine.expect(r"^alpha\| .*it writes", 120, at)
        machine.send("kill alpha\r")
        machine.expect(r"vm alpha: stopped by the operator", 30)
        machine.send("poweroff\r")
        expect_end(machine, LAST_OK)


# ---- partitions, discards ----

FIRST, FIRST_SECTORS = 2048, 32768      # of the first partition; the second and last begin behind it
UUID = "0badcafe-1234-4321-8765-0123456789ab"


def gpt(path):
    """Three partitions of 16 MiB, of which the second's entry is the first in order on disk.  Both tables:
    the firmware would make the second one anew."""
    def entry(number, uuid):
        first = FIRST + number * FIRST_SECTORS
        return b"\x11" * 16 + uuid + struct.pack("<QQQ", first, first + FIRST_SECTORS - 1, 0) + bytes(72)

    table = b"".join(entry(number, uuid) for number, uuid in
                     ((1, b"\x02" * 16), (0, uuid_module.UUID(UUID).bytes_le), (2, b"\x03" * 16)))
    table += bytes(128 * 128 - len(table))
    last = os.path.getsize(path) // 512 - 1

    def header(own, other, entries):
        def pack(checksum):
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other, 34,
                               last - 33, b"\x09" * 16, entries, 128, 128, zlib.crc32(table))
        return pack(zlib.crc32(pack(0))) + bytes(512 - 92)

    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"", 0xee, b"", 1, last) + bytes(48) + b"\x55\xaa"
    with open(path, "r+b") as disk:
        disk.write(mbr + header(1, last, 2) + table)
        disk.seek((last - 32) * 512)
        disk.write(table + header(last, 1, last - 32))


def pattern(seed, sectors):
    return random.Random(seed).randbytes(sectors * 512)


def partitions(device, kind, trims):
    """By its UUID and by name: each guest reads, writes and discards its own and nothing beside it."""
    write = ("dd if=/dev/zero bs=64k count=32 seek=16 of=/dev/vda conv=notrunc,fsync && "
             "dd if=/dev/zero bs=512 count=1 of=/dev/vdb && exit 1; cat /sys/block/vdb/ro; "
             "cat /sys/block/vda/queue/discard_max_bytes; md5sum /dev/vdb; "
             + ("blkdiscard -o 8388608 -l 1049088 /dev/vda && " if trims else "") + "echo all done")

    def run(boot):
        with GuestDisk(110) as disk:
            before = bytearray(pattern(1, os.path.getsize(disk.path) // 512))
            with open(disk.path, "wb") as data:
                data.write(before)
            gpt(disk.path)
            with open(disk.path, "rb") as data:
                before = bytearray(data.read())
            config = host(pool="128M") + vm("alpha", write, "96M", disk0=f"PARTUUID={UUID}",
                                            disk1=f"{device}p3,ro")
            words = [f"--qemu=-drive file={disk.path},format=raw,if={kind},id=own,discard=unmap" +
                     ("" if trims == "ata" else f" -device {trims},drive=own")]
            machine = boot(config, FILES, extra=words)
            machine.expect(r"^alpha\| .*all done", 300)
            expect_end(machine)
            third = (FIRST + 2 * FIRST_SECTORS) * 512
            digest = hashlib.md5(before[third:third + FIRST_SECTORS * 512]).hexdigest()
            if f"{digest}  /dev/vdb" not in machine.text:
                raise Failure("the third partition is another one in the guest")
            first = FIRST * 512
            for start, count in ((16 << 16, 32 << 16), (8 << 20, 1049088)):
                before[first + start:first + start + count] = bytes(count)
            with open(disk.path, "rb") as data:
                after = data.read()
            wrong = [at for at in range(0, len(before), 512) if before[at:at + 512] != after[at:at + 512]]
            if wrong:
                raise Failure(f"{len(wrong)} sectors are not what they should be, from byte {wrong[0] - first} of "
                              f"the partition to {wrong[-1] - first}")
    return run


def faulty(boot):
    """A disk that fails for a while: I/O errors in the guest that has it, and in no other one; then all is well."""
    with GuestDisk(60) as disk, FaultyDisk(disk.path) as server:
        command = ("echo reads; while dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null; "
                   "do true; done; echo it fails; "
                   "until dd if=/dev/zero of=/dev/vda bs=64k count=64 oflag=direct 2>/dev/null; do sleep 1; done; "
                   "dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct && sync && echo it is back")
        config = host(pool="128M", store="auto", when_idle="monitor") + \
            vm("alpha", command, "96M", disk0="nvme1") + linux_vm("beta", "96M", "24M", extra="passes=4")
        machine = boot(config, FILES, extra=server.qemu())
        machine.expect(r"^alpha\| .*reads", 120)
        machine.wait(3)
        server.fails = lambda op, first, blocks: EIO
        machine.expect(r"^alpha\| .*it fails", 120)
        machine.wait(5)
        server.fails = lambda op, first, blocks: 0
        machine.expect(r"^alpha\| .*it is back", 120)
        machine.expect(r"vm alpha: ended well", 60)
        machine.expect(r"^beta\| .*memcheck: PASS", 300)
        machine.expect(r"vm beta: ended well", 60)
        if server.failed[READ] == 0 or server.failed[WRITE] == 0:
            raise Failure(f"the disk has not failed: {server.failed}")
        machine.send("poweroff\r")
        expect_end(machine, LAST_OK)


def hostile(disk_name, emu):
    """guests/bare/disk.asm does to its disk what none should, beside a guest that does not notice."""
    def run(boot):
        with GuestDisk() as disk:
            config = host(pool="96M", when_idle="monitor") + \
                bare_vm("alpha", "disk.elf", "32M", disk0=disk_name) + \
                linux_vm("beta", "96M", "32M" if emu == "qemu" else "8M", extra="passes=1")
            machine = boot(config, LINUX_FILES + (bare_file("disk.elf"),), extra=[f"--guest-disk={disk.path}"])
            machine.expect(r"^alpha\| disk: (PASS|wrong).*", 400)
            machine.expect(r"vm alpha: ended .*", 60)
            machine.expect(r"^beta\| .*memcheck: PASS", 400)
            machine.expect(r"vm beta: ended well", 60)
            last = machine.stats()
            if last["host"]["frames_guest"] != 0:
                raise Failure(f"{last['host']['frames_guest']} guest frames leaked")
            machine.send("poweroff\r")
            expect_end(machine)
    return run


def booted(boot):
    """The boot disk is nobody's to write; who only reads it has it, and it holds our configuration."""
    config = host(pool="64M", when_idle="monitor") + \
        bare_vm("alpha", "bench.elf", "32M", disk0="ata0") + \
        bare_vm("beta", "bench.elf", "32M", disk0="ata0,ro", autostart="no")
    machine = boot(config, (bare_file("bench.elf"),))
    machine.expect(r"hv: ata0: the machine has booted from its blocks 0 to \d+$", 300)
    machine.expect(r"disk0 of alpha: expected ',ro' behind it, since the machine has booted from it, "
                   r"got 'ata0'", 300)
    machine.expect("^spillway> ", 60)
    machine.send("start beta\r")
    machine.expect(r"vm beta: ended well", 300)
    machine.send("poweroff\r")
    expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


CASES = [
    Case("guest-disk", file_system("nvme1", 640), memory="384M", cpus=2),
    Case("guest-disk-virtio", file_system("vd1", 320), memory="384M", disk="virtio", long=True),
    # It has not passed there yet. Bochs is slow: a smaller disk, less on it, and more time.
    Case("guest-disk", file_system("ata1", 48, 60), emu="bochs", memory="384M", timeout=900, long=True),
    Case("guest-disk-partitions", partitions("nvme1", "none", "nvme,serial=own"), memory="384M"),
    Case("guest-disk-partitions-virtio",
         partitions("vd1", "none", "virtio-blk-pci,disable-legacy=on"), memory="384M",
         disk="virtio", long=True),
    Case("guest-disk-partitions-ata", partitions("ata1", "ide,index=1", "ata"), memory="384M", disk="ata",
         long=True),
    Case("guest-disk-faulty", faulty, memory="384M"),
    Case("guest-disk-booted", booted, emu="bochs", memory="256M", store="none"),
    Case("guest-disk-hostile", hostile("nvme1", "qemu"), memory="384M"),
    Case("guest-disk-hostile", hostile("ata1", "bochs"), emu="bochs", memory="384M", timeout=900, long=True),
    Case("guest-disk-share", shared, memory="512M"),
    Case("guest-disk-reset", reset_in_the_middle, memory="384M", cpus=2),
]
