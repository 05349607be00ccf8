# SPDX-License-Identifier: BSD-2-Clause
"""What stock Linux does and has always done here: CPUs that come and go, many reboots, sizes that are
not round."""
import os
import re

from cases import BUILD, INITRD, LINUX_FILES, VMLINUZ, Case, expect_end, host
from linux_cases import run_vm
from machine import Failure, guest_file

PAGE = 4096
MIB = 1 << 20

# CPU 1 goes and comes; what runs on it meanwhile moves.
HOTPLUG = ("c=/sys/devices/system/cpu/cpu1/online; i=0; "
           "while [ $i -lt {times} ]; do echo 0 >$c; echo 1 >$c; i=$((i+1)); done; nproc; memcheck 16M threads=2")


def hotplug(times):
    """CPUs off and on again, one that was not started at boot, with and without x2APIC."""
    def run(boot):
        names = {"plain": "", "late": "maxcpus=1", "xapic": "nox2apic"}
        config = host(store="none")
        for name, option in names.items():
            config += run_vm(name, HOTPLUG.format(times=times), option, vcpus=2)
        machine = boot(config, LINUX_FILES, timeout=500)
        expect_end(machine)
        for name in names:
            for line in (r"2", r"memcheck: PASS.*"):
                if not re.search(rf"^{name}\| {line}$", machine.text, re.M):
                    raise Failure(f"{name}: expected a line '{line}'")

    return run


SIZES = ("129M", "2047M", "3073M", "5G")


def sizes(boot):
    """Each sees the memory that it has been given, below and above the hole at 4 GiB."""
    config = host(store="auto", pool="700M", when_idle="monitor")
    for size in SIZES:
        config += run_vm(f"m{size}", "memcheck 24M && grep MemTotal /proc/meminfo", memory=size, autostart="no")
    machine = boot(config, LINUX_FILES, store="8G", timeout=500)
    machine.expect("^spillway> ")
    for size in SIZES:
        machine.command(f"start m{size}")
        machine.expect(rf"vm m{size}: ended well", 120)
    machine.send("poweroff\r")
    expect_end(machine)
    for size in SIZES:
        bytes_given = int(size[:-1]) * (MIB if size[-1] == "M" else 1024 * MIB)
        total = re.search(rf"^m{size}\| MemTotal: +(\d+) kB", machine.text, re.M)
        if not total or not 0.7 < int(total.group(1)) * 1024 / bytes_given < 1:
            raise Failure(f"{size}: the guest says '{total.group(0) if total else 'nothing'}'")


def padded(name, size):
    """The initramfs with zeroes behind it, which the kernel skips."""
    path = os.path.join(BUILD, f"{name}-{os.getpid()}.img")
    with open(INITRD, "rb") as source, open(path, "wb") as out:
        out.write(source.read())
        out.truncate(size)
    return path


def initrds(boot):
    """Files that end just before, at and behind a page's end, and a large one."""
    pages = os.path.getsize(INITRD) // PAGE + 1
    lengths = {"before": pages * PAGE - 1, "at": pages * PAGE, "behind": pages * PAGE + 1, "large": 60 * MIB}
    config, files = host(store="none"), [f"{VMLINUZ}=\\guest\\vmlinuz"]
    paths = {name: padded(name, length) for name, length in lengths.items()}
    try:
        for name, path in paths.items():
            config += run_vm(name, "memcheck 8M", memory="256M" if name == "large" else "128M").replace(
                "initrd.img", f"{name}.img")
            files.append(f"{path}=\\guest\\{name}.img")
        machine = boot(config, files, timeout=500)
        expect_end(machine)
    finally:
        for path in paths.values():
            os.unlink(path)
    for name in lengths:
        if not re.search(rf"^{name}\| memcheck: PASS", machine.text, re.M):
            raise Failure(f"{name}: memcheck has not passed")


def reboots(times):
    """One reboot after the other: no frame is lost on the way."""
    def run(boot):
        machine = boot(host(store="none", when_idle="monitor") +
                       run_vm("again", "reboot -f", autostart="no"), LINUX_FILES, timeout=600)
        machine.expect("^spillway> ")
        before = machine.stats()["host"]
        machine.command("start again")
        for _ in range(times):
            start = len(machine.text)
            machine.expect(r"vm again: reset", 60, start)
        machine.command("kill again")
        machine.expect("vm again: stopped by the operator", 30)
        after = machine.stats()["host"]
        # What the first start has taken for tables of its own stays taken.
        if after["frames_guest"] != 0 or after["frames_free"] < before["frames_free"] - 64:
            raise Failure(f"frames were lost: {before}, then {after}")
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def memtest(boot):
    """memtest86+ by the 64-bit and by the 32-bit boot protocol, under its screen on the serial port."""
    config = host(store="none", when_idle="monitor")
    files = []
    for kind in ("x64", "ia32"):
        config += (f"[vm {kind}]\nkernel = \\guest\\{kind}\nmemory = 16M\n"
                   "cmdline = console=ttyS0,115200 nosm\n")
        files.append(f"{guest_file(f'memtest-{kind}.bin')}=\\guest\\{kind}")
    machine = boot(config, files)
    machine.expect("^spillway> ")
    for kind in ("x64", "ia32"):
        machine.expect(rf"^{kind}\| .*Memtest86\+ v6", 60)
        # It counts what has been tested, and errors.
        machine.expect(rf"^{kind}\| .*Testing: .*", 60)
    machine.wait(5.0)
    if re.search(r"Errors: *[1-9]", machine.text):
        raise Failure("memtest86+ has found errors")
    if len(re.findall("running", machine.command("vms"))) != 2:
        raise Failure("a memtest86+ does not run any more")
    machine.send("poweroff\r")
    expect_end(machine)


def kexec(dumped, seconds=500):
    """A kernel starts another one on its CPUs; another crashes, and the one that it had loaded for that
    reads so many bytes of its memory."""
    def run(boot):
        config = host(store="none")
        config += run_vm("again", "again", memory="256M", vcpus=2)
        # Wherever the kernel puts itself by KASLR, there are 128 MiB beside it: of 320 MiB there were not, once in nine.
        config += run_vm("crash", f"crash {dumped}", "crashkernel=128M", memory="448M", vcpus=2)
        machine = boot(config, (f"{VMLINUZ}=\\guest\\vmlinuz",
                                f"{guest_file('initrd-kexec.img')}=\\guest\\initrd.img"), timeout=seconds)
        expect_end(machine)
        for line in (r"again\| memcheck: PASS.*", r"again\| 2", r"crash\| OSRELEASE=\d+\..*", rf"crash\| {dumped}"):
            if not re.search(rf"^{line}$", machine.text, re.M):
                raise Failure(f"expected a line '{line}'")

    return run


CASES = [
    Case("kexec", kexec(150 * MIB), memory="1G", cpus=2),
    Case("kexec", kexec(4 * MIB, 1500), emu="bochs", long=True, memory="1G", cpus=2),
    Case("memtest", memtest, memory="256M", store="none"),
    Case("memtest", memtest, emu="bochs", memory="256M", store="none"),
    Case("hotplug", hotplug(50), memory="768M", cpus=2),
    Case("hotplug", hotplug(2), emu="bochs", long=True, memory="768M", cpus=2),
    Case("sizes", sizes, memory="1100M"),
    Case("initrds", initrds, memory="1G"),
    Case("reboots", reboots(12), memory="384M"),
    Case("fifty-reboots", reboots(50), long=True, memory="384M"),
]
