# SPDX-License-Identifier: BSD-2-Clause
"""Guests' own disks: a file system made, filled and read back while memory is short; shared, refused,
reset in the middle."""
import os
import subprocess
import tempfile

from cases import LAST_OK, VMLINUZ, Case, expect_end, host
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


def file_system(device, pieces):
    def run(boot):
        with GuestDisk() as disk:
            config = host(pool="64M") + \
                vm("alpha", FILL % {"pieces": pieces}, "128M", disk0=device)
            machine = boot(config, FILES, extra=[f"--guest-disk={disk.path}"])
            machine.expect(r"^alpha\| .*all is there", 500)
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


CASES = [
    Case("guest-disk", file_system("nvme1", 640), memory="384M", cpus=2),
    Case("guest-disk-virtio", file_system("vd1", 320), memory="384M", disk="virtio", long=True),
    # It has not passed there yet: it writes for longer than the case waits.
    Case("guest-disk", file_system("ata1", 160), emu="bochs", memory="384M", long=True),
    Case("guest-disk-share", shared, memory="512M"),
    Case("guest-disk-reset", reset_in_the_middle, memory="384M", cpus=2),
]
