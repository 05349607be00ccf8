# SPDX-License-Identifier: BSD-2-Clause
"""Kernels by old boot protocols, an initrd above 4 GiB, memory whose size is odd."""
import os
import re
import struct

from cases import BUILD, INITRD, VMLINUZ, Case, bare_file, bare_vm, expect_end, host
from linux_cases import run_vm
from machine import Failure

# Offsets in the setup header: Linux, Documentation/x86/boot.rst.
VERSION = 0x206
INITRD_MAX = 0x22c

# 255 MiB and a page; 3 GiB, where devices begin, less or more a page; 4 MiB and a page.
ODD_SIZES = {"261124K": 1, "3145724K": 1, "3145732K": 2, "4100K": 1}


def patched(name, offset, layout, value):
    """Debian's kernel with another field in its header."""
    path = os.path.join(BUILD, f"{name}-{os.getpid()}.vmlinuz")
    with open(VMLINUZ, "rb") as source:
        kernel = bytearray(source.read())
    struct.pack_into(layout, kernel, offset, value)
    with open(path, "wb") as out:
        out.write(kernel)
    return path


def protocols(boot):
    """By protocol 2.06 and 2.09 a kernel is entered at 1 MiB; one that takes no initrd below 4 GiB gets it above,
    and a crash kernel's memory is there as well."""
    kernels = {"old": patched("old", VERSION, "<H", 0x206), "less-old": patched("less-old", VERSION, "<H", 0x209),
               "above": patched("above", INITRD_MAX, "<I", 0x101fff)}
    config = host(store="auto", pool="700M")
    files = [f"{INITRD}=\\guest\\initrd.img"]
    job = "memcheck 16M && dmesg | grep RAMDISK:"
    for name, path in kernels.items():
        more, memory, option = (" && grep Crash /proc/iomem", "3200M", "crashkernel=64M,high") \
            if name == "above" else ("", "160M", "")
        config += run_vm(name, job + more, option, memory=memory).replace("guest\\vmlinuz", f"guest\\{name}")
        files.append(f"{path}=\\guest\\{name}")
    try:
        machine = boot(config, files, timeout=900)
        expect_end(machine, seconds=900)
    finally:
        for path in kernels.values():
            os.unlink(path)
    for name in kernels:
        disk = re.search(rf"^{name}\| .*RAMDISK: \[mem 0x([0-9a-f]+)-", machine.text, re.M)
        if not disk or (int(disk.group(1), 16) >= 1 << 32) != (name == "above"):
            raise Failure(f"{name}: '{disk.group(0) if disk else 'no line of its initrd'}'")
        if not re.search(rf"^{name}\| memcheck: PASS", machine.text, re.M):
            raise Failure(f"{name}: memcheck has not passed")
    # "high" has a little below 4 GiB as well, for what can reach no further.
    crash = [int(at, 16) >= 1 << 32 for at in re.findall(r"^above\| +([0-9a-f]+)-[0-9a-f]+ : Crash", machine.text, re.M)]
    if crash != [False, True]:
        raise Failure(f"memory for a crash kernel: above 4 GiB {crash}, expected one below and one above")


def edges(boot):
    """What is behind the last page of a range is nobody's, also within its 2 MiB."""
    config = host(store="auto", when_idle="monitor")
    for size in ODD_SIZES:
        config += bare_vm(f"m{size}", "edges.elf", size, autostart="no")
    machine = boot(config, (bare_file("edges.elf"),), store="8G")
    machine.expect("^spillway> ")
    for size, ranges in ODD_SIZES.items():
        machine.command(f"start m{size}")
        machine.expect(rf"^m{size}\| edges: PASS, ranges: {ranges}$", 60)
        machine.expect(rf"vm m{size}: ended well", 60)
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("protocols", protocols, memory="1100M", store="8G"),
    Case("protocols", protocols, emu="bochs", long=True, memory="1100M", store="8G"),
    Case("edges", edges, memory="1100M"),
    Case("edges", edges, emu="bochs", memory="1100M"),
]
