# SPDX-License-Identifier: BSD-2-Clause
"""Disks: more namespaces and controllers than most computers have, and some that cannot be used."""
import os
import re
import subprocess
import sys
import tempfile

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, host, linux_vm
from machine import BUILD, TOOL, Failure


def nvme(number):
    return f"-device nvme,id=nvme{number},serial=nvme{number}"


def namespace(controller, nsid, path, extra=""):
    name = f"disk{controller}-{nsid}"
    return (f"-drive file={path},format=raw,if=none,id={name} "
            f"-device nvme-ns,drive={name},bus=nvme{controller},nsid={nsid}{extra}")


class Disks:
    """Files for disks, gone at the end."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="disks-", dir=BUILD)
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def blank(self, mib):
        self.count += 1
        path = os.path.join(self.folder.name, f"{self.count}.img")
        with open(path, "wb") as disk:
            disk.truncate(mib << 20)
        return path

    def store(self, mib):
        path = self.blank(mib)
        subprocess.run([sys.executable, TOOL, "mkstore", path], check=True)
        return path


def qemu(*words):
    return [f"--qemu={' '.join(words)}"]


def expect_paging(machine, name):
    """The guest has more memory than there is, so the store is in use."""
    machine.expect(rf"store {name}: \d+ MiB in \d+ slots", 60)
    machine.expect("^spillway> ")
    machine.expect(r"^alpha\| .*memcheck: PASS", 240)
    last = machine.stats()
    if last["store"]["device"] != name or last["store"]["written_pages"] == 0:
        raise Failure(f"nothing was written to {name}: {last['store']}")
    machine.send("poweroff\r")
    expect_end(machine)


PAGED = host(pool="80M", store="auto", when_idle="monitor") + \
    linux_vm("alpha", "128M", "48M", extra="passes=1")


def six_namespaces(boot):
    """The store is the sixth of them."""
    with Disks() as disks:
        words = [nvme(0)] + [namespace(0, nsid, disks.blank(8)) for nsid in range(1, 6)]
        words.append(namespace(0, 6, disks.store(256)))
        expect_paging(boot(PAGED, LINUX_FILES, extra=qemu(*words)), "nvme5")


def seven_controllers(boot):
    """One queue for each of eight CPUs, and each of them works: the store is on the last."""
    with Disks() as disks:
        words = []
        for number in range(7):
            path = disks.store(256) if number == 6 else disks.blank(8)
            words += [nvme(number), namespace(number, 1, path)]
        machine = boot(PAGED, LINUX_FILES, extra=qemu(*words))
        expect_paging(machine, "nvme6")
        if len(re.findall(r"hv: nvme [\da-f:.]+: 8 queues of \d+, 8 with", machine.text)) != 7:
            raise Failure("not every controller has 8 queues")


def zoned_namespace(boot):
    """It is left out by its number; the namespace behind it is used."""
    with Disks() as disks:
        words = (nvme(0),
                 namespace(0, 1, disks.blank(64), ",zoned=on,zoned.zone_size=4M"),
                 namespace(0, 2, disks.store(64)))
        machine = boot(host(store="auto", pool="64M") + bare_vm("a", "bench.elf", "48M"),
                       (bare_file("bench.elf"),), extra=qemu(*words))
        machine.expect(r"hv: nvme [\da-f:.]+: namespace 1 has the Zoned Namespace command set "
                       r"\(02h\), not NVM: left out", 60)
        machine.expect(r"store nvme0: \d+ MiB in \d+ slots", 60)
        expect_end(machine)
        if "nvme1" in machine.text:
            raise Failure("there is a second disk")


def no_such_disk(boot):
    """The names that there are stand in the line, and the boot stops."""
    with Disks() as disks:
        words = [nvme(0)] + [namespace(0, nsid, disks.blank(8)) for nsid in range(1, 13)]
        machine = boot(host(store="nvme99", pool="64M") + bare_vm("a", "bench.elf", "48M"),
                       (bare_file("bench.elf"),), extra=qemu(*words))
        machine.expect(r"^spillway: configuration: spillway.conf:2: store: expected one of nvme0, nvme1, .*nvme\d+"
                       r"( and \d+ more)?, got 'nvme99'$", 60)
        expect_end(machine, r"^spillway: configuration: 1 error, ", 2)


CASES = [
    Case("disks-six-namespaces", six_namespaces, memory="256M", store="none"),
    Case("disks-seven-controllers", seven_controllers, memory="512M", store="none", cpus=8),
    Case("disks-zoned-namespace", zoned_namespace, memory="256M", store="none"),
    Case("disks-no-such-disk", no_such_disk, memory="256M", store="none"),
]
